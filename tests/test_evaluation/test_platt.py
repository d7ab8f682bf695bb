"""A scale for scores: scikit-learn's logistic regression as oracle."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from morn_plugin.evaluation.platt import PlattMap, fit_platt, fit_score_map
from morn_plugin.models.decisions.score_map import ScoreMap


def make_scores(seed, number=400, slope=3.0, offset=-1.0):
    """Values, and labels that are true with the probability of the sigmoid."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=number)
    probs = 1 / (1 + np.exp(-(slope * values + offset)))
    return values, (rng.random(number) < probs).astype(np.int8)


def fit_by_weights(values, targets):
    """Platt's targets as a weighted sample: each value once as true and once as false."""
    num_true = (targets == 1).sum()
    num_false = (targets == 0).sum()
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
    slope, offset, _ = fit_platt(values * scale + shift, targets)
    expected_slope, expected_offset = fit_by_weights(values, targets)
    assert slope * scale == pytest.approx(expected_slope, rel=1e-4)
    assert offset + slope * shift == pytest.approx(expected_offset, rel=1e-4, abs=1e-4)


def test_labels_that_do_not_overlap_give_a_finite_map():
    slope, offset, _ = fit_platt(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    assert 0 < slope < 100
    assert abs(slope * 0.5 + offset) < 1e-6  # the middle is as likely true as false


def test_ignored_labels_are_left_out():
    values, targets = make_scores(0)
    with_ignored = fit_platt(np.append(values, [50.0, -50.0]), np.append(targets, [-1, -1]))
    assert with_ignored[:2] == pytest.approx(fit_platt(values, targets)[:2])


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
    with pytest.raises(ValueError, match="`space` to be one of 'logit', 'score'"):
        fit_score_map(np.array([0.1, 0.9]), np.array([0, 1]), 'log')


@pytest.mark.parametrize('space', ['logit', 'score'])
def test_the_map_is_the_same_in_arrays_and_in_tensors(space):
    values, targets = make_scores(2)
    scores = (1 / (1 + np.exp(-values))).astype(np.float32).reshape(-1, 4)
    scores[0] = 0, 1, 0.5, 0.25
    fitted = fit_score_map(scores, targets.reshape(-1, 4), space)
    rule = ScoreMap(4, fitted.slope, fitted.offset, space)
    expected = rule.map_scores(torch.from_numpy(scores)).numpy()
    np.testing.assert_allclose(fitted.probabilities(scores), expected, rtol=1e-4)

    rule = ScoreMap(4, space=space)
    rule.fit(scores, targets.reshape(-1, 4))
    assert (float(rule.slope), float(rule.offset)) == pytest.approx(fitted[:2], rel=1e-4)


def test_the_map_by_hand():
    """Logits 0 and log 3, doubled and shifted by log 2."""
    found = PlattMap(2.0, np.log(2)).probabilities(np.array([0.5, 0.75]))
    assert found == pytest.approx([2 / 3, 18 / 19])
    assert PlattMap(4.0, -2.0, 'score').probabilities(np.array([0.5])) == pytest.approx([0.5])
