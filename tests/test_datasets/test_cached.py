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
    expected = make_file(config='cnn.py')
    found = load_scores(path)
    assert np.array_equal(found.scores, expected.scores)
    assert found.annotations == expected.annotations
    assert found.provenance == {'config': 'cnn.py'}


def test_file_names_that_are_no_text_come_back(tmp_path):
    file = make_file()
    odd = os.fsdecode(b'bad\xff.jpg')
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
    path = tmp_path / 'scores.safetensors'
    checkpoint = tmp_path / 'cnn.pth'
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


def lie(path, change, text=None):
    """Rewrite the header of a file, its arrays left as they are."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], 'little')
    header = json.loads(content[8 : 8 + length])
    change(header)
    written = (text or json.dumps(header)).encode()
    path.write_bytes(len(written).to_bytes(8, 'little') + written + content[8 + length :])


def set_entry(name, **fields):
    return lambda header: header[name].update(fields)


def set_metadata(**fields):
    return lambda header: header['__metadata__'].update(fields)


def swap(header):
    header['labels']['data_offsets'], header['difficult']['data_offsets'] = (
        header['difficult']['data_offsets'],
        header['labels']['data_offsets'],
    )


LIES = {
    'numbers that NumPy lacks': (
        set_entry('scores', dtype='BF16', shape=[3, 6]),
        'but got bfloat16',
    ),
    'numbers of 8 bits': (set_entry('scores', dtype='F8_E4M3', shape=[3, 12]), 'but got F8_E4M3'),
    'truth values': (set_entry('scores', dtype='BOOL', shape=[3, 12]), 'but got bool'),
    'another sign': (set_entry('labels', dtype='U32'), '`labels` of int32, but got U32'),
    'one dimension': (set_entry('scores', shape=[9]), 'to have 2 dimensions'),
    'three dimensions': (set_entry('scores', shape=[1, 3, 3]), 'to have 2 dimensions'),
    'images by classes the other way': (set_entry('scores', shape=[9, 1]), r'but got \(9, 1\)'),
    'a larger array': (set_entry('scores', shape=[300, 300]), 'whole safetensors file'),
    'a huge array': (set_entry('scores', shape=[1 << 40, 1 << 40]), 'whole safetensors file'),
    'a negative size': (set_entry('scores', shape=[-3, -3]), 'whole safetensors file'),
    'a size that is none': (set_entry('scores', shape=['3', 3]), 'whole safetensors file'),
    'an offset beyond the end': (
        set_entry('scores', data_offsets=[0, 1 << 60]),
        'whole safetensors file',
    ),
    'arrays that overlap': (set_entry('labels', data_offsets=[0, 12]), 'whole safetensors file'),
    'arrays in place of each other': (swap, 'whole safetensors file'),
    'another kind of numbers': (set_entry('scores', dtype='NONE'), 'whole safetensors file'),
    'classes that are text': (set_metadata(classes='"cat"'), 'JSON list, but got str'),
    'classes that are a dict': (set_metadata(classes='{"cat": 1}'), 'JSON list, but got dict'),
    'classes that are a nest': (set_metadata(classes='[' * 100_000), 'nested too deeply'),
    'classes with NaN': (set_metadata(classes='["a", NaN, "b"]'), 'contains NaN'),
    'classes that are numbers': (set_metadata(classes='[1, 2, 3]'), 'non-empty string'),
    'half a character': (set_metadata(classes='["a", "\\ud800", "b"]'), 'lone surrogate'),
    'classes that look the same': (
        set_metadata(classes='["cat", "ca\\u200bt", "dog"]'),
        'invisible characters',
    ),
    'two classes for three scores': (set_metadata(classes='["cat", "dog"]'), r'0\.\.1|\(3, 2\)'),
    'no classes': (lambda header: header['__metadata__'].pop('classes'), 'JSON list'),
    'no format': (lambda header: header['__metadata__'].pop('format'), '`format`'),
    'no metadata': (lambda header: header.pop('__metadata__'), '`format`'),
    'metadata of a wrong kind': (
        lambda header: header.update(__metadata__=[1]),
        'whole safetensors file',
    ),
    'no arrays': (
        lambda header: [header.pop(name) for name in [*header] if name != '__metadata__'],
        'whole safetensors file',
    ),
}


@pytest.mark.parametrize('name', LIES)
def test_a_header_that_lies(name, path):
    change, reason = LIES[name]
    lie(path, change)
    with pytest.raises(ValueError, match=reason) as error:
        load_scores(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_header_that_two_readers_read_differently(path):
    text = []
    lie(path, lambda header: text.append(json.dumps(header)))
    twice = text[0][:-1] + ', "scores": ' + json.dumps(json.loads(text[0])['scores']) + '}'
    lie(path, lambda header: None, twice)
    with pytest.raises(ScoreFileError, match=r'scores\.safetensors.*(twice|whole)'):
        load_scores(path)


def test_an_array_without_dimensions(path):
    rewrite(path, labels_start=np.array(0))
    with pytest.raises(ScoreFileError, match=r'`labels_start` to have 1 dimensions.*shape \(\)'):
        load_scores(path)
