"""A data set is a converter's folder, or a config."""

import json
from pathlib import Path

import pytest
from mmpretrain.registry import DATASETS

from morn_plugin.benchmark.runner.source import read_source

ROOT = Path(__file__).parents[3]
SLICE = ROOT / 'tests' / 'data' / 'openclipart_mini'


def count(side):
    return len(json.loads((SLICE / f'{side}.json').read_text())['data_list'])


def test_a_folder():
    source = read_source(str(SLICE))
    assert source.title == 'openclipart_mini'
    assert len(source.classes) == 41
    assert source.num_training == count('train_fit')
    assert len(source.annotations['test']) == count('test')
    assert Path(source.datasets['val']['data_root']) == SLICE
    labels = [len(item['gt_label']) for item in source.annotations['train'].data_list]
    assert source.mean_labels() == round(sum(labels) / len(labels))


def test_a_config(tmp_path):
    path = tmp_path / 'mine.py'
    base = ROOT / 'configs/_base_/datasets/openclipart_mini.py'
    path.write_text(f"_base_ = ['{base}']\nval_dataloader = dict(dataset=dict(indices=5))")
    source = read_source(str(path), 'My drawings')
    assert source.title == 'My drawings'
    assert source.classes == read_source(str(SLICE)).classes
    assert source.datasets['val']['indices'] == 5
    assert len(source.annotations['val']) == 5
    assert 'pipeline' not in source.datasets['val'], 'how images are seen is for the CNN to say'


@pytest.mark.parametrize('indices', [6, -4, [8, 0, 3]])
def test_a_part_of_a_side_is_the_part_that_is_trained_on(tmp_path, indices):
    path = tmp_path / 'few.py'
    base = ROOT / 'configs/_base_/datasets/openclipart_mini.py'
    path.write_text(
        f"_base_ = ['{base}']\ntrain_dataloader = dict(dataset=dict(indices={indices}))"
    )
    source = read_source(str(path))
    dataset = DATASETS.build(
        dict(type='CheckedMultiLabelDataset', pipeline=[], **source.datasets['train'])
    )
    names = [item['img_path'] for item in source.annotations['train'].data_list]
    assert source.num_training == len(dataset)
    assert [dataset.get_data_info(k)['img_path'] for k in range(len(dataset))] == [
        str(SLICE / name) for name in names
    ]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere does not exist.*has a converter for'):
        read_source(str(tmp_path / 'nowhere'))
    (tmp_path / 'test.json').write_text('{}')
    with pytest.raises(FileNotFoundError, match=r'but train_fit.json, val.json is missing'):
        read_source(str(tmp_path))
    path = tmp_path / 'mine.py'
    path.write_text('train_dataloader = dict(dataset=dict())')
    with pytest.raises(ValueError, match='lacks val_dataloader, test_dataloader'):
        read_source(str(path))
