"""TagProp against the authors' release, and on what a user may hand to it."""

import numpy as np
import pytest
import torch
from helpers import load_golden

from morn_plugin.models.label_decoders.neighbours import TagProp, nearest, tagprop
from morn_plugin.models.label_decoders.neighbours.tagprop import (
    entry_weights,
    list_votes,
    neighbour_weights,
    propagate,
    propagate_votes,
    weighted_nll,
)

NAMES = [f'label {index}' for index in range(7)]


@pytest.fixture
def golden():
    return {
        name: torch.from_numpy(np.array(value)) for name, value in load_golden('tagprop').items()
    }


def build(golden, **options):
    decoder = TagProp(7, num_neighbours=12, **options).double()
    targets = golden['train_labels'].numpy()
    decoder.prepare(NAMES, targets, features=golden['train_features'].numpy())
    return decoder


def test_neighbours_and_distances(golden):
    point = torch.nn.functional.normalize(golden['train_features'], dim=1)
    distances, rows = nearest(point, point, 12, exclude=torch.arange(80))
    assert torch.equal(rows, golden['train_neighbours'])
    expected = golden['train_neighbour_distances'] * golden['max_distance']
    torch.testing.assert_close(distances, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('probe', range(3))
@pytest.mark.parametrize('sigmoids', [False, True])
def test_values_and_gradients(golden, probe, sigmoids):
    kind = 'sigmoid' if sigmoids else 'linear'
    targets = golden['train_labels']
    weights = entry_weights(targets)
    torch.testing.assert_close(weights, golden['entry_weights'], rtol=1e-12, atol=1e-15)

    decay = golden['probe_lambda'][probe].clone().requires_grad_()
    share = neighbour_weights(golden['train_neighbour_distances'], decay)
    score = propagate(share, targets.double()[golden['train_neighbours']])
    if sigmoids:
        score = (golden['probe_alpha'] * score + golden['probe_beta']).sigmoid()
    torch.testing.assert_close(score, golden[f'{kind}_pred'][probe], rtol=1e-9, atol=1e-9)

    nll = weighted_nll(score, targets, weights)
    (gradient,) = torch.autograd.grad(nll, decay)
    torch.testing.assert_close(nll, golden[f'{kind}_nll'][probe], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, golden[f'{kind}_grad'][probe], rtol=1e-9, atol=1e-9)


def test_rank_weights(golden):
    targets = golden['train_labels']
    decay = golden['rank_probe_lambda'].clone().requires_grad_()
    share = neighbour_weights(golden['train_neighbour_distances'], decay, 'rank')
    score = propagate(share, targets.double()[golden['train_neighbours']])
    nll = weighted_nll(score, targets, entry_weights(targets))
    (gradient,) = torch.autograd.grad(nll, decay)
    torch.testing.assert_close(nll, golden['rank_linear_nll'], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, golden['rank_linear_grad'], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('block', [1, 500, 2**25])
def test_votes_propagate_the_same(golden, monkeypatch, block):
    monkeypatch.setattr(tagprop, 'BLOCK', block)
    labels = golden['train_labels'].double()
    labels[3] = 0  # an image without labels
    rows = golden['train_neighbours']
    shares = golden['train_neighbour_distances'].softmax(1).requires_grad_()

    expected = propagate(shares, labels[rows])
    found = propagate_votes(shares, list_votes(labels, rows), 7)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)

    (wanted,) = torch.autograd.grad(expected.log().sum(), shares)
    (gradient,) = torch.autograd.grad(found.log().sum(), shares)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-12)


def test_no_votes():
    rows = torch.tensor([[0, 1], [1, 0]])
    votes = list_votes(torch.zeros(2, 3), rows)
    found = propagate_votes(torch.full((2, 2), 0.5), votes, 3)
    assert torch.equal(found, propagate(torch.full((2, 2), 0.5), torch.zeros(2, 2, 3)))


@pytest.mark.parametrize(
    ('name', 'options', 'tolerance'),
    [
        ('dist_sigmoid', dict(), 1e-5),
        ('dist_linear', dict(sigmoids=False), 1e-4),  # theirs stops at a tolerance of 1e-6
        ('rank_linear', dict(weights='rank', sigmoids=False), 5e-2),
        ('rank_sigmoid', dict(weights='rank'), 5e-2),  # rank weights are poorly determined
    ],
)
def test_learnt_models(golden, name, options, tolerance):
    decoder = build(golden, **options)
    own = torch.arange(80)
    distances, rows = nearest(decoder.memory, decoder.memory, 12, exclude=own)
    history = golden[f'{name}_nll_history']
    reached = history[history > 0].min()

    with torch.no_grad():
        nll = weighted_nll(
            decoder._score(distances, rows),
            golden['train_labels'],
            entry_weights(golden['train_labels']),
        )
        scores = decoder.predict(golden['test_features'])['pred_score']

    assert nll <= reached + 1e-6
    torch.testing.assert_close(scores, golden[f'{name}_test_scores'], rtol=0, atol=tolerance)


def test_a_checkpoint_holds_the_training_set(golden):
    decoder = build(golden)
    fresh = TagProp(7, num_neighbours=12).double()
    fresh.load_state_dict(decoder.state_dict())
    assert fresh.memory.shape == (80, 6)
    features = golden['test_features']
    assert torch.equal(
        fresh.predict(features)['pred_score'], decoder.predict(features)['pred_score']
    )


def test_the_loss_of_the_training_set_leaves_each_image_out(golden):
    decoder = build(golden)
    loss = decoder.loss(features=golden['train_features'], target=golden['train_labels'])
    expected = golden['dist_sigmoid_nll_history']
    torch.testing.assert_close(
        loss['loss_tagprop'].detach(), expected[expected > 0].min(), rtol=1e-6, atol=1e-6
    )
    loss['loss_tagprop'].backward()
    assert decoder.decay.grad.abs() < 1e-4  # the fit is at its optimum


def test_nothing_is_known_before_it_is_prepared():
    with pytest.raises(RuntimeError, match='TagProp has no training set yet'):
        TagProp(7, 3).predict(torch.rand(2, 6))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(num_neighbours=80), 'num_neighbours=80 needs a larger training set.* 80 images'),
        (dict(width=5), r'features of shape \(N, 6\), but got \(2, 5\)'),
        (dict(nan=True), 'training image 3 are not'),
        (dict(classes=6), 'write head=dict'),
    ],
)
def test_bad_input(golden, change, message):
    features = golden['train_features'].clone()
    targets = golden['train_labels'].numpy()
    if change.get('nan'):
        features[3, 2] = float('nan')
    classes = change.get('classes', 7)
    decoder = TagProp(7, change.get('num_neighbours', 12))
    with pytest.raises(ValueError, match=message):
        use(decoder, NAMES[:classes], targets[:, :classes], features, change.get('width', 6))


def use(decoder, names, targets, features, width):
    decoder.prepare(names, targets, features=features.numpy())
    decoder.predict(torch.rand(2, width))


def test_ignored_labels_weigh_nothing(golden):
    targets = golden['train_labels'].clone()
    targets[:5] = -1
    weights = entry_weights(targets)
    assert not weights[:5].any()
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))


def test_a_memory_in_a_file(golden, tmp_path):
    from morn_plugin.datasets.annotations import Annotations
    from morn_plugin.datasets.cached.file import ScoreFile, ScoreFileError, save_scores

    path = tmp_path / 'train.safetensors'
    items = [
        dict(img_path=f'{row}.jpg', gt_label=labels.nonzero()[:, 0].tolist())
        for row, labels in enumerate(golden['train_labels'])
    ]
    features = golden['train_features'].float().numpy()
    scores = np.zeros((80, 7), np.float32)
    save_scores(path, ScoreFile(scores, Annotations(NAMES, items), {}, dict(features=features)))

    decoder = TagProp(7, 12, memory_file=str(path))
    decoder.prepare(NAMES, golden['train_labels'].numpy(), features=features)
    state = decoder.state_dict()
    assert 'memory' not in state
    fresh = TagProp(7, 12, memory_file=str(path))
    fresh.load_state_dict(state)
    queries = golden['test_features'].float()
    expected = decoder.predict(queries)['pred_score']
    torch.testing.assert_close(fresh.predict(queries)['pred_score'], expected)

    save_scores(path, ScoreFile(scores, Annotations(NAMES, items), {}, dict(features=features + 1)))
    other = TagProp(7, 12, memory_file=str(path))
    other.load_state_dict(state)
    with pytest.raises(ScoreFileError, match='prepared from another file'):
        other.predict(queries)
