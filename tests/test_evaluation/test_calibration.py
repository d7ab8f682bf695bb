"""Thresholds against trying all of them one by one."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import f1_score

from morn_plugin.evaluation.calibration import (
    MEASURES,
    SCOPES,
    ImageSweep,
    _best,
    choose_scope,
    choose_thresholds,
    cut_points,
    global_threshold,
    label_thresholds,
    predict_held_out,
    reliability_curve,
)
from morn_plugin.evaluation.functional import (
    count_sets,
    mean_precision_recall_f1,
    overall_precision_recall_f1,
)


def make_data(seed, levels=12, size=(30, 4)):
    rng = np.random.default_rng(seed)
    targets = (rng.random(size) < 0.4).astype(np.int8)
    scores = np.clip(targets * 0.3 + rng.random(size) * 0.7, 0, 1)
    targets[rng.random(size) < 0.1] = -1
    return (np.round(scores * levels) / levels).astype(np.float32), targets


def every_threshold(scores):
    values = np.unique(scores)
    return [-1.0, *((a + b) / 2 for a, b in pairwise(values)), 2.0]


def naive(scores, targets, thresholds, measure, floor):
    """The objective by loops over images and labels."""
    n, c = scores.shape
    hit = [
        [targets[i, j] >= 0 and scores[i, j] > thresholds[j] for j in range(c)] for i in range(n)
    ]
    true = [[targets[i, j] > 0 for j in range(c)] for i in range(n)]
    pairs = (
        [[(i, j) for i in range(n)] for j in range(c)]
        if measure == 'per-label-f1'
        else [[(i, j) for j in range(c)] for i in range(n)]
    )

    if measure == 'precision':
        given = sum(map(sum, hit))
        right = sum(hit[i][j] and true[i][j] for i in range(n) for j in range(c))
        return right if given and right / given >= floor else -1

    ratios = {name: [] for name in 'pr'}
    for group in pairs:
        right = sum(hit[i][j] and true[i][j] for i, j in group)
        for name, table in (('p', hit), ('r', true)):
            total = sum(table[i][j] for i, j in group)
            ratios[name].append(right / total if total else 0)

    p, r = (sum(values) / len(values) for values in ratios.values())
    return 2 * p * r / (p + r) if p + r else 0


@pytest.mark.parametrize('measure', MEASURES)
@pytest.mark.parametrize(
    ('seed', 'levels'), [(0, 12), (1, 12), (2, 12), (3, 12), (4, 10**6), (5, 10**6)]
)
def test_no_global_threshold_is_better(measure, seed, levels):
    scores, targets = make_data(seed, levels, size=(60, 4))
    found = global_threshold(scores, targets, measure, 0.8)
    value = naive(scores, targets, [found] * 4, measure, 0.8)
    best = max(naive(scores, targets, [thr] * 4, measure, 0.8) for thr in every_threshold(scores))
    assert value == pytest.approx(best)
    assert value > 0


@pytest.mark.parametrize(('seed', 'levels'), [(0, 12), (1, 12), (2, 10**6)])
def test_no_threshold_of_a_label_is_better(seed, levels):
    scores, targets = make_data(seed, levels)
    for c, thr in enumerate(label_thresholds(scores, targets, 'per-label-f1')):
        known = targets[:, c] >= 0
        score = lambda cut: f1_score(targets[known, c] > 0, scores[known, c] > cut, zero_division=0)  # noqa: B023
        assert score(thr) == pytest.approx(max(map(score, every_threshold(scores))))

    for c, thr in enumerate(label_thresholds(scores, targets, 'precision', 0.8)):
        one = scores[:, [c]], targets[:, [c]]
        reached = max(naive(*one, [cut], 'precision', 0.8) for cut in every_threshold(scores))
        assert naive(*one, [thr], 'precision', 0.8) == reached or (reached == -1 and thr == 1)


@pytest.mark.parametrize(('seed', 'levels'), [(0, 12), (1, 12), (2, 12), (3, 10**6)])
def test_per_image_climb_ends_where_no_single_label_helps(seed, levels):
    scores, targets = make_data(seed, levels)
    found = label_thresholds(scores, targets, 'per-image-f1')
    value = naive(scores, targets, found, 'per-image-f1', 0)
    assert value >= naive(
        scores, targets, [global_threshold(scores, targets, 'per-image-f1')] * 4, 'per-image-f1', 0
    )

    for c in range(4):
        for cut in every_threshold(scores):
            assert (
                naive(scores, targets, [*found[:c], cut, *found[c + 1 :]], 'per-image-f1', 0)
                <= value + 1e-9
            )


def test_per_image_climb_goes_over_the_labels_again():
    """Here a second pass over the labels still helps; after it no single label does."""
    rng = np.random.default_rng(0)
    targets = (rng.random((30, 4)) < 0.4).astype(np.int8)
    scores = (rng.random(targets.shape) * 0.7 + 0.3 * targets * rng.random(targets.shape)).astype(
        np.float32
    )
    found = label_thresholds(scores, targets, 'per-image-f1')
    value = naive(scores, targets, found, 'per-image-f1', 0)
    others = [
        naive(scores, targets, [*found[:c], cut, *found[c + 1 :]], 'per-image-f1', 0)
        for c in range(4)
        for cut in every_threshold(scores)
    ]
    assert max(others) <= value + 1e-9


def test_scores_of_zero_exceed_no_threshold():
    scores = np.zeros((3, 2), dtype=np.float32)
    targets = np.ones((3, 2), dtype=np.int8)
    for measure in MEASURES:
        assert 0 <= global_threshold(scores, targets, measure) <= 1
        assert all(0 <= thr <= 1 for thr in label_thresholds(scores, targets, measure))


def test_neighbouring_scores_are_parted():
    low = np.float32(0.3)
    scores = np.array([[low], [np.nextafter(low, np.float32(1))]])
    (thr,) = label_thresholds(scores, np.array([[0], [1]]), 'per-label-f1')
    assert (scores[:, 0] > np.float32(thr)).tolist() == [False, True]


def test_label_that_validation_never_shows_keeps_half():
    scores, targets = make_data(0)
    targets[:, 2] = 0
    assert label_thresholds(scores, targets, 'per-label-f1')[2] == 0.5


def test_out_of_reach_precision_predicts_nothing():
    scores = np.float32([[0.9], [0.1]])
    assert label_thresholds(scores, np.array([[0], [1]]), 'precision', 0.9) == [1.0]
    assert global_threshold(scores, np.array([[0], [1]]), 'precision', 0.9) == 1.0


def test_reliability_is_that_of_scikit_learn():
    scores, targets = make_data(1, levels=997, size=(500, 3))
    found = reliability_curve(scores, targets)
    known = targets >= 0
    share, score = calibration_curve(targets[known] > 0, scores[known].astype(float), n_bins=10)
    np.testing.assert_allclose(found.share, share)
    np.testing.assert_allclose(found.score, score)
    assert found.number.sum() == known.sum()


def overfitting_data(seed=0, num_images=120, num_classes=30):
    """Rare labels, whose scores say the same of each: a threshold a label can fit noise alone."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((num_images, num_classes)) < 0.06).astype(np.int8)
    logits = 1.5 * (2 * targets - 1) + 1.5 * rng.normal(size=targets.shape)
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


def shifted_data(seed=0, num_images=400, num_classes=6):
    """Labels whose scores lie in places of their own: one threshold for all is wrong for most."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((num_images, num_classes)) < 0.3).astype(np.int8)
    logits = 2 * (2 * targets - 1) + rng.normal(size=targets.shape) + np.arange(num_classes) - 3
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


CARRIES_OVER = [
    ('per-label-f1', 'label'),
    ('per-image-f1', 'global'),
    ('per-image-f1', 'label'),
    ('precision', 'global'),  # its wanted precision; a threshold a label is for more right labels
]


@pytest.mark.parametrize('measure', MEASURES)
def test_scope_is_what_carries_over_to_other_images(measure):
    """The choice agrees with what happens on images that had no part in it."""
    for data, expected in ((overfitting_data, 'global'), (shifted_data, 'label')):
        scores, targets = data(0)
        choice = choose_scope(scores, targets, measure, 0.8)
        assert choice.scope == expected
        others, truth = data(1, num_images=4000)

        value = {}
        for scope in SCOPES:
            thr = choose_thresholds(scores, targets, measure, scope, 0.8)
            predicted = others > np.float32(thr)
            axis = 1 if measure == 'per-image-f1' else 0
            counts = count_sets(predicted, truth, axis)
            value[scope] = (
                overall_precision_recall_f1(counts).precision
                if measure == 'precision'
                else mean_precision_recall_f1(counts).f1
            )
            assert f'{choice.held_out[scope]:.2f}' in choice.reason

        if (measure, expected) in CARRIES_OVER:
            assert value[expected] > value[{'global': 'label', 'label': 'global'}[expected]]


@pytest.mark.parametrize('scope', SCOPES)
def test_held_out_images_have_no_part_in_their_thresholds(scope):
    """Turning the truth of one image over changes the prediction of others at the most."""
    scores, targets = make_data(0, size=(20, 3))
    predicted = predict_held_out(scores, targets, 'per-label-f1', scope, folds=20)

    for image in range(20):
        other = targets.copy()
        other[image] = 1 - np.abs(targets[image])
        changed = predict_held_out(scores, other, 'per-label-f1', scope, folds=20)
        np.testing.assert_array_equal(changed[image], predicted[image])

    rest = np.arange(20) != 7
    thr = choose_thresholds(scores[rest], targets[rest], 'per-label-f1', scope)
    np.testing.assert_array_equal(predicted[7], scores[7] > np.float32(thr))


def test_precision_prefers_the_scope_that_reaches_the_floor():
    scores, targets = overfitting_data(2)
    choice = choose_scope(scores, targets, 'precision', 0.8)
    assert choice.scope == 'global'
    assert choice.held_out['label'] < 80
    assert 'right labels at a precision of' in choice.reason
    assert '80 % are wanted' in choice.reason


def test_of_two_scopes_that_reach_the_floor_the_one_with_more_right_labels_is_taken():
    """Although the other one is the more precise."""
    rng = np.random.default_rng(8)
    targets = (rng.random((40, 2)) < 0.4).astype(np.int8)
    scores = (rng.random(targets.shape) * 0.7 + 0.3 * targets * rng.random(targets.shape)).astype(
        np.float32
    )
    predicted = {
        scope: predict_held_out(scores, targets, 'precision', scope, 0.5) for scope in SCOPES
    }
    right = {scope: int((found & (targets > 0)).sum()) for scope, found in predicted.items()}
    choice = choose_scope(scores, targets, 'precision', 0.5)
    assert min(choice.held_out.values()) >= 50
    assert choice.held_out['label'] > choice.held_out['global']
    assert right['global'] > right['label']
    assert choice.scope == 'global'
    assert choice.reason.startswith('One threshold for all labels: ')


def test_the_reason_names_what_is_taken():
    scores, targets = make_data(0, size=(30, 4))
    for measure in ('per-label-f1', 'per-image-f1'):
        choice = choose_scope(scores, targets, measure)
        title = dict(label='A threshold for each label', global_='One threshold for all labels')
        assert choice.reason.startswith(title[choice.scope.replace('global', 'global_')])


def test_cuts_lie_between_neighbours_and_below_the_lowest():
    assert cut_points(np.float32([0.5, 0.25, 0.75])).tolist() == [0.75, 0.625, 0.375, 0.125]
    assert cut_points(np.float32([1.0])).tolist() == [1.0, 0.5]


def test_the_best_place_and_its_f1():
    place, value = _best(np.array([0.5, 1.0, 0.0]), np.array([0.5, 0.5, 0.0]))
    assert (place, value) == (1, pytest.approx(2 / 3))


def test_few_images_get_one_threshold():
    choice = choose_scope(*make_data(0, size=(3, 4)), 'per-label-f1')
    assert choice.scope == 'global'
    assert '3 images are too few' in choice.reason


@pytest.mark.parametrize('folds', [1, 31])
def test_folds_that_there_cannot_be(folds):
    with pytest.raises(ValueError, match=f'`folds` to be between 2 .* 30, but got {folds}'):
        predict_held_out(*make_data(0), 'per-label-f1', 'global', folds=folds)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`scope` to be one of 'global', 'label'"):
        choose_thresholds(*make_data(0), 'per-label-f1', 'auto')
    with pytest.raises(ValueError, match='`measure` to be one of'):
        global_threshold(*make_data(0), 'f1')
    with pytest.raises(ValueError, match='`floor`'):
        label_thresholds(*make_data(0), 'precision', 90)


@pytest.mark.parametrize('digits', [7, 1])
def test_a_sweep_sorted_once_chooses_as_one_sorted_for_the_part(digits):
    generator = np.random.default_rng(3)
    scores = generator.random((40, 6)).astype(np.float32).round(digits)
    targets = generator.choice([0, 1, -1], size=scores.shape, p=[0.6, 0.3, 0.1])
    sweep_of_all = ImageSweep.of(scores, targets)
    for size in (1, 7, 33, 40):
        images = np.sort(generator.choice(40, size, replace=False))
        part = scores[images], targets[images]
        assert sweep_of_all.choose(images) == global_threshold(*part, 'per-image-f1')
