"""Measure the label decoder, the loop around it and the metrics.

Each as a ratio against a stated peer in the same run.

Prints Markdown tables. Run it on an idle machine: python tools/analysis/benchmark_decoder.py
[--threads 2]
"""

import argparse

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
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from decoder_timing import print_tables

    print_tables(args.threads, args.rounds)


if __name__ == '__main__':
    main()
