"""Thresholds that training chose on validation images and keeps in its checkpoints."""

import math
from collections.abc import Mapping
from typing import Any

KEY = 'calibrated_thr'  # in a checkpoint's meta
CNN = 'cnn-calibrated'  # of the CNN alone; also the prefix of its metrics


def read_thresholds(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Return the thresholds that a checkpoint keeps, by metric; other values are left out.

    Args:
        checkpoint: Its content, from anywhere.
    """
    meta = checkpoint.get('meta')
    found = meta.get(KEY) if isinstance(meta, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {str(name): value for name, value in found.items() if _is_threshold(value)}


def _is_threshold(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1
