"""Thresholds that training chose on validation images and keeps in its checkpoints."""

import math
from collections.abc import Mapping
from typing import Any

KEY = 'calibrated_thr'  # in a checkpoint's meta
CNN = 'cnn-calibrated'  # of the CNN alone; also the prefix of its metrics


def read_thresholds(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Return a checkpoint's thresholds by metric; invalid values are left out.

    Args:
        checkpoint: Its content, from any source.
    """
    meta = checkpoint.get('meta')
    found = meta.get(KEY) if isinstance(meta, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {str(name): value for name, value in found.items() if _is_threshold(value)}


def pass_on_thresholds(*checkpoints: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the ``meta`` of a new checkpoint says of thresholds.

    Args:
        *checkpoints: What the new one is made of. Thresholds are the first one's that keeps any;
            they are of the CNN, so they hold wherever its weights go.

    Returns:
        A part of ``meta``; empty where none keeps thresholds.
    """
    kept = next(filter(None, map(read_thresholds, checkpoints)), None)
    return {} if kept is None else {KEY: kept}


def _is_threshold(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1
