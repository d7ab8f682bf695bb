"""Predict the labels of images, and optionally draw them.

The model is a trained or an exported one (.onnx, which needs neither torch nor MMPretrain).
"""

import argparse
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from itertools import tee
from typing import Any

from morn_plugin.deploy.image_streams import ImageStream
from morn_plugin.deploy.labels import load_thresholds
from morn_plugin.deploy.record_files import ESCAPE, KINDS, record_file
from morn_plugin.deploy.recording import MAX_NAMED, Outcome, begin, write_records
from morn_plugin.deploy.run_notes import RunNote
from morn_plugin.deploy.running import show_progress
from morn_plugin.utils.arguments import add_config_arguments, add_stream_arguments
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.files import sha256
from morn_plugin.utils.memory import no_collection
from morn_plugin.utils.strict_json import dump_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='work folder, checkpoint, or .onnx file')
    parser.add_argument(
        'images',
        nargs='*',
        help='files, folders, patterns such as "photos/**/*.jpg", URLs, .tar files',
    )
    parser.add_argument(
        '--model',
        dest='named_model',
        metavar='PATH',
        help='the model, if all positional arguments are images',
    )
    add_config_arguments(parser)
    add_stream_arguments(parser)
    add_output_arguments(parser)
    add_running_arguments(parser)

    args = parser.parse_intermixed_args()  # flags may come between the model and the images
    if args.named_model:
        args.model, args.images = args.named_model, [args.model, *args.images]

    problem = find_problem(args)
    if problem is not None:
        parser.error(problem)
    return args


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of what is predicted, and where it goes."""
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='write here: .jsonl, .csv, or .parquet, a folder of parts (default: JSON lines on the '
        'screen)',
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='keep the records in --out, and predict the rest',
    )
    parser.add_argument('--thr', type=float, help='predict labels with a score above this, 0-1')
    parser.add_argument('--topk', type=int, help='predict this many best labels')
    parser.add_argument(
        '--thresholds', metavar='FILE', help='thresholds from tools/analysis/calibrate.py'
    )
    parser.add_argument(
        '--all-scores',
        action='store_true',
        help='write the scores of all labels and steps (.jsonl, .parquet)',
    )
    parser.add_argument(
        '--out-dir',
        metavar='FOLDER',
        help='draw every image with its labels, steps and path into this folder',
    )


def add_running_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of how the model runs, and its limits."""
    parser.add_argument(
        '--max-pixels',
        type=at_least(1),
        metavar='N',
        help='largest image to decode (default: the limit of the training or export)',
    )
    parser.add_argument(
        '--max-memory',
        type=at_least(1),
        metavar='MB',
        help='memory limit of an .onnx file (default: 4000)',
    )
    parser.add_argument(
        '--max-seconds',
        type=at_least(1),
        metavar='N',
        help='time limit per batch of an .onnx file (default: 600)',
    )
    parser.add_argument('--batch-size', type=at_least(1), default=32)
    parser.add_argument(
        '--num-workers',
        type=at_least(0),
        help='threads that read images ahead (default: 2 with a GPU, none on a CPU)',
    )
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: the best available)')


def find_problem(args: argparse.Namespace) -> str | None:
    """Return what is wrong with the arguments together."""
    decisions = (args.thr, args.topk, args.thresholds)
    is_onnx = args.model.endswith('.onnx')
    if not args.images and not args.list:
        return f'give images after the model {args.model}, or --list'
    if sum(value is not None for value in decisions) > 1:
        return 'give one of --thr, --topk and --thresholds'
    if args.out and not args.out.endswith(tuple(KINDS)):
        return f'--out {args.out}: expected a name that ends in one of {", ".join(KINDS)}'
    if not args.out and (args.resume or args.shard.total > 1):
        return '--resume and --shard need --out'
    if is_onnx and (args.config or args.device or args.trust_config):
        return (
            '--config, --trust-config and --device are for checkpoints: an .onnx file runs where '
            'onnxruntime can'
        )
    if args.all_scores and str(args.out).endswith('.csv'):
        return '--all-scores is for JSON lines'
    return None


def choose_device(args: argparse.Namespace) -> str | None:
    """Return the device; each process of torchrun uses the GPU with its number."""
    rank = os.environ.get('LOCAL_RANK')
    if args.device or rank is None or args.shard.total == 1:
        return args.device

    import torch

    return f'cuda:{int(rank) % torch.cuda.device_count()}' if torch.cuda.is_available() else None


def load_model(args: argparse.Namespace) -> Any:
    """Load a checkpoint, a work folder or an .onnx file."""
    if args.model.endswith('.onnx'):
        from morn_plugin.deploy.onnx_model import OnnxModel

        limits = dict(max_pixels=args.max_pixels, max_seconds=args.max_seconds)
        if args.max_memory is not None:
            limits['max_memory'] = args.max_memory * 1_000_000
        given = {name: value for name, value in limits.items() if value is not None}
        return OnnxModel(args.model, **given)

    with redirect_stdout(sys.stderr):  # MMEngine's log, now and later: only records go to stdout
        from morn_plugin.utils.lighter_imports import import_without_sharding

        import_without_sharding()
        from morn_plugin.apis import MultiLabelInferencer

        return MultiLabelInferencer(
            args.model,
            args.config,
            choose_device(args),
            args.num_workers,
            trust_config=args.trust_config,
            max_pixels=args.max_pixels,
        )


def describe_run(args: argparse.Namespace, model: Any) -> RunNote:
    """Return the settings that all records of a file must share."""
    path = model.path if args.model.endswith('.onnx') else model.checkpoint_path
    settings = dict(
        model=sha256(path),
        thr=args.thr,
        topk=args.topk,
        thresholds=sha256(args.thresholds) if args.thresholds else None,
        all_scores=args.all_scores,
    )
    return RunNote(settings, str(args.shard))


def load_stream(args: argparse.Namespace) -> ImageStream:
    """Build the stream of the images that the arguments name."""
    return ImageStream(args.images, args.list, args.shard, args.trust_lists, args.allow_private)


def draw_records(
    records: Iterable[dict[str, Any]],
    model: Any,
    out_dir: str,
    sources: Iterable[Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield records, and draw each into a folder; images are read by path, or given."""
    from morn_plugin.visualization import draw_record  # matplotlib is not needed otherwise

    images = None if sources is None else iter(sources)
    for index, record in enumerate(records):
        path = record['img_path']
        source = path if images is None else next(images)
        try:
            if 'error' not in record:
                draw_record(record, model.read(source), model.classes, out_dir, index, path)
        except (OSError, ValueError) as error:  # such as a URL that answers only once
            print(f'Not drawn: {path}: {error}', file=sys.stderr)

        yield record


def predict(
    args: argparse.Namespace, model: Any, sources: Iterator[Any]
) -> Iterator[dict[str, Any]]:
    """Yield the records of images, as the arguments say."""
    thresholds = load_thresholds(args.thresholds, model.classes) if args.thresholds else None
    thr = args.thr if thresholds is None else thresholds.thr
    workers = dict(num_workers=args.num_workers) if args.model.endswith('.onnx') else {}

    drawn: Iterator[Any] = iter(())
    if args.out_dir:
        sources, drawn = tee(sources)

    records = model.predict(sources, args.batch_size, thr, args.topk, **workers)
    if thresholds is not None:
        records = map(thresholds.map_record, records)
    if args.out_dir:
        records = draw_records(records, model, args.out_dir, drawn)
    return records


def predict_to_file(
    args: argparse.Namespace,
    model: Any,
    stream: ImageStream,
) -> Outcome:
    """Predict the images that are not in the file yet."""
    sources = iter(stream)
    total = stream.count()
    note = describe_run(args, model)
    file = record_file(args.shard.path(args.out))
    outcome = begin(file, note, args.resume, sources)

    with file:
        records = show_progress(predict(args, model, sources), total, done=outcome.images)
        write_records(records, file.write, outcome, args.all_scores)

    note.images = outcome.images
    note.save(file.path)
    return outcome


def predict_to_screen(
    args: argparse.Namespace,
    model: Any,
    stream: ImageStream,
) -> Outcome:
    """Predict all, and print JSON lines."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding='utf-8', errors=ESCAPE)
    outcome = Outcome()
    records = show_progress(predict(args, model, iter(stream)), stream.count())
    write_records(records, lambda record: print(dump_json(record)), outcome, args.all_scores)
    return outcome


def main() -> None:
    args = parse_args()
    try:
        stream = load_stream(args)
        stream.count()  # report a folder without images before the model is loaded
        with no_collection():
            model = load_model(args)

        if not args.model.endswith('.onnx'):
            from morn_plugin.apis.inferencer import list_remote

            stream.expand = list_remote

        run = predict_to_file if args.out else predict_to_screen
        outcome = run(args, model, stream)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))

    for record in outcome.examples:
        print(f'Not read: {record["img_path"]}: {record["error"]}', file=sys.stderr)

    if len(outcome.examples) == MAX_NAMED:
        print('... the others are in the records with `error`.', file=sys.stderr)
    if args.out:
        read = outcome.images - outcome.failed
        print(f'Wrote the labels of {read} images to {args.shard.path(args.out)}.', file=sys.stderr)
    if args.out_dir:
        print(f'Pictures are in {args.out_dir}.', file=sys.stderr)
    if outcome.failed:
        sys.exit(f'{outcome.failed} of {outcome.images} images could not be read.')


if __name__ == '__main__':
    main()
