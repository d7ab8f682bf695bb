"""Shared by all tests: one thread, a fixed seed, the package registered.

Nothing slow is imported here: the process that hands the tests out to others reads this file too.
"""

import gc

import pytest
from _pytest.doctest import DoctestModule

collect_ignore = [
    'data',  # a file there is read by tests; imported, it would register twice
    'warm_imports.py',  # of other processes
]


def pytest_sessionstart(session):
    """Register the package, but not where no test runs: in the process of ``-n 2`` that hands them out."""
    if not session.config.pluginmanager.has_plugin('dsession'):
        gc.disable()
        import morn_plugin  # noqa: F401


def pytest_collection_finish():
    """Leave what exists by now out of every search for unused cycles.

    It stays until the end, and MMEngine searches all there is with each data set that it reads.
    """
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for no doctests in the tests, which have none."""
    found = yield
    return [each for each in found if not isinstance(each, DoctestModule)]


@pytest.fixture(autouse=True)
def _fixed_seed():
    import torch

    # As torch.manual_seed, which also prepares each seed for a GPU and takes a millisecond.
    torch.default_generator.manual_seed(0)


@pytest.fixture(scope='session')
def work_dir(tmp_path_factory):
    """The work folder of a tiny model on the slice, as a training run would leave it."""
    from tools_helpers import make_work_dir

    return make_work_dir(tmp_path_factory.mktemp('work_dir'))


@pytest.fixture(scope='session')
def sequence_work_dir(tmp_path_factory):
    """The same of a CNN-RNN, which decides itself which labels an image has."""
    from tools_helpers import make_work_dir

    return make_work_dir(tmp_path_factory.mktemp('sequence_work_dir'), 'cnn-rnn')
