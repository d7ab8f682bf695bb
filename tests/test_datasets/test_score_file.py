"""Score files: what is written comes back, and what is not as it should be is refused by name."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from morn_plugin.datasets.annotations import AnnotationError, Annotations
from morn_plugin.datasets.cached.dataset import ScoreDataset
from morn_plugin.datasets.cached.file import (
    FORMAT,
    ScoreFile,
    ScoreFileError,
    load_scores,
    save_scores,
    sha256,
)

CLASSES = ['cat', 'dog', 'tree']
DATA = [
    dict(img_path='a/1.jpg', gt_label=[0, 2]),
    dict(img_path='ä 2.jpg', gt_label=[]),
    dict(img_path='3.jpg', gt_label=[1], gt_label_difficult=[0]),
]


def make_file(**provenance):
    scores = np.random.default_rng(0).random((3, 3), dtype=np.float32)
    return ScoreFile(scores, Annotations(list(CLASSES), [dict(item) for item in DATA]), provenance)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'scores.safetensors'
    save_scores(path, make_file(config='cnn.py'))
    return path


def rewrite(path, header=None, **arrays):
    """Change arrays or header of a written file; an array that is None goes."""
    kept = {
        name: array for name, array in {**load_file(path), **arrays}.items() if array is not None
    }
    save_file(kept, path, {'format': FORMAT, 'classes': json.dumps(CLASSES), **(header or {})})


def test_round_trip(path):
    expected, found = make_file(config='cnn.py'), load_scores(path)
    assert np.array_equal(found.scores, expected.scores)
    assert found.annotations == expected.annotations
    assert found.provenance == {'config': 'cnn.py'}


def test_file_names_that_are_no_text_come_back(tmp_path):
    file, odd = make_file(), os.fsdecode(b'bad\xff.jpg')
    file.annotations.data_list[1]['img_path'] = odd
    save_scores(tmp_path / 's.safetensors', file)
    found = load_scores(tmp_path / 's.safetensors').annotations.data_list
    assert [item['img_path'] for item in found] == ['a/1.jpg', odd, '3.jpg']


def test_whole_batches(path):
    expected = make_file()
    batch = ScoreDataset(str(path)).__getitems__([2, 0])
    assert np.array_equal(batch['inputs'], expected.scores[[2, 0]])
    assert batch['target'].tolist() == [[-1, 1, 0], [1, 0, 1]]
    samples = ScoreDataset(path.name, data_root=str(path.parent), test_mode=True).__getitems__(
        [1, 2]
    )['data_samples']
    assert [sample.gt_label.tolist() for sample in samples] == [[], [1]]
    assert samples[1].gt_score.tolist() == [-1, 1, 0]
    assert samples[0].img_path == str(path.parent / 'ä 2.jpg')


def test_checkpoint_is_checked(tmp_path):
    path, checkpoint = tmp_path / 'scores.safetensors', tmp_path / 'cnn.pth'
    checkpoint.write_bytes(b'weights')
    save_scores(path, make_file(checkpoint='cnn.pth', checkpoint_sha256=sha256(checkpoint)))
    load_scores(path, checkpoint=checkpoint)
    checkpoint.write_bytes(b'other weights')
    with pytest.raises(
        ScoreFileError,
        match=r'scores\.safetensors: `checkpoint_sha256` .*came from another checkpoint',
    ):
        load_scores(path, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (
            ['cat', 'tree', 'dog'],
            "the same names in another order.* at index 1 'dog' was found and 'tree' expected",
        ),
        (
            ['cat', 'dog'],
            "3 classes against 2.* at index 2 'tree' was found and 'nothing' expected",
        ),
    ],
)
def test_other_classes(path, classes, message):
    with pytest.raises(AnnotationError, match=message):
        load_scores(path, classes)


@pytest.mark.parametrize('size', [0, 4, 60, -1])
def test_truncated(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        ScoreFileError, match=r'scores\.safetensors: expected a whole safetensors file'
    ):
        load_scores(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(scores=np.full((3, 3), np.nan, np.float32)), 'row 0, class 0 is nan'),
        (
            dict(scores=np.array([[0, 0, 0], [0, 0, 1.5], [0, 0, 0]], np.float32)),
            'row 1, class 2 is 1.5',
        ),
        (dict(scores=np.full((3, 3), -0.1, np.float32)), 'row 0, class 0 is -0.1'),
        (dict(scores=np.zeros((3, 3))), '`scores` of float32, but got float64'),
        (
            dict(scores=np.zeros((2, 3), np.float32)),
            r'shape \(3, 3\), images by classes, but got \(2, 3\)',
        ),
        (dict(scores=None), 'the array `scores` is missing'),
        (
            dict(labels=np.array([0, 2, 7], np.int32)),
            r'data_list\[2\]\.gt_label.* 0\.\.2, but got 7',
        ),
        (dict(labels=np.array([0, 0, 1], np.int32)), r'repeats the labels \[0\]'),
        (
            dict(labels_start=np.array([0, 2, 1, 3])),
            '`labels_start` does not divide 3 labels among 3 images',
        ),
        (dict(labels_start=np.array([0, 3])), '`labels_start` does not divide'),
        (
            dict(header=dict(format='else')),
            "expected `format` 'morn_plugin scores 1', but got 'else'",
        ),
        (dict(header=dict(classes='[')), 'expected `classes` in the header to be a JSON list'),
        (dict(header=dict(classes='["a", "a", "b"]')), 'repeats the class name'),
    ],
)
def test_malformed(path, change, message):
    rewrite(path, **change)
    with pytest.raises(ValueError, match=message) as error:
        load_scores(path)
    assert str(path) in str(error.value)


def test_missing_file_names_the_tool(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'tools/extract_scores\.py makes it'):
        load_scores(tmp_path / 'no.safetensors')


def test_nothing_is_written_of_bad_scores(tmp_path):
    file = make_file()
    file.scores[0, 0] = np.nan
    with pytest.raises(ScoreFileError, match='is nan'):
        save_scores(tmp_path / 'scores.safetensors', file)
    assert list(tmp_path.iterdir()) == []
