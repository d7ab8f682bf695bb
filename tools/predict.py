"""Predict the labels of images, and draw them if wanted.

By a trained model or an exported one (.onnx, which needs neither torch nor MMPretrain).
"""

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import IO, Any

from morn_plugin.deploy.images import list_images
from morn_plugin.deploy.labels import load_thresholds, shorten_record
from morn_plugin.deploy.running import show_progress
from morn_plugin.utils.arguments import add_config_arguments
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.strict_json import dump_json

ESCAPE = 'backslashreplace'  # a file name need not be valid text
COLUMNS = ('img_path', 'names', 'scores', 'cnn_scores', 'path_names', 'error')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='work folder, checkpoint, or .onnx file')
    parser.add_argument(
        'images', nargs='*', help='files, folders, patterns such as "photos/**/*.jpg", URLs'
    )
    parser.add_argument(
        '--model',
        dest='named_model',
        metavar='PATH',
        help='the model, where all that stands without a flag are images',
    )
    add_config_arguments(parser)
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='write here: .jsonl or .csv (default: JSON lines on the screen)',
    )
    parser.add_argument('--thr', type=float, help='predict labels with a score above this, 0-1')
    parser.add_argument('--topk', type=int, help='predict this many best labels')
    parser.add_argument(
        '--thresholds', metavar='FILE', help='what tools/analysis/calibrate.py chose'
    )
    parser.add_argument(
        '--all-scores',
        action='store_true',
        help='write the scores of all labels and steps (.jsonl)',
    )
    parser.add_argument(
        '--out-dir',
        metavar='FOLDER',
        help='draw every image with its labels, steps and path into this folder',
    )
    parser.add_argument(
        '--max-pixels',
        type=at_least(1),
        metavar='N',
        help='largest image to decode (default: what the model was trained or exported with)',
    )
    parser.add_argument(
        '--max-memory',
        type=at_least(1),
        metavar='MB',
        help='what an .onnx file may allocate (default: 4000)',
    )
    parser.add_argument(
        '--max-seconds',
        type=at_least(1),
        metavar='N',
        help='how long an .onnx file may take for a batch (default: 600)',
    )
    parser.add_argument('--batch-size', type=at_least(1), default=32)
    parser.add_argument(
        '--num-workers',
        type=at_least(0),
        help='threads that read images ahead (default: 2 beside a GPU, none on a CPU)',
    )
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: the best there is)')
    args = parser.parse_intermixed_args()  # flags may stand between the model and the images
    if args.named_model:
        args.model, args.images = args.named_model, [args.model, *args.images]
    if not args.images:
        parser.error(f'give images after the model {args.model}')
    if sum(value is not None for value in (args.thr, args.topk, args.thresholds)) > 1:
        parser.error('give one of --thr, --topk and --thresholds')
    if args.out and not args.out.endswith(('.jsonl', '.csv')):
        parser.error(f'--out {args.out}: expected a name that ends in .jsonl or .csv')
    if args.model.endswith('.onnx') and (args.config or args.device or args.trust_config):
        parser.error(
            '--config, --trust-config and --device are for checkpoints: an .onnx file runs where '
            'onnxruntime can'
        )
    if args.all_scores and str(args.out).endswith('.csv'):
        parser.error('--all-scores is for JSON lines')
    return args


def load_model(args: argparse.Namespace) -> Any:
    if args.model.endswith('.onnx'):
        from morn_plugin.deploy.onnx_model import OnnxModel

        limits = dict(max_pixels=args.max_pixels, max_seconds=args.max_seconds)
        if args.max_memory is not None:
            limits['max_memory'] = args.max_memory * 1_000_000
        given = {name: value for name, value in limits.items() if value is not None}
        return OnnxModel(args.model, **given)
    with redirect_stdout(sys.stderr):  # MMEngine's log, now and later: records alone go to stdout
        from morn_plugin.apis import MultiLabelInferencer

        return MultiLabelInferencer(
            args.model,
            args.config,
            args.device,
            args.num_workers,
            trust_config=args.trust_config,
            max_pixels=args.max_pixels,
        )


@contextmanager
def open_writer(path: str | None) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Yield a function that writes one record."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with _open_text(path) if path else _stdout() as file:
        if path and path.endswith('.csv'):
            table = csv.DictWriter(file, COLUMNS, extrasaction='ignore')
            table.writeheader()
            yield lambda record: table.writerow({key: _cell(record[key]) for key in record})
        else:
            yield lambda record: file.write(dump_json(record) + '\n')


def _cell(value: Any) -> Any:
    return ';'.join(map(str, value)) if isinstance(value, list) else value


def _open_text(path: str) -> IO[str]:
    return open(path, 'w', newline='', encoding='utf-8', errors=ESCAPE)


@contextmanager
def _stdout() -> Iterator[IO[str]]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding='utf-8', errors=ESCAPE)
    yield sys.stdout


def draw_records(
    records: Iterable[dict[str, Any]], model: Any, out_dir: str
) -> Iterator[dict[str, Any]]:
    """Pass records on, and draw each into a folder."""
    from morn_plugin.visualization import draw_record  # matplotlib is not needed otherwise

    for index, record in enumerate(records):
        path = record['img_path']
        try:
            if 'error' not in record:
                draw_record(record, model.read(path), model.classes, out_dir, index, path)
        except (OSError, ValueError) as error:  # such as a URL that answers only once
            print(f'Not drawn: {path}: {error}', file=sys.stderr)
        yield record


def write_records(
    records: Iterable[dict[str, Any]], path: str | None, all_scores: bool
) -> list[dict[str, Any]]:
    """Write every record and give back those of images that could not be read."""
    failed = []
    with open_writer(path) as write:
        for record in records:
            if 'error' in record:
                failed.append(record)
            write(record if all_scores or 'error' in record else shorten_record(record))
    return failed


def main() -> None:
    args = parse_args()
    try:
        images = list_images(args.images)
        model = load_model(args)
        thresholds = load_thresholds(args.thresholds, model.classes) if args.thresholds else None
        thr = args.thr if thresholds is None else thresholds.thr
        workers = dict(num_workers=args.num_workers) if args.model.endswith('.onnx') else {}
        records = model.predict(images, args.batch_size, thr, args.topk, **workers)
        if thresholds is not None:
            records = map(thresholds.map_record, records)
        if args.out_dir:
            records = draw_records(records, model, args.out_dir)
        failed = write_records(show_progress(records, len(images)), args.out, args.all_scores)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))
    for record in failed:
        print(f'Not read: {record["img_path"]}: {record["error"]}', file=sys.stderr)
    if args.out_dir:
        print(f'Pictures are in {args.out_dir}.', file=sys.stderr)
    if failed:
        sys.exit(f'{len(failed)} of {len(images)} images could not be read.')


if __name__ == '__main__':
    main()
