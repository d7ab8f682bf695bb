"""Exports a model; the file is kept only if it reproduces the model's output on real images."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..deploy.images import list_images
from ..deploy.labels import find_not_finite
from ..deploy.onnx_check import KEY
from ..deploy.onnx_model import OnnxModel
from ..deploy.program import METADATA, read_program_metadata
from ..utils.extras import require_extra
from ..utils.fields import CHOSEN, PREDICTION_FIELDS, SCORES, STEP_LABELS
from ..utils.limits import MIN_CHECKED_IMAGES
from ..utils.spacing import evenly_spaced
from ..utils.strict_json import dump_json
from .collecting import list_tested_images
from .exporting import ExportModel, describe_model, export_program, sample_input
from .inferencer import MultiLabelInferencer

TOLERANCE = 1e-4  # tolerance of a score for the same pixels
# Tolerance of a score from image files, averaged over labels: Pillow and OpenCV may decode
# differently.
FILE_TOLERANCE = 0.02
EXACT = (STEP_LABELS.array, CHOSEN)  # outputs that are no numbers
MAX_ONNX_BYTES = 2**31  # an .onnx file is one message of protobuf


def export_checked(
    inferencer: MultiLabelInferencer,
    out: Path,
    paths: list[str],
    thr: list[float] | float | None,
) -> str:
    """Write the model, check the file on images, and only then rename it.

    Args:
        inferencer: The model, on the CPU.
        out: File to write, ``.onnx`` or ``.pt2``.
        paths: Images to check on.
        thr: Thresholds to store in the file.

    Returns:
        A sentence on how closely the file agrees.

    Raises:
        ValueError: If it does not agree.
        ImportError: If what writes ONNX is not installed.
    """
    metadata = describe_model(inferencer, thr)
    images = sample_input(inferencer, paths)
    model = ExportModel(inferencer.model).eval()
    extra = ''
    # The model runs once before it is traced: what it reads at the first call is then there.
    expected_outputs(inferencer, paths[:1], model.outputs)

    # The file is renamed only after the check.
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        draft = Path(folder, out.name)
        if out.suffix == '.onnx':
            write_onnx(model, images[:2], metadata, draft)
        else:
            write_program(model, images[:2], metadata, draft)
            read_program_metadata(draft)

        reference = expected_outputs(inferencer, paths, model.outputs)
        difference = check_file(draft, reference, images.numpy())
        if out.suffix == '.onnx':
            extra = f'; {compare_from_files(draft, inferencer, paths)}'
        draft.replace(out)

    return (
        f'Checked on {len(paths)} images: with the same pixels scores differ from those of PyTorch '
        f'by at most {difference:.2g}{extra}.'
    )


def find_images(
    inferencer: MultiLabelInferencer, patterns: list[str] | None, number: int
) -> list[str]:
    """Return the images to check on.

    Args:
        inferencer: The model.
        patterns: Files, folders or patterns; None for the config's test images.
        number: Number of images.

    Raises:
        ValueError: If there are too few to check batches of several sizes.
    """
    if patterns:
        paths = evenly_spaced(list_images(patterns), number)
    else:
        paths = list_tested_images(inferencer.cfg, number)

    if len(paths) < MIN_CHECKED_IMAGES:
        raise ValueError(
            f'Expected at least {MIN_CHECKED_IMAGES} images to check on, but got {len(paths)}: '
            'name more by --images.'
        )

    return paths


def write_onnx(
    model: ExportModel,
    example: torch.Tensor,
    metadata: dict,
    path: Path,
) -> None:
    """Write an ONNX file for any number of images, with the metadata in its properties.

    Raises:
        ValueError: If the model is larger than such a file may be, or has an operator that ONNX
            does not know; names it.
        ImportError: If what writes ONNX is not installed.
    """
    onnx = require_extra('onnx', 'export')
    require_extra('onnxscript', 'export')
    check_onnx_size(model, path.name)
    traced = export_program(model, example)

    try:
        program: Any = torch.onnx.export(
            traced,
            dynamo=True,
            custom_translation_table={torch.ops.aten.sort.stable: _translate_stable_sort()},
            input_names=['images'],
            output_names=list(model.outputs),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(
            f'{path.name}: the model has a step that ONNX cannot express ({_find_cause(error)}). '
            'Write a .pt2 instead, or run this model with tools/predict.py.'
        ) from error

    proto = program.model_proto
    onnx.helper.set_model_props(proto, {KEY: dump_json(metadata)})
    onnx.save(proto, str(path))


def check_onnx_size(
    model: torch.nn.Module,
    name: str,
    largest: int = MAX_ONNX_BYTES,
) -> None:
    """Raise if a model is too large for an .onnx file.

    Args:
        model: With weights and buffers.
        name: The file's, for the error.
        largest: Bytes.

    Raises:
        ValueError: Says how large it is, and what to write instead.
    """
    parts = [*model.parameters(), *model.buffers()]
    size = sum(part.numel() * part.element_size() for part in parts)
    if size >= largest:
        raise ValueError(
            f'{name}: an .onnx file holds less than {largest / 2**30:.2g} GiB, but the model has '
            f'{size / 2**30:.2g} GiB of weights and buffers: write a .pt2 instead.'
        )


def _find_cause(error: BaseException) -> str:
    """Return the first line of the error that a chain of errors began with."""
    while error.__cause__ is not None:
        error = error.__cause__

    lines = [line.strip() for line in str(error).splitlines()]
    filled = [line for line in lines if line]
    return filled[0] if filled else type(error).__name__


def _translate_stable_sort() -> Callable[..., Any]:
    """Return a translation of stable sorting to ONNX's TopK, which keeps equal values in order."""
    from onnxscript import opset18

    ops: Any = opset18

    def sort(
        values: Any,
        *,
        stable: bool | None = None,
        dim: int = -1,
        descending: bool = False,
    ) -> Any:
        axis = ops.Constant(value_ints=[dim])
        number = ops.Gather(ops.Shape(values), axis)
        return ops.TopK(values, number, axis=dim, largest=int(descending), sorted=1)

    return sort


def write_program(
    model: ExportModel,
    example: torch.Tensor,
    metadata: dict,
    path: Path,
) -> None:
    """Write a torch.export program, with the metadata in a file inside."""
    torch.export.save(
        export_program(model, example), path, extra_files={METADATA: dump_json(metadata)}
    )


def run_file(
    path: Path,
    images: np.ndarray,
    outputs: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """Run the written file, reloaded from disk.

    Raises:
        ValueError: If it does not run on this number of images.
    """
    try:
        if path.suffix == '.onnx':
            return OnnxModel(path).run(images)
        values = torch.export.load(path).module()(torch.from_numpy(images))
    except Exception as error:  # onnxruntime and torch raise many types of errors
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f'{path.name} does not run on {len(images)} images, although the number should be free '
            f'({type(error).__name__}: {reason}).'
        ) from error

    return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}


def expected_outputs(
    inferencer: MultiLabelInferencer, paths: list[str], outputs: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return the model's own predictions for images, as in a test.

    Raises:
        ValueError: If a score is not finite.
    """
    fields = {field.array: field.sample for field in PREDICTION_FIELDS}
    names = [name for name in outputs if name in fields]
    samples = [
        sample
        for batch in inferencer.preprocess(paths, len(paths))
        for sample in inferencer.forward(batch)
    ]
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        values = [sample.get(fields[name]).numpy() for sample in samples]
        arrays[name] = np.stack(values)

    error = find_not_finite(**arrays)
    if error:
        raise ValueError(f'{inferencer.checkpoint_path}: its predictions are refused: {error}.')

    if CHOSEN in outputs:
        arrays[CHOSEN] = np.zeros(arrays[SCORES.array].shape, dtype=bool)
        for row, sample in zip(arrays[CHOSEN], samples, strict=True):
            row[sample.pred_label.numpy()] = True

    return arrays


def check_file(
    path: Path,
    reference: dict[str, np.ndarray],
    images: np.ndarray,
) -> float:
    """Compare with the model, as a whole batch and in parts.

    Return the largest difference of a score.

    Raises:
        ValueError: If a score differs by more than the tolerance, a step picks another label, or
            other labels are predicted.
    """
    largest = 0.0
    for part in (slice(None), slice(0, 1), slice(1, 3)):
        found = run_file(path, images[part], tuple(reference))
        for name, value in reference.items():
            differences = np.abs(found[name].astype(np.float64) - value[part])
            difference = float(differences.max())
            if name in EXACT and difference:
                raise ValueError(
                    f'{path.name}: {name} of {len(images[part])} images differ from those of '
                    'PyTorch.'
                )

            if name not in EXACT:
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
        ValueError: If a file cannot be predicted; names it.
    """
    records = list(model.predict(images))
    error = next((record['error'] for record in records if 'error' in record), None)
    if error:
        raise ValueError(error)
    return np.array([record['scores'] for record in records], dtype=np.float32)


def compare_from_files(
    path: Path,
    inferencer: MultiLabelInferencer,
    images: list[str],
) -> str:
    """Describe how closely predictions from image files agree, with decoding and resizing.

    Raises:
        ValueError: If they do not.
    """
    ours = predict_scores(inferencer, images)
    theirs = predict_scores(OnnxModel(path), images)
    difference = np.abs(ours - theirs)
    if not difference.mean(1).max() <= FILE_TOLERANCE:
        worst = images[int(difference.mean(1).argmax())]
        raise ValueError(
            f'{path.name}: scores from image files differ from those of PyTorch by '
            f'{difference.mean(1).max():.2g} on average over the labels of {worst}; expected at '
            f'most {FILE_TOLERANCE}.'
        )

    agrees = (ours > 0.5) == (theirs > 0.5)
    same = int(agrees.all(1).sum())
    return (
        f'from image files by {difference.mean():.2g} on average and {difference.max():.2g} at '
        f'most, with the same labels at 0.5 for {same} of {len(images)}'
    )
