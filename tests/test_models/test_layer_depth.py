"""Learning rates that fall from the head to the first layer, with our head and optimisers."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers import make_sample
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

DECAY, RATE = 0.5, 0.01
CONVNEXT = dict(type='ConvNeXt', arch=dict(depths=[1, 1, 2, 1], channels=[4, 4, 8, 8]))


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope('mmpretrain')


def build(backbone: dict[str, Any], width: int, neck: str | None, **options: Any) -> Any:
    head = dict(
        type='MultiOrderLSTMHead',
        num_classes=4,
        in_channels=width,
        embed_dims=3,
        hidden_dims=5,
        num_steps=2,
    )
    settings = dict(type='MultiLabelClassifier', backbone=backbone, head=head, **options)
    return MODELS.build(dict(settings, neck=neck and dict(type=neck)))


def wrap(model: nn.Module, optimizer: str, decay: float = DECAY) -> OptimWrapper:
    return build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type=optimizer, lr=RATE, weight_decay=0.0),  # it asks for one
            constructor='LearningRateDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=decay),
        ),
    )


def rates_by_name(wrapper: OptimWrapper) -> dict[str, float]:
    return {group['param_name']: group['lr'] for group in wrapper.optimizer.param_groups}


@pytest.fixture(params=['FusedRMSprop', 'TFRMSprop', 'AdamW'])
def optimizer(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


def test_the_head_learns_fastest_and_the_layers_below_more_slowly(optimizer: str) -> None:
    rates = rates_by_name(wrap(build(CONVNEXT, 8, None), optimizer))
    assert {rate for name, rate in rates.items() if name.startswith('head.')} == {RATE}
    stem = rates['backbone.downsample_layers.0.0.weight']
    blocks = [rates[f'backbone.stages.{i}.0.depthwise_conv.weight'] for i in range(4)]
    # As MMPretrain numbers a ConvNeXt: stem 0, the four stages 1, 2, 3 and 6, the head 7.
    expected = [RATE * DECAY ** (7 - depth) for depth in (0, 1, 2, 3, 6)]
    assert [stem, *blocks] == pytest.approx(expected)


def test_layers_of_timm(optimizer: str) -> None:
    pytest.importorskip('timm')
    backbone = dict(type='TIMMBackbone', model_name='resnet18')
    model = build(backbone, 512, 'GlobalAveragePooling')
    rates = rates_by_name(wrap(model, optimizer))
    assert rates.keys() == dict(model.named_parameters()).keys()

    # The stem, eight blocks, the head.
    layers = ['conv1', *(f'layer{i}.{j}.conv1' for i in range(1, 5) for j in range(2))]
    for depth, layer in enumerate(layers):
        rate = rates[f'backbone.timm_model.{layer}.weight']
        assert rate == pytest.approx(RATE * DECAY ** (len(layers) - depth))

    assert rates['head.fc.weight'] == rates['head.decoder.output.weight'] == RATE


def take_step(optimizer: str, decay: float) -> tuple[dict[str, torch.Tensor], OptimWrapper]:
    torch.manual_seed(0)
    model = build(CONVNEXT, 8, None).double().train()
    wrapper = wrap(model, optimizer, decay)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}

    images = torch.randn(2, 3, 32, 32).double()
    samples = [make_sample([0, 1]), make_sample([2])]
    losses = model(images, samples, mode='loss')
    wrapper.update_params(sum(losses.values()))
    return {name: value - before[name] for name, value in model.named_parameters()}, wrapper


def test_a_step_follows_the_rates(optimizer: str) -> None:
    """The first step of all three is proportional to the rate."""
    even, _ = take_step(optimizer, 1.0)
    falling, wrapper = take_step(optimizer, DECAY)
    rates = rates_by_name(wrapper)
    for name, step in falling.items():
        torch.testing.assert_close(step, even[name] * (rates[name] / RATE), rtol=1e-4, atol=1e-15)
    assert even['backbone.stages.0.0.depthwise_conv.weight'].abs().max() > 0


def test_the_rates_are_kept_in_a_checkpoint(optimizer: str) -> None:
    _, wrapper = take_step(optimizer, DECAY)
    again = wrap(build(CONVNEXT, 8, None).double(), optimizer, 1.0)
    again.load_state_dict(wrapper.state_dict())
    assert rates_by_name(again) == rates_by_name(wrapper)


def test_frozen_parts_are_left_out() -> None:
    model = build(CONVNEXT, 8, None, frozen=('backbone',))
    assert all(name.startswith('head.') for name in rates_by_name(wrap(model, 'FusedRMSprop')))


@pytest.mark.parametrize(
    ('backbone', 'width'),
    [
        (dict(type='ResNet', depth=18, base_channels=4, stem_channels=4), 32),
        (dict(type='MobileNetV3', arch='small'), 576),
    ],
    ids=['ResNet', 'MobileNetV3'],
)
def test_a_backbone_that_cannot_tell_is_named(backbone: dict[str, Any], width: int) -> None:
    model = build(backbone, width, 'GlobalAveragePooling')
    with pytest.raises(NotImplementedError, match=rf'{backbone["type"]} lies.*custom_keys'):
        wrap(model, 'FusedRMSprop')
