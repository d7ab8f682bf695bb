"""Search the decoder's recipe on cached scores of one or more data sets.

FOLDER has scores_train.safetensors and scores_val.safetensors, and perhaps scores_test.safetensors,
as tools/extract_scores.py writes them: work_dirs/mine/scores is one. Every run is stored when it
ends, so the same command resumes an interrupted search. Settings are chosen on validation images.
"""

import argparse
import os
import sys
from pathlib import Path

from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folders', nargs='+', metavar='FOLDER', type=Path, help='cached scores')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('recipe_search.json'),
        metavar='FILE',
        help='all runs (default: %(default)s)',
    )
    parser.add_argument(
        '--rates',
        type=float,
        nargs='+',
        default=[1e-3, 3e-3, 1e-2],
        help='learning rates (default: 0.001 0.003 0.01)',
    )
    parser.add_argument(
        '--lengths',
        type=at_least(1),
        nargs='+',
        default=[600, 1500, 3000],
        metavar='STEPS',
        help='optimiser steps (default: 600 1500 3000)',
    )
    parser.add_argument('--seeds', type=at_least(1), default=1, help='of a setting (default: 1)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')  # a decoder is small
    from morn_plugin.apis.annotating.search_page import describe
    from morn_plugin.apis.annotating.searching import search

    try:
        found = search(args.folders, args.rates, args.lengths, args.seeds, args.out)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(describe(found, args.lengths))
    print(f'All runs: {args.out}')


if __name__ == '__main__':
    main()
