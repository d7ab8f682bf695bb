"""Merge the results of several processes with --shard, in the order of the images.

It merges results of tools/predict.py (.jsonl, .csv, .parquet) and of tools/extract_scores.py
(.safetensors).
"""

import argparse
import sys
from pathlib import Path

from morn_plugin.deploy.recording import Outcome, merge_records


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'out', help='the result, as in --out: labels.csv for labels-1-of-8.csv and so on'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace an existing result')
    args = parser.parse_args()
    if Path(args.out).exists() and not args.overwrite:
        parser.error(f'{args.out} is there already: pass --overwrite to replace it')
    return args


def merge(out: str) -> Outcome:
    """Merge the shards of a result, by the kind of its file."""
    if not out.endswith('.safetensors'):
        return merge_records(out)

    from morn_plugin.apis.extracting_images import merge_scores  # this one needs torch

    return merge_scores(out)


def main() -> None:
    args = parse_args()
    try:
        outcome = merge(args.out)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))

    print(
        f'Wrote what {outcome.images} images gave to {args.out}; {outcome.failed} of them could '
        'not be read.'
    )


if __name__ == '__main__':
    main()
