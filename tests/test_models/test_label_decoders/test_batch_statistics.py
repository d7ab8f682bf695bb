"""Batch normalisation over processes equals that of one process with all of the images."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from morn_plugin.models.label_decoders.batch_statistics import batch_statistics, is_shared_out
from morn_plugin.models.label_decoders.lstm import BiasedBatchNorm1d

C = 5

STEP = """
import json, sys
import torch
import torch.distributed as dist
from morn_plugin.models.label_decoders.lstm import BiasedBatchNorm1d

sizes = json.loads(sys.argv[1])
dist.init_process_group('gloo')
rank = dist.get_rank()
torch.manual_seed(0)
x = torch.randn(sum(sizes), 5)
target = torch.randn(sum(sizes), 5)
start = sum(sizes[:rank])
mine = slice(start, start + sizes[rank])

layer = BiasedBatchNorm1d(5, momentum=0.3)
own = x[mine].clone().requires_grad_()
out = layer(own)
loss = (out.sigmoid() - target[mine]).square().sum() / sum(sizes)  # summed over processes
loss.backward()
for parameter in layer.parameters():
    dist.all_reduce(parameter.grad)
print(json.dumps([part.tolist() for part in (
    out, own.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var)]))
dist.destroy_process_group()
"""


def run_processes(sizes):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, '-W', 'error', '-c', STEP, json.dumps(sizes)],
            env=dict(
                os.environ,
                RANK=str(rank),
                WORLD_SIZE=str(len(sizes)),
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=port,
                OMP_NUM_THREADS='1',
                CUDA_VISIBLE_DEVICES='',
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(len(sizes))
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert not any(process.returncode for process in processes), outputs
    return [[torch.tensor(part) for part in json.loads(output)] for output, _ in outputs]


@pytest.mark.slow
@pytest.mark.parametrize('sizes', [[4, 4], [6, 1]])
def test_processes_normalise_as_one_does(sizes):
    torch.manual_seed(0)
    x = torch.randn(sum(sizes), C, requires_grad=True)
    target = torch.randn(sum(sizes), C)
    layer = BiasedBatchNorm1d(C, momentum=0.3)
    out = layer(x)
    ((out.sigmoid() - target).square().sum() / sum(sizes)).backward()

    parts = run_processes(sizes)
    whole = [out, x.grad]
    for index, expected in enumerate(whole):
        found = torch.cat([part[index] for part in parts])
        torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)
    shared = [layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]
    for part in parts:
        for found, expected in zip(part[2:], shared, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_in_one_process_they_are_those_of_torch():
    x = torch.randn(6, C)
    mean, variance = batch_statistics(x)
    assert not is_shared_out()
    assert torch.equal(mean, x.mean(0))
    torch.testing.assert_close(variance, x.var(0) * 5 / 6)


def test_without_weights_of_its_own_it_normalises_alone(monkeypatch):
    x = torch.randn(6, C)
    expected = BiasedBatchNorm1d(C, affine=False)(x)
    module = 'morn_plugin.models.label_decoders.lstm'
    monkeypatch.setattr(f'{module}.is_shared_out', lambda: True)
    torch.testing.assert_close(BiasedBatchNorm1d(C, affine=False)(x), expected)
