"""Measure the training step of every method on cached inputs against its own matrix products.

The products are those that the step calls, run alone. Prints the processor, the threads and the
load, then Markdown tables. On a busy machine it prints no table, unless --busy is given.
"""

import argparse
import sys

from morn_plugin.utils.arguments import add_busy_argument
from morn_plugin.utils.checks import at_least


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
        '--only',
        nargs='+',
        metavar='FOLDER',
        help='folders of configs/, such as warp srn (default: all)',
    )
    add_busy_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from morn_plugin.speed.machine import start_measuring
    from morn_plugin.speed.methods import list_configs, matching_table, method_table

    paths = list_configs()
    folders = sorted({path.parent.name for path in paths})
    unknown = sorted(set(args.only or []) - set(folders))
    if unknown:
        sys.exit(f'--only: expected folders out of {", ".join(folders)}, but got {unknown}.')

    start_measuring(args.busy, args.threads, f' Medians of {args.rounds} rounds.')
    chosen = [path for path in paths if args.only is None or path.parent.name in args.only]
    print(method_table(chosen, args.rounds).to_markdown(), flush=True)
    print(matching_table(args.rounds).to_markdown(), flush=True)


if __name__ == '__main__':
    main()
