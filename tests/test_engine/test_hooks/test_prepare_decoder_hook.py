"""The order of the labels comes from the training annotations: in a run, a resumed one, and through wrapped data sets."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, HOOKS

from morn_plugin.datasets.annotations import Annotations, load_annotations, training_targets
from morn_plugin.datasets.cached.file import ScoreFile, save_scores
from morn_plugin.models import LabelSequenceLSTM

ROOT = Path(__file__).parents[3]
SLICE = ROOT / 'tests/data/openclipart_mini'
CONFIG = ROOT / 'configs/cnn_rnn/cnn-rnn-frequent-first_scores_1xb32-50e_openclipart.py'
CLASSES = ['sky', 'sea', 'dog', 'cat', 'ant']
# images: sky 1, sea 3, dog 3, cat 5, ant 0
LABELS = [
    [3, 1],
    [3, 2],
    [3, 1, 2],
    [3],
    [0, 3],
    [2, 1],
    [],
]
ORDERS = dict(
    frequent_first=[3, 2, 1, 0, 4], rare_first=[4, 0, 2, 1, 3], lexicographic=[4, 3, 2, 1, 0]
)


@pytest.fixture
def folder(tmp_path):
    write_scores(tmp_path, LABELS)
    return tmp_path


def write_scores(folder, labels):
    data = [dict(img_path=f'{index}.jpg', gt_label=row) for index, row in enumerate(labels)]
    scores = np.random.default_rng(0).random((len(labels), 5), dtype=np.float32)
    save_scores(
        folder / 'scores_train.safetensors', ScoreFile(scores, Annotations(list(CLASSES), data), {})
    )


def run(folder, work_dir, epochs=3, order='frequent_first', **options):
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(
        {
            'model.head.num_classes': 5,
            'model.head.decoder.hidden_dims': 8,
            'model.head.decoder.order': order,
            'train_dataloader.dataset.data_root': str(folder),
            'train_dataloader.batch_size': 3,
            'train_cfg.max_epochs': epochs,
            'default_hooks.checkpoint.save_best': None,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'visualizer': None,
            'work_dir': str(folder / work_dir),
            'experiment_name': f'{folder.name}_{work_dir}',
            **options,
        }
    )
    for side in ('val', 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            cfg[f'{side}_{part}'] = None

    cfg.train_cfg.pop('val_interval')
    Runner.from_cfg(cfg).train()
    return torch.load(folder / work_dir / f'epoch_{epochs}.pth', weights_only=True)['state_dict']


def log_of(folder, work_dir):
    return ''.join(path.read_text() for path in sorted((folder / work_dir).glob('*/*.log')))


@pytest.mark.parametrize('order', ORDERS)
def test_a_run_stores_order_and_length(order, folder):
    weights = run(folder, 'run', 1, order)
    assert weights['head.decoder.label_order'].tolist() == ORDERS[order]
    assert weights['head.decoder.longest'].item() == 3


def test_an_order_of_ones_own(folder):
    weights = run(folder, 'run', 1, ['dog', 'ant', 'sky', 'cat', 'sea'])
    assert weights['head.decoder.label_order'].tolist() == [2, 4, 0, 3, 1]


def test_a_resumed_run_ends_the_same(folder):
    whole = run(folder, 'whole')
    (folder / 'part').mkdir()
    for name in ('epoch_1.pth', 'last_checkpoint'):
        shutil.copy(folder / 'whole' / name, folder / 'part')

    (folder / 'part' / 'last_checkpoint').write_text('epoch_1.pth')
    resumed = run(folder, 'part', resume=True)
    assert 'resumed epoch: 1' in log_of(folder, 'part')
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert 'took label_order' not in log_of(folder, 'part')


def test_other_annotations_than_those_of_the_checkpoint_are_named(folder):
    run(folder, 'run', 1)
    write_scores(folder, [[4], [4, 0], *LABELS[2:]])
    weights = run(folder, 'other', 1, load_from=str(folder / 'run' / 'epoch_1.pth'))
    # 3 cats, 2 of each other
    assert weights['head.decoder.label_order'].tolist() == [
        3,
        4,
        2,
        1,
        0,
    ]
    log = log_of(folder, 'other')
    assert (
        'LabelSequenceLSTM took label_order from the training annotations; the checkpoint had '
        'none, or others.' in log
    )
    assert 'took label_order' not in log_of(folder, 'run')  # nothing was loaded, nothing to say


DATASET = dict(
    type='CheckedMultiLabelDataset', data_root=str(SLICE), ann_file='train_fit.json', pipeline=[]
)
OTHER = dict(DATASET, ann_file='val.json')
FIT, VAL = (
    [item['gt_label'] for item in load_annotations(SLICE / f'{name}.json').data_list]
    for name in ('train_fit', 'val')
)


@pytest.mark.parametrize(
    ('config', 'labels'),
    [
        (DATASET, FIT),
        (dict(DATASET, indices=10), FIT[:10]),
        (dict(type='ConcatDataset', datasets=[DATASET, OTHER]), FIT + VAL),
        (dict(type='RepeatDataset', times=2, dataset=DATASET), FIT + FIT),
        (
            dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(type='ConcatDataset', datasets=[OTHER, DATASET]),
            ),
            2 * (VAL + FIT),
        ),
        (dict(type='KFoldDataset', num_splits=4, dataset=DATASET), FIT[len(FIT) // 4 :]),
        (dict(type='ClassBalancedDataset', oversample_thr=1e-9, dataset=DATASET), FIT),
    ],
    ids=['plain', 'indices', 'concat', 'repeat', 'repeat-concat', 'fold', 'balanced'],
)
def test_labels_are_read_through_wrappers(config, labels):
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(config)
    classes, targets = training_targets(dataset)
    assert classes == load_annotations(SLICE / 'val.json').classes
    assert [np.flatnonzero(row).tolist() for row in targets] == [sorted(row) for row in labels]
    model = torch.nn.Module()
    model.head = torch.nn.Module()
    model.head.decoder = LabelSequenceLSTM(41, 'frequent_first', embed_dims=2, hidden_dims=2)
    HOOKS.build(dict(type='PrepareDecoderHook')).before_train(
        SimpleNamespace(
            model=torch.nn.DataParallel(model),
            train_dataloader=SimpleNamespace(dataset=dataset),
            _resume=False,
            _load_from=None,
        )
    )
    counts = [sum(k in row for row in labels) for k in range(41)]
    assert model.head.decoder.label_order.tolist() == sorted(
        range(41), key=lambda k: (-counts[k], classes[k])
    )
    assert model.head.decoder.longest.item() == max(map(len, labels))


@pytest.mark.parametrize('decoder', [None, 'multi-order'])
def test_a_decoder_that_needs_no_labels_gets_none(decoder):
    def prepare(*_):
        pytest.fail('prepare was called')

    model = torch.nn.Module()
    if decoder:
        model.head = SimpleNamespace(
            decoder=SimpleNamespace(needs_training_labels=False, prepare=prepare)
        )
    HOOKS.build(dict(type='PrepareDecoderHook')).before_train(SimpleNamespace(model=model))
