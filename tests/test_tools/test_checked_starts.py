"""The tools refuse a checkpoint that is not the model's, and leave nothing behind of a start that fails."""

import json
import os
import runpy
import sys

import pytest
import torch
from training_runs import BY_EPOCH, ROOT, Run, make_data, train, write_config

from morn_plugin.apis.finding import find_model
from morn_plugin.datasets.cached import load_scores
from morn_plugin.engine.checkpoints import load_checkpoint
from morn_plugin.utils.files import sha256

pytestmark = pytest.mark.slow  # starts processes

ONE_EPOCH = BY_EPOCH + 'train_cfg["max_epochs"] = 1\n'
FROZEN = "model['frozen'] = ('backbone', 'neck', 'head.fc')\n"


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    return tmp_path_factory.mktemp('checkpoints')


@pytest.fixture(scope='module')
def data(root):
    return make_data(root / 'data')


@pytest.fixture(scope='module')
def config(root, data):
    return write_config(root / 'tiny.py', data, extra=ONE_EPOCH)


@pytest.fixture(scope='module')
def trained(root, config):
    train(config, root / 'run').succeed()
    return root / 'run' / 'epoch_1.pth'


@pytest.fixture(scope='module')
def foreign(root, trained):
    """Checkpoints that do not hold the model: of another one, without its classifier, with nothing."""
    state = load_checkpoint(trained)['state_dict']
    renamed = lambda name: name.replace('head.fc', 'head.other')
    contents = dict(
        nothing={f'nothing.{name}': value for name, value in state.items()},
        no_fc={renamed(name): value for name, value in state.items()},
        cnn={name: value for name, value in state.items() if '.decoder.' not in name},
    )
    for name, weights in contents.items():
        torch.save(dict(state_dict=weights), root / f'{name}.pth')

    return {name: root / f'{name}.pth' for name in contents}


def run(tool, *arguments, log):
    return Run(tool, [str(argument) for argument in arguments], log)


def fails(tool, *arguments, log):
    """Run a tool that must end with a message alone, and return it."""
    failing = run(tool, *arguments, log=log)
    assert failing.wait() == [1]
    text = log.read_text()
    assert 'Traceback' not in text
    return text


@pytest.mark.parametrize('name', ['nothing', 'no_fc', 'cnn'])
@pytest.mark.parametrize('tool', ['test.py', 'extract_scores.py'])
def test_what_does_not_hold_every_tensor_is_not_used(tool, name, config, foreign, tmp_path):
    out = [tmp_path / 's.safetensors'] if tool == 'extract_scores.py' else []
    failing = run(
        tool, config, foreign[name], *out, '--work-dir', tmp_path / 'w', log=tmp_path / 'log'
    )
    assert failing.wait() == [1]
    text = (tmp_path / 'log').read_text()
    assert f'{foreign[name]} is not a checkpoint of this model' in text
    assert 'lacks head.' in text or 'lacks backbone' in text
    assert 'Results on' not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ['log']


@pytest.mark.parametrize('name', ['nothing', 'no_fc'])
def test_a_frozen_cnn_must_be_in_the_checkpoint(name, root, data, foreign, tmp_path):
    config = write_config(tmp_path / 'frozen.py', data, extra=ONE_EPOCH + FROZEN)
    run = train(config, tmp_path / 'run', '--cfg-options', f'load_from={foreign[name]}')
    assert run.wait() == [1]
    assert 'These parts are frozen' in run.log.read_text()
    assert not (tmp_path / 'run').exists()


def test_a_frozen_cnn_is_enough_and_the_rest_is_named(root, data, foreign, tmp_path):
    config = write_config(tmp_path / 'frozen.py', data, extra=ONE_EPOCH + FROZEN)
    run = train(config, tmp_path / 'run', '--cfg-options', f'load_from={foreign["cnn"]}')
    run.succeed()
    text = run.log.read_text()
    assert f'Not in {foreign["cnn"]}, so left as initialised: head.decoder' in text


def test_more_than_one_mistake_is_named_before_the_data_are_read(config, trained, tmp_path):
    text = fails(
        'test.py',
        config,
        trained,
        '--work-dir',
        tmp_path / 'w',
        '--cfg-options',
        'model.head.num_classes=80',
        'test_dataloader.drop_last=True',
        'test_evaluator.1.topk=50',
        log=tmp_path / 'log',
    )
    for mistake in (
        '`model.head.num_classes` is 80',
        'drop_last` leaves',
        '`test_evaluator[1].topk`',
    ):
        assert mistake in text

    assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
    'options',
    [
        ['model.head.num_classes=40'],
        ['model.head.num_stepz=3'],
        ['train_dataloader.dataset.ann_file=nowhere.json'],
        ['val_dataloader.dataset.ann_file=train.json'],  # found when the data sets are built
        ['load_from=nowhere.pth'],
    ],
)
def test_a_failed_start_leaves_no_folder(options, config, tmp_path):
    run = train(config, tmp_path / 'deep' / 'run', '--cfg-options', *options)
    assert run.wait() == [1]
    assert not (tmp_path / 'deep' / 'run').exists()
    assert 'all else' not in run.log.read_text()


def test_the_number_of_classes_comes_from_the_data(data, tmp_path):
    extra = ONE_EPOCH + "del model['head']['num_classes']\n"
    config = write_config(tmp_path / 'tiny.py', data, extra=extra)
    train(config, tmp_path / 'run').succeed()
    cfg, checkpoint, _ = find_model(tmp_path / 'run', trust_config=True)
    assert cfg.model.head.num_classes == 41
    assert len(checkpoint['state_dict']['head.fc.bias']) == 41


def test_thresholds_of_other_classes_are_refused_before_the_data(config, trained, tmp_path):
    content = dict(thr=0.5, classes=['a', 'b'], measure='x', chosen_on='y')
    (tmp_path / 't.json').write_text(json.dumps(content))
    text = fails(
        'test.py',
        config,
        trained,
        '--thresholds',
        tmp_path / 't.json',
        '--work-dir',
        tmp_path / 'w',
        log=tmp_path / 'log',
    )
    assert f'The classes of {tmp_path}/t.json differ' in text


PURE = """
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmcv.transforms import Resize
from mmpretrain.datasets import PackInputs
from mmpretrain.models import GlobalAveragePooling
from mmpretrain.visualization import UniversalVisualizer
from tiny_cnn import TinyCNN
from morn_plugin.datasets.checked_multi_label import CheckedMultiLabelDataset
from morn_plugin.datasets.samplers import SeededSampler
from morn_plugin.datasets.transforms import LoadCheckedImage
from morn_plugin.engine.hooks import (
    ExactResumeHook, PredictionVisualizationHook, ResumableCheckpointHook)
from morn_plugin.engine.optimizers import FusedRMSprop
from morn_plugin.evaluation.metrics import PerImageF1
from morn_plugin.models.classifiers import MultiLabelClassifier
from morn_plugin.models.heads import MultiOrderLSTMHead

default_scope = 'mmpretrain'
custom_imports = dict(imports=['tiny_cnn'], allow_failed_imports=False)
pipeline = [dict(type=LoadCheckedImage), dict(type=Resize, scale=(32, 32)), dict(type=PackInputs)]
model = dict(
    type=MultiLabelClassifier,
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type=TinyCNN),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=MultiOrderLSTMHead, num_classes=None, in_channels=8, embed_dims=4, hidden_dims=8,
              num_steps=2))
train_dataloader = dict(
    batch_size=8, sampler=dict(type=SeededSampler, shuffle=True),
    dataset=dict(type=CheckedMultiLabelDataset, data_root={data!r}, ann_file='train.json',
                 pipeline=pipeline))
val_dataloader = dict(
    batch_size=8, sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=CheckedMultiLabelDataset, data_root={data!r}, ann_file={val!r},
                 pipeline=pipeline))
test_dataloader = dict(
    batch_size=8, sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=CheckedMultiLabelDataset, data_root={data!r}, ann_file='val.json',
                 pipeline=pipeline))
val_evaluator = [dict(type=PerImageF1, use_pred_label=True)]
test_evaluator = [dict(type=PerImageF1, thr=0.5)]
val_cfg = dict()
test_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
optim_wrapper = dict(optimizer=dict(type=FusedRMSprop, lr=1e-3))
default_hooks = dict(
    timer=dict(type=IterTimerHook), logger=dict(type=LoggerHook, interval=1),
    sampler_seed=dict(type=DistSamplerSeedHook),
    checkpoint=dict(type=ResumableCheckpointHook, interval=1, save_best='per-image/f1-score',
                    rule='greater'),
    exact_resume=dict(type=ExactResumeHook))
custom_hooks = [dict(type=PredictionVisualizationHook, overview=2)]
visualizer = dict(type=UniversalVisualizer, vis_backends=[])
"""


def write_pure(path, data, val='val.json'):
    path.write_text(PURE.format(data=f'{data}/', val=val))
    return path


def test_pure_python_configs_train_resume_test_and_extract(data, tmp_path):
    """Their types are classes, not texts."""
    config = write_pure(tmp_path / 'pure.py', data)
    work_dir = tmp_path / 'run'
    train(config, work_dir).succeed()
    resumed = train(config, work_dir, '--cfg-options', 'train_cfg.max_epochs=2')
    resumed.succeed()
    assert 'resumed epoch: 1' in resumed.log.read_text()
    checkpoint = work_dir / 'epoch_2.pth'
    assert find_model(checkpoint, trust_config=True)[0].model.head.num_classes == 41

    pictures = tmp_path / 'pictures'
    tested = run(
        'test.py',
        config,
        checkpoint,
        '--work-dir',
        tmp_path / 'test',
        '--show-dir',
        pictures,
        '--interval',
        '4',
        log=tmp_path / 'test.log',
    )
    tested.succeed()
    assert sorted(path.name.split('_')[0] for path in pictures.glob('*.png')) == [
        '000000',
        '000004',
        'overview.png',
    ]

    out = tmp_path / 's.safetensors'
    arguments = [config, checkpoint, out, '--work-dir', tmp_path / 'test']
    run('extract_scores.py', *arguments, log=tmp_path / 'extract.log').succeed()
    assert len(load_scores(out).scores) == 7


def test_pure_python_configs_are_looked_through_for_shared_images(data, tmp_path):
    config = write_pure(tmp_path / 'pure.py', data, val='train.json')
    run = train(config, tmp_path / 'run')
    assert run.wait() == [1]
    assert '18 images of train_dataloader are in val_dataloader too' in run.log.read_text()


def test_merging_makes_its_folder_and_writes_over_no_input(config, trained, tmp_path, monkeypatch):
    main = runpy.run_path(str(ROOT / 'tools/model_converters/merge_decoder.py'))['main']
    decoder = load_checkpoint(trained)
    decoder['meta']['dataset_meta']['cnn_checkpoint_sha256'] = sha256(trained)
    torch.save(decoder, tmp_path / 'decoder.pth')
    arguments = [trained, tmp_path / 'decoder.pth']

    def call(*rest):
        monkeypatch.setattr(sys, 'argv', ['merge_decoder.py', *map(str, [*arguments, *rest])])
        main()

    out = tmp_path / 'new' / 'folder' / 'merged.pth'
    call(out, '--config', config)
    assert load_checkpoint(out)['meta']['cfg']
    with pytest.raises(SystemExit, match='write to a different file'):
        call(tmp_path / 'decoder.pth')
    other = tmp_path / 'other.py'
    other.write_text(config.read_text().replace('hidden_dims=8', 'hidden_dims=16'))
    with pytest.raises(SystemExit, match=r'(?s)not the config of the merged model.*has the shape'):
        call(tmp_path / 'never.pth', '--config', other)
    assert not (tmp_path / 'never.pth').exists()
