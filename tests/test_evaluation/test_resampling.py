"""Figures of resampled images against those of the images themselves, and intervals against theory."""

import numpy as np
import pytest

from morn_plugin.evaluation.functional import (
    count_sets,
    overall_precision_recall_f1,
    paper_figures,
)
from morn_plugin.evaluation.resampling import LabelSets, bootstrap_images


def random_sets(seed, num_images=40, num_classes=6):
    rng = np.random.default_rng(seed)
    target = (rng.random((num_images, num_classes)) < 0.3).astype(int)
    target[rng.random(target.shape) < 0.1] = -1
    predicted = rng.random(target.shape) < 0.3
    predicted[:4], predicted[:, 2], target[5:9] = False, False, 0
    return predicted, target


def test_figures_of_a_resample_are_those_of_its_images():
    """Each image as often as it was drawn, counted anew."""
    predicted, target = random_sets(0)
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 40, (5, 40))
    weights = np.stack([np.bincount(row, minlength=40) for row in drawn])
    found = LabelSets.of(predicted, target).figures(weights)

    for place, row in enumerate(drawn):
        paper = paper_figures(predicted[row], target[row])
        overall = overall_precision_recall_f1(count_sets(predicted[row], target[row], axis=0))
        names = ('P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I', 'OP', 'OR', 'OF1')
        assert [found[name][place] for name in names] == pytest.approx([*paper, *overall])

    assert set(found) == set(names)


def test_figures_without_weights_are_those_of_every_image_once():
    predicted, target = random_sets(2)
    found = LabelSets.of(predicted, target).figures()
    assert found['F1_L'][0] == pytest.approx(paper_figures(predicted, target)[2])


def test_interval_of_a_mean_is_that_of_theory():
    """The mean of N values: normal, with the standard error of the values over the root of N."""
    values = np.random.default_rng(0).normal(size=400)
    mean = lambda weights: weights @ values / weights.sum(axis=1)
    found = bootstrap_images(mean, 400, num_resamples=4000)
    error = values.std() / 20
    assert float(found.standard_error) == pytest.approx(error, rel=0.05)
    assert float(found.low) == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert float(found.high) == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_several_statistics_are_drawn_on_the_same_resamples():
    values = np.random.default_rng(0).normal(size=(2, 50))
    mean = lambda weights: weights @ values.T / 50
    both = bootstrap_images(lambda weights: mean(weights).T, 50, num_resamples=300)
    difference = bootstrap_images(lambda w: mean(w)[:, 0] - mean(w)[:, 1], 50, num_resamples=300)
    assert both.low.shape == both.high.shape == (2,)

    for place in range(2):
        alone = bootstrap_images(lambda w, k=place: mean(w)[:, k], 50, num_resamples=300)
        assert (float(alone.low), float(alone.high)) == (both.low[place], both.high[place])

    assert difference.low < values[0].mean() - values[1].mean() < difference.high


def test_the_draws_follow_from_the_seed():
    values = np.random.default_rng(0).normal(size=30)
    mean = lambda weights: weights @ values / 30
    assert bootstrap_images(mean, 30, 200) == bootstrap_images(mean, 30, 200)
    assert bootstrap_images(mean, 30, 200) != bootstrap_images(mean, 30, 200, seed=1)
