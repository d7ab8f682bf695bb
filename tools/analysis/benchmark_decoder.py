"""Measure the label decoder, the loop around it and the metrics.

Each is a ratio to a stated reference in the same run.

Prints the processor, the threads and the load, then Markdown tables. On a busy machine it prints no
table, unless --busy is given.
"""

import argparse
import os

from morn_plugin.utils.arguments import add_busy_argument
from morn_plugin.utils.checks import at_least

SECTIONS = ('step', 'loop', 'metrics', 'head', 'growth')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--threads', type=at_least(1), default=2, help='threads of torch (default: 2)'
    )
    parser.add_argument(
        '--rounds',
        type=at_least(1),
        default=7,
        help='rounds over which medians are taken (default: 7)',
    )
    parser.add_argument(
        '--only', nargs='+', choices=SECTIONS, metavar='TABLE', help=', '.join(SECTIONS)
    )
    add_busy_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ['CUDA_VISIBLE_DEVICES'] = ''  # the Runner would take a GPU
    from decoder_timing import print_tables

    print_tables(args.threads, args.rounds, args.only or SECTIONS, args.busy)


if __name__ == '__main__':
    main()
