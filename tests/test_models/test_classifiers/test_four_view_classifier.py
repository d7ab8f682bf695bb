"""Four views of a batch: what is averaged, and what consistency compares.

There is no toy grammar: it is a way to train a CNN, whose own classifier learns the grammar in test_grammar.py.
"""

import pytest
import torch
import torch.nn.functional as F
from helpers import make_sample
from mmpretrain.registry import MODELS

SAMPLES = [make_sample([0]), make_sample([1, 2]), make_sample([])]
SIZE = 64  # whose small views have 48 px: maps of 2 x 2 both


def build(size=SIZE, **options):
    """A ResNet-18 an eighth as wide; no batch statistics, so that views can be looked at one by one."""
    torch.manual_seed(0)
    model = dict(
        type='FourViewClassifier',
        backbone=dict(
            type='ResNet',
            depth=18,
            stem_channels=4,
            base_channels=2,
            norm_eval=True,
            style='pytorch',
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LabelDecoderHead', num_classes=4, in_channels=16),
        small_scale=0.75,
    )
    built = MODELS.build(model | options)
    built.init_weights()
    return built.train()


def look(model, images):
    """The logits and activation maps of some images, seen alone."""
    feature_map = model.backbone(images)[-1]
    logits = model.head.fc(feature_map.mean((2, 3)))
    return logits, F.conv2d(feature_map, model.head.fc.weight[:, :, None, None])


def small_views(images):
    return F.interpolate(images, scale_factor=0.75, mode='bilinear', antialias=True)


def test_the_four_views_by_hand():
    images = torch.randn(3, 3, SIZE, SIZE)
    model = build(consistency=dict(type='AttentionConsistencyLoss', flip_weight=2, scale_weight=3))
    losses = model.loss(images, SAMPLES)

    target = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    views = [images, images.flip(-1), small_views(images), small_views(images.flip(-1))]
    seen = [look(model, view) for view in views]
    bce = [
        F.binary_cross_entropy_with_logits(logits, target, reduction='sum') / 3
        for logits, _ in seen
    ]
    torch.testing.assert_close(losses['loss_cnn'], sum(bce) / 4)

    large, mirrored, small, small_mirrored = (maps for _, maps in seen)
    flip = F.mse_loss(large, mirrored.flip(-1)) + F.mse_loss(small, small_mirrored.flip(-1))
    torch.testing.assert_close(losses['loss_flip'], 2 * flip)
    scale = F.mse_loss(large, small) + F.mse_loss(mirrored, small_mirrored)
    torch.testing.assert_close(losses['loss_scale'], 3 * scale / 2)


def test_consistency_does_not_move_the_classifier():
    model = build(consistency=dict(type='AttentionConsistencyLoss'))
    losses = model.loss(torch.randn(3, 3, SIZE, SIZE), SAMPLES)
    (losses['loss_flip'] + losses['loss_scale']).backward()
    assert model.head.fc.weight.grad is None
    assert model.backbone.conv1.weight.grad.any()


def test_the_control_sees_the_same_views():
    images = torch.randn(3, 3, SIZE, SIZE)
    with_loss = build(consistency=dict(type='AttentionConsistencyLoss')).loss(images, SAMPLES)
    control = build().loss(images, SAMPLES)
    assert set(control) == {'loss_cnn'}
    torch.testing.assert_close(control['loss_cnn'], with_loss['loss_cnn'])


def test_one_size_has_no_scale():
    model = build(small_scale=None, consistency=dict(type='AttentionConsistencyLoss'))
    losses = model.loss(torch.randn(3, 3, SIZE, SIZE), SAMPLES)
    assert set(losses) == {'loss_cnn', 'loss_flip'}


def test_prediction_sees_one_view_and_the_weights_are_a_cnns():
    model = build(consistency=dict(type='AttentionConsistencyLoss')).eval()
    config = dict(
        type='MultiLabelClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=2),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LabelDecoderHead', num_classes=4, in_channels=16),
    )
    cnn = MODELS.build(config).eval()
    cnn.load_state_dict(model.state_dict())
    images = torch.randn(3, 3, SIZE, SIZE)

    with torch.no_grad():
        found = [sample.pred_score for sample in model(images, mode='predict')]
        expected = [sample.pred_score for sample in cnn(images, mode='predict')]

    torch.testing.assert_close(found, expected)


def test_a_map_of_one_place():
    model = build(consistency=dict(type='AttentionConsistencyLoss'))
    losses = model.loss(torch.randn(3, 3, 32, 32), SAMPLES)
    assert all(loss.isfinite() for loss in losses.values())


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match='`small_scale` to be between 0 and 1, or None, but got 1'):
        build(small_scale=1)
    head = dict(type='LabelDecoderHead', num_classes=4, in_channels=None, decoder=None)
    with pytest.raises(ValueError, match=r'with a classifier.*LabelDecoderHead'):
        build(head=head)
