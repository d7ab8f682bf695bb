"""Figures of labels and images against scikit-learn and loops."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from morn_plugin.evaluation.analysis import confused_labels, image_f1, label_figures


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    targets = rng.integers(-1, 2, (40, 5)).astype(np.int8)
    targets[:, 3] = np.minimum(targets[:, 3], 0)  # a label that no image has
    scores = rng.integers(0, 8, (40, 5)) / 8  # ties
    return scores, scores > 0.5, targets


def test_labels_are_those_of_scikit_learn(data):
    scores, predicted, targets = data
    found = label_figures(scores, predicted, targets)
    for c in (0, 1, 2, 4):
        known = targets[:, c] >= 0
        pair = targets[known, c] > 0, predicted[known, c]
        for name, function in (
            ('precision', precision_score),
            ('recall', recall_score),
            ('f1', f1_score),
        ):
            assert getattr(found, name)[c] == pytest.approx(100 * function(*pair))

        assert found.average_precision[c] == pytest.approx(
            100 * average_precision_score(pair[0], scores[known, c])
        )
        assert found.missed[c] == sum(pair[0] & ~pair[1])
        assert found.extra[c] == sum(~pair[0] & pair[1])

    assert found.support[3] == 0
    assert np.isnan([found.recall[3], found.average_precision[3]]).all()


def test_confusion_and_images_by_loops(data):
    _, predicted, targets = data
    table = confused_labels(predicted, targets)
    for a in range(5):
        for b in range(5):
            assert table[a, b] == sum(
                t[a] == 1 and not p[a] and t[b] == 0 and p[b]
                for t, p in zip(targets, predicted, strict=True)
            )

    for row, value in enumerate(image_f1(predicted, targets)):
        known = targets[row] >= 0
        assert value == pytest.approx(
            f1_score(targets[row][known] > 0, predicted[row][known], zero_division=1)
        )
