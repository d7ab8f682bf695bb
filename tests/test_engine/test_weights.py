"""What of a checkpoint does not fit a model is named, and refused where it is needed."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.registry import HOOKS
from torch import nn

from morn_plugin.engine.hooks.checkpoint_check_hook import CheckpointCheckHook
from morn_plugin.engine.weights import bare_model, load_weights, summarize
from morn_plugin.models import AverageScoresTTA
from morn_plugin.models.label_decoders import LabelDecoder


class Model(nn.Module):
    def __init__(self, frozen=()):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Module()
        self.head.fc = nn.Linear(4, 2)
        self.head.decoder = nn.Linear(2, 2)
        self.frozen = frozen


class Memory(LabelDecoder):
    """A decoder that keeps as many rows as there were images."""

    def __init__(self):
        super().__init__(2)
        self.register_buffer('memory', torch.empty(0, 2))

    def loss(self, scores, target):
        return {}

    def predict(self, scores):
        return {}


def state(**changes):
    torch.manual_seed(1)
    weights = dict(Model().state_dict())
    for name, value in changes.items():
        weights.pop(name.replace('__', '.')) if value is None else weights.update(
            {name.replace('__', '.'): value}
        )
    return weights


def test_what_fits_is_loaded_and_the_rest_is_named():
    model = Model()
    weights = state(head__fc__bias=None, head__fc__weight=torch.ones(3, 4), more=torch.ones(1))
    del weights['backbone.1.num_batches_tracked']
    found = load_weights(model, weights)
    assert found.missing == ['head.fc.bias']
    assert found.unexpected == ['more']
    assert found.shapes == {
        'head.fc.weight': 'its `head.fc.weight` has the shape (3, 4), but that of the model (2, 4)'
    }
    assert found.unset == ['head.fc.bias', 'head.fc.weight']
    assert found.within(['head.fc']) == found.unset
    assert found.within(['head.f', 'backbone']) == []
    assert found.matching == len(model.state_dict()) - 3  # those two, and a count of batches
    assert torch.equal(model.backbone[0].weight, weights['backbone.0.weight'])


def test_values_that_are_no_tensors_are_missing_and_unexpected():
    found = load_weights(Model(), state(head__fc__bias='x') | {'more': 3})
    assert found.missing == ['head.fc.bias']
    assert found.unexpected == ['head.fc.bias', 'more']


def test_wrappers_are_looked_into_and_their_prefix_taken_away():
    tta = AverageScoresTTA.__new__(AverageScoresTTA)
    nn.Module.__init__(tta)
    tta.module = Model()
    assert bare_model(tta) is tta.module
    found = load_weights(tta, {f'module.{name}': value for name, value in state().items()})
    assert not found.unset
    assert not found.unexpected


def test_buffers_of_any_size_are_taken_over():
    model = nn.Sequential(Memory())
    found = load_weights(model, {'0.memory': torch.ones(5, 2)})
    assert not found.unset
    assert model[0].memory.shape == (5, 2)


def test_modules_may_rename_what_older_versions_wrote():
    model = Model()

    def rename(state_dict, prefix, *args):
        for name in [name for name in state_dict if name.startswith(f'{prefix}old_')]:
            state_dict[name.replace('old_', '')] = state_dict.pop(name)

    model.head.fc.register_load_state_dict_pre_hook(lambda module, *args: rename(*args))
    weights = state()
    for name in ('weight', 'bias'):
        weights[f'head.fc.old_{name}'] = weights.pop(f'head.fc.{name}')

    found = load_weights(model, weights)
    assert not found.unset
    assert torch.equal(model.head.fc.weight, weights['head.fc.old_weight'])


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        ([], ''),
        (['a.weight'], 'a.weight'),
        (['scale'], 'scale'),
        (['a.weight', 'a.bias', 'b.x.weight'], 'a.* (2 tensors), b.x.weight'),
        ([f'a.{i}.weight' for i in range(9)], 'a.* (9 tensors)'),
        ([f'a.b.{i}.weight' for i in range(9)], 'a.b.* (9 tensors)'),
        ([f'{chr(97 + i)}.weight' for i in range(9)], '... (5 more)'),
    ],
)
def test_many_names_become_few_words(names, text):
    written = summarize(names)
    assert text in written
    assert len(written) < 120


def make_runner(frozen=(), training=True, cfg=None):
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    lines = []
    return SimpleNamespace(
        _train_loop=loop if training else {},
        _val_loop=None,
        _test_loop=None,
        _resume=False,
        _load_from='some.pth',
        model=Model(frozen),
        cfg=cfg or {},
        lines=lines,
        logger=SimpleNamespace(info=lines.append),
    )


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    module = 'morn_plugin.engine.hooks.checkpoint_check_hook'
    monkeypatch.setattr(f'{module}.dataset_classes', lambda runner: None)


def check(runner, weights):
    HOOKS.build(dict(type='CheckpointCheckHook')).after_load_checkpoint(
        runner, dict(state_dict=weights)
    )


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        (dict(head__decoder__bias=None), r'lacks head\.decoder\.bias\n'),
        (dict(head__decoder__bias=torch.ones(9)), r'`head\.decoder\.bias` has the shape \(9,\)'),
        (dict(backbone__1__running_mean=None), r'lacks backbone\.1\.running_mean\n'),
    ],
)
def test_a_test_needs_every_tensor(changes, expected):
    with pytest.raises(ValueError, match=rf'(?s)some\.pth is not a checkpoint.*{expected}'):
        check(make_runner(training=False), state(**changes))


def test_a_test_passes_with_more_than_it_needs_and_says_so():
    runner = make_runner(training=False)
    check(runner, state(head__other__bias=torch.ones(1)))
    assert runner.lines == ['Not used from some.pth: head.other.bias.']


@pytest.mark.parametrize('frozen', [('head.fc',), ('backbone', 'neck', 'head.fc')])
def test_training_needs_every_tensor_of_its_frozen_parts(frozen):
    with pytest.raises(ValueError, match=r'(?s)lacks head\.fc\.bias.*frozen'):
        check(make_runner(frozen), state(head__fc__bias=None))
    with pytest.raises(ValueError, match=r'(?s)`head\.fc\.bias` has the shape.*frozen'):
        check(make_runner(frozen), state(head__fc__bias=torch.ones(3)))


def test_training_says_what_a_checkpoint_left_untouched():
    runner = make_runner(('backbone', 'head.fc'))
    check(runner, state(head__decoder__bias=None, head__decoder__weight=None))
    assert runner.lines == ['Not in some.pth, so left as initialised: head.decoder.* (2 tensors).']


def test_a_checkpoint_of_which_nothing_fits_is_refused():
    with pytest.raises(ValueError, match=r'no tensor of this model.*nothing\.\* \(2 tensors\)'):
        check(make_runner(), {'nothing.w': torch.ones(1), 'nothing.b': torch.ones(1)})
    with pytest.raises(ValueError, match=r'no tensor of this model.*it has none'):
        check(make_runner(), {})


@pytest.mark.parametrize(
    ('frozen', 'model', 'refused'),
    [
        (('head.fc',), {}, True),
        (('backbone',), {}, True),
        (('backbone',), dict(backbone=dict(init_cfg=None)), True),
        (('backbone',), dict(backbone=dict(init_cfg=dict(type='Pretrained'))), False),
        (('backbone',), dict(backbone=dict(init_cfg=[dict(type='Pretrained')])), False),
        (('backbone',), dict(backbone=dict(type='TIMMBackbone', pretrained=True)), False),
        (('backbone', 'head.fc'), dict(backbone=dict(pretrained=True)), True),
        (('neck',), {}, False),
        ((), {}, False),
    ],
)
def test_frozen_parts_have_weights_from_somewhere(frozen, model, refused):
    hook = CheckpointCheckHook()
    runner = make_runner(frozen, cfg=dict(model=model))
    if refused:
        with pytest.raises(
            ValueError, match='but their weights are random, since no checkpoint was loaded'
        ):
            hook.before_train(runner)
    else:
        hook.before_train(runner)
