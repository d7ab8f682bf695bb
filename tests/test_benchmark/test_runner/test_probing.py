"""The probe computes as a run does, and its estimate is what it timed times the batches of a run."""

import copy
import os

import pytest
import torch
from tools_helpers import ROOT, SLICE

from morn_plugin.benchmark.runner import probing
from morn_plugin.benchmark.runner.cell import Shapes
from morn_plugin.benchmark.runner.cnn import Cnn, complete_config
from morn_plugin.benchmark.runner.joint import JointRun
from morn_plugin.benchmark.runner.methods import find_methods
from morn_plugin.benchmark.runner.probing import (
    SeenImage,
    estimate_training,
    probe_all,
    probe_joint,
)
from morn_plugin.benchmark.runner.source import read_source

LITE0 = ROOT / 'configs/cnn/cnn_efficientnet-lite0-stages_1xb32-6e_openclipart-128px.py'
IMAGE = SeenImage(0.5, ((112, 2, 2), (1280, 1, 1)))


@pytest.mark.slow
def test_probes_compute_side_by_side_with_one_thread_each():
    *threads, process = probe_all([*2 * [torch.get_num_threads], os.getpid], workers=2)
    assert threads == [1, 1]
    assert process != os.getpid()
    assert probe_all([os.getpid] * 2, workers=0) == 2 * [os.getpid()]


def test_training_the_cnn_is_three_passes_an_image_and_a_validation():
    assert estimate_training(IMAGE, dict(train=10, val=4), epochs=2) == 2 * (3 * 10 + 4) * 0.5


@pytest.fixture(scope='module')
def methods():
    """Every method by name; to read them all takes seconds."""
    return {method.name: method for method in find_methods()}


@pytest.fixture
def clock(monkeypatch):
    """A clock that only a training step moves, by two seconds."""
    now = [0.0]
    monkeypatch.setattr(probing.time, 'monotonic', lambda: now[0])
    step = torch.optim.AdamW.step

    def slow_step(self, *args, **kwargs):
        now[0] += 2
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, 'step', slow_step)


@pytest.mark.parametrize('name', ['csra-joint', 'four-views', 'ms-cnn-joint'])
def test_a_method_that_trains_the_cnn_is_timed_by_its_own_steps(name, methods, tmp_path, clock):
    source = read_source(str(SLICE))
    options = {
        'model.backbone.init_cfg': None,
        'train_dataloader.batch_size': 4,
        'train_cfg.max_epochs': 6,
    }
    cnn = complete_config(Cnn(LITE0, options=options), source)
    method = methods[name]
    shapes = Shapes(len(source.classes), 1280, (112, 1280))
    run = JointRun(method, 0, {}, tmp_path, cnn, shapes)
    before = copy.deepcopy(cnn.to_dict())

    train = source.annotations['train']
    seconds = probe_joint(run, IMAGE, train, num_val=8)
    batches = -(-len(train) // 4)
    epochs = 2 if method.views == 4 else 6
    assert seconds == pytest.approx(probing.START + epochs * (2 * batches + 8 * IMAGE.seconds))
    assert cnn.to_dict() == before
