"""Shared by all tests: one thread, a fixed seed, the package registered."""

import pytest
import torch

import morn_plugin  # noqa: F401


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)
