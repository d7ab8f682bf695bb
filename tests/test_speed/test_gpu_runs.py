"""The check of resumed runs."""

import torch

from morn_plugin.speed import gpu_runs
from morn_plugin.speed.checks import make_settings

SETTINGS = make_settings('cpu', rounds=1, small=True)


def test_a_run_that_was_stopped_ends_the_same(tmp_path):
    apart, moved = gpu_runs.compare_runs('cached scores', False, tmp_path, SETTINGS)
    assert apart == []
    assert moved
    # it was stopped, and began again from a checkpoint inside the second epoch
    names = {path.name for path in (tmp_path / 'stopped').glob('iter_*.pth')}
    assert 'iter_15.pth' in names


def test_differences_are_named():
    first = gpu_runs.tensors_of(dict(a=[torch.zeros(2), dict(b=torch.ones(1))], c=3))
    assert list(first) == ['/a/0', '/a/1/b']
    second = dict(first, **{'/a/1/b': torch.zeros(1), '/d': torch.zeros(1)})
    assert gpu_runs.differing(first, first) == []
    assert gpu_runs.differing(first, second) == ['/a/1/b', '/d']
