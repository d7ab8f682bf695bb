"""Export a model to ONNX, or to a torch.export program (.pt2).

And check it on real images before it counts as done.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.collecting import list_tested_images
from morn_plugin.apis.exporting import ExportModel, describe_model, export_program, sample_input
from morn_plugin.deploy.images import list_images
from morn_plugin.deploy.labels import find_not_finite, load_thresholds
from morn_plugin.deploy.onnx_check import KEY
from morn_plugin.deploy.onnx_model import OnnxModel
from morn_plugin.deploy.program import METADATA, read_program_metadata
from morn_plugin.utils.arguments import add_config_arguments
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.extras import require_extra
from morn_plugin.utils.fields import PREDICTION_FIELDS
from morn_plugin.utils.next_steps import next_step
from morn_plugin.utils.spacing import evenly_spaced
from morn_plugin.utils.strict_json import dump_json

TOLERANCE = 1e-4  # of a score, given the same pixels
# Of a score, from image files, on average over labels: Pillow and OpenCV may decode differently.
FILE_TOLERANCE = 0.02
MIN_IMAGES = 3  # so that batches of several sizes can be checked


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='work folder or checkpoint')
    add_config_arguments(parser)
    parser.add_argument('--out', required=True, metavar='FILE', help='.onnx or .pt2 to write')
    parser.add_argument(
        '--images',
        nargs='+',
        help='images to check on (default: those of the config that are tested)',
    )
    parser.add_argument(
        '--num-images', type=at_least(MIN_IMAGES), default=16, help='how many of them (default: 16)'
    )
    parser.add_argument(
        '--thresholds',
        metavar='FILE',
        help='what tools/analysis/calibrate.py chose, to put into the file',
    )
    args = parser.parse_args()
    if not args.out.endswith(('.onnx', '.pt2')):
        parser.error(f'--out {args.out}: expected a name that ends in .onnx or .pt2')
    return args


def find_images(inferencer: MultiLabelInferencer, args: argparse.Namespace) -> list[str]:
    """Give the images to check on."""
    if args.images:
        paths = evenly_spaced(list_images(args.images), args.num_images)
    else:
        paths = list_tested_images(inferencer.cfg, args.num_images)
    if len(paths) < MIN_IMAGES:
        raise ValueError(
            f'Expected at least {MIN_IMAGES} images to check on, but got {len(paths)}: name more '
            'by --images.'
        )
    return paths


def write_onnx(model: ExportModel, example: torch.Tensor, metadata: dict, path: Path) -> None:
    onnx = require_extra('onnx', 'export')
    require_extra('onnxscript', 'export')
    program: Any = torch.onnx.export(
        export_program(model, example),
        dynamo=True,
        input_names=['images'],
        output_names=list(model.outputs),
        verbose=False,
    )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {KEY: dump_json(metadata)})
    onnx.save(proto, str(path))


def write_program(model: ExportModel, example: torch.Tensor, metadata: dict, path: Path) -> None:
    torch.export.save(
        export_program(model, example), path, extra_files={METADATA: dump_json(metadata)}
    )


def run_file(path: Path, images: np.ndarray, outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Run the written file, read back from disk.

    Raises:
        ValueError: If it does not run on this number of images.
    """
    try:
        if path.suffix == '.onnx':
            return OnnxModel(path).run(images)
        values = torch.export.load(path).module()(torch.from_numpy(images))
    except Exception as error:  # onnxruntime and torch have a kind of error for each of their parts
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f'{path.name} does not run on {len(images)} images, although the number should be free '
            f'({type(error).__name__}: {reason}).'
        ) from error
    return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}


def expected_outputs(
    inferencer: MultiLabelInferencer, paths: list[str], outputs: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return what the model itself says of images, the way it is tested.

    Raises:
        ValueError: If a score is not finite.
    """
    fields = {field.array: field.sample for field in PREDICTION_FIELDS}
    samples = [
        sample
        for batch in inferencer.preprocess(paths, len(paths))
        for sample in inferencer.forward(batch)
    ]
    arrays = {
        name: np.stack([sample.get(fields[name]).numpy() for sample in samples]) for name in outputs
    }
    error = find_not_finite(**arrays)
    if error:
        raise ValueError(f'{inferencer.checkpoint_path}: its predictions are refused: {error}.')
    return arrays


def check_file(path: Path, reference: dict[str, np.ndarray], images: np.ndarray) -> float:
    """Compare with the model itself, whole batch and in parts.

    And give the largest difference of a score.

    Raises:
        ValueError: If a score differs by more than the tolerance, or a step picks another label.
    """
    largest = 0.0
    for part in (slice(None), slice(0, 1), slice(1, 3)):
        found = run_file(path, images[part], tuple(reference))
        for name, value in reference.items():
            difference = float(np.abs(found[name].astype(np.float64) - value[part]).max())
            if name == 'step_labels' and difference:
                raise ValueError(
                    f'{path.name}: {name} of {len(images[part])} images differ from those of '
                    'PyTorch.'
                )
            if name != 'step_labels':
                largest = max(largest, difference)
                if not difference <= TOLERANCE:
                    raise ValueError(
                        f'{path.name}: `{name}` of {len(images[part])} images differ from those '
                        f'of PyTorch by up to {difference:.2g}; expected at most {TOLERANCE}.'
                    )
    return largest


def predict_scores(model: Any, images: list[str]) -> np.ndarray:
    """Predict files, to (N, C).

    Raises:
        ValueError: If one cannot be predicted; says which.
    """
    records = list(model.predict(images))
    error = next((record['error'] for record in records if 'error' in record), None)
    if error:
        raise ValueError(error)
    return np.array([record['scores'] for record in records], dtype=np.float32)


def compare_from_files(path: Path, inferencer: MultiLabelInferencer, images: list[str]) -> str:
    """Say how far predictions from image files agree, decoding and resizing included.

    Raises:
        ValueError: If they do not.
    """
    ours, theirs = (predict_scores(model, images) for model in (inferencer, OnnxModel(path)))
    difference = np.abs(ours - theirs)
    if not difference.mean(1).max() <= FILE_TOLERANCE:
        worst = images[int(difference.mean(1).argmax())]
        raise ValueError(
            f'{path.name}: scores from image files differ from those of PyTorch by '
            f'{difference.mean(1).max():.2g} on average over the labels of {worst}; expected at '
            f'most {FILE_TOLERANCE}.'
        )
    same = int(((ours > 0.5) == (theirs > 0.5)).all(1).sum())
    return (
        f'from image files by {difference.mean():.2g} on average and {difference.max():.2g} at '
        f'most, with the same labels at 0.5 for {same} of {len(images)}'
    )


def main() -> None:
    args = parse_args()
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, 'cpu', trust_config=args.trust_config
        )
        thr = load_thresholds(args.thresholds, inferencer.classes).thr if args.thresholds else None
        metadata = describe_model(inferencer, thr)
        paths = find_images(inferencer, args)
        images, model = sample_input(inferencer, paths), ExportModel(inferencer.model).eval()
        with tempfile.TemporaryDirectory(
            dir=out.parent
        ) as folder:  # nothing appears under its name unchecked
            draft = Path(folder, out.name)
            write = write_onnx if out.suffix == '.onnx' else write_program
            write(model, images[:2], metadata, draft)
            if out.suffix == '.pt2':
                read_program_metadata(draft)
            difference = check_file(
                draft, expected_outputs(inferencer, paths, model.outputs), images.numpy()
            )
            extra = (
                f'; {compare_from_files(draft, inferencer, paths)}' if out.suffix == '.onnx' else ''
            )
            draft.replace(out)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))
    print(
        f'Done: {out} ({out.stat().st_size / 1e6:.1f} MB). Checked on {len(paths)} images: with '
        f'the same pixels scores differ from those of PyTorch by at most {difference:.2g}{extra}.'
    )
    if out.suffix == '.onnx':
        print(next_step('predict', out, 'IMAGES', to='label images without torch'))


if __name__ == '__main__':
    main()
