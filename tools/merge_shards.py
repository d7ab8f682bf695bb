"""Put together what several processes made with --shard, in the order of the images.

That of tools/predict.py (.jsonl, .csv, .parquet), and of tools/extract_scores.py (.safetensors).
"""

import argparse
import sys
from pathlib import Path

from morn_plugin.deploy.recording import merge_records


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'out', help='the result, as --out named it: labels.csv of labels-1-of-8.csv and so on'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a result that is there already'
    )
    args = parser.parse_args()
    if Path(args.out).exists() and not args.overwrite:
        parser.error(f'{args.out} is there already: pass --overwrite to replace it')
    return args


def main() -> None:
    args = parse_args()
    try:
        outcome = merge_records(args.out)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))
    print(f'Wrote {outcome.images} records to {args.out}; {outcome.failed} with `error`.')


if __name__ == '__main__':
    main()
