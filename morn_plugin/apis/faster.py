"""Faster prediction on a CPU, used automatically if it agrees with the model."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..models.folding import fold_batch_norm
from ..utils.fields import PREDICTION_FIELDS

TOLERANCE = 1e-5  # of scores, 0-1
SHARE = 1e-4  # of the largest value, of features, which have no range


def find_faster(model: Any, data: dict[str, Any]) -> Any:
    """Return a faster model with the same predictions, or this model if there is none.

    This model is returned with a GPU, in half precision, and if the two differ on an example by
    more than ``TOLERANCE`` in a score, or in a label or step.

    Args:
        model: A classifier in evaluation mode, with a ``backbone``; it is not changed.
        data: A batch for its ``test_step``; the first image is the example.

    Returns:
        A model that shares everything but the backbone with this one.
    """
    if not _can_fold(model):
        return model

    example = {name: value[:1] for name, value in data.items()}
    try:
        with torch.no_grad():
            return _fold(model, example)
    except Exception as error:  # another author's backbone may fail in any way
        reason = f'{type(error).__name__}: {error}'
        print_log(f'The model runs unchanged, not folded: {reason}', 'current', 10)
        return model


def _can_fold(model: Any) -> bool:
    """Whether a model runs in float32 on a CPU that has oneDNN, and has a backbone."""
    weights = [value for value in model.parameters() if value.is_floating_point()]
    on_cpu = all(value.device.type == 'cpu' for value in weights)
    is_float32 = all(value.dtype == torch.float32 for value in weights)
    has_backbone = isinstance(getattr(model, 'backbone', None), nn.Module)
    return on_cpu and is_float32 and has_backbone and torch.backends.mkldnn.is_available()


def _fold(model: Any, example: dict[str, Any]) -> Any:
    images = model.data_preprocessor(copy.deepcopy(example), False)['inputs']
    folded = fold_batch_norm(model.backbone, lambda backbone: backbone(images))
    if folded is None:
        return model

    faster = copy.copy(model)
    faster.__dict__['_modules'] = dict(model._modules, backbone=folded)
    # Predictions are written into the samples that come with the images.
    mine = model.test_step(copy.deepcopy(example))
    theirs = faster.test_step(copy.deepcopy(example))
    agree = all(_agree(one, other) for one, other in zip(mine, theirs, strict=True))
    return faster if agree else model


def _agree(one: DataSample, other: DataSample) -> bool:
    scores = [field.sample for field in PREDICTION_FIELDS if field.sample in one]
    others = [name for name in one.keys() if name not in scores]  # noqa: SIM118  no mapping

    def are_close(names: list[str], tolerance: float | None) -> bool:
        return all(_are_close(one.get(name), other.get(name), tolerance) for name in names)

    return are_close(scores, TOLERANCE) and are_close(others, None)


def _are_close(
    one: Any,
    other: Any,
    tolerance: float | None,
) -> bool:
    """Compare two values; without a tolerance, relative to the largest."""
    if isinstance(one, Sequence) and not isinstance(one, str):
        pairs = zip(one, other, strict=True)
        return all(_are_close(mine, theirs, tolerance) for mine, theirs in pairs)
    if not isinstance(one, Tensor):
        return True
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)

    largest = float(one.abs().max()) if one.numel() else 0.0
    allowed = SHARE * largest if tolerance is None else tolerance
    return bool(((one - other).abs() <= allowed).all())  # NaN agrees with nothing
