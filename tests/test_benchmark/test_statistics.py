"""Differences and how sure they are: Student's and Holm's formulas by hand, and made-up methods."""

import math

import numpy as np
import pytest

from morn_plugin.benchmark.figures import CALIBRATED, HALF, NATIVE, group_by_method, make_rows
from morn_plugin.benchmark.statistics import (
    COMPARED,
    Comparison,
    SeedTest,
    compare_methods,
    correct_p_values,
    paired_test,
)
from morn_plugin.evaluation.functional import mean_average_precision, paper_figures, top_one
from morn_plugin.evaluation.resampling import RankedLabels

pytestmark = pytest.mark.slow  # bootstraps


def test_paired_test_is_students():
    first, second = np.array([3.0, 4.5, 5.0, 6.1, 7.7]), np.array([2.0, 4.0, 4.4, 6.0, 6.0])
    found = paired_test(first, second)
    changes = first - second
    error = changes.std(ddof=1) / math.sqrt(5)
    assert found.difference == pytest.approx(changes.mean())
    assert (found.low, found.high) == pytest.approx(
        (changes.mean() - 2.776445 * error, changes.mean() + 2.776445 * error), abs=1e-5
    )  # the quantile 0.975 of Student's t with 4 degrees of freedom
    t = changes.mean() / error
    x = t / math.sqrt(4 + t * t)  # its two-sided p-value in closed form
    assert found.p_value == pytest.approx(1 - abs(x) * (1 + (1 - x * x) / 2))
    assert found.num_seeds == 5


def test_differences_that_are_all_the_same():
    values = np.array([1.0, 2.0, 3.0])
    assert paired_test(values, values) == SeedTest(0.0, 0.0, 0.0, 1.0, 3)
    assert paired_test(values + 1, values) == SeedTest(1.0, 1.0, 1.0, 0.0, 3)


def test_two_seeds_are_enough():
    found = paired_test(np.array([3.0, 5.0]), np.array([1.0, 2.0]))
    t = 2.5 / 0.5  # mean of 2 and 3, by the standard error
    assert found.p_value == pytest.approx(1 - 2 / math.pi * math.atan(t))  # Cauchy's, two-sided
    assert found.num_seeds == 2


def test_one_seed_has_a_difference_and_nothing_else():
    found = paired_test(np.array([3.0]), np.array([1.0]))
    assert (found.difference, found.num_seeds) == (2.0, 1)
    assert all(math.isnan(value) for value in (found.low, found.high, found.p_value))


def test_holm_by_hand():
    """Sorted p times 4, 3, 2, 1, never below the one before, at most 1."""
    found = correct_p_values([0.01, 0.04, 0.03, 0.5])
    assert found == pytest.approx([0.04, 0.09, 0.09, 0.5])
    with_nan = correct_p_values([0.01, float('nan'), 0.04])
    assert with_nan[::2] == pytest.approx([0.02, 0.04])
    assert math.isnan(with_nan[1])
    assert correct_p_values([]) == []
    assert math.isnan(correct_p_values([float('nan')])[0])


def make_comparison(p_holm, seeds, images):
    return Comparison('a', 'b', NATIVE, 'F1_I', SeedTest(0, *seeds, 0.01, 5), p_holm, *images)


@pytest.mark.parametrize(
    ('p_holm', 'seeds', 'images', 'verdict'),
    [
        (0.01, (0.5, 2), (0.1, 3), 'above'),
        (0.01, (-2, -0.5), (-3, -0.1), 'below'),
        (0.06, (0.5, 2), (0.1, 3), 'open'),  # after the correction
        (0.05, (0.5, 2), (0.1, 3), 'open'),
        (0.01, (0.5, 2), (-0.1, 3), 'open'),  # other test images could turn it round
        (0.01, (-0.5, 2), (0.1, 3), 'open'),
        (float('nan'), (0.5, 2), (0.1, 3), 'open'),  # a single seed
        (0.01, (0.5, 2), (float('nan'),) * 2, 'open'),
        (0.01, (0.5, 2), (-3, -0.1), 'open'),
    ],
)
def test_a_claim_has_to_stand_both_kinds_of_chance(p_holm, seeds, images, verdict):
    assert make_comparison(p_holm, seeds, images).verdict == verdict


@pytest.mark.parametrize(
    ('images', 'verdict'),
    [((0.1, 3), 'above'), ((-3, -0.1), 'below'), ((-1, 1), 'open'), ((math.nan,) * 2, 'open')],
)
def test_of_a_single_seed_test_images_alone_can_be_asked(images, verdict):
    comparison = make_comparison(math.nan, (math.nan,) * 2, images)
    assert comparison.verdict == 'open'
    assert comparison.image_verdict == verdict


@pytest.mark.parametrize('seed', range(3))
def test_map_of_a_resample_is_that_of_its_images(seed):
    rng = np.random.default_rng(seed)
    target = rng.integers(-1, 2, (30, 5))
    target[:, 3] = np.minimum(target[:, 3], 0)
    scores = rng.random((30, 5)).round(1)  # ties
    drawn = rng.integers(0, 30, (6, 30))
    weights = np.stack([np.bincount(row, minlength=30) for row in drawn])
    found = RankedLabels.of(scores, target).mean_average_precision(weights)
    expected = [mean_average_precision(scores[row], target[row]) for row in drawn]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.fixture(scope='module')
def setting(results, info):
    return group_by_method(results, info.order), make_rows(results, info)


@pytest.fixture(scope='module')
def comparisons(setting):
    return compare_methods(*setting, 'cnn', CALIBRATED, 2, num_resamples=200)


def test_what_is_better_by_making_is_above_and_the_same_is_not(comparisons):
    verdicts = {(item.method, item.column): item.verdict for item in comparisons}
    for column in COMPARED:
        assert verdicts['better', column] == 'above'
        assert verdicts['same', column] == 'open'
    assert {item.method for item in comparisons} == {'same', 'better', 'other', 'ranks'}
    assert {item.reference for item in comparisons} == {'cnn'}


def test_differences_are_of_the_seeds_that_both_have(setting, comparisons):
    runs, rows = setting
    for item in comparisons:
        own, reference = rows[item.method], rows['cnn']
        expected = [
            own.column(CALIBRATED, item.column)[own.seeds.index(seed)]
            - reference.column(CALIBRATED, item.column)[reference.seeds.index(seed)]
            for seed in own.seeds
        ]
        assert item.seeds.difference == pytest.approx(np.mean(expected))
        assert item.seeds.num_seeds == len(runs[item.method])
        assert item.image_low < item.seeds.difference < item.image_high


def test_p_values_are_corrected_column_by_column(comparisons):
    for column in COMPARED:
        family = [item for item in comparisons if item.column == column]
        expected = correct_p_values([item.seeds.p_value for item in family])
        assert [item.p_holm for item in family] == pytest.approx(expected)


def test_interval_over_images_is_that_of_a_naive_bootstrap(setting):
    """Images drawn, both methods counted anew on the same ones, and the mean over seeds."""
    runs, rows = setting
    two = {name: rows[name] for name in ('better', 'same')}
    found = {
        item.column: item
        for item in compare_methods(runs, two, 'same', NATIVE, 2, num_resamples=400)
    }
    rng = np.random.default_rng(5)
    differences = {'F1_L': [], 'F1_I': [], 'mAP': [], 'top-1': []}
    for _ in range(60):
        drawn = rng.integers(0, 150, 150)
        values = {}
        for name in two:
            each = []
            for run in runs[name]:
                side = run.test
                labels, targets, scores = (
                    side.labels[drawn],
                    side.targets[drawn],
                    side.scores[drawn],
                )
                paper = paper_figures(labels, targets)
                ranked = mean_average_precision(scores, targets)
                each.append([paper[2], paper[5], ranked, top_one(scores, targets)])
            values[name] = np.mean(each, axis=0)
        for column, change in zip(differences, values['better'] - values['same'], strict=True):
            differences[column].append(change)
    for column, changes in differences.items():
        low, high = np.quantile(changes, [0.025, 0.975])
        width = high - low
        assert found[column].image_low == pytest.approx(low, abs=0.4 * width)
        assert found[column].image_high == pytest.approx(high, abs=0.4 * width)


def test_a_method_without_scores_is_compared_by_its_own_decision(setting):
    runs, rows = setting
    two = {name: rows[name] for name in ('cnn', 'sets')}
    found = compare_methods(runs, two, 'cnn', NATIVE, 2, num_resamples=50)
    by_column = {item.column: item for item in found}
    assert not math.isnan(by_column['F1_I'].image_low)
    assert math.isnan(by_column['mAP'].image_low)
    assert by_column['mAP'].verdict == 'open'
    assert compare_methods(runs, two, 'cnn', HALF, 2, num_resamples=50) == []


def test_a_reference_is_named_exactly(setting):
    """By its name, not by its beginning."""
    with pytest.raises(ValueError, match=r"one of cnn, same, .* but got 'cn'"):
        compare_methods(*setting, 'cn', NATIVE, 2)
    with pytest.raises(ValueError, match="'sets' has no decision 'calibrated'"):
        compare_methods(*setting, 'sets', CALIBRATED, 2)


def test_methods_without_a_common_seed_are_not_compared(results, info):
    kept = [
        run
        for run in results
        if (run.method == 'cnn' and run.seed == 0) or (run.method == 'other' and run.seed == 1)
    ]
    with pytest.raises(
        ValueError, match=r'other \(seeds \(1,\)\) and cnn \(seeds \(0,\)\) have no'
    ):
        compare_methods(group_by_method(kept), make_rows(kept, info), 'cnn', NATIVE, 2)
