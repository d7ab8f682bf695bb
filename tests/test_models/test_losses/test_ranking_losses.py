"""Losses that look at the labels of an image together: WARP, LSEP, ZLPR, two-way."""

import pytest
import torch
from helpers import load_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.registry import MODELS

from morn_plugin.models.losses import (
    LSEPLoss,
    TwoWayLoss,
    WARPLoss,
    ZLPRLoss,
    label_loss,
    lsep_loss,
    warp_loss,
)

LOSSES = {
    'warp': WARPLoss,
    'warp, sampled': lambda: WARPLoss(rank='sampled'),
    'lsep': LSEPLoss,
    'zlpr': ZLPRLoss,
    'two-way': TwoWayLoss,
}
every = pytest.mark.parametrize('name', LOSSES)


def make_case(seed=0, num_images=5, num_classes=6):
    """Logits and a target with an image without labels, one with all, and one with ignored ones only."""
    torch.manual_seed(seed)
    logits = 2 * torch.randn(num_images, num_classes, dtype=torch.float64)
    target = torch.randint(-1, 2, (num_images, num_classes))
    for row, value in enumerate((0, 1, -1)):
        if row + 1 < num_images:
            target[row] = value
    return logits, target


def labels_of(truth, value):
    return [label for label in range(len(truth)) if truth[label] == value]


def naive_warp(logits, target):
    total = torch.zeros((), dtype=logits.dtype)
    for z, truth in zip(logits, target, strict=True):
        counted = [label for label in range(len(z)) if truth[label] >= 0]
        for p in labels_of(truth, 1):
            rank = 1 + sum(bool(z[j] > z[p]) for j in counted)
            weight = sum(1 / place for place in range(1, rank + 1))
            for q in labels_of(truth, 0):
                total = total + weight * (1 - z[p] + z[q]).clamp(min=0)

    return total / len(logits)


def naive_lsep(logits, target):
    total = torch.zeros((), dtype=logits.dtype)
    for z, truth in zip(logits, target, strict=True):
        pairs = [(z[q] - z[p]).exp() for p in labels_of(truth, 1) for q in labels_of(truth, 0)]
        total = total + torch.log1p(sum(pairs, torch.zeros((), dtype=z.dtype)))
    return total / len(logits)


def naive_zlpr(logits, target):
    total = torch.zeros((), dtype=logits.dtype)
    for z, truth in zip(logits, target, strict=True):
        zero = torch.zeros((), dtype=z.dtype)
        total = total + torch.log1p(sum((z[q].exp() for q in labels_of(truth, 0)), zero))
        total = total + torch.log1p(sum(((-z[p]).exp() for p in labels_of(truth, 1)), zero))
    return total / len(logits)


def naive_two_way(logits, target, positive=4, negative=1):
    """Both directions with temperatures of true and of false labels."""
    total = torch.zeros((), dtype=logits.dtype)
    for z, truths in ((logits, target), (logits.T, target.T)):
        values = []
        for row, truth in zip(z, truths, strict=True):
            true = labels_of(truth, 1)
            false = labels_of(truth, 0)
            if not true:
                continue
            if not false:
                values.append(torch.zeros((), dtype=z.dtype))
                continue

            low = positive * (-row[true] / positive).exp().sum().log()
            high = negative * (row[false] / negative).exp().sum().log()
            values.append(torch.log1p((high + low).exp()))

        if values:
            total = total + torch.stack(values).mean()

    return total


NAIVE = {
    'warp': naive_warp,
    'lsep': naive_lsep,
    'zlpr': naive_zlpr,
    'two-way': naive_two_way,
}


@pytest.mark.parametrize('name', ['warp', 'lsep'])
def test_value_and_gradient_are_the_first_authors(name):
    golden = load_golden('ranking_losses_first_author')
    logits = torch.from_numpy(golden['logits']).requires_grad_()
    loss = LOSSES[name]()(logits, torch.from_numpy(golden['labels']))
    (grad,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(
        loss.detach(), torch.tensor(golden[f'{name}_loss']), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(
        grad, torch.from_numpy(golden[f'{name}_grad']), rtol=1e-10, atol=1e-10
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_images=st.integers(1, 5),
    num_classes=st.integers(1, 6),
    name=st.sampled_from(sorted(NAIVE)),
)
def test_any_shape_agrees_with_naive_loops(seed, num_images, num_classes, name):
    logits, target = make_case(seed, num_images, num_classes)
    logits.requires_grad_()
    loss = LOSSES[name]()(logits, target)
    expected = NAIVE[name](logits, target)
    tolerance = 1e-5 if name in ('zlpr', 'two-way') else 1e-11  # timm computes in float32
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=tolerance, check_dtype=False)
    (grad,) = torch.autograd.grad(loss, logits)
    expected_grad = torch.zeros_like(logits)
    if expected.requires_grad:
        (expected_grad,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(grad, expected_grad, rtol=tolerance, atol=tolerance)


def test_the_sampled_rank_has_the_expectation_of_drawing_one_label_after_the_other():
    """Two false labels of four violate, so that draw k is the first with probability 1 / 2^k."""
    logits = torch.tensor([[0.0, 0.5, 0.5, -9.0, -9.0]], dtype=torch.float64)
    target = torch.tensor([[1, 0, 0, 0, 0]])
    harmonic = lambda rank: sum(1 / place for place in range(1, rank + 1))
    expected = 1.5 * sum(harmonic(4 // k) / 2**k for k in range(1, 5))

    torch.manual_seed(0)
    rows = 20_000
    drawn = warp_loss(logits.expand(rows, -1), target.expand(rows, -1), rank='sampled')
    assert drawn.item() == pytest.approx(expected, rel=0.02)


def test_a_single_sampled_pair_is_one_of_the_violating_ones():
    logits = torch.tensor([[0.0, 0.5, 3.0, -9.0]], requires_grad=True)
    target = torch.tensor([[1, 0, -1, 0]])
    torch.manual_seed(0)
    for _ in range(20):
        (grad,) = torch.autograd.grad(warp_loss(logits, target, rank='sampled'), logits)
        assert grad[0, 2:].tolist() == [0, 0]
        assert grad[0, 0] == -grad[0, 1]


def test_warp_by_hand():
    """The true label is second of three that count, and both false ones come within the margin."""
    logits = torch.tensor([[1.0, 0.5, 0.0, 9.0]])
    target = torch.tensor([[0, 1, 0, -1]])
    assert warp_loss(logits, target) == pytest.approx((1 + 1 / 2) * (1.5 + 0.5))
    assert warp_loss(logits, target, margin=0.5) == pytest.approx((1 + 1 / 2) * (1.0 + 0.0))


def test_equal_logits_rank_by_class_index():
    logits = torch.zeros(1, 3)
    target = torch.tensor([[0, 1, 0]])
    assert warp_loss(logits, target) == pytest.approx((1 + 1 / 2) * 2)


def test_lsep_of_extreme_logits_stays_finite():
    logits = torch.tensor([[1e4, -1e4, 3.0]], requires_grad=True)
    loss = lsep_loss(logits, torch.tensor([[0, 1, 0]]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert logits.grad.tolist() == [[1, -1, 0]]


def test_zlpr_is_lsep_with_a_label_in_between():
    """The label at 0 above all false and below all true ones, where the two do not meet otherwise."""
    logits = torch.tensor([[0.3, -1.2, 2.0]])
    target = torch.tensor([[1, -1, 1]])
    with_border = torch.cat([logits, torch.zeros(1, 1)], dim=1)
    expected = lsep_loss(with_border, torch.tensor([[1, -1, 1, 0]]))
    torch.testing.assert_close(ZLPRLoss()(logits, target), expected)


@every
@pytest.mark.parametrize('value', [0, 1, -1], ids=['no label', 'all labels', 'ignored ones only'])
def test_images_without_pairs_are_finite(name, value):
    logits = torch.randn(3, 4, requires_grad=True)
    loss = LOSSES[name]()(logits, torch.full((3, 4), value))
    loss.backward()
    assert bool(logits.grad.isfinite().all())

    if name != 'zlpr' or value == -1:  # 0 takes part in every pair of ZLPR
        assert loss.item() == 0
        assert not logits.grad.any()
    else:
        signs = logits.grad.sign()
        assert (signs == (1 if value == 0 else -1)).all()


@every
def test_ignored_labels_change_nothing(name):
    logits, target = make_case()
    moved = torch.where(target < 0, 50 + logits, logits).requires_grad_()
    torch.manual_seed(3)
    loss = LOSSES[name]()(logits, target)
    torch.manual_seed(3)
    other = LOSSES[name]()(moved, target)
    torch.testing.assert_close(loss, other)
    (grad,) = torch.autograd.grad(other, moved)
    assert not grad[target < 0].any()
    assert grad[target >= 0].any()


@every
def test_one_label_has_no_pair(name):
    logits = torch.randn(2, 1, requires_grad=True)
    loss = LOSSES[name]()(logits, torch.tensor([[1], [0]]))
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(logits.grad.isfinite().all())
    if name in ('warp', 'warp, sampled', 'lsep'):
        assert loss.item() == 0


@pytest.mark.parametrize('name', ['warp', 'lsep', 'zlpr'])
def test_the_mean_over_images(name):
    """The same images twice, the same loss."""
    logits, target = make_case()
    twice = LOSSES[name]()(logits.repeat(2, 1), target.repeat(2, 1))
    torch.testing.assert_close(LOSSES[name]()(logits, target), twice)


@every
def test_loss_weight(name):
    logits, target = make_case()
    module = LOSSES[name]()
    torch.manual_seed(0)
    once = module(logits, target)
    module.loss_weight = 3.0
    torch.manual_seed(0)
    torch.testing.assert_close(module(logits, target), 3 * once)


@every
@pytest.mark.parametrize('shape', [(0, 3), (3, 0), (3,)])
def test_an_empty_batch_is_refused(name, shape):
    with pytest.raises(ValueError, match='Expected `logits` to be a floating-point'):
        LOSSES[name]()(torch.zeros(shape), torch.zeros(shape))


@every
def test_soft_labels_are_refused(name):
    target = torch.tensor([[1.0, 0.3, 0.0]])
    with pytest.raises(ValueError, match=r'true \(1\), false \(0\) or ignored .* but got 0.3'):
        LOSSES[name]()(torch.zeros(1, 3), target)


@every
def test_label_loss_takes_them_as_they_are(name):
    logits, target = make_case()
    torch.manual_seed(0)
    expected = LOSSES[name]()(logits, target)
    torch.manual_seed(0)
    torch.testing.assert_close(label_loss(LOSSES[name](), logits, target), expected)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='WARPLoss', margin=2.0, rank='sampled'),
        dict(type='LSEPLoss'),
        dict(type='ZLPRLoss'),
        dict(type='TwoWayLoss', positive_temperature=2.0),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_they_are_registered(cfg):
    logits, target = make_case()
    assert bool(MODELS.build(cfg)(logits, target).isfinite())


def test_two_way_takes_its_temperatures():
    logits, target = make_case()
    loss = TwoWayLoss(positive_temperature=2.0, negative_temperature=0.5)
    expected = naive_two_way(logits, target, 2.0, 0.5)
    torch.testing.assert_close(
        loss(logits, target), expected, atol=1e-5, rtol=1e-5, check_dtype=False
    )


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="`rank` to be one of 'exact', 'sampled', but got 'mean'"):
        WARPLoss(rank='mean')
    with pytest.raises(ValueError, match='`margin` to be positive, but got 0'):
        WARPLoss(margin=0)
    with pytest.raises(ValueError, match='positive temperatures, but got positive_temperature=0'):
        TwoWayLoss(positive_temperature=0)
