"""Measure the search for nearest training images against the matrix product that it cannot avoid.

By default the sizes of MS-COCO: 40,504 images among 82,783, 2,048 features, exact, 200 neighbours.
Prints the time of both as a ratio from one run, and the peak of the process's memory.
"""

import argparse
import os
import resource
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--queries', type=int, default=40_504, help='default: %(default)s')
    parser.add_argument('--memory', type=int, default=82_783, help='default: %(default)s')
    parser.add_argument('--features', type=int, default=2_048, help='default: %(default)s')
    parser.add_argument('--neighbours', type=int, default=200, help='default: %(default)s')
    return parser.parse_args()


def time_product(queries: 'Tensor', memory: 'Tensor') -> float:
    """Multiply all queries with the memory, block by block, and return the seconds."""
    import torch

    from morn_plugin.models.label_decoders.neighbours.search import BLOCK

    size = max(1, BLOCK // len(memory))
    block = queries.new_empty(size, len(memory))

    start = time.perf_counter()
    for part in queries.split(size):
        torch.mm(part, memory.t(), out=block[: len(part)])
    return time.perf_counter() - start


def main() -> None:
    args = parse_args()
    import torch

    from morn_plugin.models.label_decoders.neighbours import nearest

    torch.manual_seed(0)
    memory = torch.nn.functional.normalize(torch.randn(args.memory, args.features), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(args.queries, args.features), dim=1)
    print(
        f'{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, torch '
        f'{torch.__version__}'
    )

    with torch.inference_mode():
        time_product(queries[:64], memory)  # warm up
        product = time_product(queries, memory)

        start = time.perf_counter()
        nearest(queries, memory, args.neighbours)
        search = time.perf_counter() - start

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f'{args.queries} queries among {args.memory} images of {args.features} features, '
        f'{args.neighbours} neighbours: product {product:.1f} s, search {search:.1f} s, ratio '
        f'{search / product:.2f}, peak memory {peak:.2f} GiB'
    )


if __name__ == '__main__':
    main()
