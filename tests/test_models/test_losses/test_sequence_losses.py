"""Losses of a decoder that is fed with what it says itself: cross-entropy, candidate pool, optimal completion."""

import pytest
import torch
import torch.nn.functional as F
from helpers import load_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from morn_plugin.models.label_decoders.picking import pick_from_pool
from morn_plugin.models.losses import (
    candidate_pool_loss,
    optimal_completion_loss,
    sequence_cross_entropy,
)
from morn_plugin.models.losses.candidate_pool import FORMS
from morn_plugin.models.losses.remaining_labels import right_symbols, until_end

LOSSES = {
    'pool, likelihood': lambda *args, **kwargs: candidate_pool_loss(
        *args, form='likelihood', **kwargs
    ),
    'pool, bce': candidate_pool_loss,
    'optimal completion': optimal_completion_loss,
    'optimal completion, soft': lambda *args, **kwargs: optimal_completion_loss(
        *args, temperature=0.5, **kwargs
    ),
}
every = pytest.mark.parametrize('name', LOSSES)


def make_case(seed=0, num_images=5, num_steps=5, num_classes=4):
    """Logits, symbols said at random, and images without labels, with all, and with ignored ones only."""
    torch.manual_seed(seed)
    logits = 2 * torch.randn(num_images, num_steps, num_classes + 1, dtype=torch.float64)
    labels = torch.randint(num_classes + 1, (num_images, num_steps))
    target = torch.randint(-1, 2, (num_images, num_classes))
    for row, value in enumerate((0, 1, -1)):
        if row + 1 < num_images:
            target[row] = value
    return logits.requires_grad_(), labels, target


def picks_from_pool(logits, target):
    picked = []
    for step in logits.detach().unbind(1):
        picked.append(pick_from_pool(step, picked, target == 1))
    return torch.stack(picked, dim=1)


def naive_steps(logits, labels, target):
    """What each step of each image sees until END: its logits, the symbols that count, those that are right."""
    end = target.shape[1]
    for z, said, truth in zip(logits, labels.tolist(), target.tolist(), strict=True):
        left = [label for label in range(end) if truth[label] == 1]
        symbols = [label for label in range(end) if truth[label] >= 0] + [end]
        for step, symbol in enumerate(said):
            yield z[step], symbols, left or [end], symbol
            left = [label for label in left if label != symbol]
            if symbol == end:
                break


def naive_completion(logits, labels, target, temperature=0.0):
    total = torch.zeros((), dtype=logits.dtype)
    for z, symbols, right, _ in naive_steps(logits, labels, target):
        weights = torch.tensor([1.0 * (symbol in right) for symbol in symbols], dtype=z.dtype)
        if temperature:
            weights = (weights / temperature).exp()
        policy = weights / weights.sum()
        log_probs = z[symbols] - z[symbols].exp().sum().log()
        for q, log_p in zip(policy, log_probs, strict=True):
            if q > 0:
                total = total + q * (q.log() - log_p)

    return total / len(logits)


def naive_pool_bce(logits, labels, target):
    total = 0 * logits.sum()  # has a gradient even where nothing counts
    for z, symbols, right, _ in naive_steps(logits, labels, target):
        if len(symbols) == 1:  # every label is ignored: nothing is known, nor that there is none
            continue
        for symbol in symbols:
            total = total - F.logsigmoid(z[symbol] if symbol in right else -z[symbol])
    return total / len(logits)


def naive_pool_likelihood(logits, labels, target):
    total = torch.zeros((), dtype=logits.dtype)
    for z, symbols, _, said in naive_steps(logits, labels, target):
        total = total - (z[said] - z[symbols].exp().sum().log())
    return total / len(logits)


def test_the_pool_is_the_reimplementations():
    """Which symbols are picked, and the likelihood over the steps up to END, with its gradient."""
    golden = load_golden('order_free_pool')
    logits = torch.from_numpy(golden['logits']).requires_grad_()  # labels, START, END
    without_start = [*range(8), 9]
    symbols = torch.from_numpy(golden['symbols']).clamp(max=8)  # END is 9 there, 8 here
    target = torch.from_numpy(golden['labels'])

    picks = picks_from_pool(logits[..., without_start], target)
    assert (picks == symbols).all()

    # its softmax has START in it as well, which is a symbol like another as long as no image has it
    with_start = torch.where(symbols == 8, 9, symbols)
    target = F.pad(target, (0, 1))
    loss = candidate_pool_loss(logits, with_start, target, form='likelihood', average='steps')
    (grad,) = torch.autograd.grad(loss, logits)
    expected = float(golden['loss_masked'])
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(grad, torch.from_numpy(golden['loss_masked_grad']))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_images=st.integers(1, 5),
    num_steps=st.integers(1, 5),
    num_classes=st.integers(1, 4),
)
def test_any_shape_agrees_with_naive_loops(seed, num_images, num_steps, num_classes):
    logits, labels, target = make_case(seed, num_images, num_steps, num_classes)
    picks = picks_from_pool(logits, target)
    for loss, expected in (
        (
            candidate_pool_loss(logits, picks, target, 'likelihood'),
            naive_pool_likelihood(logits, picks, target),
        ),
        (candidate_pool_loss(logits, picks, target), naive_pool_bce(logits, picks, target)),
        (optimal_completion_loss(logits, labels, target), naive_completion(logits, labels, target)),
        (
            optimal_completion_loss(logits, labels, target, temperature=0.7),
            naive_completion(logits, labels, target, temperature=0.7),
        ),
    ):
        torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-11)
        (grad,) = torch.autograd.grad(loss, logits, retain_graph=True)
        (expected_grad,) = torch.autograd.grad(expected, logits, retain_graph=True)
        torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-11)


def test_every_remaining_label_is_equally_good_by_hand():
    """Labels 0 and 2 are true: both at the first step, 2 after 0 was said, END after both."""
    right = right_symbols(torch.tensor([[0, 1, 2, 3]]), torch.tensor([[1, 0, 1]]))
    assert right[0].int().tolist() == [[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]

    logits = torch.zeros(1, 4, 4)
    loss = optimal_completion_loss(logits, torch.tensor([[0, 1, 2, 3]]), torch.tensor([[1, 0, 1]]))
    expected = torch.tensor([4 / 2, 4, 4, 4]).log().sum()
    assert loss.item() == pytest.approx(float(expected))


def test_nothing_counts_after_the_first_end():
    assert until_end(torch.tensor([[1, 2, 2, 0]]), end=2).tolist() == [[True, True, False, False]]
    logits, _, target = make_case()
    labels = torch.full((5, 5), 4)
    for loss in LOSSES.values():
        (grad,) = torch.autograd.grad(loss(logits, labels, target), logits)
        assert grad[:, 0].any()
        assert not grad[:, 1:].any()


@every
def test_ignored_labels_change_nothing(name):
    logits, labels, target = make_case()
    labels = picks_from_pool(logits, target) if 'pool' in name else labels
    ignored = F.pad(target < 0, (0, 1))[:, None].expand_as(logits)
    moved = torch.where(ignored, logits.detach() + 20, logits.detach()).requires_grad_()
    loss = LOSSES[name](moved, labels, target)
    torch.testing.assert_close(loss, LOSSES[name](logits, labels, target))
    (grad,) = torch.autograd.grad(loss, moved)
    assert not grad[ignored].any()


@every
def test_the_mean_over_steps_counts_an_image_by_its_length(name):
    logits, _, target = make_case()
    labels = picks_from_pool(logits, target)
    steps = until_end(labels, end=4).sum()
    by_images = LOSSES[name](logits, labels, target)
    by_steps = LOSSES[name](logits, labels, target, average='steps')
    torch.testing.assert_close(by_steps * steps / 5, by_images)


def test_cross_entropy_of_a_sequence_is_torchs():
    logits, labels, _ = make_case()
    lengths = torch.tensor([5, 1, 2, 3, 4])
    total = sum(
        F.cross_entropy(z[:length], row[:length], reduction='sum')
        for z, row, length in zip(logits, labels, lengths.tolist(), strict=True)
    )
    torch.testing.assert_close(sequence_cross_entropy(logits, labels, lengths), total / 5)
    torch.testing.assert_close(
        sequence_cross_entropy(logits, labels, lengths, average='steps'), total / 15
    )


def test_what_fills_a_row_may_be_no_symbol():
    logits, labels, _ = make_case()
    labels[:, 3:] = 99
    lengths = torch.full((5,), 3)
    loss = sequence_cross_entropy(logits, labels, lengths)
    torch.testing.assert_close(loss, sequence_cross_entropy(logits[:, :3], labels[:, :3], lengths))


def test_wrong_options_are_refused():
    logits, labels, target = make_case()
    with pytest.raises(ValueError, match="`form` to be one of 'likelihood', 'bce'"):
        candidate_pool_loss(logits, labels, target, form='mse')
    with pytest.raises(ValueError, match='`temperature` to be 0 or more, but got -1'):
        optimal_completion_loss(logits, labels, target, temperature=-1)
    for form in FORMS:
        with pytest.raises(ValueError, match="`average` to be one of 'images', 'steps'"):
            candidate_pool_loss(logits, labels, target, form, average='labels')
