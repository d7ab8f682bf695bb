"""Settings that must agree are compared before the data are read, all mistakes at once."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from config_files import LEAVES, read_leaf
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import init_default_scope
from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS, HOOKS

import morn_plugin  # noqa: F401  registers everything
from morn_plugin.apis.agreement import (
    TESTING,
    TRAINING,
    find_disagreements,
    find_head,
    find_own_decider,
    is_type,
)
from morn_plugin.datasets.annotations import Annotations, load_classes, save_annotations
from morn_plugin.datasets.cached import ScoreFile, save_scores
from morn_plugin.engine.hooks import ResumableCheckpointHook

CLASSES = ['cat', 'dog', 'sea']


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpretrain')


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / 'train.json', CLASSES)
    write(tmp_path / 'val.json', CLASSES)
    write(tmp_path / 'test.json', CLASSES)
    return tmp_path


def write(path, classes):
    save_annotations(path, Annotations(classes, [dict(img_path='a.jpg', gt_label=[0])]))


def scores(path, classes=CLASSES, origin='a'):
    annotations = Annotations(classes, [dict(img_path='a.jpg', gt_label=[0])])
    values = np.full((1, len(classes)), 0.5, dtype=np.float32)
    save_scores(path, ScoreFile(values, annotations, dict(checkpoint_sha256=origin)))


def settings(folder, **changes):
    loader = lambda name: dict(
        dataset=dict(
            type='CheckedMultiLabelDataset', data_root=str(folder), ann_file=f'{name}.json'
        )
    )
    cfg = dict(
        model=dict(
            type='MultiLabelClassifier',
            head=dict(type='MultiOrderLSTMHead', num_classes=3, in_channels=4),
        ),
        train_dataloader=loader('train'),
        val_dataloader=loader('val'),
        test_dataloader=loader('test'),
        val_evaluator=[dict(type='PerImageF1', use_pred_label=True), dict(type='TopOneAccuracy')],
        test_evaluator=dict(type='PerLabelF1', thr=0.5),
        default_hooks=dict(checkpoint=dict(save_best='per-image/f1-score')),
    )
    cfg = Config(copy.deepcopy(cfg))
    cfg.merge_from_dict(changes)
    return cfg


def find(cfg, loaders=(*TRAINING, *TESTING), others=None):
    return find_disagreements(cfg, loaders, others).settings


def test_what_agrees_passes(folder):
    found = find_disagreements(settings(folder), (*TRAINING, *TESTING), {'a file': CLASSES})
    assert found.settings == []
    assert found.files == []


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'model.head.num_classes': 80}, '`model.head.num_classes` is 80, but'),
        ({'model.head.num_classes': 2}, '`model.head.num_classes` is 2, but'),
        ({'model.head.thr': [0.5] * 4}, '`model.head.thr` has 4 thresholds, but the data have 3'),
        ({'model.head.topk': 4}, '`model.head.topk` is 4, but the data have 3'),
        ({'test_evaluator.thr': [0.5]}, '`test_evaluator.thr` has 1 thresholds'),
        ({'val_evaluator.1.topk': 9}, '`val_evaluator[1].topk` is 9'),
        ({'val_dataloader.drop_last': True}, '`val_dataloader.drop_last` leaves images out'),
        ({'test_dataloader.drop_last': True}, '`test_dataloader.drop_last` leaves images out'),
        ({'test_dataloader.num_batch_per_epoch': 2}, 'num_batch_per_epoch` leaves images out'),
        (
            {'default_hooks.checkpoint.save_best': 'per-image/f1'},
            None,
        ),  # the figures of a metric are its own matter
        (
            {'default_hooks.checkpoint.save_best': 'per-label/f1-score'},
            "`default_hooks.checkpoint.save_best` is 'per-label/f1-score', but `val_evaluator` "
            'measures one-step/..., per-image/....',
        ),
        ({'default_hooks.checkpoint.save_best': 'auto'}, None),
        ({'default_hooks.checkpoint.save_best': None}, None),
        ({'val_dataloader': None}, "save_best` is 'per-image/f1-score', but nothing is validated"),
        ({'val_evaluator.1': dict(type='MultiLabelMetric', prefix='x')}, None),
    ],
)
def test_what_does_not_agree_is_named(changes, expected, folder):
    found = find(settings(folder, **changes))
    assert len(found) == (expected is not None)
    if expected is not None:
        assert expected in found[0]


def test_all_mistakes_are_named_at_once(folder):
    write(folder / 'val.json', ['cat', 'sea', 'dog'])
    changes = {'model.head.num_classes': 80, 'test_evaluator.thr': [0.5]}
    found = find(settings(folder, **changes), others={'t.json': ['cat']})
    assert len(found) == 4
    assert 'at index 1' in found[0]
    assert 'The classes of t.json differ' in found[1]


def test_missing_files_are_named_all(tmp_path):
    found = find_disagreements(settings(tmp_path), (*TRAINING, *TESTING))
    assert [line.split(':')[0] for line in found.files] == [
        '`train_dataloader`',
        '`val_dataloader`',
        '`test_dataloader`',
    ]
    assert all('does not exist' in line for line in found.files)


def test_data_that_the_run_does_not_use_are_not_asked_for(folder):
    (folder / 'train.json').unlink()
    found = find_disagreements(settings(folder), TESTING)
    assert found.settings == []
    assert found.files == []


@pytest.mark.parametrize('left_out', [True, False])
def test_the_number_of_classes_is_that_of_the_data(left_out, folder):
    cfg = settings(folder)
    if left_out:
        del cfg.model.head['num_classes']
    else:
        cfg.model.head.num_classes = None
    assert find(cfg) == []
    assert cfg.model.head.num_classes == 3


def test_a_head_that_takes_no_number_gets_none(folder):
    cfg = settings(folder)
    cfg.model.head = dict(type='ClsHead')
    assert find(cfg) == []
    assert 'num_classes' not in cfg.model.head


def test_the_head_is_found_inside_of_test_time_augmentation(folder):
    cfg = settings(folder)
    cfg.model = dict(type='AverageScoresTTA', module=cfg.model)
    assert find_head(cfg).type == 'MultiOrderLSTMHead'
    cfg.model.module.head.num_classes = 4
    assert len(find(cfg)) == 1
    assert find_head(Config(dict(model=dict(type='ImageToImage')))) is None
    assert find_head(Config({})) is None


@pytest.mark.parametrize(
    ('metric', 'right'),
    [
        (dict(type='PerImageF1', thr=0.5), False),
        (dict(type='PerImageF1', topk=3), False),
        (dict(type='PerImageF1'), False),
        (dict(type='PerImageF1', use_pred_label=True), True),
        (dict(type='PerImageF1', item='cnn_score'), True),
        (dict(type='TopOneAccuracy'), True),
        (dict(type='MeanAveragePrecision'), True),
    ],
)
def test_a_decoder_that_decides_itself_is_not_judged_by_a_threshold(metric, right, folder):
    cfg = settings(folder)
    cfg.model.head = dict(
        type='LabelDecoderHead', in_channels=4, decoder=dict(type='LabelSequenceLSTM')
    )
    cfg.val_evaluator = [metric]
    cfg.default_hooks.checkpoint.save_best = None
    found = find(cfg, TRAINING)
    assert len(found) == (not right)

    if not right:
        assert 'LabelSequenceLSTM decides itself' in found[0]
        assert '`val_evaluator[0]`' in found[0]

    cfg.model.head.decoder = dict(type='MultiOrderLSTM')
    assert find(cfg, TRAINING) == []


def test_heads_without_a_decoder_have_a_threshold():
    for head in (None, dict(type='LabelDecoderHead'), dict(type='LabelDecoderHead', decoder=None)):
        assert find_own_decider(head) is None


def test_cached_scores_are_compared_by_their_headers(tmp_path):
    cfg = settings(tmp_path)
    for name, origin in (('train', 'a'), ('val', 'b'), ('test', 'a')):
        scores(tmp_path / f'{name}.safetensors', origin=origin)
        cfg[f'{name}_dataloader'].dataset = dict(
            type='ScoreDataset', data_root=str(tmp_path), ann_file=f'{name}.safetensors'
        )

    found = find(cfg)
    assert len(found) == 1
    assert 'val.safetensors contains the scores of another CNN than' in found[0]
    scores(tmp_path / 'val.safetensors', ['cat', 'dog'])
    assert '2 classes against 3' in find(cfg)[0]
    (tmp_path / 'val.safetensors').write_bytes(b'x' * 20)
    broken = find_disagreements(cfg, TRAINING)
    assert 'val.safetensors: expected a whole safetensors file' in broken.files[0]


def test_wrapped_and_joined_data_sets_are_looked_into(folder):
    write(folder / 'more.json', ['cat', 'dog'])
    cfg = settings(folder)
    inner = cfg.train_dataloader.dataset
    joined = dict(type='ConcatDataset', datasets=[inner, dict(inner, ann_file='more.json')])
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=joined)
    found = find(cfg)
    assert len(found) == 1
    assert 'more.json' in found[0]


def test_classes_of_the_config_count_as_well(folder):
    cfg = settings(folder, **{'val_dataloader.dataset.metainfo': dict(classes=['cat', 'dog'])})
    assert '`val_dataloader.dataset.metainfo`' in find(cfg)[0]


@pytest.mark.parametrize(
    'kind', ['CheckedMultiLabelDataset', 'mmpretrain.CheckedMultiLabelDataset', MultiLabelDataset]
)
def test_a_type_is_known_by_any_of_its_names(kind, folder):
    assert is_type(dict(type=kind), DATASETS, MultiLabelDataset)
    cfg = settings(folder)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.type = kind
    cfg.model.head.num_classes = None
    assert find(cfg) == []
    assert cfg.model.head.num_classes == 3


def test_other_types_are_not_taken_for_one():
    assert not is_type(dict(type='CheckpointHook'), HOOKS, ResumableCheckpointHook)
    assert is_type(dict(type='ResumableCheckpointHook'), HOOKS, CheckpointHook)
    for node in (None, {}, dict(type=None), dict(type='NoSuchHook'), dict(type=len), 'text'):
        assert not is_type(node, HOOKS, CheckpointHook)


def test_classes_are_read_from_the_beginning_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    write(path, CLASSES)
    text = path.read_text()
    path.write_text(text[: text.index('data_list')])  # the rest is not looked at
    assert load_classes(path) == CLASSES
    path.write_text(json.dumps(dict(data_list=[], metainfo=dict(classes=CLASSES))))
    assert load_classes(path) == CLASSES
    path.write_text('{"data_list": []}')
    assert load_classes(path) is None
    monkeypatch.setattr('morn_plugin.datasets.annotations.LONGEST_METAINFO', 20)
    write(path, CLASSES)
    assert load_classes(path) == CLASSES
    with pytest.raises(FileNotFoundError, match=r'nowhere\.json'):
        load_classes(Path('nowhere.json'))


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_the_settings_of_every_config_agree(path):
    found = find_disagreements(read_leaf(path), (*TRAINING, *TESTING))
    assert found.settings == []
