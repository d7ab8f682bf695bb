"""Prediction on a CPU takes the faster network, where it agrees."""

import json

import numpy as np
import pytest
import torch
from tools_helpers import SLICE
from torch import nn

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.faster import find_faster
from morn_plugin.models import onnx_network
from morn_plugin.models.folding import FoldedConv

IMAGES = [
    str(SLICE / item['img_path'])
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:11]
]


@pytest.fixture
def inferencer(work_dir):
    return MultiLabelInferencer(work_dir, device='cpu')


def scores(inferencer):
    return np.array([record['scores'] for record in inferencer.predict(IMAGES)])


def used(inferencer):
    """Tell whether the network that predicted is the folded one."""
    _, network = inferencer._network
    return any(isinstance(module, FoldedConv) for module in network.modules())


def test_it_predicts_the_same_and_leaves_the_model_alone(inferencer, monkeypatch):
    faster = scores(inferencer)
    assert used(inferencer)
    assert not any(isinstance(module, FoldedConv) for module in inferencer.model.modules())

    with monkeypatch.context() as patch:
        patch.setattr('morn_plugin.apis.inferencer.find_faster', lambda model, data: model)
        inferencer._network = None
        plain = scores(inferencer)
        assert not used(inferencer)

    assert np.abs(faster - plain).max() <= 1e-5


def test_a_model_that_changes_is_folded_anew(inferencer):
    before = scores(inferencer)
    network = inferencer._network[1]
    assert np.array_equal(scores(inferencer), before)
    assert inferencer._network[1] is network
    with torch.no_grad():
        inferencer.model.backbone.conv1.weight.mul_(-1)
    assert np.abs(scores(inferencer) - before).max() > 1e-3
    assert inferencer._network[1] is not network
    assert used(inferencer)
    inferencer.model.head.fc.bias.data.fill_(50)  # what is not the backbone is shared
    assert np.abs(scores(inferencer) - before).max() > 1e-3


@pytest.mark.parametrize('fault', ['differs', 'fails'])
def test_what_does_not_agree_is_not_used(inferencer, monkeypatch, fault):
    forward = FoldedConv.forward

    def wrong(self, inputs):
        if fault == 'fails':
            raise NotImplementedError('oneDNN has no such kernel')
        return forward(self, inputs) * 1.01

    expected = scores(inferencer)
    monkeypatch.setattr(FoldedConv, 'forward', wrong)
    inferencer._network = None
    assert np.abs(scores(inferencer) - expected).max() <= 1e-5
    assert not used(inferencer)


def test_many_images_go_through_onnx_runtime_and_get_the_same_records(inferencer, monkeypatch):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    expected = list(inferencer.predict(IMAGES, batch_size=3))
    monkeypatch.setattr(onnx_network, 'AFTER', 5)
    inferencer._network = None
    found = list(inferencer.predict(IMAGES, batch_size=3))
    assert inferencer._network[1].backbone._found is not None

    for mine, theirs in zip(found, expected, strict=True):
        assert mine['labels'] == theirs['labels']
        assert mine['path'] == theirs['path']
        assert np.abs(np.array(mine['scores']) - theirs['scores']).max() <= 1e-5

    with monkeypatch.context() as patch:  # a network that differs is not taken
        forward = onnx_network.OnnxNetwork.forward
        patch.setattr(
            onnx_network.OnnxNetwork,
            'forward',
            lambda self, images: tuple(part * 1.01 for part in forward(self, images)),
        )
        inferencer._network = None
        list(inferencer.predict(IMAGES, batch_size=3))
        assert inferencer._network[1].backbone._found is None


def test_half_precision_and_models_without_a_backbone_stay_as_they_are(inferencer):
    half = inferencer.model.bfloat16()
    assert find_faster(half, {}) is half
    assert isinstance(find_faster(nn.Linear(2, 2), {}), nn.Linear)
