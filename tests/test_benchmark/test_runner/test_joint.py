"""A method that trains the CNN gets data, backbone and schedule of the benchmark's CNN, whichever that is."""

import copy
import json
import math
import shutil
from dataclasses import replace

import pytest
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from tools_helpers import ROOT, SLICE

from morn_plugin.benchmark.runner import joint as joint_module
from morn_plugin.benchmark.runner.cell import Shapes
from morn_plugin.benchmark.runner.cnn import Cnn, complete_config
from morn_plugin.benchmark.runner.joint import (
    JointRun,
    describe_run,
    make_joint_config,
    name_table,
    run_joint,
)
from morn_plugin.benchmark.runner.methods import LEARNING_RATE, find_methods
from morn_plugin.benchmark.runner.source import SIDES, read_source

LITE2 = ROOT / 'configs/cnn/cnn_efficientnet-lite2-stages_1xb32-6e_corel5k-224px.py'
RATE = 0.002


@pytest.fixture(scope='module')
def joint():
    """The methods that train the CNN; to read them all takes too long for whoever collects tests."""
    methods = [method for method in find_methods() if method.is_joint]
    assert len(methods) > 5
    return methods


@pytest.fixture(scope='module')
def cnn():
    """The CNN of photographs on the slice's 41 labels, with a schedule of its own."""
    options = {
        'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult': 0.5,
        'train_cfg.max_epochs': 3,
        'test_dataloader.batch_size': 7,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
    }
    return complete_config(Cnn(LITE2, options=options), read_source(str(SLICE)))


def make_run(method, cnn, folder, **changes):
    shapes = Shapes(41, 1280, (120, 1280))
    return replace(JointRun(method, 1, {LEARNING_RATE: RATE}, folder, cnn, shapes, 2), **changes)


def test_a_method_gets_what_the_cnn_has(joint, cnn, tmp_path):
    for method in joint:
        check_method(method, cnn, tmp_path)


def check_method(method, cnn, tmp_path):
    cfg = make_joint_config(make_run(method, cnn, tmp_path))
    assert cfg.model.backbone == cnn.model.backbone
    assert cfg.model.data_preprocessor == cnn.model.data_preprocessor
    for side in SIDES:
        assert cfg[f'{side}_dataloader'] == cnn[f'{side}_dataloader']
    # As many passes: with several views an epoch has several of an image.
    epochs = math.ceil(cnn.train_cfg.max_epochs / method.views)
    assert cfg.train_cfg == {**cnn.train_cfg, 'max_epochs': epochs}
    assert cfg.optim_wrapper.optimizer == {**cnn.optim_wrapper.optimizer, 'lr': RATE}
    rates = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert rates.pop('backbone') == dict(lr_mult=0.5)
    assert set(rates) <= {'head.decoder'}
    assert cfg.randomness.seed == 1

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = MODELS.build(cfg.model.head)
    assert head.num_classes == 41
    assert getattr(head.loss_cnn, 'num_classes', 41) == 41


def test_the_width_of_the_backbone_is_the_cnns(joint, cnn, tmp_path):
    for method in joint:
        run = make_run(method, cnn, tmp_path, shapes=Shapes(41, 64, (8, 64)))
        head = make_joint_config(run).model.head
        decoder = head.get('decoder') or {}
        widths = {head.in_channels, decoder.get('in_channels'), decoder.get('stage_channels')}
        assert widths - {None} in ({64}, {(8, 64)})


def test_every_method_of_several_views_has_a_control_of_as_many(joint):
    by_name = {method.name: method for method in joint}
    several = [method for method in joint if method.views > 1]
    assert {method.name for method in several} == {'acfs', 'four-views'}
    for method in several:
        control = by_name[method.control]
        assert control.control == control.name
        assert control.views == method.views
    assert name_table(1) == 'methods'
    assert name_table(4) == '4 views'


def test_a_stopped_run_goes_on_from_its_checkpoints(joint, cnn, tmp_path, monkeypatch):
    run = make_run(joint[0], cnn, tmp_path / 'run')
    kept, seen = run.folder / 'work' / 'epoch_1.pth', []

    def stop(cfg, folder, log):
        seen.append(kept.is_file())
        folder.mkdir(exist_ok=True)
        kept.touch()
        raise RuntimeError('stopped')

    monkeypatch.setattr(joint_module.cnn_module, 'train_to_best', stop)
    for _ in range(2):
        with pytest.raises(RuntimeError, match='stopped'):
            run_joint(run)
    assert seen == [False, True]
    assert not (run.folder / 'result.json').exists()

    with pytest.raises(ValueError, match=r'begun with other settings: .*lr=0\.1, but got 0\.002'):
        run_joint(replace(run, settings={LEARNING_RATE: 0.1}))


def test_a_run_is_the_same_wherever_its_files_lie(joint, cnn, tmp_path):
    run = make_run(joint[0], cnn, tmp_path)
    cfg = make_joint_config(run)
    described = describe_run(run, cfg)
    assert cfg.to_dict() == make_joint_config(run).to_dict(), 'it is changed itself'

    moved = tmp_path / 'elsewhere'
    shutil.copytree(SLICE, moved)
    other = copy.deepcopy(cnn)
    for side in SIDES:
        other[f'{side}_dataloader'].dataset.data_root = f'{moved}/'
    other.model.backbone.init_cfg.checkpoint = '/models/efficientnet-lite2.pth'
    run = replace(run, cnn=other)
    assert describe_run(run, make_joint_config(run)) == described

    # Other labels are other data.
    path = moved / 'val.json'
    content = json.loads(path.read_text())
    content['data_list'][0]['gt_label'] = [0]
    path.write_text(json.dumps(content))
    assert describe_run(run, make_joint_config(run)) != described
