"""Write the page of a benchmark from the files of its runs, without any training."""

import argparse
import sys
from pathlib import Path

from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('results', type=Path, help='folder with benchmark.json and the runs')
    parser.add_argument('out', type=Path, help='folder of the page')
    parser.add_argument(
        '--resamples',
        type=at_least(20),
        default=1000,
        help='number of bootstrap resamples for the intervals (default: 1000)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from morn_plugin.benchmark.page import PAGE, write_page

    try:
        rows = write_page(args.results, args.out, args.resamples)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))
    print(f'{len(rows)} methods. The page: {args.out / PAGE}')


if __name__ == '__main__':
    main()
