"""Batch normalisation over processes equals that of one process with all of the images."""

import json
import os

import pytest
import torch
from warm_start import start_ranks

from morn_plugin.models.label_decoders.batch_statistics import batch_statistics, is_shared_out
from morn_plugin.models.label_decoders.lstm import BiasedBatchNorm1d

C = 5

STEP = """
import json, sys, warnings
import torch
import torch.distributed as dist
from morn_plugin.models.label_decoders.lstm import BiasedBatchNorm1d

warnings.simplefilter('error')
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


def run_processes(sizes, folder):
    script = folder / 'step.py'
    script.write_text(STEP)
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    group = start_ranks(len(sizes), script, [json.dumps(sizes)], folder, environment)
    printed, _ = group.communicate(timeout=120)
    assert group.returncode == 0, printed
    parts = [json.loads(line) for line in printed.splitlines() if line.startswith('[[')]
    return [[torch.tensor(value) for value in part] for part in parts]


@pytest.mark.slow
@pytest.mark.parametrize('sizes', [[4, 4], [6, 1]])
def test_processes_normalise_as_one_does(sizes, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(sum(sizes), C, requires_grad=True)
    target = torch.randn(sum(sizes), C)
    layer = BiasedBatchNorm1d(C, momentum=0.3)
    out = layer(x)
    ((out.sigmoid() - target).square().sum() / sum(sizes)).backward()

    parts = run_processes(sizes, tmp_path)
    assert len(parts) == len(sizes)
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
