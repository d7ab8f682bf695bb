"""Faster prediction on a CPU, used automatically if it agrees with the model."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..models.folding import InParts, fold_batch_norm
from ..models.onnx_network import OnnxLater
from ..utils.fields import PREDICTION_FIELDS

TOLERANCE = 1e-5  # of scores, 0-1
SHARE = 1e-4  # of the largest value, of features, which have no range


def find_faster(model: Any, data: dict[str, Any]) -> Any:
    """Return a faster model with the same predictions, or this model if there is none.

    It folds batch norm into convolutions, and goes on in ONNX Runtime after some hundred images
    (:class:`~morn_plugin.models.onnx_network.OnnxLater`). This model is returned with a GPU, and in
    half precision. What differs on an example by more than ``TOLERANCE`` in a score, or in a label
    or step, is not used.

    Args:
        model: A classifier in evaluation mode, with a ``backbone``; it is not changed.
        data: A batch for its ``test_step``; the first image is the example.

    Returns:
        A model that shares everything but the backbone with this one.
    """
    if not _runs_here(model):
        return model

    example = {name: value[:1] for name, value in data.items()}
    try:
        with torch.no_grad():
            folded = _fold(model, example)
    except Exception as error:  # another author's backbone may fail in any way
        reason = f'{type(error).__name__}: {error}'
        print_log(f'The model runs unchanged, not folded: {reason}', 'current', 10)
        folded = model.backbone

    def agree(images: Tensor, one: Any, other: Any) -> bool:
        mine, theirs = (with_backbone(model, _Given(it)).predict(images) for it in (one, other))
        return _all_agree(mine, theirs)

    whole = folded.network if isinstance(folded, InParts) else folded
    return with_backbone(model, OnnxLater(whole, folded, agree))


def _runs_here(model: Any) -> bool:
    """Whether a model runs in float32 on a CPU that has oneDNN, and has a backbone."""
    weights = [value for value in model.parameters() if value.is_floating_point()]
    on_cpu = all(value.device.type == 'cpu' for value in weights)
    is_float32 = all(value.dtype == torch.float32 for value in weights)
    has_backbone = isinstance(getattr(model, 'backbone', None), nn.Module)
    return on_cpu and is_float32 and has_backbone and torch.backends.mkldnn.is_available()


def _fold(model: Any, example: dict[str, Any]) -> nn.Module:
    """Return the backbone folded, or as it is if the predictions would differ."""
    images = model.data_preprocessor(copy.deepcopy(example), False)['inputs']
    folded = fold_batch_norm(model.backbone, lambda backbone: backbone(images))
    if folded is None:
        return model.backbone

    # Predictions are written into the samples that come with the images.
    mine, theirs = (
        one.test_step(copy.deepcopy(example)) for one in (model, with_backbone(model, folded))
    )
    return folded if _all_agree(mine, theirs) else model.backbone


def with_backbone(model: Any, backbone: nn.Module) -> Any:
    """Return a model that shares everything but the backbone with another."""
    other = copy.copy(model)
    other.__dict__['_modules'] = dict(model._modules, backbone=backbone)
    return other


class _Given(nn.Module):
    """A backbone whose outputs are known."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, images: Tensor) -> Any:
        return self.outputs


def _all_agree(mine: Sequence[DataSample], theirs: Sequence[DataSample]) -> bool:
    return all(_agree(one, other) for one, other in zip(mine, theirs, strict=True))


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
