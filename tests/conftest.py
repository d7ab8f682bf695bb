"""Shared by all tests: one thread, a fixed seed, the package registered."""

import pytest
import torch
from tools_helpers import make_work_dir

import morn_plugin  # noqa: F401

collect_ignore = ['data']  # a file there is read by tests; imported, it would register twice


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def work_dir(tmp_path_factory):
    """The work folder of a tiny model on the slice, as a training run would leave it."""
    return make_work_dir(tmp_path_factory.mktemp('work_dir'))


@pytest.fixture(scope='session')
def sequence_work_dir(tmp_path_factory):
    """The same of a CNN-RNN, which decides itself which labels an image has."""
    return make_work_dir(tmp_path_factory.mktemp('sequence_work_dir'), 'cnn-rnn')
