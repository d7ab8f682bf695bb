"""A scale for scores: scikit-learn's logistic regression as oracle."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from morn_plugin.models.decisions.score_map import ScoreMap, fit_platt


def make_scores(seed, number=400, slope=3.0, offset=-1.0):
    """Values, and labels that are true with the probability of the sigmoid."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=number)
    probs = 1 / (1 + np.exp(-(slope * values + offset)))
    return values, (rng.random(number) < probs).astype(np.int8)


def fit_by_weights(values, targets):
    """Platt's targets as a weighted sample: each value once as true and once as false."""
    num_true, num_false = (targets == 1).sum(), (targets == 0).sum()
    wanted = np.where(targets == 1, (num_true + 1) / (num_true + 2), 1 / (num_false + 2))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(
        np.concatenate([values, values])[:, None],
        np.repeat([1, 0], len(values)),
        sample_weight=np.concatenate([wanted, 1 - wanted]),
    )
    return model.coef_[0, 0], model.intercept_[0]


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-3, 1.0, 100.0]),
    shift=st.sampled_from([-5.0, 0.0, 2.0]),
)
def test_the_fit_is_scikit_learns(seed, scale, shift):
    values, targets = make_scores(seed)
    slope, offset = fit_platt(values * scale + shift, targets)
    expected_slope, expected_offset = fit_by_weights(values, targets)
    assert slope * scale == pytest.approx(expected_slope, rel=1e-4)
    assert offset + slope * shift == pytest.approx(expected_offset, rel=1e-4, abs=1e-4)


def test_labels_that_do_not_overlap_give_a_finite_map():
    slope, offset = fit_platt(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    assert 0 < slope < 100
    assert abs(slope * 0.5 + offset) < 1e-6  # the middle is as likely true as false


def test_ignored_labels_are_left_out():
    values, targets = make_scores(0)
    with_ignored = fit_platt(np.append(values, [50.0, -50.0]), np.append(targets, [-1, -1]))
    assert with_ignored == pytest.approx(fit_platt(values, targets))


@pytest.mark.parametrize('space', ['logit', 'score'])
def test_after_the_fit_half_means_half(space):
    """Ranks that are squeezed into a corner become probabilities, in the same order."""
    logits, targets = make_scores(1, number=4000)
    probs = 1 / (1 + np.exp(-0.1 * logits))  # all of them close to 0.5
    scores, targets = probs.reshape(-1, 4), targets.reshape(-1, 4)
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


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match='2 true ones of 2 that are known'):
        fit_platt(np.array([0.1, 0.2]), np.array([1, 1]))
    with pytest.raises(ValueError, match='0 true ones of 0'):
        fit_platt(np.array([0.1]), np.array([-1]))
    with pytest.raises(ValueError, match='1 are not'):
        fit_platt(np.array([np.nan, 0.2]), np.array([1, 0]))
    with pytest.raises(ValueError, match='do not go with true labels'):
        fit_platt(np.array([0.9, 0.8, 0.1, 0.2]), np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match='do not go with true labels'):
        fit_platt(np.array([0.5, 0.5]), np.array([0, 1]))


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match='`slope` to be positive, but got 0'):
        ScoreMap(3, slope=0)
    with pytest.raises(ValueError, match="`space` to be one of 'logit', 'score'"):
        ScoreMap(3, space='log')
