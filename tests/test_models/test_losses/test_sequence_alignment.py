"""Orders of the labels that fit what an RNN says: MLA, PLA and the authors' code of it."""

from itertools import permutations

import pytest
import torch
from helpers import load_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from morn_plugin.models.losses import align_sequences, sequence_cross_entropy
from morn_plugin.models.losses.sequence_alignment import ALIGNMENTS

each_way = pytest.mark.parametrize('how', ALIGNMENTS)


def golden():
    arrays = load_golden('orderless_alignment')
    return {name: torch.from_numpy(array) for name, array in arrays.items() if array.ndim}


def make_case(seed, num_images=4, num_classes=6, num_steps=7, most=5):
    """Logits, and for each image some labels in any order, END, and a filler that is no symbol."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(
        num_images, num_steps, num_classes + 1, generator=generator, dtype=torch.float64
    )
    numbers = torch.randint(most + 1, (num_images,), generator=generator)
    sequences = torch.full((num_images, most + 1), num_classes + 5)

    for row, number in zip(sequences, numbers.tolist(), strict=True):
        row[:number] = torch.randperm(num_classes, generator=generator)[:number]
        row[number] = num_classes

    return logits, sequences, numbers + 1


def cost(logits, order):
    """Cross-entropy of the labels of one image in an order."""
    losses = -logits.log_softmax(dim=1)
    return sum(float(losses[step, label]) for step, label in enumerate(order))


def fixed_places(logits, labels):
    """Paper: a true label that is the best symbol at one of the n steps, at the first such step."""
    places = {}
    for step in range(len(labels)):
        best = int(logits[step].argmax())
        if best in labels and best not in places.values():
            places[step] = best
    return places


def cheapest(logits, labels, places):
    """Of all orders that respect the fixed places."""
    orders = [
        order
        for order in permutations(labels)
        if all(order[step] == label for step, label in places.items())
    ]
    return min(orders, key=lambda order: cost(logits, order))


@pytest.mark.parametrize(('how', 'name'), [('mla', 'mla'), ('pla_release', 'pla')])
def test_orders_and_losses_are_the_authors(how, name):
    arrays = golden()
    logits = arrays['scores'].requires_grad_()
    aligned = align_sequences(logits, arrays['targets'], arrays['lengths'], how)
    assert (aligned == arrays[f'{name}_targets']).all()

    loss = sequence_cross_entropy(logits, aligned, arrays['lengths'], average='steps')
    (grad,) = torch.autograd.grad(loss, logits)
    expected = torch.tensor(load_golden('orderless_alignment')[f'{name}_loss'])
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(grad, arrays[f'{name}_grad'], rtol=1e-10, atol=1e-12)


def test_the_loss_of_the_given_order_is_the_authors():
    arrays = golden()
    loss = sequence_cross_entropy(
        arrays['scores'], arrays['targets'], arrays['lengths'], average='steps'
    )
    expected = load_golden('orderless_alignment')['fixed_order_loss']
    assert float(loss) == pytest.approx(float(expected), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mla_and_pla_are_the_best_of_all_orders_they_allow(seed):
    logits, sequences, lengths = make_case(seed)
    for how in ('mla', 'pla'):
        aligned = align_sequences(logits, sequences, lengths, how)
        for z, row, result, length in zip(logits, sequences, aligned, lengths, strict=True):
            labels = row[: length - 1].tolist()
            places = fixed_places(z, labels) if how == 'pla' else {}
            assert tuple(result[: length - 1].tolist()) == cheapest(z, labels, places)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), how=st.sampled_from(ALIGNMENTS))
def test_only_labels_change_places(seed, how):
    logits, sequences, lengths = make_case(seed)
    aligned = align_sequences(logits, sequences, lengths, how)
    for row, result, length in zip(sequences, aligned, lengths, strict=True):
        assert sorted(row[: length - 1].tolist()) == sorted(result[: length - 1].tolist())
        assert row[length - 1 :].tolist() == result[length - 1 :].tolist()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), how=st.sampled_from(['mla', 'pla']))
def test_the_order_given_does_not_matter_to_the_paper(seed, how):
    logits, sequences, lengths = make_case(seed)
    other = sequences.clone()
    for row, length in zip(other, lengths.tolist(), strict=True):
        row[: length - 1] = row[: length - 1].flip(0)
    once = align_sequences(logits, sequences, lengths, how)
    assert (once == align_sequences(logits, other, lengths, how)).all()


def test_what_the_release_leaves_where_it_was():
    """Label 2 is predicted after the last of the three steps: matched by the paper, not by the release."""
    logits = torch.zeros(1, 4, 4)
    logits[0, 0, 1] = logits[0, 3, 2] = 9.0  # label 1 at the first step, label 2 at the fourth
    logits[0, 1, 2] = 1.0  # the second step prefers label 2 among the two that are left...
    logits[0, 1, 3] = logits[0, 2, 3] = 2.0  # ...but says END, as the third does
    sequences = torch.tensor([[1, 0, 2, 3]])
    lengths = torch.tensor([4])
    assert align_sequences(logits, sequences, lengths, 'pla').tolist() == [[1, 2, 0, 3]]
    assert align_sequences(logits, sequences, lengths, 'pla_release').tolist() == [[1, 0, 2, 3]]


def test_a_label_predicted_twice_stands_at_the_first_step():
    logits = torch.zeros(1, 3, 3)
    logits[0, :, 1] = 5.0
    sequences = torch.tensor([[0, 1, 2]])
    lengths = torch.tensor([3])
    assert align_sequences(logits, sequences, lengths, 'pla').tolist() == [[1, 0, 2]]


@each_way
def test_images_with_no_label_one_and_all(how):
    logits = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    sequences = torch.tensor([[3, 3, 3, 3], [2, 3, 3, 3], [0, 1, 2, 3]])
    lengths = torch.tensor([1, 2, 4])
    aligned = align_sequences(logits, sequences, lengths, how)
    assert (aligned[:2] == sequences[:2]).all()
    assert sorted(aligned[2].tolist()) == [0, 1, 2, 3]


@each_way
def test_an_empty_batch_stays_empty(how):
    empty = torch.zeros(0, 3, dtype=torch.long)
    assert align_sequences(torch.zeros(0, 4, 3), empty, empty[:, 0], how).shape == (0, 3)


def test_no_gradient_passes():
    logits, sequences, lengths = make_case(0)
    assert not align_sequences(logits.requires_grad_(), sequences, lengths, 'mla').requires_grad


def test_wrong_input_is_refused():
    logits, sequences, lengths = make_case(0)
    with pytest.raises(ValueError, match="`how` to be one of 'mla', 'pla', 'pla_release'"):
        align_sequences(logits, sequences, lengths, 'fixed')
    with pytest.raises(ValueError, match=r'at most 3 places.*got \(4, 6\) .* run more steps'):
        align_sequences(logits[:, :3], sequences, lengths, 'mla')
    for wrong in (sequences[:3], sequences[0]):
        with pytest.raises(ValueError, match=r'`sequences` \(N, L\) of 4 images'):
            align_sequences(logits, wrong, lengths, 'mla')

    with pytest.raises(ValueError, match=r'`lengths` of shape \(4,\).* got \(3,\)'):
        align_sequences(logits, sequences, lengths[:3], 'mla')
    with pytest.raises(ValueError, match=r'floating-point \(N, T, C \+ 1\)'):
        align_sequences(logits[0], sequences, lengths, 'mla')
