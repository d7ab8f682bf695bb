"""Measure the training step beside that of the authors' release in TensorFlow.

Both start from the same weights and batch, and first have to compute the same loss. Prints the
processor, the threads and the load, then a Markdown table. On a busy machine it prints no table,
unless --busy is given. TensorFlow comes with an extra: pip install 'morn-plugin[tensorflow]'.
"""

import argparse
import os

from morn_plugin.utils.arguments import add_busy_argument
from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--threads', type=at_least(1), default=2, help='threads of each library (default: 2)'
    )
    parser.add_argument(
        '--rounds',
        type=at_least(1),
        default=7,
        help='rounds over which medians are taken (default: 7)',
    )
    add_busy_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ['CUDA_VISIBLE_DEVICES'] = ''  # the arrays are in the processor's memory

    import torch

    from morn_plugin import registration  # noqa: F401  registers everything
    from morn_plugin.speed.machine import start_measuring
    from morn_plugin.speed.release_in_tensorflow import compare_release
    from morn_plugin.speed.steps import Sizes
    from morn_plugin.utils.extras import require_extra

    try:
        version = require_extra('tensorflow', 'tensorflow').__version__
    except ImportError as error:
        raise SystemExit(str(error)) from error
    start_measuring(args.busy, args.threads, f' TensorFlow {version}.')
    torch.manual_seed(0)
    print(compare_release(Sizes(), args.rounds, args.threads).to_markdown())


if __name__ == '__main__':
    main()
