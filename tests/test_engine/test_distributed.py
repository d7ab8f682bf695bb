import os
import subprocess
import sys

import pytest
import torch.distributed as dist
from mmengine.config import ConfigDict

from morn_plugin.engine import distributed
from morn_plugin.engine.distributed import init_cpu_process_group, use_cpu_model_wrapper

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture
def backends(monkeypatch):
    """Record the process groups asked for, and make none."""
    asked = []
    monkeypatch.setattr(
        distributed, 'rendezvous', lambda *_, **__: iter([(dist.HashStore(), 0, 1)])
    )
    monkeypatch.setattr(dist, 'init_process_group', lambda backend, **_: asked.append(backend))
    monkeypatch.setattr(distributed.torch.cuda, 'is_available', lambda: False)
    return asked


def test_without_gpu_the_group_is_gloo(backends):
    assert init_cpu_process_group()
    assert backends == ['gloo']


def test_with_a_gpu_or_a_group_nothing_is_done(backends, monkeypatch):
    monkeypatch.setattr(distributed.torch.cuda, 'is_available', lambda: True)
    assert not init_cpu_process_group()
    monkeypatch.setattr(distributed.torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    assert not init_cpu_process_group()
    assert backends == []


def test_a_group_of_one_is_made(monkeypatch, tmp_path):
    for name, value in dict(
        RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0'
    ).items():
        monkeypatch.setenv(name, value)

    monkeypatch.setattr(distributed.torch.cuda, 'is_available', lambda: False)
    assert init_cpu_process_group()
    try:
        assert dist.get_backend() == 'gloo'
        assert not init_cpu_process_group()
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (None, dict(type='MMDistributedDataParallel', forward_sync_buffers=False, device_ids=None)),
        (
            dict(type='Mine', find_unused_parameters=True, device_ids=[0]),
            dict(
                type='Mine',
                find_unused_parameters=True,
                forward_sync_buffers=False,
                device_ids=None,
            ),
        ),
    ],
)
def test_the_wrapper_keeps_its_other_settings(given, expected):
    cfg = ConfigDict() if given is None else ConfigDict(model_wrapper_cfg=given)
    use_cpu_model_wrapper(cfg)
    assert cfg.model_wrapper_cfg == expected


FAILING = """
from morn_plugin.engine import distributed
distributed.dist.destroy_process_group = lambda: print('waited')
distributed.init_cpu_process_group()
{end}
"""


@pytest.mark.parametrize(
    ('end', 'code', 'output'), [('', 0, 'waited\n'), ('raise ValueError("wrong")', 1, '')]
)
def test_a_failed_process_does_not_wait_for_its_group(end, code, output):
    """One of its threads may be in an exchange that the other processes never come to."""
    process = subprocess.run(
        [sys.executable, '-c', FAILING.format(end=end)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(
            os.environ,
            RANK='0',
            WORLD_SIZE='1',
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT='0',
            CUDA_VISIBLE_DEVICES='',
        ),
    )
    assert (process.returncode, process.stdout) == (code, output), process.stderr
