"""Maps of earlier stages beside the last one, with the weights of the plain backbone."""

import pytest
import torch
from mmpretrain.models.backbones import TIMMBackbone
from torch import nn

from morn_plugin.models.backbones import TIMMStages

NETWORK = 'tf_efficientnet_lite0'


@pytest.fixture(scope='module')
def plain():
    torch.manual_seed(0)
    backbone = TIMMBackbone(NETWORK)
    backbone.eval()
    return backbone


def make_stages(plain, stages):
    backbone = TIMMStages(NETWORK, stages=stages)
    backbone.eval()
    backbone.load_state_dict(plain.state_dict())
    return backbone


@torch.inference_mode()
def test_the_last_map_is_that_of_the_plain_backbone(plain):
    images = torch.rand(2, 3, 64, 64)
    (expected,) = plain(images)
    *_, found = make_stages(plain, (1, 3))(images)
    assert torch.equal(found, expected)


@torch.inference_mode()
def test_earlier_maps_are_what_the_blocks_give(plain):
    images = torch.rand(1, 3, 64, 64)
    network = plain.timm_model
    value = network.bn1(network.conv_stem(images))

    values = []
    for block in network.blocks:
        value = block(value)
        values.append(value)

    second, fourth, _ = make_stages(plain, (1, 3))(images)
    # timm's stages 1 and 3 end with the blocks 1 and 4: a stage ends where the stride grows.
    assert torch.equal(second, values[1])
    assert torch.equal(fourth, values[4])


@torch.inference_mode()
def test_without_stages_it_is_the_plain_backbone(plain):
    images = torch.rand(1, 3, 64, 64)
    found = make_stages(plain, ())(images)
    assert len(found) == 1
    assert torch.equal(found[0], plain(images)[0])


@pytest.mark.parametrize('stages', [(3, 1), (3, 3), (5,), (-1,)])
def test_wrong_stages_are_refused(stages):
    with pytest.raises(ValueError, match='expected ascending numbers from 0 to 4'):
        TIMMStages(NETWORK, stages=stages)


def test_a_network_without_stages_is_refused(monkeypatch):
    monkeypatch.setattr('timm.create_model', lambda **_: nn.Identity())
    with pytest.raises(ValueError, match='Identity has no `forward_intermediates`'):
        TIMMStages('a_network', stages=(1,))
