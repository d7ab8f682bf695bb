"""Losses of MMPretrain, timm and PyTorch with labels that are ignored."""

from functools import partial

import pytest
import timm.loss
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import nn

from morn_plugin.models.losses import label_loss

ELEMENTWISE = {  # each by its own reduction
    'sigmoid cross-entropy': lambda **own: MODELS.build(
        dict(type='CrossEntropyLoss', use_sigmoid=True, pos_weight=[1.0, 2.0, 3.0], **own)
    ),
    'asymmetric': lambda **own: MODELS.build(dict(type='AsymmetricLoss', gamma_pos=1, **own)),
    'focal': lambda **own: MODELS.build(dict(type='FocalLoss', **own)),
    'label smoothing': lambda **own: MODELS.build(
        dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=3, mode='multi_label', **own)
    ),
    'timm asymmetric': partial(timm.loss.AsymmetricLossMultiLabel, clip=0.1),
    'timm cross-entropy': partial(timm.loss.BinaryCrossEntropy, smoothing=0.0),
    'timm poly': timm.loss.PolyBinaryCrossEntropy,
    'timm balanced': partial(timm.loss.DistributionBalancedLoss, [2, 3, 4], 10),
    'torch': nn.BCEWithLogitsLoss,
}
SETS = {
    'softmax of soft labels': lambda: MODELS.build(dict(type='CrossEntropyLoss', use_soft=True)),
    'ZLPR': timm.loss.ZlprLoss,
}


@pytest.fixture
def case():
    torch.manual_seed(0)
    logits = torch.randn(4, 3)
    target = torch.tensor([[1, 0, -1], [0, 0, 0], [1, 1, 1], [-1, -1, -1]]).float()
    return logits, target


def single_entries(module, logits, target):
    """The loss of each label that counts, an image with one label at a time, summed, per image."""
    total = 0.0
    for row, truth in zip(logits, target, strict=True):
        for label in range(len(row)):
            if truth[label] >= 0:
                values = module(row[None], truth.clamp(min=0)[None], reduction_override='none')
                total += values[0, label]
    return total / len(logits)


@pytest.mark.parametrize('name', [name for name in ELEMENTWISE if not name.startswith('t')])
def test_mmpretrain_losses_are_summed_over_the_labels_that_count(case, name):
    module = ELEMENTWISE[name]()
    torch.testing.assert_close(label_loss(module, *case), single_entries(module, *case))


@pytest.mark.parametrize('name', ELEMENTWISE)
def test_an_ignored_label_changes_nothing_and_gets_no_gradient(case, name):
    logits, target = case
    module = ELEMENTWISE[name]()
    moved = torch.where(target < 0, logits + 3, logits).requires_grad_()
    loss = label_loss(module, moved, target)
    torch.testing.assert_close(loss, label_loss(module, logits, target))
    loss.backward()
    assert (moved.grad[target < 0] == 0).all()
    assert (moved.grad[target >= 0] != 0).all()


@pytest.mark.parametrize('name', ELEMENTWISE)
def test_without_ignored_labels_it_is_the_sum_over_labels(case, name):
    logits = case[0]
    target = case[1].clamp(min=0)
    module = ELEMENTWISE[name](reduction='sum')
    torch.testing.assert_close(label_loss(module, logits, target), module(logits, target) / 4)


def test_the_default_is_cross_entropy_by_hand():
    module = MODELS.build(dict(type='CrossEntropyLoss', use_sigmoid=True))
    logits = torch.zeros(2, 3)
    target = torch.tensor([[1.0, 0, -1], [0, 0, 0]])
    assert label_loss(module, logits, target) == pytest.approx(5 / 2 * float(torch.tensor(2).log()))


def test_the_module_keeps_its_own_reduction(case):
    module = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0), reduction='mean')
    label_loss(module, *case)
    assert module.reduction == 'mean'


def test_half_precision_is_computed_in_float32(case):
    logits, target = case
    logits = logits.half()
    module = nn.BCEWithLogitsLoss()
    loss = label_loss(module, logits, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, label_loss(module, logits.float(), target))


def test_soft_labels_of_mixed_images_pass_through(case):
    logits = case[0]
    target = torch.rand(4, 3)
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction='sum') / 4
    module = MODELS.build(dict(type='CrossEntropyLoss', use_sigmoid=True))
    torch.testing.assert_close(label_loss(module, logits, target), expected)


@pytest.mark.parametrize('name', SETS)
def test_a_loss_of_whole_images_serves_until_a_label_is_ignored(case, name):
    logits, target = case
    module = SETS[name]()
    known = target.clamp(min=0)
    torch.testing.assert_close(label_loss(module, logits, known), module(logits, known))
    with pytest.raises(ValueError, match=r'4 of 12 labels are ignored \(-1\), but .* gives no'):
        label_loss(module, logits, target)


def test_a_loss_that_knows_ignored_labels_sees_them(case):
    class CountsIgnored(nn.Module):
        takes_ignored = True

        def forward(self, logits, target):
            return (target < 0).sum() + 0 * logits.sum()

    assert label_loss(CountsIgnored(), *case) == 4


@pytest.mark.parametrize('shape', [(0, 3), (4, 0), (4,), (4, 3, 2)])
def test_no_images_or_no_labels_are_refused(shape):
    with pytest.raises(ValueError, match='Expected `logits` to be a floating-point'):
        label_loss(nn.BCEWithLogitsLoss(), torch.zeros(shape), torch.zeros(shape))


def test_a_target_of_another_shape_is_refused(case):
    with pytest.raises(ValueError, match=r'`target` of shape \(4, 3\).*got \(4, 1\)'):
        label_loss(nn.BCEWithLogitsLoss(), case[0], case[1][:, :1])


def test_a_strange_result_is_refused(case):
    class Pairs(nn.Module):
        def forward(self, logits, target):
            return logits[:, :2]

    with pytest.raises(ValueError, match=r'Expected Pairs to give .* but got \(4, 2\)'):
        label_loss(Pairs(), *case)


def test_one_label_and_one_image():
    loss = label_loss(nn.BCEWithLogitsLoss(), torch.zeros(1, 1), torch.ones(1, 1))
    assert loss == pytest.approx(float(torch.tensor(2).log()))
