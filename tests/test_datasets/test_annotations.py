import json

import pytest

from morn_plugin.datasets.annotations import (
    AnnotationError,
    Annotations,
    atomic_write,
    check_annotations,
    check_classes,
    compare_classes,
    load_annotations,
    save_annotations,
)


def content(**item):
    return dict(
        metainfo=dict(classes=['cat', 'dog', 'cow']),
        data_list=[
            dict(img_path='a.jpg', gt_label=[0]),
            dict(img_path='b.jpg', gt_label=[1, 2]) | item,
        ],
    )


def write(tmp_path, value):
    path = tmp_path / 'ann.json'
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def with_classes(classes):
    return content() | dict(metainfo=dict(classes=classes))


def with_item(item):
    return content() | dict(data_list=[content()['data_list'][0], item])


BAD = {
    'a list': ([], 'JSON object'),
    'a number': (3, 'JSON object'),
    'no metainfo': (without(content(), 'metainfo'), '`metainfo`'),
    'metainfo a list': (content() | dict(metainfo=[]), '`metainfo`'),
    'no classes': (with_classes(None), 'metainfo.classes'),
    'classes empty': (with_classes([]), 'metainfo.classes'),
    'classes a word': (with_classes('cat'), 'metainfo.classes'),
    'classes a mapping': (with_classes({'cat': 0}), 'metainfo.classes'),
    'a class a number': (with_classes(['cat', 1, 'cow']), r'metainfo.classes\[1\]'),
    'a class blank': (with_classes(['cat', ' ', 'cow']), r'metainfo.classes\[1\]'),
    'a class twice': (with_classes(['cat', 'dog', 'cat']), r"metainfo.classes\[2\].*'cat'"),
    'a class invisible': (with_classes(['cat', '\u200b', 'cow']), r'metainfo.classes\[1\]'),
    'a class half a character': (with_classes(['cat', '\ud83d', 'cow']), r"'.ud83d'.*half a"),
    'classes alike to the eye': (
        with_classes(['cat', 'cow', 'cow\u200b']),
        r"'cow.u200b', differs from `metainfo.classes\[1\]`, 'cow', by invisible characters",
    ),
    'classes alike but for their spaces': (
        with_classes(['a b', 'cow', 'a\u00a0b']),
        r'metainfo.classes\[2\].*invisible characters',
    ),
    'classes alike but composed': (
        with_classes(['\u00e9', 'cow', 'e\u0301']),
        r'invisible characters',
    ),
    'a key twice': (b'{"metainfo": {}, "metainfo": {}}', "the key 'metainfo'.* twice"),
    'a key of an image twice': (
        b'{"metainfo": {"classes": ["a", "b"]}, "data_list": '
        b'[{"img_path": "x", "gt_label": [0], "gt_label": [1]}]}',
        "the key 'gt_label'.* twice",
    ),
    'no data_list': (without(content(), 'data_list'), '`data_list`'),
    'data_list a mapping': (content() | dict(data_list={}), '`data_list`'),
    'data_list empty': (content() | dict(data_list=[]), '`data_list` is empty'),
    'an item a word': (with_item('b.jpg'), r'data_list\[1\]'),
    'no img_path': (with_item(dict(gt_label=[1])), r'data_list\[1\].img_path'),
    'img_path empty': (content(img_path=''), r'data_list\[1\].img_path'),
    'img_path a number': (content(img_path=7), r'data_list\[1\].img_path.*7 \(int\)'),
    'img_path with a zero byte': (content(img_path='a\0b'), r'data_list\[1\].img_path'),
    'no gt_label': (with_item(dict(img_path='b.jpg')), r'data_list\[1\].gt_label.*b\.jpg'),
    'gt_label a number': (content(gt_label=1), r'data_list\[1\].gt_label.*b\.jpg'),
    'a label a word': (content(gt_label=['dog']), r"data_list\[1\].gt_label.*b\.jpg.*'dog'"),
    'a label a float': (content(gt_label=[1.0]), r'data_list\[1\].gt_label.*1\.0 \(float\)'),
    'a label a truth value': (content(gt_label=[True]), r'data_list\[1\].gt_label.*True \(bool\)'),
    'a label too large': (content(gt_label=[0, 3]), r'data_list\[1\].gt_label.*0\.\.2.*3'),
    'a label negative': (content(gt_label=[-1]), r'data_list\[1\].gt_label.*0\.\.2.*-1'),
    'a label twice': (content(gt_label=[2, 1, 2]), r'data_list\[1\].gt_label.*\[2\]'),
    'difficult too large': (
        content(gt_label_difficult=[3]),
        r'data_list\[1\].gt_label_difficult.*0\.\.2',
    ),
    'difficult null': (content(gt_label_difficult=None), r'data_list\[1\].gt_label_difficult'),
    'difficult and true': (
        content(gt_label_difficult=[2, 0]),
        r'data_list\[1\].*\[2\] are in both',
    ),
    'no JSON': (b'{"metainfo": ', 'expected JSON'),
    'an empty file': (b'', 'expected JSON'),
    'no UTF-8': (b'{"metainfo": "\xff"}', 'UTF-8.*byte 14'),
    'nested too deep': (b'[' * 100_000, 'expected JSON'),
}


@pytest.mark.parametrize(('value', 'match'), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_named_with_the_file(tmp_path, value, match):
    with pytest.raises(AnnotationError, match=rf'ann\.json.*{match}'):
        load_annotations(write(tmp_path, value))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.json'):
        load_annotations(tmp_path / 'nowhere.json')


def test_the_folder_that_was_looked_in_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        load_annotations('data/train.json')
    assert f'looked in {tmp_path}/data, which does not exist either' in str(caught.value)
    (tmp_path / 'data').mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        load_annotations('data/train.json')
    assert f'looked in {tmp_path}/data, which has no such file' in str(caught.value)


def test_all_mistakes_are_listed_one_a_line():
    wrong = [
        dict(img_path='', gt_label=[0]),
        dict(img_path='b.jpg', gt_label=[9], gt_label_difficult=['x']),
        dict(img_path='c.jpg', gt_label=[1]),
        'd.jpg',
    ]
    with pytest.raises(AnnotationError) as caught:
        check_annotations(content() | dict(data_list=wrong), 'ann.json')
    places = [line.split('`')[1] for line in str(caught.value).splitlines()]
    assert places == [
        'data_list[0].img_path',
        'data_list[1].gt_label',
        'data_list[1].gt_label_difficult',
        'data_list[3]',
    ]


def test_of_many_mistakes_the_first_ten_are_shown():
    wrong = [dict(img_path='a.jpg', gt_label=[9])] * 25
    with pytest.raises(AnnotationError) as caught:
        check_annotations(content() | dict(data_list=wrong), 'ann.json')
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == '... and 15 more mistakes.'


def test_all_wrong_classes_are_listed():
    with pytest.raises(AnnotationError) as caught:
        check_classes(['cat', '', 'cat', 3], 'ann.json')
    assert [line.split('`')[1][-2] for line in str(caught.value).splitlines()] == ['1', '2', '3']


def twice(first, second, path='./sub/../a.jpg'):
    items = [dict(img_path='a.jpg', **first), dict(img_path=path, **second)]
    return content() | dict(data_list=items)


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        (dict(gt_label=[0]), dict(gt_label=[1])),
        (dict(gt_label=[0]), dict(gt_label=[0, 1])),
        (dict(gt_label=[0]), dict(gt_label=[])),
        (dict(gt_label=[0]), dict(gt_label=[0], gt_label_difficult=[1])),
    ],
)
def test_an_image_twice_with_other_labels_is_refused(first, second):
    with pytest.raises(AnnotationError, match=r'data_list\[1\].*a\.jpg.*`data_list\[0\]`.*other'):
        check_annotations(twice(first, second), 'ann.json')


@pytest.mark.parametrize(
    ('first', 'second', 'path'),
    [
        (dict(gt_label=[0, 1]), dict(gt_label=[1, 0]), 'a.jpg'),
        (dict(gt_label=[0], gt_label_difficult=[]), dict(gt_label=[0]), './a.jpg'),
        (dict(gt_label=[0]), dict(gt_label=[1]), 'b/a.jpg'),
    ],
)
def test_an_image_twice_with_the_same_labels_and_two_images_pass(first, second, path):
    assert len(check_annotations(twice(first, second, path), 'ann.json')) == 2


def test_long_values_are_shortened_in_messages():
    with pytest.raises(AnnotationError) as error:
        check_annotations(content(img_path=['x' * 10_000]), 'ann.json')
    assert len(str(error.value)) < 300


def test_what_was_saved_is_read_back(tmp_path):
    annotations = Annotations(
        ['Katze', '犬', 'a "b"'],
        [
            dict(img_path='ü/a.jpg', gt_label=[]),
            dict(img_path='b.jpg', gt_label=[2, 0], gt_label_difficult=[1], width=640),
        ],
        dict(source='hand'),
    )
    path = tmp_path / 'sub' / 'ann.json'
    save_annotations(path, annotations)
    assert load_annotations(path) == annotations
    assert json.loads(path.read_text(encoding='utf-8'))['metainfo'] == dict(
        source='hand', classes=annotations.classes
    )
    first = path.read_bytes()
    save_annotations(path, load_annotations(path))
    assert path.read_bytes() == first


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    path = tmp_path / 'ann.json'
    with pytest.raises(AnnotationError, match='gt_label'):
        save_annotations(path, Annotations(['cat'], [dict(img_path='a.jpg', gt_label=[1])]))
    assert list(tmp_path.iterdir()) == []


def test_counts_and_targets():
    annotations = check_annotations(content(gt_label=[2, 0], gt_label_difficult=[1]), 'ann.json')
    assert len(annotations) == 2
    assert annotations.label_counts().tolist() == [2, 0, 1]
    assert annotations.targets().tolist() == [[1, 0, 0], [1, -1, 1]]


def test_classes_of_the_config_stand_in_for_missing_ones(tmp_path):
    path = write(tmp_path, without(content(), 'metainfo'))
    assert load_annotations(path, ['x', 'y', 'z']).classes == ['x', 'y', 'z']


@pytest.mark.parametrize(
    ('expected', 'match'),
    [
        (['cat', 'cow', 'dog'], r"another order.*index 1 'dog' was found and 'cow' expected"),
        (['cat', 'dog'], r"3 classes against 2.*index 2 'cow' was found and 'nothing'"),
        (
            ['cat', 'dog', 'cow', 'pig'],
            r"3 classes against 4.*index 3 'nothing' was found and 'pig'",
        ),
    ],
)
def test_other_classes_than_the_config_are_refused(tmp_path, expected, match):
    with pytest.raises(AnnotationError, match=rf'ann\.json.*{match}'):
        load_annotations(write(tmp_path, content()), expected)


def test_equal_classes_are_accepted_whatever_the_sequence():
    compare_classes(('cat', 'dog'), ['cat', 'dog'], 'a', 'b')
    assert check_classes(('cat', 'dog'), 'a') == ['cat', 'dog']


def write_half(path):
    with atomic_write(path) as file:
        file.write(b'half')
        raise KeyboardInterrupt


def test_atomic_write_replaces_the_file_only_when_whole(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    with atomic_write(path) as file:
        file.write(b'new')
        assert path.read_bytes() == b'old'

    assert path.read_bytes() == b'new'
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_bytes() == b'new'
    assert [entry.name for entry in tmp_path.iterdir()] == ['file']
