"""Data sets inside others, in everything that looks into them."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from PIL import Image
from tools_helpers import SLICE, run_tool, write_config

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.collecting import (
    collect_predictions,
    count_training_labels,
    list_tested_images,
)
from morn_plugin.datasets.annotations import (
    Annotations,
    load_annotations,
    save_annotations,
    training_targets,
)
from morn_plugin.datasets.cached import ScoreDataset, ScoreFile, save_scores
from morn_plugin.datasets.cached.dataset import take_whole_batch
from morn_plugin.datasets.wrapping import (
    annotation_files,
    image_path,
    innermost,
    innermost_built,
    with_pipeline,
    without_repeats,
)
from morn_plugin.engine.hooks.visualization_hook import PredictionVisualizationHook

pytestmark = pytest.mark.slow  # starts processes

PIPELINE = [
    dict(type='LoadCheckedImage'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='PackInputs'),
]


def part(name, number):
    return dict(
        type='CheckedMultiLabelDataset',
        data_root=f'{SLICE}/',
        ann_file=f'{name}.json',
        indices=number,
        pipeline=PIPELINE,
    )


WRAPPERS = {
    'RepeatDataset': dict(type='RepeatDataset', times=2, dataset=part('test', 6)),
    'ClassBalancedDataset': dict(
        type='ClassBalancedDataset', oversample_thr=0.9, dataset=part('test', 6)
    ),
    'ConcatDataset': dict(type='ConcatDataset', datasets=[part('test', 4), part('val', 2)]),
    'KFoldDataset': dict(type='KFoldDataset', fold=1, num_splits=3, dataset=part('test', 9)),
    'in each other': dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(
            type='ConcatDataset',
            datasets=[dict(type='RepeatDataset', times=3, dataset=part('test', 4)), part('val', 2)],
        ),
    ),
}


def listed(name, places):
    data = load_annotations(SLICE / f'{name}.json').data_list
    return [(f'{SLICE}/{data[place]["img_path"]}', data[place]['gt_label']) for place in places]


# The six images that each wrapper is about: of the fold, all but the second third.
EXPECTED = {
    'RepeatDataset': listed('test', range(6)),
    'ClassBalancedDataset': listed('test', range(6)),
    'ConcatDataset': listed('test', range(4)) + listed('val', range(2)),
    'KFoldDataset': listed('test', [0, 1, 2, 6, 7, 8]),
    'in each other': listed('test', range(4)) + listed('val', range(2)),
}


def build(config):
    with DefaultScope.overwrite_default_scope('mmpretrain'):  # as a Runner does
        return DATASETS.build(ConfigDict(copy.deepcopy(config)))


@pytest.mark.parametrize('kind', WRAPPERS)
def test_each_image_once(kind):
    config = ConfigDict(copy.deepcopy(WRAPPERS[kind]))
    dataset = build(without_repeats(config))
    paths = [image_path(dataset, index) for index in range(len(dataset))]
    assert paths == [path for path, _ in EXPECTED[kind]]
    assert config == WRAPPERS[kind]  # the config itself is left alone


def test_type_may_be_a_class_or_have_a_scope():
    inner = part('test', 3)
    for name in ('mmengine.RepeatDataset', DATASETS.get('RepeatDataset')):
        assert without_repeats(dict(type=name, times=2, dataset=inner)) == inner


@pytest.mark.parametrize('kind', WRAPPERS)
def test_innermost_of_config_and_of_what_is_built(kind):
    config = with_pipeline(WRAPPERS[kind], PIPELINE[:1], test_mode=True)
    parts = list(innermost(config))
    assert all(part.pipeline == PIPELINE[:1] and part.test_mode for part in map(ConfigDict, parts))
    built = list(innermost_built(build(config)))
    assert [str(part.ann_file) for part in built] == [
        f'{SLICE}/{part["ann_file"]}' for part in parts
    ]
    files = dict.fromkeys(str(part.ann_file) for part in built)
    assert annotation_files(build(config)) == ', '.join(files)


@pytest.fixture(scope='module')
def inferencer(work_dir):
    return MultiLabelInferencer(str(work_dir))


@pytest.fixture
def wrapped(inferencer):
    """Let the config of a model test, validate and train on a wrapped data set."""
    before = inferencer.cfg

    def use(kind):
        cfg = copy.deepcopy(before)
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            cfg[loader].dataset = ConfigDict(copy.deepcopy(WRAPPERS[kind]))
        inferencer.cfg = cfg
        return inferencer

    yield use
    inferencer.cfg = before


@pytest.mark.parametrize('kind', WRAPPERS)
@pytest.mark.parametrize('loader', ['train_dataloader', 'test_dataloader'])
def test_predictions_labels_and_images(wrapped, kind, loader):
    model = wrapped(kind)
    found = collect_predictions(model, loader)
    assert found.img_paths == [path for path, _ in EXPECTED[kind]]
    labels = [np.flatnonzero(row).tolist() for row in found.targets]
    assert labels == [label for _, label in EXPECTED[kind]]
    assert [row.tolist() for row in map(np.flatnonzero, count_training_labels(model.cfg)[1])] == [
        label for _, label in EXPECTED[kind]
    ]
    assert list_tested_images(model.cfg, 2) == [EXPECTED[kind][0][0], EXPECTED[kind][-1][0]]


def test_predict_finds_the_pipeline(work_dir, tmp_path):
    cfg = Config.fromfile(write_config(tmp_path / 'config.py'))
    cfg.test_dataloader.dataset = WRAPPERS['ConcatDataset']
    cfg.dump(tmp_path / 'wrapped.py')
    image = EXPECTED['ConcatDataset'][0][0]
    records = MultiLabelInferencer(str(work_dir), str(tmp_path / 'wrapped.py')).predict([image])
    expected = MultiLabelInferencer(str(work_dir)).predict([image])
    assert next(iter(records)) == next(iter(expected))


def test_skipped_images_in_lists(wrapped, tmp_path):
    # A data set that leaves out broken images reads all of them when it is built.
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (8, 8)).save(tmp_path / name)

    (tmp_path / 'b.png').write_bytes(b'broken')
    items = [dict(img_path=name, gt_label=[0]) for name in ('a.png', 'b.png')]
    annotations = Annotations(load_annotations(SLICE / 'test.json').classes, items)
    save_annotations(tmp_path / 'test.json', annotations)
    model = wrapped('RepeatDataset')
    inner = dict(part('test', 2), data_root=f'{tmp_path}/', corrupt_images='skip')
    for loader in ('train_dataloader', 'test_dataloader'):
        model.cfg[loader].dataset = dict(type='RepeatDataset', times=2, dataset=inner)

    assert list_tested_images(model.cfg, 5) == [f'{tmp_path}/a.png']
    assert len(count_training_labels(model.cfg)[1]) == 1


def sample(path, index):
    found = DataSample(metainfo=dict(img_path=path, sample_idx=index))
    found.set_gt_label([0]).set_pred_label([1]).set_pred_score(torch.zeros(3))
    return found


@pytest.mark.parametrize('kind', ['ConcatDataset', 'RepeatDataset', 'in each other'])
def test_pictures_are_of_the_chosen_images(kind, tmp_path, monkeypatch):
    # `sample_idx` starts anew in each part, so that it cannot tell images apart.
    hook = PredictionVisualizationHook(str(tmp_path), overview=3)
    dataset = build(WRAPPERS[kind])
    hook._choose(dataset)
    drawn = []
    target = 'morn_plugin.engine.hooks.visualization_hook.make_prediction'
    monkeypatch.setattr(target, lambda sample, load: drawn.append(sample.img_path) or sample)

    for index in range(len(dataset)):
        path = image_path(dataset, index)
        hook._keep([sample(path, index % 4)])

    several = [path for path, labels in EXPECTED[kind] if len(labels) >= 2]
    assert len(several) == 6
    assert sorted(set(drawn)) == sorted({several[0], several[2], several[5]})
    assert len(hook._drawn) == 3


def cached(path, number, seed=0):
    """Write a cached file of random scores and features."""
    rng = np.random.default_rng(seed)
    items = [dict(img_path=f'{seed}_{n}.jpg', gt_label=[n % 3]) for n in range(number)]
    scores = rng.random((number, 3), dtype=np.float32)
    features = rng.random((number, 4), dtype=np.float32)
    annotations = Annotations(['cat', 'dog', 'sea'], items)
    save_scores(path, ScoreFile(scores, annotations, {}, inputs=dict(features=features)))
    return scores, features


@pytest.fixture
def files(tmp_path):
    return [cached(tmp_path / f'{seed}.safetensors', 5 + seed, seed) for seed in (0, 1)]


def score_set(tmp_path, seed, **more):
    return dict(
        type='ScoreDataset', data_root=f'{tmp_path}/', ann_file=f'{seed}.safetensors', **more
    )


def test_cached_sets_in_a_row(tmp_path, files):
    parts = [score_set(tmp_path, seed, inputs=['features']) for seed in (0, 1)]
    dataset = build(dict(type='ConcatDataset', datasets=parts))
    batch = take_whole_batch([dataset[index] for index in (0, 6, 10)])
    (first, first_features), (second, second_features) = files
    expected = np.stack([first[0], second[1], second[5]])
    assert np.array_equal(batch['inputs']['scores'], expected)
    expected = np.stack([first_features[0], second_features[1], second_features[5]])
    assert np.array_equal(batch['inputs']['features'], expected)
    assert batch['target'].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert training_targets(dataset)[1].shape == (11, 3)
    assert image_path(dataset, 6) == f'{tmp_path}/1_1.jpg'

    tested = build(
        dict(type='ConcatDataset', datasets=[dict(part, test_mode=True) for part in parts])
    )
    batch = take_whole_batch([tested[index] for index in (0, 6)])
    assert [found.img_path for found in batch['data_samples']] == [
        f'{tmp_path}/0_0.jpg',
        f'{tmp_path}/1_1.jpg',
    ]


def test_fold_of_a_cached_set(tmp_path, files):
    inner = score_set(tmp_path, 1, inputs=['features'])
    dataset = build(dict(type='KFoldDataset', fold=0, num_splits=3, dataset=inner))
    scores, features = files[1]
    assert len(dataset) == 4
    batch = take_whole_batch([dataset[index] for index in range(4)])
    assert np.array_equal(batch['inputs']['scores'], scores[2:])
    assert np.array_equal(batch['inputs']['features'], features[2:])
    (subset,) = innermost_built(dataset)
    assert isinstance(subset, ScoreDataset)
    assert np.array_equal(subset.read_inputs(['features'])['features'], features[2:])
    assert np.array_equal(subset.get_subset([3, 1]).scores, scores[[5, 3]])
    assert np.array_equal(subset.get_subset([3, 1])[0]['inputs']['features'], features[[5]])


def test_balanced_and_repeated_cached_sets(tmp_path, files):
    for more in (
        dict(type='RepeatDataset', times=2),
        dict(type='ClassBalancedDataset', oversample_thr=0.9),
    ):
        dataset = build(dict(more, dataset=score_set(tmp_path, 0)))
        assert len(dataset) >= 10
        assert np.array_equal(dataset[0]['inputs'], files[0][0][:1])


def test_a_whole_batch_stays_what_it_is():
    batch = dict(inputs=torch.zeros(2, 3))
    assert take_whole_batch(batch) is batch


def test_batches_are_collated_by_a_config_with_its_base_in_the_package(tmp_path, files):
    """MMEngine adds a scope to every `type` of such a base, and passes it to the function."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='take_whole_batch', _scope_='morn_plugin'),
        dataset=build(score_set(tmp_path, 0)),
    )
    batch = next(iter(Runner.build_dataloader(loader)))
    assert np.array_equal(batch['inputs'], files[0][0][:4])


def test_pictures_and_mirror_images_of_a_test(work_dir, tmp_path):
    config = write_config(tmp_path / 'config.py')
    with config.open('a') as file:
        file.write(f'\ntest_dataloader["dataset"] = {WRAPPERS["ConcatDataset"]!r}\n')
        file.write('test_dataloader["dataset"]["_delete_"] = True\n')

    checkpoint = work_dir / 'epoch_1.pth'
    pictures = tmp_path / 'pictures'
    args = (config, checkpoint, '--work-dir', tmp_path / 'test')
    run_tool('test.py', *args, '--show-dir', pictures, '--tta')
    images = sorted(path.name for path in pictures.iterdir())
    assert images[-1] == 'overview.png'
    assert [name[:6] for name in images[:-1]] == [f'{index:06d}' for index in range(6)]
