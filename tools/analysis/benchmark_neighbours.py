"""Measure the search for nearest training images against the matrix product that it needs.

By default the sizes of MS-COCO: 40,504 images among 82,783, 2,048 features, exact, 200 neighbours.
Both in turn, some queries at a time; prints the seconds of both, their ratio and how far it varies,
and the peak of the process's memory. Fewer queries give the same ratio sooner.
"""

import argparse
import resource
import statistics
import time
from typing import TYPE_CHECKING

from morn_plugin.utils.arguments import add_busy_argument
from morn_plugin.utils.checks import at_least

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS = 8  # of queries per round, so that the overhead of a call is small


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    positive = at_least(1)
    parser.add_argument('--queries', type=positive, default=40_504, help='default: %(default)s')
    parser.add_argument('--memory', type=positive, default=82_783, help='default: %(default)s')
    parser.add_argument('--features', type=positive, default=2_048, help='default: %(default)s')
    parser.add_argument('--neighbours', type=positive, default=200, help='default: %(default)s')
    parser.add_argument('--threads', type=positive, help='of torch (default: all cores)')
    add_busy_argument(parser)
    return parser.parse_args()


def time_product(queries: 'Tensor', memory: 'Tensor', size: int) -> float:
    """Multiply queries with the memory, ``size`` at a time, and return the seconds."""
    import torch

    block = queries.new_empty(size, len(memory))

    start = time.perf_counter()
    for part in queries.split(size):
        torch.mm(part, memory.t(), out=block[: len(part)])
    return time.perf_counter() - start


def time_search(queries: 'Tensor', memory: 'Tensor', num_neighbours: int) -> float:
    """Find the nearest, and return the seconds."""
    from morn_plugin.models.label_decoders.neighbours import nearest

    start = time.perf_counter()
    nearest(queries, memory, num_neighbours)
    return time.perf_counter() - start


def main() -> None:
    args = parse_args()
    import torch

    from morn_plugin.models.label_decoders.neighbours.search import BLOCK
    from morn_plugin.speed.machine import start_measuring

    start_measuring(args.busy, args.threads)

    torch.manual_seed(0)
    memory, queries = (torch.randn(number, args.features) for number in (args.memory, args.queries))
    for features in (memory, queries):
        features /= features.norm(dim=1, keepdim=True)

    size = max(1, BLOCK // args.memory)

    products, searches = [], []
    with torch.inference_mode():
        time_product(queries[:64], memory, size)  # warm up
        for part in queries.split(BLOCKS * size):
            products.append(time_product(part, memory, size))
            searches.append(time_search(part, memory, args.neighbours))

    ratios = [search / product for search, product in zip(searches, products, strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f'{args.queries} queries among {args.memory} images of {args.features} features, '
        f'{args.neighbours} neighbours: product {sum(products):.1f} s, search {sum(searches):.1f} '
        f's, ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f} in '
        f'{len(ratios)} turns), peak memory {peak:.2f} GiB'
    )


if __name__ == '__main__':
    main()
