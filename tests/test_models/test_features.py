"""A feature that is not pooled is named for what it is, and the advice leads to the right one."""

import re
from typing import Any

import pytest
import torch
from mmpretrain.models import GlobalAveragePooling
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from morn_plugin.models import LabelDecoderHead
from morn_plugin.models.features import describe_unpooled, find_width

D = 192


def refuse(feature: Any, in_channels: int = D) -> str:
    with pytest.raises(ValueError) as caught:
        LabelDecoderHead(4, in_channels, None).pre_logits((feature,))
    return str(caught.value)


def follow(advice: str, feature: Tensor) -> Tensor:
    """Do what the sentence says, and return what the head then takes."""
    (neck,) = re.findall(r'neck=(dict\(.*?\)) ', advice)
    width = re.findall(r'in_channels=(\d+)', advice)
    head = LabelDecoderHead(4, int(width[-1]) if width else D, None)
    pooled = MODELS.build(eval(neck, {'dict': dict}))((feature,))  # noqa: S307
    return head.pre_logits(pooled)


@pytest.mark.parametrize('in_channels', [D, 512])
@pytest.mark.parametrize(
    ('shape', 'kind', 'expected'),
    [
        ((2, 17, D), 'tokens', lambda x: x[:, 0]),
        ((2, 18, D), 'tokens', lambda x: x[:, 0]),
        ((2, 21, D), 'tokens', lambda x: x[:, 0]),
        ((2, 49, D), 'tokens', lambda x: x.mean(1)),
        ((2, 7, 7, D), 'channels last', lambda x: x.mean((1, 2))),
        ((2, D, 7, 7), 'channels first', lambda x: x.mean((2, 3))),
    ],
)
def test_the_advice_pools_the_right_axes(
    shape: tuple[int, ...], kind: str, expected: Any, in_channels: int
) -> None:
    feature = torch.randn(shape)
    advice = refuse(feature, in_channels)
    assert str(shape) in advice
    assert kind in advice
    torch.testing.assert_close(follow(advice, feature), expected(feature))


@pytest.mark.parametrize(
    ('shape', 'kind'), [((2, D, 4, 6), 'channels first'), ((2, 4, 6, D), 'channels last')]
)
def test_a_map_that_is_no_square_goes_by_its_width(shape: tuple[int, ...], kind: str) -> None:
    feature = torch.randn(shape)
    advice = refuse(feature)
    assert kind in advice
    assert follow(advice, feature).shape == (2, D)
    both = describe_unpooled(feature, 512)
    assert 'channels first' in both
    assert 'channels last' in both


def test_one_channel_a_row() -> None:
    feature = torch.randn(2, D, 50)
    assert follow(refuse(feature), feature).shape == (2, D)


@pytest.mark.parametrize('backbone', ['Conformer', 'DistilledVisionTransformer'])
def test_two_features_have_a_sentence(backbone: str) -> None:
    arch = 'tiny' if backbone == 'Conformer' else 'deit-tiny'
    model = MODELS.build(dict(type=backbone, arch=arch))
    model.eval()
    with torch.no_grad():
        feature = model(torch.randn(1, 3, 224, 224))[-1]
    assert 'but got 2 of them' in refuse(feature)
    assert backbone in refuse(feature)


class Gives(nn.Module):
    """A backbone that gives one feature, whatever comes in; timm's say how wide theirs is."""

    def __init__(self, feature: Tensor, width: int | None = None) -> None:
        super().__init__()
        self.feature = feature
        if width is not None:
            self.timm_model = nn.Module()
            self.timm_model.num_features = width

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.feature,)


def classify(backbone: nn.Module, neck: dict[str, Any], in_channels: int) -> Tensor:
    head = LabelDecoderHead(4, in_channels, None)
    settings = dict(type='MultiLabelClassifier', backbone=backbone, neck=neck, head=head)
    return MODELS.build(settings).extract_feat(torch.zeros(1))[-1]


@pytest.mark.parametrize('kind', ['GlobalAveragePooling', 'GeneralizedMeanPooling'])
@pytest.mark.parametrize(
    ('shape', 'in_channels', 'right'),
    [
        ((2, 17, D), 1, 'TokenPooling'),
        ((2, 17, D), 17, 'TokenPooling'),
        ((2, 7, 7, D), 7, 'ChannelLastPooling'),
        ((2, 7, 5, D), 7, 'ChannelLastPooling'),
    ],
)
def test_a_pooling_over_the_wrong_axes_is_refused(
    kind: str, shape: tuple[int, ...], in_channels: int, right: str
) -> None:
    backbone = Gives(torch.rand(shape), width=D)
    with pytest.raises(ValueError, match=rf'{kind} expected feature maps .*{right}'):
        classify(backbone, dict(type=kind), in_channels)


def test_right_poolings_pass() -> None:
    maps = torch.rand(2, D, 7, 5)
    row = torch.rand(2, D, 50)
    square = torch.rand(2, 7, 7, 7)
    pooling = dict(type='GlobalAveragePooling')
    assert classify(Gives(maps, D), pooling, D).shape == (2, D)
    assert classify(Gives(maps), pooling, 512).shape == (2, D)
    assert classify(Gives(row), dict(pooling, dim=1), D).shape == (2, D)
    assert classify(Gives(square, 7), pooling, 7).shape == (2, 7)
    # The width that a model of timm states may be another than that of its last layer.
    assert classify(Gives(maps, 96), pooling, D).shape == (2, D)


@pytest.mark.parametrize(
    ('name', 'features_only', 'neck'),
    [
        ('vit_tiny_patch16_224', False, 'TokenPooling'),
        ('swin_tiny_patch4_window7_224', False, 'ChannelLastPooling'),
        ('swin_tiny_patch4_window7_224', True, 'ChannelLastPooling'),
        ('mobilenetv3_small_050', False, 'GlobalAveragePooling'),
    ],
)
def test_backbones_of_timm(name: str, features_only: bool, neck: str) -> None:
    pytest.importorskip('timm')
    settings = dict(type='TIMMBackbone', model_name=name, features_only=features_only)
    backbone = MODELS.build(settings)
    backbone.eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        feature = backbone(images)[-1]
    width = find_width(backbone)
    assert neck in describe_unpooled(feature, width)
    if neck != 'GlobalAveragePooling':
        assert feature.shape[-1] == width
        with pytest.raises(ValueError, match=neck):
            classify(Gives(feature, width), dict(type='GlobalAveragePooling'), 1)

    assert MODELS.build(dict(type=neck))((feature,))[0].dim() == 2


def test_the_host_pools_the_wrong_axes_without_a_word() -> None:
    """Why the check stands before the neck: the vector that comes out looks like any other."""
    assert GlobalAveragePooling()((torch.randn(2, 7, 7, D),))[0].shape == (2, 7)
