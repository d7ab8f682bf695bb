import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from morn_plugin.evaluation.functional import (
    Counts,
    count_images,
    count_labels,
    harmonic_mean,
    mean_precision_recall_f1,
    pack_labels,
    unpack_labels,
)


def random_sets(seed, num_images=30, num_classes=11, ignored=False):
    """Sparse sets in which some labels and images are never predicted or never true."""
    rng = np.random.default_rng(seed)
    predicted, target = rng.random((2, num_images, num_classes)) < 0.2
    predicted[:3], target[2:5], predicted[:, 0], target[:, 1] = False, False, False, False
    target = target.astype(int)
    if ignored:
        target[rng.random(target.shape) < 0.2] = -1
    return predicted, target


@pytest.mark.parametrize('undefined', ['zero', 'skip'])
@pytest.mark.parametrize(
    ('count', 'axis'), [(count_labels, 0), (count_images, 1)], ids=['labels', 'images']
)
@pytest.mark.parametrize('ignored', [False, True])
def test_means_are_those_of_scikit_learn(count, axis, undefined, ignored):
    predicted, target = random_sets(0, ignored=ignored)
    figures = mean_precision_recall_f1(count(pack_labels(predicted, target), 11), undefined)
    precisions, recalls = [], []
    for index in range(target.shape[1 - axis]):
        truth, guess = np.take(target, index, 1 - axis), np.take(predicted, index, 1 - axis)
        valid = truth >= 0
        zero = 0 if undefined == 'zero' else np.nan
        precisions.append(
            precision_score(truth[valid], guess[valid], labels=[0, 1], zero_division=zero)
        )
        recalls.append(recall_score(truth[valid], guess[valid], labels=[0, 1], zero_division=zero))
    precision, recall = np.nanmean(precisions), np.nanmean(recalls)
    expected = [100 * precision, 100 * recall, 100 * 2 * precision * recall / (precision + recall)]
    assert figures == pytest.approx(expected, abs=1e-10)


def test_the_harmonic_mean_is_not_the_mean_of_f1s():
    """One label P 1, R 0.1; the other P 0.1, R 1: F1s are 0.18 each, of the means it is 0.55."""
    counts = Counts(np.array([10, 1]), np.array([1, 10]), np.array([1, 1]))
    assert mean_precision_recall_f1(counts) == pytest.approx((55, 55, 55))


@pytest.mark.parametrize(
    ('precision', 'recall', 'f1'), [(0, 0, 0), (50, 0, 0), (100, 100, 100), (20, 60, 30)]
)
def test_harmonic_mean(precision, recall, f1):
    assert harmonic_mean(precision, recall) == pytest.approx(f1)


@pytest.mark.parametrize('undefined', ['zero', 'skip'])
def test_nothing_at_all_is_zero(undefined):
    zeros = np.zeros(3, dtype=int)
    assert mean_precision_recall_f1(Counts(zeros, zeros, zeros), undefined) == (0, 0, 0)


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20))
def test_packing_gives_back_all_but_the_ignored(seed, num_images, num_classes):
    rng = np.random.default_rng(seed)
    predicted, target = (
        rng.random((num_images, num_classes)) < 0.5,
        rng.integers(-1, 2, (num_images, num_classes)),
    )
    packed = pack_labels(predicted, target)
    assert {len(row) for row in packed} == {2 * ((num_classes + 7) // 8)}
    parts = list(unpack_labels(packed, num_classes, chunk=7))
    assert np.array_equal(np.concatenate([guess for guess, _ in parts]), predicted & (target >= 0))
    assert np.array_equal(np.concatenate([truth for _, truth in parts]), target == 1)


def test_counts_by_hand():
    predicted = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)
    target = np.array([[1, 0, 1], [0, 1, -1]])
    packed = pack_labels(predicted, target)
    assert [part.tolist() for part in count_labels(packed, 3)] == [[1, 1, 1], [1, 2, 0], [1, 1, 0]]
    assert [part.tolist() for part in count_images(packed, 3)] == [[2, 1], [2, 1], [1, 1]]
