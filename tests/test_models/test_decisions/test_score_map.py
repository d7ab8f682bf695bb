"""A scale for scores, and a threshold on it."""

import numpy as np
import pytest
import torch

from morn_plugin.models.decisions.score_map import ScoreMap


def make_scores(seed, number=400, slope=3.0, offset=-1.0):
    """Values, and labels that are true with the probability of the sigmoid."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=number)
    probs = 1 / (1 + np.exp(-(slope * values + offset)))
    return values, (rng.random(number) < probs).astype(np.int8)


@pytest.mark.parametrize('space', ['logit', 'score'])
def test_after_the_fit_half_means_half(space):
    """Ranks that are squeezed into a corner become probabilities, in the same order."""
    logits, targets = make_scores(1, number=4000)
    probs = 1 / (1 + np.exp(-0.1 * logits))  # all of them close to 0.5
    scores = probs.reshape(-1, 4)
    targets = targets.reshape(-1, 4)
    rule = ScoreMap(4, space=space)
    rule.fit(scores, targets)

    mapped = rule.map_scores(torch.from_numpy(scores))
    assert (mapped.flatten().argsort() == torch.from_numpy(scores).flatten().argsort()).all()
    predicted = rule.decide(torch.from_numpy(scores)).numpy()
    assert ((predicted == targets).mean()) > 0.8
    near_half = ((mapped > 0.4) & (mapped < 0.6)).numpy()
    assert targets[near_half].mean() == pytest.approx(0.5, abs=0.1)

    loaded = ScoreMap(4, space=space)
    loaded.load_state_dict(rule.state_dict())
    torch.testing.assert_close(loaded.map_scores(torch.from_numpy(scores)), mapped)


def test_the_identity_by_default():
    scores = torch.tensor([[0.0, 0.2, 0.5, 1.0]])
    torch.testing.assert_close(ScoreMap(4).map_scores(scores), scores, atol=1e-6, rtol=0)
    assert ScoreMap(4, thr=0.1).decide(scores).tolist() == [[False, True, True, True]]


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match='`slope` to be positive, but got 0'):
        ScoreMap(3, slope=0)
    with pytest.raises(ValueError, match="`space` to be one of 'logit', 'score'"):
        ScoreMap(3, space='log')


def test_a_threshold_for_each_label():
    rule = ScoreMap(3, slope=2.0, thr=[0.2, 0.5, 0.9])
    scores = torch.tensor([[0.4, 0.4, 0.7], [0.2, 0.6, 0.8]])
    probs = scores.square() / (scores.square() + (1 - scores).square())  # twice the logit
    torch.testing.assert_close(rule.map_scores(scores), probs)
    expected = probs > torch.tensor([0.2, 0.5, 0.9])
    assert torch.equal(rule.decide(scores), expected)
    assert rule.as_plain()['thr'] == pytest.approx([0.2, 0.5, 0.9])
    assert ScoreMap(3, thr=0.25).as_plain() == dict(thr=0.25)
    with pytest.raises(ValueError, match='one for each of 3 labels, but got 2'):
        ScoreMap(3, thr=[0.1, 0.2])


def test_only_a_fitted_map_gives_probabilities():
    assert not ScoreMap(3).gives_probability
    assert ScoreMap(3, slope=2.0).gives_probability
    assert ScoreMap(3, offset=0.5).gives_probability
