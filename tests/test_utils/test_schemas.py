"""What files of others may hold: every field of a wrong kind is named, and nothing is converted."""

import pytest
from test_utils.test_describing import shared_nest

from morn_plugin.utils.schemas import (
    MAX_ERRORS,
    CheckpointMeta,
    ExportMetadata,
    ThresholdsContent,
    check_schema,
)

NAN = float('nan')
RESIZE = dict(type='resize', scale=[8, 8], backend='cv2')
PREPROCESSING = dict(
    transforms=[RESIZE, dict(type='center_crop', size=[8, 8])],
    mean=[1.0, 2, 3],
    std=[1.0, 2, 3],
    channels='RGB',
    background=255,
    max_pixels=100,
)
VALID = {
    ThresholdsContent: dict(
        thr=[0.1, 0.2], classes=['a', 'b'], measure='per-label-f1', chosen_on='val.json'
    ),
    ExportMetadata: dict(
        classes=['a', 'b'], preprocessing=PREPROCESSING, thr=[0.1, 0.2], topk=None, version='2'
    ),
    CheckpointMeta: dict(cfg='a = 1', dataset_meta=dict(classes=('a', 'b')), epoch=3),
}


def preprocessing(**change):
    return dict(preprocessing=PREPROCESSING | change)


def scaled(scale):
    return preprocessing(transforms=[RESIZE | dict(scale=scale)])


BROKEN = [
    (ThresholdsContent, dict(thr=None), '`thr`'),
    (ThresholdsContent, dict(thr='0.5'), '`thr`'),
    (ThresholdsContent, dict(thr=True), '`thr`'),
    (ThresholdsContent, dict(thr=NAN), '`thr`'),
    (ThresholdsContent, dict(thr=[0.1, NAN]), r'thr\[1\]'),
    (ThresholdsContent, dict(thr=[0.1, '0.2']), r'thr\[1\]'),
    (ThresholdsContent, dict(thr=[]), '`thr`'),
    (ThresholdsContent, dict(thr=[0.1] * 3), '`thr` to contain one number for each of the 2'),
    (ThresholdsContent, dict(thr=dict(a=1)), '`thr`'),
    (ThresholdsContent, dict(thr=shared_nest()), r'thr\[0\]'),
    (ThresholdsContent, dict(classes=['a', 'a\u200b']), r'classes\[1\]'),
    (ThresholdsContent, dict(measure=3), '`measure`.*got 3'),
    (ThresholdsContent, dict(odd=1), '`odd`: expected no such field'),
    (ExportMetadata, dict(classes=None), '`classes`'),
    (ExportMetadata, dict(classes=shared_nest()), r'classes\[0\]'),
    (ExportMetadata, dict(thr=NAN), '`thr`'),
    (ExportMetadata, dict(thr='0.3'), '`thr`'),
    (ExportMetadata, dict(topk=1), 'got both'),
    (ExportMetadata, dict(thr=None, topk=True), '`topk`'),
    (ExportMetadata, dict(thr=None, topk=3), '`topk` to be at most'),
    (ExportMetadata, dict(preprocessing=[]), '`preprocessing`: expected named fields'),
    (ExportMetadata, preprocessing(std=[1.0, 0.0, 1.0]), '`std` to be above 0'),
    (ExportMetadata, preprocessing(std=[1.0, -1.0, 1.0]), '`std` to be above 0'),
    (ExportMetadata, preprocessing(std=None), '`mean` and `std`'),
    (ExportMetadata, preprocessing(mean=[1, 2]), r'preprocessing\.mean`: expected a list of at'),
    (ExportMetadata, preprocessing(mean=[1, 2, NAN]), r'mean\[2\]`: expected a finite number'),
    (ExportMetadata, preprocessing(mean=[1, 2, float('inf')]), r'mean\[2\]'),
    (ExportMetadata, preprocessing(mean=['1', 2, 3]), r'mean\[0\]'),
    (ExportMetadata, preprocessing(channels='GRAY'), r'channels.*RGB'),
    (ExportMetadata, preprocessing(background=1.5), 'background'),
    (ExportMetadata, preprocessing(background=256), 'background'),
    (ExportMetadata, preprocessing(max_pixels=0), 'max_pixels'),
    (ExportMetadata, preprocessing(max_pixels=10**12), 'max_pixels'),
    (ExportMetadata, preprocessing(transforms=None), 'transforms'),
    (ExportMetadata, preprocessing(transforms=[5]), r'transforms\[0\]'),
    (ExportMetadata, preprocessing(transforms=[{}]), r'transforms\[0\].*`type`'),
    (ExportMetadata, preprocessing(transforms=[dict(type='os.system')]), r'center_crop.*os.system'),
    (ExportMetadata, preprocessing(transforms=[RESIZE] * 101), 'transforms'),
    (ExportMetadata, scaled([8]), 'scale'),
    (ExportMetadata, scaled([0, 8]), r'scale\[0\]'),
    (ExportMetadata, scaled([8, 10**9]), r'scale\[1\]'),
    (ExportMetadata, scaled([8.0, 8]), r'scale\[0\]'),
    (CheckpointMeta, dict(cfg=5), '`cfg`: expected a valid string, but got 5'),
    (CheckpointMeta, dict(cfg=b'a = 1'), '`cfg`'),
    (CheckpointMeta, dict(dataset_meta=[]), '`dataset_meta`: expected named fields'),
    (CheckpointMeta, dict(dataset_meta=dict(classes='cat')), r'dataset_meta\.classes'),
    (CheckpointMeta, dict(dataset_meta=dict(classes=shared_nest())), r'classes\[0\]'),
    (CheckpointMeta, dict(dataset_meta=dict(cnn_checkpoint_sha256=1)), 'cnn_checkpoint_sha256'),
]


@pytest.mark.parametrize('schema', VALID)
def test_what_is_right_comes_out_as_it_was(schema):
    found = check_schema(schema, VALID[schema], 'f.json').model_dump()
    for name, value in VALID[schema].items():
        if name == 'dataset_meta':
            assert found[name]['classes'] == list(value['classes'])
        elif name in schema.model_fields:
            assert found[name] == value


@pytest.mark.parametrize(('schema', 'change', 'message'), BROKEN)
def test_what_is_wrong_is_named(schema, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_schema(schema, VALID[schema] | change, 'f.json')
    assert str(caught.value).startswith('f.json: ')
    assert len(str(caught.value)) < 400
    assert 'pydantic' not in str(caught.value)


@pytest.mark.parametrize('schema', VALID)
@pytest.mark.parametrize('value', [None, [], 'text', 5, b'', [('thr', 1)]], ids=repr)
def test_what_has_no_fields_is_refused(schema, value):
    with pytest.raises(ValueError, match=r'^f: expected named fields, but got'):
        check_schema(schema, value, 'f')


def test_all_wrong_fields_are_listed_up_to_a_limit():
    with pytest.raises(ValueError) as caught:
        check_schema(ThresholdsContent, dict(thr=0.5), 'f.json')
    lines = str(caught.value).split('\n')
    assert [line.split('`')[1] for line in lines] == ['classes', 'measure', 'chosen_on']
    many = preprocessing(transforms=[5] * 50)
    with pytest.raises(ValueError) as caught:
        check_schema(ExportMetadata, VALID[ExportMetadata] | many, 'f.json')
    lines = str(caught.value).split('\n')
    assert len(lines) == MAX_ERRORS + 1
    assert lines[-1] == '... 50 in all.'


def test_the_error_is_of_the_kind_asked_for():
    with pytest.raises(FileNotFoundError, match=r'^f: '):
        check_schema(CheckpointMeta, 5, 'f', FileNotFoundError)
