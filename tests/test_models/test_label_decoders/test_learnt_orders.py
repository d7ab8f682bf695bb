"""Orders that the decoder finds itself: what each step is fed with, and what it learns, by plain loops."""

from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from morn_plugin.models import LabelSequenceLSTM
from morn_plugin.models.label_decoders.label_orders import LEARNT_ORDERS
from morn_plugin.models.label_decoders.unroll import step_once

NUM_CLASSES, END = 4, 4
TARGETS = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 1], [0, -1, 1, -1], [-1, -1, -1, -1]])
MOST_LABELS = 3
each_order = pytest.mark.parametrize('order', LEARNT_ORDERS)


def build(order, **options):
    """A decoder in float64 with large weights, so that the picks vary."""
    torch.manual_seed(0)
    sizes = dict(embed_dims=5, hidden_dims=6)
    decoder = LabelSequenceLSTM(NUM_CLASSES, order, **(sizes | options)).double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(3)
    decoder.prepare(list('abcd'), TARGETS.numpy().astype(np.int8))
    return decoder


def random_scores(num_images=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_images, NUM_CLASSES, dtype=torch.float64, generator=generator)


def run_steps(decoder, scores, num_steps, choose):
    """One step at a time with autograd: logits (N, T, C + 1), and the symbols that were fed."""
    state, weights = decoder.start(scores)
    logits = []
    symbols = []
    said = None
    for _ in range(num_steps):
        step_logits, state = step_once(said, state, weights)
        said = choose(step_logits.detach(), symbols)
        logits.append(step_logits)
        symbols.append(said)

    return torch.stack(logits, dim=1), torch.stack(symbols, dim=1)


def without_ignored(logits, truth):
    """Log-probabilities of a step over the labels that count, and END."""
    ignored = F.pad(truth < 0, (0, 1))
    return logits.masked_fill(ignored, float('-inf')).log_softmax(dim=-1)


def true_labels(truth):
    return (truth == 1).nonzero()[:, 0].tolist()


def best_left(logits, symbols):
    """Of each image the best true label that was not said, or END."""
    picks = []
    for row, (z, truth) in enumerate(zip(logits, TARGETS, strict=True)):
        said = [int(step[row]) for step in symbols]
        left = [label for label in true_labels(truth) if label not in said]
        picks.append(max(left, key=lambda label: float(z[label])) if left else END)
    return torch.tensor(picks)


def argmax(logits, symbols):
    return logits.argmax(dim=1)


def sample(logits, symbols):
    return torch.multinomial(logits.softmax(dim=1), 1)[:, 0]


def minimal_loss(logits, symbols):
    """The cheapest order of all, image by image."""
    total = 0
    for z, truth in zip(logits, TARGETS, strict=True):
        log_probs = without_ignored(z, truth)
        labels = true_labels(truth)
        total = total + min(
            (
                -sum(log_probs[step, label] for step, label in enumerate([*order, END]))
                for order in permutations(labels)
            ),
            key=lambda value: value.item(),
        )

    return total / len(TARGETS)


def likelihood_of_picks(logits, symbols):
    total = 0
    for z, said, truth in zip(logits, symbols, TARGETS, strict=True):
        log_probs = without_ignored(z, truth)
        for step in range(len(true_labels(truth)) + 1):
            total = total - log_probs[step, said[step]]
    return total / len(TARGETS)


def bce_against_the_pool(logits, symbols):
    total = 0
    for z, said, truth in zip(logits, symbols.tolist(), TARGETS, strict=True):
        for step in range(len(true_labels(truth)) + 1):
            left = [label for label in true_labels(truth) if label not in said[:step]] or [END]
            known = (truth >= 0).nonzero()[:, 0].tolist()
            known += [END] if known else []  # else nothing is known, nor that there is none

            for symbol in known:
                sign = 1 if symbol in left else -1
                total = total - F.logsigmoid(sign * z[step, symbol])

    return total / len(TARGETS)


def divergence_from_the_best(logits, symbols):
    total = 0
    for z, said, truth in zip(logits, symbols.tolist(), TARGETS, strict=True):
        log_probs = without_ignored(z, truth)
        for step in range(len(said)):
            left = [label for label in true_labels(truth) if label not in said[:step]] or [END]
            total = total - sum(log_probs[step, symbol] for symbol in left) / len(left)
            total = total - np.log(len(left))
            if said[step] == END:
                break

    return total / len(TARGETS)


RULES = {
    'mla': (MOST_LABELS + 1, argmax, minimal_loss),
    'pool': (MOST_LABELS + 1, best_left, bce_against_the_pool),
    'pool_likelihood': (MOST_LABELS + 1, best_left, likelihood_of_picks),
    'ocd': (MOST_LABELS + 1, sample, divergence_from_the_best),
}


@pytest.mark.parametrize('order', RULES)
def test_loss_and_gradient_are_those_of_a_loop(order):
    decoder = build(order)
    scores = random_scores()
    num_steps, choose, loss_of = RULES[order]

    torch.manual_seed(7)
    loss = decoder.loss(scores, TARGETS)['loss_sequence']
    gradients = torch.autograd.grad(loss, list(decoder.parameters()))

    torch.manual_seed(7)
    expected = loss_of(*run_steps(decoder, scores, num_steps, choose))
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)

    for ours, theirs in zip(
        gradients, torch.autograd.grad(expected, list(decoder.parameters())), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@each_order
def test_the_mean_over_steps_weighs_an_image_by_its_steps(order):
    """Two images with one true label each have two steps in either form."""
    target = TARGETS[[3, 3]]
    scores = random_scores(2)

    losses = []
    for average in ('images', 'steps'):
        torch.manual_seed(3)
        losses.append(build(order, average=average).loss(scores, target)['loss_sequence'])

    if order == 'ocd':  # its steps end where END is drawn
        assert losses[0] >= losses[1]
    else:
        torch.testing.assert_close(losses[0], 2 * losses[1])


@each_order
def test_images_of_every_kind_and_a_single_one(order):
    decoder = build(order)
    for rows in ([0], [1], [4], [0, 1, 2, 3, 4]):
        loss = decoder.loss(random_scores(len(rows)), TARGETS[rows])['loss_sequence']
        assert bool(loss.isfinite())
        gradients = torch.autograd.grad(loss, list(decoder.parameters()))
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@each_order
def test_no_images_are_refused_in_training_and_fine_in_prediction(order):
    decoder = build(order)
    with pytest.raises(ValueError, match='nothing to learn from a batch of no images'):
        decoder.loss(random_scores(0), TARGETS[:0])
    assert decoder.predict(random_scores(0))['pred_label'].shape == (0, NUM_CLASSES)


@each_order
def test_one_class(order):
    torch.manual_seed(0)
    decoder = LabelSequenceLSTM(1, order, embed_dims=3, hidden_dims=4)
    decoder.prepare(['a'], np.array([[1], [0]], dtype=np.int8))
    loss = decoder.loss(torch.rand(2, 1), torch.tensor([[1.0], [0.0]]))['loss_sequence']
    assert bool(loss.isfinite())
    assert decoder.predict(torch.rand(2, 1))['pred_score'].shape == (2, 1)


def prefers_one_label(order, **options):
    decoder = build(order, max_labels=4, **options)
    with torch.no_grad():
        decoder.output.bias[1] += 100
    return decoder.predict(random_scores())['step_labels']


def test_the_alignments_may_repeat_a_label_and_the_pools_may_not():
    for order in LEARNT_ORDERS:
        steps = prefers_one_label(order)
        assert (steps[:, 0] == 1).all()
        assert (steps == 1).all() == (order in ('mla', 'pla', 'pla_release'))
    for steps in (prefers_one_label('pla', repeats=False), prefers_one_label('ocd')):
        assert (steps[:, 1:] != 1).all()


@each_order
def test_a_prediction_says_what_it_names(order):
    predictions = build(order, max_labels=4).predict(random_scores(50))
    for steps, mask in zip(predictions['step_labels'], predictions['pred_label'], strict=True):
        assert set(steps[steps >= 0].tolist()) == set(mask.nonzero()[:, 0].tolist())
        ended = (steps < 0).int()
        assert (ended.diff() >= 0).all()  # nothing is said after the end
    scores = predictions['pred_score']
    assert bool(((scores >= 0) & (scores <= 1)).all())


def test_scores_of_the_pool_are_sigmoids():
    decoder = build('pool', max_labels=4)
    scores = random_scores()
    step_logits, _ = decoder(scores)
    first = decoder.predict(scores)['step_scores'][:, 0]
    torch.testing.assert_close(first, step_logits[:, 0, :END].sigmoid())


def test_the_order_of_the_class_list_is_where_they_start():
    assert build('pla_release').label_order.tolist() == [0, 1, 2, 3]


def test_a_checkpoint_holds_what_is_prepared():
    decoder = build('mla')
    loaded = LabelSequenceLSTM(NUM_CLASSES, 'mla', embed_dims=5, hidden_dims=6).double()
    loaded.load_state_dict(decoder.state_dict())
    scores = random_scores()
    torch.testing.assert_close(
        loaded.loss(scores, TARGETS)['loss_sequence'],
        decoder.loss(scores, TARGETS)['loss_sequence'],
    )


def test_an_image_with_more_labels_than_any_of_the_training_set():
    """Made up by a mixing augmentation, or labelled later."""
    for order in LEARNT_ORDERS:
        loss = build(order).loss(random_scores(1), torch.ones(1, NUM_CLASSES))['loss_sequence']
        assert bool(loss.isfinite())


def test_searches_that_cannot_be_made_are_refused():
    with pytest.raises(ValueError, match='never says a label twice: write repeats=False'):
        build('mla', beam_size=2)
    with pytest.raises(ValueError, match="order='pool' learns a sigmoid for each symbol"):
        build('pool', beam_size=2)
    for order in ('pool_likelihood', 'ocd'):
        assert build(order, beam_size=2).predict(random_scores())['pred_label'].any()
    assert build('pla', beam_size=2, repeats=False).predict(random_scores())['pred_label'].any()


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"`order` to be one of .*'mla'.*'ocd'"):
        build('random')
    with pytest.raises(ValueError, match="`average` to be one of 'images', 'steps'"):
        build('mla', average='labels')
    with pytest.raises(ValueError, match='`temperature` to be 0 or more, but got -1'):
        build('ocd', temperature=-1)
