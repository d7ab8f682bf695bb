"""CNN-RNN: sequences, losses, greedy decoding and beam search against loops in plain Python."""

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import naive_lstm_step

from morn_plugin.models import LabelSequenceLSTM
from morn_plugin.models.label_decoders.beam_search import beam_search
from morn_plugin.models.label_decoders.label_orders import build_sequences
from morn_plugin.models.label_decoders.unroll import step_once

NAMES = ['sky', 'cat', 'dog', 'sea']
# counts 3, 2, 2, 0
TARGETS = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=np.int8)
ORDERS = {'frequent_first': [0, 1, 2, 3], 'rare_first': [3, 1, 2, 0], 'lexicographic': [1, 2, 3, 0]}


def build(num_classes=4, order='frequent_first', large=3, prepared=True, **options):
    """A decoder in float64 with large weights, so that the picks vary."""
    decoder = LabelSequenceLSTM(
        num_classes, order, **(dict(embed_dims=5, hidden_dims=6) | options)
    ).double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(large)

    if prepared:
        targets = TARGETS if num_classes == 4 else np.eye(num_classes, dtype=np.int8)
        decoder.prepare(
            NAMES if num_classes == 4 else [f'{i:02}' for i in range(num_classes)], targets
        )

    return decoder


def random_scores(num_images, num_classes=4):
    return torch.rand(num_images, num_classes, dtype=torch.float64)


def naive_sequence(target, order):
    """START is not written; END is one more than the last label."""
    return [label for label in order if target[label] == 1] + [len(target)]


class NaiveSteps:
    """One image, one step at a time, by scalar-free numpy from the weights' names alone."""

    def __init__(self, decoder, score):
        self.weights = {
            name: tensor.detach().numpy() for name, tensor in decoder.state_dict().items()
        }
        self.start = tuple(
            np.tanh(
                self.weights[f'init_{part}.weight'] @ score.numpy()
                + self.weights[f'init_{part}.bias']
            )
            for part in 'hc'
        )

    def log_probabilities(self, labels):
        """The distribution after START and ``labels``."""
        h, c = self.start
        for row in [0, *(label + 1 for label in labels)]:
            h, c = naive_lstm_step(self.weights, row, h, c)
        logits = self.weights['output.weight'] @ h + self.weights['output.bias']
        return logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())


def naive_greedy(steps, end, max_labels):
    labels = []
    while len(labels) < max_labels:
        log_p = steps.log_probabilities(labels)
        best = max(
            (symbol for symbol in range(end + 1) if symbol not in labels),
            key=lambda symbol: log_p[symbol],
        )
        if best == end:
            break

        labels.append(best)

    return labels


def naive_beam(steps, end, max_labels, beam_size):
    beams = [(0.0, [], False)]
    for _ in range(max_labels):
        grown = []
        for total, labels, ended in beams:
            if ended:
                grown.append((total, labels, True))
                continue

            log_p = steps.log_probabilities(labels)
            grown.append((total + log_p[end], labels, True))
            grown += [
                (total + log_p[label], [*labels, label], False)
                for label in range(end)
                if label not in labels
            ]

        beams = sorted(grown, key=lambda beam: -beam[0])[:beam_size]

    return beams[0][1]


def naive_best(steps, end, max_labels):
    """The most probable of all sequences, one by one."""
    best = None
    best_sum = -math.inf

    for length in range(max_labels + 1):
        for labels in itertools.permutations(range(end), length):
            ended = [*labels, end] if length < max_labels else list(labels)
            total = sum(
                steps.log_probabilities(list(labels[:t]))[symbol] for t, symbol in enumerate(ended)
            )
            if total > best_sum:
                best = list(labels)
                best_sum = total

    return best


def path_of(row):
    return [label for label in row.tolist() if label >= 0]


@pytest.mark.parametrize('order', ORDERS)
def test_order_from_the_training_annotations(order):
    decoder = build(order=order)
    assert decoder.label_order.tolist() == ORDERS[order]
    assert decoder.longest.item() == 3


def test_own_list_is_the_order():
    assert build(order=['sea', 'sky', 'dog', 'cat']).label_order.tolist() == [3, 0, 2, 1]


@pytest.mark.parametrize(
    ('order', 'message'),
    [
        ('longest', "one of .*'frequent_first', 'rare_first', 'lexicographic'.* but got 'longest'"),
        (None, 'a list of all class names, but got None'),
        (['sky', 3], r"but got \['sky', 3\]"),
        (['sky', 'cat', 'dog'], "each of the 4 classes once, but missing: 'sea'"),
        (['sky', 'cat', 'dog', 'sea', 'car'], "unknown: 'car'"),
        (['sky', 'cat', 'dog', 'sea', 'sky'], "repeated: 'sky'"),
    ],
)
def test_wrong_order_is_named(order, message):
    with pytest.raises(ValueError, match=message):
        build(order=order)


def test_difficult_labels_do_not_count_for_the_order():
    decoder = build(prepared=False)
    decoder.prepare(NAMES, np.array([[1, -1, 0, 0], [0, -1, 1, 0], [1, 1, 0, 0]], dtype=np.int8))
    assert decoder.label_order.tolist() == [0, 1, 2, 3]  # counts 2, 1, 1, 0
    assert decoder.longest.item() == 2


@pytest.mark.parametrize('order', ORDERS)
def test_sequences_are_those_of_a_loop(order):
    target = torch.tensor(list(itertools.product([0, 1, -1], repeat=4)))
    sequences, lengths = build_sequences(target, torch.tensor(ORDERS[order]))
    for row, length, wanted in zip(
        sequences,
        lengths,
        (naive_sequence(row.tolist(), ORDERS[order]) for row in target),
        strict=True,
    ):
        assert row[:length].tolist() == wanted
        assert (row[length:] == 4).all()

    assert sequences.shape == (81, 5)


@pytest.mark.parametrize('order', ORDERS)
def test_loss_is_that_of_a_loop(order):
    decoder = build(order=order)
    target = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0], [1, -1, 0, 0]])
    scores = random_scores(4)

    total = 0.0
    for score, row in zip(scores, target.tolist(), strict=True):
        steps = NaiveSteps(decoder, score)
        sequence = naive_sequence(row, ORDERS[order])
        for t, symbol in enumerate(sequence):
            log_p = steps.log_probabilities(sequence[:t])
            allowed = np.exp([log_p[k] for k in range(5) if k == 4 or row[k] >= 0]).sum()
            total -= log_p[symbol] - math.log(allowed)

    losses = decoder.loss(scores, target)
    assert losses.keys() == {'loss_sequence'}
    assert losses['loss_sequence'].item() == pytest.approx(total / 4, rel=1e-12)


@pytest.mark.parametrize('names', [['sky'], [*NAMES, 'car']])
def test_other_classes_than_those_of_the_model_are_refused(names):
    with pytest.raises(
        ValueError,
        match=rf'num_classes=4, but .* name {len(names)} classes .*num_classes={len(names)}\)',
    ):
        build(prepared=False).prepare(names, np.ones((3, len(names)), dtype=np.int8))


def test_target_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r'expected a target of shape \(2, 4\).* but got \(2, 3\)'):
        build().loss(random_scores(2), torch.zeros(2, 3))


@pytest.mark.parametrize('beam_size', [1, 3])
def test_a_batch_of_no_images(beam_size):
    assert build(beam_size=beam_size).predict(random_scores(0))['step_labels'].shape == (0, 3)


def test_image_without_labels_trains_on_end_alone():
    decoder = build()
    scores = random_scores(1)
    loss = decoder.loss(scores, torch.zeros(1, 4))['loss_sequence'].item()
    assert loss == pytest.approx(
        -NaiveSteps(decoder, scores[0]).log_probabilities([])[4], rel=1e-12
    )


def test_gradient_is_that_of_finite_differences():
    decoder = build(large=1.5, embed_dims=2, hidden_dims=3)
    target = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]])
    scores = random_scores(2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda scores, *_: decoder.loss(scores, target)['loss_sequence'],
        (scores, *decoder.parameters()),
    )


@pytest.mark.parametrize('max_labels', [None, 1, 4])
def test_greedy_is_that_of_a_loop(max_labels):
    decoder = build(max_labels=max_labels)
    scores = random_scores(40)
    predictions = decoder.predict(scores)
    expected = [naive_greedy(NaiveSteps(decoder, score), 4, max_labels or 3) for score in scores]
    assert [path_of(row) for row in predictions['step_labels']] == expected
    assert len({len(labels) for labels in expected}) > 1, (
        'the weights should end sequences at different lengths'
    )
    for mask, labels in zip(predictions['pred_label'], expected, strict=True):
        assert mask.nonzero()[:, 0].tolist() == sorted(labels)


@pytest.mark.parametrize('beam_size', [2, 3, 7])
def test_beam_search_is_that_of_a_loop(beam_size):
    decoder = build(beam_size=beam_size)
    scores = random_scores(25)
    expected = [naive_beam(NaiveSteps(decoder, score), 4, 3, beam_size) for score in scores]
    assert [path_of(row) for row in decoder.predict(scores)['step_labels']] == expected


def test_beam_of_one_is_greedy():
    decoder = build(num_classes=9, max_labels=9)
    scores = random_scores(50, 9)
    greedy = decoder.predict(scores)
    state, weights = decoder.start(scores)
    best = beam_search(lambda labels, state: step_once(labels, state, weights), state, 9, 1)
    assert torch.where(best == 9, -1, best).tolist() == greedy['step_labels'].tolist()


def test_a_beam_that_holds_everything_finds_the_most_probable_sequence():
    decoder = build(num_classes=3, beam_size=100, max_labels=3)
    scores = random_scores(12, 3)
    expected = [naive_best(NaiveSteps(decoder, score), 3, 3) for score in scores]
    found = [path_of(row) for row in decoder.predict(scores)['step_labels']]
    assert found == expected
    greedy = build(num_classes=3, max_labels=3)
    greedy.load_state_dict(decoder.state_dict())
    assert [path_of(row) for row in greedy.predict(scores)['step_labels']] != expected, (
        'greedy should miss some'
    )


@pytest.mark.parametrize('beam_size', [1, 4])
def test_no_label_is_named_twice(beam_size):
    decoder = build(num_classes=6, large=8, beam_size=beam_size, max_labels=6)
    for row in decoder.predict(random_scores(60, 6))['step_labels']:
        labels = path_of(row)
        assert len(labels) == len(set(labels))
        assert row[len(labels) :].tolist() == [-1] * (6 - len(labels))


@pytest.mark.parametrize('beam_size', [1, 3])
def test_scores_are_the_highest_probability_up_to_end(beam_size):
    decoder = build(beam_size=beam_size)
    scores = random_scores(10)
    predictions = decoder.predict(scores)

    for n, score in enumerate(scores):
        labels = path_of(predictions['step_labels'][n])
        steps = NaiveSteps(decoder, score)
        reached = [
            np.exp(steps.log_probabilities(labels[:t])[:4]) for t in range(min(len(labels) + 1, 3))
        ]
        np.testing.assert_allclose(
            predictions['pred_score'][n].detach(), np.max(reached, axis=0), rtol=1e-10
        )
        np.testing.assert_allclose(
            predictions['step_scores'][n, : len(reached)].detach(), reached, rtol=1e-10
        )
        assert (predictions['step_scores'][n, len(reached) :] == 0).all()


def test_without_an_order_there_is_no_training():
    with pytest.raises(RuntimeError, match='no label order yet: add PrepareDecoderHook'):
        build(prepared=False).loss(random_scores(1), torch.zeros(1, 4))


def test_checkpoint_holds_order_and_length():
    trained = build(order='rare_first')
    loaded = build(order='rare_first', prepared=False)
    loaded.load_state_dict(trained.state_dict())
    scores = random_scores(5)
    target = torch.tensor([[1, 0, 0, 1]] * 5)
    assert torch.equal(
        loaded.loss(scores, target)['loss_sequence'], trained.loss(scores, target)['loss_sequence']
    )
    assert torch.equal(
        loaded.predict(scores)['step_labels'], trained.predict(scores)['step_labels']
    )


def permuted(decoder, permutation):
    """The same decoder for a class list in another order: class k of the new is class permutation[k] of the old."""
    other = build(order=decoder.order, prepared=False)
    rows = torch.tensor([*permutation, 4])
    state = dict(decoder.state_dict())
    for name in ('init_h.weight', 'init_c.weight'):
        state[name] = state[name][:, rows[:-1]]

    for name in ('output.weight', 'output.bias'):
        state[name] = state[name][rows]

    state['embedding.weight'] = state['embedding.weight'][
        torch.cat([torch.zeros(1, dtype=torch.long), rows + 1])
    ]
    other.load_state_dict(state)
    other.prepare([NAMES[k] for k in permutation], TARGETS[:, permutation])
    return other


@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize('permutation', [[3, 2, 1, 0], [1, 3, 0, 2]])
def test_order_of_the_class_list_changes_nothing(order, permutation):
    decoder = build(order=order)
    other = permuted(decoder, permutation)
    assert [permutation[k] for k in other.label_order.tolist()] == decoder.label_order.tolist()
    scores = random_scores(30)
    expected = decoder.predict(scores)
    found = other.predict(scores[:, permutation])
    assert torch.equal(found['pred_label'], expected['pred_label'][:, permutation])
    target = torch.tensor(list(itertools.product([0, 1], repeat=4)))[:, :4]
    torch.testing.assert_close(
        other.loss(random_like(target)[:, permutation], target[:, permutation])['loss_sequence'],
        decoder.loss(random_like(target), target)['loss_sequence'],
    )


def random_like(target):
    return torch.linspace(0, 1, target.numel(), dtype=torch.float64).reshape(target.shape)
