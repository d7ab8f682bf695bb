"""Ends the run at a NaN or infinite loss, before it reaches a checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS


class LossError(FloatingPointError):
    """A loss that is not finite; the message names the batch's images."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops at the first loss that is not finite, and names the batch's images.

    It costs nothing on a GPU: MMEngine's log reads every loss in every iteration anyway.

    Args:
        detect_anomaly: Whether to let autograd name the operation with the first NaN gradient. This
            makes training much slower; switch it on to find the cause, with ``--cfg-options
            default_hooks.finite_loss.detect_anomaly=True``.

    Raises:
        LossError: After an iteration with such a loss.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, detect_anomaly: bool = False) -> None:
        self.detect_anomaly = detect_anomaly

    def before_train(self, runner: Runner) -> None:
        """Set autograd's detection."""
        if self.detect_anomaly:
            torch.autograd.set_detect_anomaly(True)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Look at every part of the loss."""
        losses = {
            key: float(torch.as_tensor(value).detach())
            for key, value in (outputs or {}).items()
            if 'loss' in key
        }
        if all(map(_is_finite, losses.values())):
            return

        parts = ', '.join(f'{key} = {value:g}' for key, value in losses.items())
        raise LossError(
            f'The loss is not finite in iteration {runner.iter + 1} (epoch {runner.epoch + 1}): '
            f'{parts}. Images of the batch: {", ".join(image_names(data_batch)) or "not known"}. '
            'Look at these, or lower the learning rate; '
            'default_hooks.finite_loss.detect_anomaly=True names the operation. The last '
            'checkpoint is from before.'
        )


def _is_finite(value: float) -> bool:
    return value - value == 0


def image_names(data_batch: Any) -> list[str]:
    """Find the images' paths in a batch of data samples.

    Or in one that holds them as ``img_path``.
    """
    if not isinstance(data_batch, Mapping):
        return []
    samples = data_batch.get('data_samples')
    if isinstance(samples, (list, tuple)):
        return [str(sample.get('img_path', '?')) for sample in samples]
    return [str(path) for path in data_batch.get('img_path', ())]
