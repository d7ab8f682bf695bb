"""Data sets are compared as they are built, whatever they are called and wrapped in."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS
from torch import nn
from torch.utils.data import Subset

import morn_plugin  # noqa: F401  registers everything
from morn_plugin.datasets.annotations import Annotations
from morn_plugin.datasets.cached import ScoreFile, save_scores
from morn_plugin.engine.hooks import DataCheckHook
from morn_plugin.engine.hooks.data_check_hook import list_images

pytestmark = pytest.mark.slow  # builds many data sets

CLASSES = ['a', 'b']


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpretrain')


@pytest.fixture
def root(tmp_path):
    for name, images in (('train', range(10)), ('other', range(10, 14)), ('both', [9, 10])):
        write(tmp_path, name, [(f'{index}.jpg', [index % 2]) for index in images])
    return tmp_path


def write(root, name, images):
    items = [dict(img_path=path, gt_label=labels) for path, labels in images]
    content = dict(metainfo=dict(classes=CLASSES), data_list=items)
    (root / f'{name}.json').write_text(json.dumps(content))


def images_of(root, name, kind='CheckedMultiLabelDataset', **options):
    return dict(type=kind, data_root=str(root), ann_file=f'{name}.json', **options)


class Runner(SimpleNamespace):
    """As much of a runner as the hook looks at."""

    def __init__(self, train, val=None, test=None, num_classes=2):
        lines = []
        build = lambda config: None if config is None else self.load(DATASETS.build(config))
        loops = [
            None if loader is None else SimpleNamespace(dataloader=loader)
            for loader in (build(train), build(val))
        ]
        model = nn.Module()
        model.head = SimpleNamespace(num_classes=num_classes)
        loader = lambda config: None if config is None else dict(dataset=config)
        super().__init__(
            _train_loop=loops[0],
            _val_loop=loops[1],
            _test_loop={},
            train_dataloader=loops[0].dataloader,
            model=model,
            lines=lines,
            logger=SimpleNamespace(warning=lines.append),
            cfg=ConfigDict(val_dataloader=loader(val), test_dataloader=loader(test)),
        )

    @staticmethod
    def load(dataset, batch_size=2, drop_last=False):
        class Loader(SimpleNamespace):
            def __len__(self):
                number = len(dataset)
                return number // batch_size if drop_last else -(-number // batch_size)

        return Loader(dataset=dataset, batch_size=batch_size, drop_last=drop_last)


def check(train, val=None, test=None):
    runner = Runner(train, val, test)
    DataCheckHook().before_train(runner)
    return runner.lines


def wrapped(config):
    return dict(type='RepeatDataset', times=2, dataset=config)


def joined(*configs):
    return dict(type='ConcatDataset', datasets=list(configs))


def fold(root, number, test_mode, seed=None):
    options = dict(fold=number, num_splits=5, test_mode=test_mode, seed=seed)
    return dict(type='KFoldDataset', dataset=images_of(root, 'train'), **options)


@pytest.mark.parametrize(
    'kind',
    [
        'CheckedMultiLabelDataset',
        'mmpretrain.CheckedMultiLabelDataset',
        'MultiLabelDataset',
        MultiLabelDataset,
    ],
)
def test_an_image_in_both_is_found_whatever_the_class_is_called(kind, root):
    train = images_of(root, 'train', kind)
    for val, test in ((train, None), (None, train)):
        with pytest.raises(ValueError, match='10 images of train_dataloader are in'):
            check(train, val, test)
    with pytest.raises(ValueError, match=r'1 images of train_dataloader.*9\.jpg'):
        check(train, images_of(root, 'both', kind))
    check(train, images_of(root, 'other', kind))


def test_an_image_in_both_is_found_inside_of_wrappers(root):
    train, both, other = (images_of(root, name) for name in ('train', 'both', 'other'))
    for val in (wrapped(both), joined(other, both), wrapped(joined(both, other))):
        with pytest.raises(ValueError, match='train_dataloader are in val_dataloader'):
            check(wrapped(train), val)


def test_folds_and_parts_of_one_file_are_disjoint(root):
    for number in range(5):
        for seed in (None, 3):
            check(fold(root, number, False, seed), fold(root, number, True, seed))

    with pytest.raises(ValueError, match='2 images of train_dataloader are in val_dataloader'):
        check(fold(root, 0, False), fold(root, 1, True))

    part = lambda *indices: images_of(root, 'train', indices=list(indices))
    check(part(0, 1, 2), part(3, 4))
    with pytest.raises(ValueError, match='1 images'):
        check(part(0, 1, 2), part(2, 3))


def test_a_part_taken_by_torch_counts_as_what_it_is(root):
    whole = DATASETS.build(images_of(root, 'train'))
    paths = lambda dataset: {image.path for image in list_images(dataset)}
    assert len(paths(Subset(whole, [0, 1]))) == 2
    assert not paths(Subset(whole, [0, 1])) & paths(Subset(whole, [2, 3]))


def test_cached_scores_are_compared_by_their_images(root):
    def cache(name, folder, paths):
        items = [dict(img_path=path, gt_label=[0]) for path in paths]
        scores = np.full((len(items), 2), 0.5, dtype=np.float32)
        save_scores(folder / name, ScoreFile(scores, Annotations(CLASSES, items)))
        return dict(type='ScoreDataset', data_root=str(folder), ann_file=name)

    train = cache('train.safetensors', root, ['a.jpg', 'b.jpg'])
    other = root / 'other_data'
    with pytest.raises(ValueError, match='1 images'):
        check(train, cache('val.safetensors', root, ['b.jpg']))
    check(train, cache('val.safetensors', other, ['b.jpg']))  # of the same name, elsewhere
    check(images_of(root, 'train'), cache('val.safetensors', root, ['b.jpg']))
    with pytest.raises(ValueError, match=r'3\.jpg'):
        check(images_of(root, 'train'), cache('val.safetensors', root, ['3.jpg']))


def test_a_test_set_that_is_not_at_hand_is_said_to_be_unknown(root):
    lines = check(images_of(root, 'train'), None, images_of(root, 'nowhere'))
    assert len(lines) == 1
    assert 'cannot be told' in lines[0]
    assert 'nowhere.json' in lines[0]


def test_images_are_not_read_to_compare_a_test_set(root):
    """None of these files exists; skipping corrupt ones would read them all."""
    test = images_of(root, 'both', corrupt_images='skip', pipeline=[dict(type='LoadCheckedImage')])
    with pytest.raises(ValueError, match='are in test_dataloader'):
        check(images_of(root, 'train'), None, wrapped(test))


def test_an_image_twice_with_other_labels_is_found_across_files_and_names(root):
    (root / 'link').symlink_to(root, target_is_directory=True)
    write(root, 'again', [('link/3.jpg', [0]), (str(root / '4.jpg'), [0])])
    with pytest.raises(ValueError, match=r'1 images.*3\.jpg.*\[1\] and \[0\]'):
        check(joined(images_of(root, 'train'), images_of(root, 'again')))
    write(root, 'again', [('link/3.jpg', [1]), (str(root / '4.jpg'), [0])])
    check(joined(images_of(root, 'train'), images_of(root, 'again')))
    check(wrapped(images_of(root, 'train')))


def test_the_number_of_classes_is_that_of_the_built_data(root):
    runner = Runner(images_of(root, 'train'), num_classes=80)
    with pytest.raises(
        ValueError, match=r'has 80 classes.*train_dataloader 2: write num_classes=2'
    ):
        DataCheckHook().before_run(runner)
    DataCheckHook().before_run(Runner(images_of(root, 'train')))
    DataCheckHook().before_run(Runner(images_of(root, 'train'), num_classes=None))


def test_an_epoch_without_a_batch_is_refused(root):
    runner = Runner(images_of(root, 'train'))
    dataset = runner.train_dataloader.dataset
    runner._train_loop.dataloader = Runner.load(dataset, batch_size=10, drop_last=True)
    DataCheckHook().before_run(runner)
    runner._train_loop.dataloader = Runner.load(dataset, batch_size=11, drop_last=True)
    with pytest.raises(ValueError, match=r'no batch.*10 images.*batch_size=11 and drop_last=True'):
        DataCheckHook().before_run(runner)


def test_skipped_images_are_listed_inside_of_wrappers(root):
    runner = Runner(wrapped(images_of(root, 'train')))
    runner.train_dataloader.dataset.dataset.skipped = ['3.jpg is broken']
    DataCheckHook().after_run(runner)
    assert len(runner.lines) == 1
    assert '1 images of' in runner.lines[0]
    assert '3.jpg is broken' in runner.lines[0]
