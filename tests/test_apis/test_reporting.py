"""The paper's table of a report, beside scikit-learn."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import recall_score

from morn_plugin.apis.collecting import PredictionSet
from morn_plugin.apis.reporting import image_sections, paper_table, vary_labels


@pytest.fixture
def data() -> PredictionSet:
    generator = np.random.default_rng(0)
    targets = (generator.random((30, 4)) < 0.4).astype(np.int8)
    scores, cnn = (generator.random((30, 4)).astype(np.float32) for _ in range(2))
    return PredictionSet(
        ann_file='test.json',
        img_paths=[f'{i}.jpg' for i in range(30)],
        classes=list('abcd'),
        targets=targets,
        scores=scores,
        predicted=scores > 0.5,
        cnn_scores=cnn,
    )


def read_rows(table: str) -> dict[str, list[str]]:
    rows = re.findall('<tr>(.*?)</tr>', table, flags=re.S)
    cells = [re.findall('<td[^>]*>(.*?)</td>', row, flags=re.S) for row in rows]
    return {row[0]: row[1:] for row in cells if row}


def test_the_cnn_has_a_row_at_the_threshold_that_validation_chose(data):
    table = paper_table(data, data.scores > 0.5, 'Ours', 0.3)
    assert 'The calibrated threshold of the CNN is 0.3.' in table
    rows = read_rows(table)
    assert list(rows) == ['CNN', 'Ours', 'CNN, calibrated']
    for title, thr in (('CNN', 0.5), ('CNN, calibrated', 0.3)):
        recall = 100 * recall_score(data.targets, data.cnn_scores > thr, average='macro')
        assert float(rows[title][1]) == pytest.approx(recall, abs=0.051)


def test_without_a_threshold_there_is_no_such_row(data):
    table = paper_table(data, data.scores > 0.5, 'Ours')
    assert list(read_rows(table)) == ['CNN', 'Ours']
    assert 'calibrated' not in table


def test_the_shown_images_have_different_labels_while_there_are_any():
    true = np.array([[1, 1], [1, 0], [1, 1], [1, 1], [1, 0], [0, 1]], dtype=bool)
    assert vary_labels(np.array([3, 0, 1, 2, 5, 4]), true).tolist() == [3, 1, 5, 0, 2, 4]


@pytest.mark.parametrize('has_steps', [False, True])
def test_the_mark_of_a_step_is_explained_where_there_are_steps(data, has_steps):
    if has_steps:
        steps = dict(step_scores=data.scores[:, None], step_labels=data.scores.argmax(1)[:, None])
        data = replace(data, **steps)
    read = lambda path: np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    sections = image_sections(data, data.predicted, 2, read)
    assert [title for title, _ in sections] == ['Best images', 'Worst images']
    for _, content in sections:
        assert ('max-pooling' in content) == has_steps
        assert re.search(r'\. \d+ near-copies of these were skipped\.</p>', content)
