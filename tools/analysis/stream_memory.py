"""Show that the memory of prediction does not grow with the number of images.

A list of entries goes through all of tools/predict.py except the model: listing, reading ahead,
records, writing, resuming. Prints the peak memory of the process.
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from morn_plugin.deploy.image_streams import ImageStream
from morn_plugin.deploy.labels import make_record
from morn_plugin.deploy.record_files import KINDS, record_file
from morn_plugin.deploy.recording import begin, write_records
from morn_plugin.deploy.run_notes import RunNote
from morn_plugin.deploy.running import read_ahead, run_batches
from morn_plugin.utils.checks import at_least

NUM_CLASSES = 80


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--images',
        type=at_least(2),
        nargs='+',
        default=[10_000, 100_000, 1_000_000],
        metavar='N',
        help='numbers of images (default: ten thousand to a million)',
    )
    parser.add_argument(
        '--kind', choices=list(KINDS), default='.jsonl', help='of the result (default: .jsonl)'
    )
    return parser.parse_args()


def predict_without_model(stream: ImageStream, out: Path) -> int:
    """Write the missing records of a file; return its number of records."""
    classes = [f'label {number}' for number in range(NUM_CLASSES)]
    scores = np.linspace(0, 1, NUM_CLASSES)
    labels = np.array([79, 78, 77])

    def predict(batch: list[str]) -> list[dict[str, Any]]:
        return [make_record(path, classes, scores, labels) for path in batch]

    file = record_file(out)
    sources = iter(stream)
    outcome = begin(file, RunNote({}), out.exists(), sources)

    with file:
        loaded = read_ahead(lambda path: path, sources, 0, 64)
        records = run_batches(predict, loaded, 32)
        write_records(records, file.write, outcome, all_scores=False)

    return outcome.images


def run(number: int, kind: str, folder: Path) -> None:
    """Predict a number of images, then resume the complete result."""
    paths = folder / f'{number}.txt'
    out = folder / f'{number}{kind}'
    with open(paths, 'w', encoding='utf-8') as file:
        file.writelines(f'{place % 1000:03d}/{place:012d}.jpg\n' for place in range(number))
    for _ in range(2):
        stream = ImageStream(lists=[paths])
        if predict_without_model(stream, out) != number:
            sys.exit(f'{out}: expected {number} records.')


def main() -> None:
    args = parse_args()
    print('| images | MB held at most |\n|--:|--:|')
    with tempfile.TemporaryDirectory() as folder:
        for number in sorted(args.images):
            run(number, args.kind, Path(folder))
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(f'| {number:,} | {held:.0f} |', flush=True)


if __name__ == '__main__':
    main()
