"""Shared by all tests: one thread, a fixed seed, the package registered."""

import warnings

import pytest
import torch

with warnings.catch_warnings():  # mmcv-lite tells that it has no compiled operators
    warnings.simplefilter('ignore')
    import morn_plugin  # noqa: F401


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)
