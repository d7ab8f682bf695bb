"""Label sets and thresholds in NumPy."""

import json

import numpy as np
import pytest
import torch

from morn_plugin.deploy.labels import (
    Thresholds,
    choose_labels,
    load_thresholds,
    make_record,
    mark_labels,
)
from morn_plugin.evaluation.metrics import PerLabelF1
from morn_plugin.evaluation.platt import PlattMap
from morn_plugin.models.heads.label_decoder_head import select_labels


@pytest.mark.parametrize(
    ('thr', 'topk'), [(None, None), (0.3, None), ([0.1, 0.5, 0.3, 0.7, 0.9, 0.2], None), (None, 4)]
)
def test_the_same_labels_as_in_tensors(thr, topk):
    # ties, and equal to thresholds
    scores = np.random.default_rng(0).integers(0, 11, (50, 6)).astype(np.float32) / 10
    marked = select_labels(torch.from_numpy(scores), thr, topk).numpy()
    for row, mask in zip(scores, marked, strict=True):
        labels = choose_labels(row, thr, topk)
        assert sorted(labels.tolist()) == np.flatnonzero(mask).tolist()
        assert (np.diff(row[labels]) <= 0).all()

    assert np.array_equal(mark_labels(scores, thr, topk), marked)


def test_at_most_k_labels_above_a_floor():
    scores = np.float32([[0.9, 0.5, 0.4, 0.8], [0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.6]])
    marked = lambda **options: mark_labels(scores, topk=3, **options).sum(1).tolist()
    assert marked() == [3, 3, 3]
    assert marked(floor=0.5) == [2, 0, 3]
    assert marked(floor=0.5, inclusive=True) == [3, 0, 3]


def test_metric_with_a_threshold_for_each_label():
    sample = dict(pred_score=torch.tensor([0.4, 0.4]), gt_label=torch.tensor([0, 1]))
    metric = PerLabelF1(thr=[0.3, 0.5])
    metric.process(None, [sample])
    assert metric.evaluate(1)['per-label/recall'] == 50
    with pytest.raises(ValueError, match='one threshold for each of 2'):
        PerLabelF1(thr=[0.3]).process(None, [sample])
    with pytest.raises(ValueError, match=r'thr\[1\]'):
        PerLabelF1(thr=[0.3, 2])


def test_thresholds_survive_the_file_to_the_last_bit(tmp_path):
    thr = [float(np.float32(0.1)), 1 / 3]
    Thresholds(thr, ['a', 'ü'], 'per-label-f1', 'val.json').save(tmp_path / 't.json')
    assert load_thresholds(tmp_path / 't.json', ['a', 'ü']).thr == thr


def test_a_score_map_survives_the_file_and_makes_probabilities(tmp_path):
    """Logits 0 and log 3, doubled and shifted by log 2; labels and other fields stay."""
    plain = Thresholds(0.2, ['a', 'b'], 'per-image-f1', 'val.json')
    plain.save(tmp_path / 't.json')
    assert 'score_map' not in json.loads((tmp_path / 't.json').read_text())
    record = make_record('x.jpg', ['a', 'b'], np.array([0.5, 0.75]), np.array([1]))
    assert load_thresholds(tmp_path / 't.json').map_record(record) == record

    mapped = Thresholds(0.2, ['a', 'b'], 'x', 'val.json', PlattMap(2.0, float(np.log(2))))
    mapped.save(tmp_path / 't.json')
    content = json.loads((tmp_path / 't.json').read_text())
    assert content['score_map'] == dict(slope=2.0, offset=float(np.log(2)), space='logit')
    found = load_thresholds(tmp_path / 't.json', ['a', 'b'])
    assert found == mapped
    expected = dict(record, scores=pytest.approx([2 / 3, 18 / 19]))
    assert found.map_record(record) == expected
    assert found.map_record(dict(img_path='y', error='?')) == dict(img_path='y', error='?')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(score_map=dict(slope=0.0, offset=0.0, space='logit')), 'score_map.*slope'),
        (dict(score_map=dict(slope=1.0, offset=0.0, space='log')), 'score_map.*space'),
        (dict(score_map=dict(slope=1.0)), 'score_map.*offset'),
        (dict(thr=[0.1]), '`thr` to contain one number for each of the 2'),
        (dict(thr=[0.1, 7]), r'thr\[1\]'),
        (dict(classes=['b', 'a']), 'not those of the model'),
        (dict(odd=1), 'odd'),
        (dict(thr=None), 'numbers in `thr`'),
        (dict(classes=5), 'names in `classes`'),
    ],
)
def test_bad_thresholds_name_the_file(tmp_path, change, message):
    content = dict(thr=[0.1, 0.2], classes=['a', 'b'], measure='x', chosen_on='y')
    (tmp_path / 't.json').write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=rf't\.json.*{message}'):
        load_thresholds(tmp_path / 't.json', ['a', 'b'])


@pytest.mark.parametrize(
    ('path', 'steps'), [([2, 0, -1, -1], 3), ([-1, -1, -1, -1], 1), ([2, 0, 1, 3], 4)]
)
def test_a_record_ends_where_the_path_does(path, steps):
    step_scores = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    labels = np.array([label for label in path if label >= 0], dtype=int)
    record = make_record(
        'a.jpg',
        ['a', 'b', 'c', 'd'],
        step_scores.max(0),
        labels,
        step_scores=step_scores,
        path=np.array(path),
    )
    assert record['path'] == labels.tolist()
    assert record['path_names'] == ['abcd'[label] for label in labels]
    assert record['step_scores'] == step_scores[:steps].tolist()
    json.dumps(record)
