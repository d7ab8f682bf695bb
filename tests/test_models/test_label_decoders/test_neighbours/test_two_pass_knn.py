"""2PKNN against the first author's code, and on what a user may hand to it."""

import numpy as np
import pytest
import torch
from helpers import load_golden

from morn_plugin.models.label_decoders.neighbours import TwoPassKNN

NAMES = [f'label {index}' for index in range(7)]


@pytest.fixture
def golden():
    return load_golden('tpknn')


def build(golden, **options):
    decoder = TwoPassKNN(7, **options).double()
    decoder.prepare(NAMES, golden['train_labels'], features=golden['train_features'])
    return decoder


@pytest.mark.parametrize('num_neighbours', [1, 3, 5])
@pytest.mark.parametrize('bandwidth', [1, 5])
def test_scores_of_the_first_author(golden, num_neighbours, bandwidth):
    decoder = build(golden, num_neighbours=num_neighbours, bandwidth=bandwidth)
    scores = decoder.predict(torch.from_numpy(golden['test_features']))['pred_score']
    expected = torch.from_numpy(golden[f'scores_K{num_neighbours}_w{bandwidth}'])
    torch.testing.assert_close(scores.detach(), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(scores.sum(1), torch.ones(25, dtype=torch.float64))


def test_the_maxima_of_the_training_side_do_not_depend_on_the_batch(golden):
    features = torch.from_numpy(golden['test_features'])
    decoder = build(golden, normalize_labels='training')
    whole = decoder.predict(features)['pred_score']
    parts = torch.cat([decoder.predict(part)['pred_score'] for part in features.split(1)])
    torch.testing.assert_close(whole, parts)

    plain = build(golden)
    own = [
        plain._score(plain.memory[[row]], exclude=torch.tensor([row]))[0].detach()
        for row in range(len(plain.memory))
    ]
    torch.testing.assert_close(decoder.label_maxima, torch.stack(own).amax(0))


def test_the_way_of_the_release_depends_on_the_batch(golden):
    features = torch.from_numpy(golden['test_features'])
    decoder = build(golden, normalize_labels='transductive')
    scores = decoder.predict(features)['pred_score']
    torch.testing.assert_close(scores.amax(0), torch.ones(7, dtype=torch.float64))
    assert not torch.allclose(decoder.predict(features[:3])['pred_score'], scores[:3])


def test_a_label_with_fewer_images_than_neighbours_takes_what_it_has():
    features = np.eye(4)
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.int8)
    decoder = TwoPassKNN(2, num_neighbours=3).double()
    decoder.prepare(['a', 'b'], targets, features=features)
    scores = decoder.predict(torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64))['pred_score']
    d = np.array([0, 2**0.5, 2**0.5, 2**0.5])
    votes = np.exp(-(d - d.min()) / d.mean())
    expected = np.array([votes[:3].sum(), votes[3]]) / votes.sum()
    np.testing.assert_allclose(scores[0].detach().numpy(), expected, rtol=1e-12)


def test_a_label_without_an_image_scores_zero():
    targets = np.array([[1, 0], [1, 0]], dtype=np.int8)
    decoder = TwoPassKNN(2, num_neighbours=1)
    decoder.prepare(['a', 'b'], targets, features=np.eye(2, dtype=np.float32))
    assert decoder.predict(torch.eye(2))['pred_score'].tolist() == [[1, 0], [1, 0]]


def test_a_training_set_without_any_label_is_refused():
    decoder = TwoPassKNN(2, num_neighbours=1)
    with pytest.raises(ValueError, match='no training image has one'):
        decoder.prepare(['a', 'b'], np.array([[0, 0], [-1, 0]]), features=np.eye(2))


def test_the_only_image_with_a_label_has_no_neighbour():
    """Left out of its own neighbours it scores 0; the others find it, and nothing becomes NaN."""
    targets = np.array([[1, 0], [0, 0], [0, -1]], dtype=np.int8)
    decoder = TwoPassKNN(2, num_neighbours=1, normalize_labels='training')
    decoder.prepare(['a', 'b'], targets, features=np.eye(3, dtype=np.float32))
    assert decoder.label_maxima.tolist() == [1, 1]
    assert decoder.predict(torch.eye(3))['pred_score'].tolist() == [[1, 0]] * 3


def test_a_checkpoint_holds_all_that_is_asked(golden):
    decoder = build(golden)
    features = torch.from_numpy(golden['test_features'])
    fresh = TwoPassKNN(7).double()
    fresh.load_state_dict(decoder.state_dict())
    expected = decoder.predict(features)['pred_score']
    # not to the bit: the array's rows lay otherwise in memory
    torch.testing.assert_close(fresh.predict(features)['pred_score'], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize('shape', [(80, 5), (79, 7), (80,)])
def test_a_checkpoint_with_other_labels_is_named(golden, shape):
    state = build(golden).state_dict()
    state['memory_targets'] = torch.ones(shape, dtype=torch.int8)
    fresh = TwoPassKNN(7).double()
    fresh.load_state_dict(state)
    with pytest.raises(ValueError, match='80 images and labels of shape'):
        fresh.predict(torch.from_numpy(golden['test_features']))


def test_copies_of_the_query():
    """All distances are 0: each copy has one vote, and nothing becomes NaN."""
    targets = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.int8)
    decoder = TwoPassKNN(2, num_neighbours=2)
    decoder.prepare(['a', 'b'], targets, features=np.ones((3, 4), np.float32))
    scores = decoder.predict(torch.ones(1, 4))['pred_score']
    torch.testing.assert_close(scores.detach(), torch.tensor([[2 / 3, 1 / 3]]))


@pytest.mark.parametrize(
    'options', [dict(bandwidth=0), dict(num_neighbours=0), dict(normalize_labels='test')]
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=f'`{next(iter(options))}`'):
        TwoPassKNN(7, **options)
