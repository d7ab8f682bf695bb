"""Reads bases of ``configs/_base_`` as one config, without a file of its own."""

import tempfile
from pathlib import Path

from mmengine.config import Config

from ...utils.layout import find_root
from ..config_check import SETTINGS
from ..config_reading import IMAGE_SIZE
from ..finding import read_own_config


def resolve(bases: list[str], image_size: int | None = None) -> Config:
    """Return the config that bases of ``configs/_base_`` make, without the variables they share.

    Args:
        bases: Names below ``configs/_base_``.
        image_size: Put wherever the bases have theirs.
    """
    folder = find_root() / 'configs' / '_base_'
    lines = [f'_base_ = {[str(folder / name) for name in bases]!r}']
    if image_size is not None:
        lines.append(f'{IMAGE_SIZE} = {image_size}')
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / 'resolved.py'
        path.write_text('\n'.join(lines), encoding='utf-8')
        cfg = read_own_config(path)

    for name in set(cfg) - SETTINGS - {IMAGE_SIZE}:
        cfg.pop(name)
    return cfg
