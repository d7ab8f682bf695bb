"""The configs of this repository, each read once: many tests go through all of them."""

import copy
from functools import cache
from pathlib import Path

from mmengine.config import Config

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def read_leaf(path):
    """Return a config of its own to the caller, which may change it."""
    return copy.deepcopy(_read(path))


@cache
def _read(path):
    return Config.fromfile(path)
