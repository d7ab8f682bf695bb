from copy import deepcopy

import pytest
import torch
from helpers import make_sample
from mmpretrain.registry import MODELS

from morn_plugin.models.classifiers.multi_label_classifier import CNN


def build(frozen=(), **options):
    """A ResNet-18 an eighth as wide, 16 features."""
    return MODELS.build(
        dict(
            type='MultiLabelClassifier',
            frozen=frozen,
            backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=2),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='MultiOrderLSTMHead',
                num_classes=4,
                in_channels=16,
                embed_dims=3,
                hidden_dims=5,
                num_steps=2,
                state_norm=dict(momentum=0.5),
            ),
        )
        | options
    )


def take_steps(model, count=3):
    """Train with what could move a weight that has no gradient: momentum and weight decay, over all parameters."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    model.train()

    for _ in range(count):
        losses = model(
            torch.randn(3, 3, 32, 32),
            [make_sample([0]), make_sample([1, 2]), make_sample([])],
            mode='loss',
        )
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def moved(model, before):
    return {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }


def test_frozen_parts_stay_bit_for_bit_while_the_rest_trains():
    model = build(frozen=CNN)
    before = state_of(model)
    take_steps(model)
    changed = moved(model, before)
    assert changed
    assert all(name.startswith('head.decoder.') for name in changed)
    assert {
        'head.decoder.state_norm.running_mean',
        'head.decoder.weight_hh',
        'head.decoder.output.bias',
    } <= changed


def test_without_frozen_parts_everything_moves():
    model = build()
    before = state_of(model)
    take_steps(model)
    assert {'backbone.conv1.weight', 'backbone.bn1.running_mean', 'head.fc.weight'} <= moved(
        model, before
    )


def test_frozen_parts_ask_for_no_gradient_and_stay_in_evaluation_mode():
    model = build(frozen=CNN)
    for _ in range(2):
        model.train()
        assert model.training
        assert model.head.decoder.training
        assert not any(module.training for module in model.backbone.modules())
        assert not model.head.fc.training
        model.eval()
        assert not any(module.training for module in model.modules())

    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name for name, _ in model.named_parameters() if name.startswith(('backbone.', 'head.fc.'))
    }


def test_a_frozen_extractor_keeps_no_graph():
    inputs = torch.randn(2, 3, 32, 32)
    assert not build(frozen=CNN).train().extract_feat(inputs)[-1].requires_grad
    assert build().train().extract_feat(inputs)[-1].requires_grad


def test_a_frozen_backbone_alone_still_trains_the_classifier():
    model = build(frozen=['backbone'])
    before = state_of(model)
    take_steps(model)
    changed = moved(model, before)
    assert not any(name.startswith('backbone') for name in changed)
    assert 'head.fc.weight' in changed


def test_a_model_without_neck_can_freeze_the_neck():
    model = build(frozen=CNN, neck=None)
    assert not model.train().backbone.training
    assert not model.extract_feat(torch.randn(2, 3, 32, 32))[-1].requires_grad


def test_an_unknown_part_is_named():
    with pytest.raises(ValueError, match=r"no 'head\.classifier'.*'backbone'"):
        build(frozen=['head.classifier'])


def test_the_whole_model_predicts_from_images():
    model = build().eval()
    predicted = model(
        torch.randn(2, 3, 32, 32), [make_sample([0]), make_sample([])], mode='predict'
    )
    assert [tuple(sample.step_scores.shape) for sample in predicted] == [(2, 4)] * 2


def test_channels_last_is_the_same_network(tmp_path):
    plain = build().eval()
    images = torch.randn(3, 3, 32, 32)
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    nhwc = build(channels_last=True)
    nhwc.init_weights()
    nhwc.load_state_dict(torch.load(tmp_path / 'plain.pth', weights_only=True))
    torch.save(nhwc.state_dict(), tmp_path / 'nhwc.pth')
    back = build()
    back.load_state_dict(torch.load(tmp_path / 'nhwc.pth', weights_only=True))
    copy = deepcopy(nhwc)  # as an average of the weights makes one
    layouts = [
        model.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
        for model in (plain, nhwc, back, copy)
    ]
    assert layouts == [False, True, False, True]

    with torch.no_grad():
        for model in (nhwc.eval(), back.eval(), copy.eval()):
            torch.testing.assert_close(model.extract_feat(images), plain.extract_feat(images))
            samples, expected = (
                m(images, [make_sample([0])] * 3, mode='predict') for m in (model, plain)
            )
            for sample, wanted in zip(samples, expected, strict=True):
                torch.testing.assert_close(sample.step_scores, wanted.step_scores)
                assert sample.pred_label.tolist() == wanted.pred_label.tolist()


def test_channels_last_gives_the_same_gradient():
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    gradients = []
    for channels_last in (False, True):
        torch.manual_seed(1)
        model = build(channels_last=channels_last).double().train()
        model.extract_feat(images)[-1].square().sum().backward()
        gradients.append(
            {name: parameter.grad for name, parameter in model.backbone.named_parameters()}
        )

    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


SWIN = dict(
    type='SwinTransformer',
    arch=dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2]),
    img_size=28,
    window_size=7,
    out_indices=(1,),
    pad_small_map=True,  # with a mask, which stays float32
)


@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)],
    ids=['half', 'bfloat16'],
)
@pytest.mark.parametrize('options', [dict(), dict(backbone=SWIN)], ids=['ResNet', 'Swin'])
@pytest.mark.parametrize('frozen', [(), CNN], ids=['', 'frozen'])
def test_a_model_in_half_precision_predicts(options, frozen, dtype, tolerance):
    torch.manual_seed(0)
    model = build(frozen=frozen, **deepcopy(options)).eval()
    images = torch.randn(3, 3, 56, 56)
    samples = [make_sample([0]) for _ in images]

    with torch.no_grad():
        expected = model(images, deepcopy(samples), mode='predict')
        found = model.to(dtype)(images, deepcopy(samples), mode='predict')
        logits = model(images)

    assert logits.dtype == torch.float32
    for sample, wanted in zip(found, expected, strict=True):
        for name in ('pred_score', 'cnn_score', 'step_scores'):
            assert sample.get(name).dtype == torch.float32
            torch.testing.assert_close(
                sample.get(name), wanted.get(name), atol=tolerance, rtol=0, check_dtype=False
            )


def gradient_at_last_layer(model, images, label):
    kept = []
    layer = model.backbone.layer4[1].bn2
    handle = layer.register_forward_hook(lambda module, args, output: kept.append(output))
    score = model(images)[:, label].sum()
    handle.remove()
    return torch.autograd.grad(score, kept[0])[0]


def test_class_activation_maps_have_a_gradient_through_a_frozen_backbone():
    """They take logits (N, C) and their gradient at a layer, in evaluation."""
    torch.manual_seed(0)
    free = build().eval()
    frozen = build(frozen=CNN).eval()
    frozen.load_state_dict(free.state_dict())
    images = torch.randn(2, 3, 32, 32)
    found = gradient_at_last_layer(frozen, images, 1)
    assert found.abs().max() > 0
    torch.testing.assert_close(found, gradient_at_last_layer(free, images, 1))
    assert not images.requires_grad
