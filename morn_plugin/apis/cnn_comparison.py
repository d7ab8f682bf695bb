"""Compares a decoder's validation figures with those of its own CNN."""

from collections.abc import Mapping

import numpy as np
from mmengine.logging import HistoryBuffer, MessageHub

from ..engine.kept_thresholds import CNN

FIGURES = ('per-label/f1-score', 'per-image/f1-score')
STILL_FALLING = 0.01  # of the loss, between the last two quarters of its values


def compare_with_cnn(hub: MessageHub) -> str | None:
    """Report if the decoder is below its CNN in the last validation, with possible remedies.

    Both decide as the config says, by default with a threshold of 0.5. If validation chose a
    threshold for the CNN alone, the CNN's figures at that threshold are also given.

    Args:
        hub: The run's figures, as stored by MMEngine.

    Returns:
        The sentences, or None: the decoder has the better F1_L or F1_I, or there is nothing to
        compare.
    """
    scalars = hub.log_scalars
    decoder = _last_pair(scalars, 'val/')
    cnn = _last_pair(scalars, 'val/cnn/')
    if decoder is None or cnn is None:
        return None
    if any(own >= alone for own, alone in zip(decoder, cnn, strict=True)):
        return None

    calibrated = _last_pair(scalars, f'val/{CNN}/')
    more = f', {_format(calibrated)} with a calibrated threshold' if calibrated else ''
    cure = (
        'Its loss is still falling: train it for more epochs or at a higher learning rate'
        if _is_falling(scalars.get('train/loss'))
        else 'Try another learning rate, or `state_norm` before its state'
    )
    return (
        f'The decoder is below its own CNN on the validation images: F1_L / F1_I '
        f'{_format(decoder)}, and the CNN alone {_format(cnn)}{more}. {cure}; or choose its '
        'threshold with tools/analysis/calibrate.py.'
    )


def _last_pair(scalars: Mapping[str, HistoryBuffer], prefix: str) -> tuple[float, float] | None:
    found = [scalars.get(prefix + name) for name in FIGURES]
    if any(buffer is None for buffer in found):
        return None
    per_label, per_image = (float(buffer.current()) for buffer in found if buffer is not None)
    return per_label, per_image


def _is_falling(losses: HistoryBuffer | None) -> bool:
    """Compare the means of the last two quarters."""
    if losses is None or len(losses.data[0]) < 4:
        return False
    quarters = np.array_split(losses.data[0], 4)
    before = quarters[2].mean()
    now = quarters[3].mean()
    return bool(now < (1 - STILL_FALLING) * before)


def _format(pair: tuple[float, float]) -> str:
    return f'{pair[0]:.1f} / {pair[1]:.1f}'
