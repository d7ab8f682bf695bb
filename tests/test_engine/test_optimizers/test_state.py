"""A saved state of an optimizer is checked before a kernel that looks at no shape gets it."""

import copy
import math

import pytest
import torch

from morn_plugin.engine import FusedRMSprop, TFRMSprop
from morn_plugin.engine.optimizers import check_state

OURS = (FusedRMSprop, TFRMSprop)
THEIRS = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RMSprop,
    torch.optim.ASGD,
    torch.optim.Rprop,
)


def make(kind, *shapes, **options):
    """Make an optimizer that has taken a step."""
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    if kind is torch.optim.SGD:
        options.setdefault('momentum', 0.9)
    optimizer = kind(parameters, **options)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def shaped(state):
    """Name what a state keeps in the parameter's shape."""
    return [key for key, value in state['state'][0].items() if getattr(value, 'dim', int)()]


@pytest.mark.parametrize('kind', OURS)
@pytest.mark.parametrize(('saved', 'here'), [((5,), (500,)), ((500,), (5,)), ((2, 3), (3, 2))])
def test_state_of_another_shape_is_refused(kind, saved, here):
    optimizer = make(kind, here)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=r'of parameter 0 has the shape \(') as caught:
        optimizer.load_state_dict(make(kind, saved).state_dict())
    assert str(saved) in str(caught.value)
    assert str(here) in str(caught.value)
    after = optimizer.state_dict()
    assert str(before) == str(after), 'what was refused left something behind'


@pytest.mark.parametrize('kind', THEIRS)
def test_state_of_another_shape_is_refused_for_any_elementwise_optimizer(kind):
    with pytest.raises(ValueError, match=r'has the shape \(5,\), but the parameter \(500,\)'):
        check_state(make(kind, (500,)), make(kind, (5,)).state_dict())


@pytest.mark.parametrize('kind', [*OURS, *THEIRS])
def test_own_state_goes_on_as_if_it_had_not_been_saved(kind):
    whole = make(kind, (3, 2), ())
    saved = make(kind, (3, 2), ())
    here = make(kind, (3, 2), ())

    for parameter, value in zip(
        here.param_groups[0]['params'], saved.param_groups[0]['params'], strict=True
    ):
        parameter.data.copy_(value)

    here.load_state_dict(check_state(here, saved.state_dict()))
    for optimizer in (whole, here):
        optimizer.step()

    for one, other in zip(
        whole.param_groups[0]['params'], here.param_groups[0]['params'], strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize('kind', OURS)
def test_one_number_in_place_of_a_tensor_is_refused(kind):
    """A single number would be broadcast by torch, and be read past its end by a fused kernel."""
    state = make(kind, (500,)).state_dict()
    for key in shaped(state):
        for value in (torch.zeros(1), torch.zeros(()), 0.0, None, 'x', [0.0] * 500):
            crafted = copy.deepcopy(state)
            crafted['state'][0][key] = value
            with pytest.raises(ValueError, match=key):
                make(kind, (500,)).load_state_dict(crafted)


@pytest.mark.parametrize('kind', OURS)
def test_repeated_memory_is_unfolded(kind):
    """A tensor of the right shape whose file holds one number, and one that two entries share."""
    optimizer = make(kind, (500,), (500,))
    crafted = optimizer.state_dict()
    key = shaped(crafted)[0]
    folded = torch.ones(1).expand(500)
    for entry in crafted['state'].values():
        entry[key] = folded

    optimizer.load_state_dict(crafted)
    loaded = [optimizer.state[parameter][key] for parameter in optimizer.param_groups[0]['params']]
    assert all(value.stride() == (1,) for value in loaded)
    assert loaded[0].data_ptr() != loaded[1].data_ptr()
    assert loaded[0].untyped_storage().nbytes() == 500 * 4


def test_state_lies_in_memory_as_its_parameter_does():
    optimizer = FusedRMSprop([torch.nn.Parameter(torch.zeros(3, 4).t())])
    (parameter,) = optimizer.param_groups[0]['params']
    parameter.grad = torch.arange(12.0).reshape(3, 4).t()
    optimizer.step()
    state = optimizer.state_dict()
    state['state'][0]['exp_avg_sq'] = state['state'][0]['exp_avg_sq'].contiguous()
    optimizer.load_state_dict(state)
    assert optimizer.state[parameter]['exp_avg_sq'].stride() == parameter.stride() == (1, 4)


def test_a_gradient_laid_out_otherwise_belongs_to_the_same_weights():
    """The fused kernel pairs numbers by their place in memory."""
    grad = torch.randn(4, 3)
    turned = torch.nn.Parameter(torch.zeros(3, 4).t())
    plain = torch.nn.Parameter(torch.zeros(4, 3))
    for parameter in (turned, plain):
        parameter.grad = grad.clone()
        FusedRMSprop([parameter], lr=0.1).step()
    assert torch.equal(turned, plain)


def test_a_parameter_that_was_changed_behind_its_back_is_an_error():
    optimizer = make(FusedRMSprop, (5,))
    (parameter,) = optimizer.param_groups[0]['params']
    parameter.grad = None
    parameter.data = torch.zeros(50_000)
    parameter.grad = torch.ones(50_000)
    with pytest.raises(ValueError, match=r'shape \(50000,\).*`exp_avg` \(5,\)'):
        optimizer.step()


def test_the_state_of_adam_is_not_that_of_rmsprop():
    saved = make(torch.optim.Adam, (5,)).state_dict()
    with pytest.raises(ValueError, match='that of Adam, not of FusedRMSprop'):
        make(FusedRMSprop, (5,)).load_state_dict(saved)


def test_the_bias_correction_cannot_come_back_through_a_state():
    for path, value in (
        ('step', torch.tensor(0.0)),
        ('step', torch.tensor(-5.0)),
        ('betas', (0.9, 0.99)),
        ('betas', (0.0, 2.0)),
        ('betas', (-0.1, 0.99)),
    ):
        crafted = make(FusedRMSprop, (5,)).state_dict()
        target = crafted['state'][0] if path == 'step' else crafted['param_groups'][0]
        target[path] = value
        with pytest.raises(ValueError, match='not of FusedRMSprop'):
            make(FusedRMSprop, (5,)).load_state_dict(crafted)


def edit(change):
    crafted = copy.deepcopy(make(FusedRMSprop, (5,), (2, 2)).state_dict())
    change(crafted)
    return crafted


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda s: s.update(state=[]), 'expected `state` to be a dict, but got list'),
        (lambda s: s.update(param_groups={}), '`param_groups` to be a list of dicts'),
        (lambda s: s.update(param_groups=['x']), '`param_groups` to be a list of dicts'),
        (lambda s: s['param_groups'].append({}), 'it has 2 parameter groups, but here are 1'),
        (lambda s: s['param_groups'][0].update(params=[0]), 'expected 2 parameters, but got 1'),
        (lambda s: s['param_groups'][0].update(params=7), 'expected 2 parameters, but got 7'),
        (lambda s: s['param_groups'][0].pop('params'), 'expected 2 parameters, but got None'),
        (lambda s: s['param_groups'][0].update(params=[0, 0]), 'distinct whole numbers'),
        (lambda s: s['param_groups'][0].update(params=['a', 'b']), 'distinct whole numbers'),
        (lambda s: s['param_groups'][0].update(lr=math.nan), r'param_groups\[0\].lr` is nan'),
        (lambda s: s['param_groups'][0].update(lr='fast'), r"lr` is 'fast', but here 0.01"),
        (lambda s: s['param_groups'][0].update(lr=10**400), r'lr` is <an integer of'),
        (lambda s: s['param_groups'][0].update(lr=True), r'lr` is True'),
        (lambda s: s['param_groups'][0].update(amsgrad=True), r'amsgrad` is True, but here False'),
        (lambda s: s['param_groups'][0].update(maximize=True), r'maximize` is True'),
        (lambda s: s['param_groups'][0].update(betas=0.9), r'betas` is 0.9'),
        (lambda s: s['state'].update({7: {}}), 'for a parameter 7, of which there is none'),
        (lambda s: s['state'].update({'x': {}}), "for a parameter 'x'"),
        (lambda s: s['state'].update({0: 3}), 'of parameter 0 it has 3 instead of a dict'),
        (lambda s: s['state'][0].pop('exp_avg'), r"parameter 0 it has \['exp_avg_sq', 'step'\]"),
        (lambda s: s['state'][1].update(more=1), 'of parameter 1 it has'),
        (lambda s: s['state'][1].update(exp_avg=torch.full((2, 2), math.inf)), 'is not finite'),
        (lambda s: s['state'][1].update(exp_avg=torch.zeros(2, 2).to_sparse()), 'real numbers'),
        (lambda s: s['state'][1].update(exp_avg=torch.zeros(2, 2) * 1j), 'real numbers'),
        (lambda s: s['state'][1].update(step=torch.zeros(3)), 'should be one finite number'),
        (lambda s: s['state'][1].update(step='x'), 'should be one finite number'),
    ],
)
def test_crafted_state_is_refused(change, expected):
    with pytest.raises(ValueError, match=expected):
        make(FusedRMSprop, (5,), (2, 2)).load_state_dict(edit(change))


def test_something_else_than_a_dict_is_refused():
    with pytest.raises(ValueError, match='expected a dict, but got list'):
        check_state(make(torch.optim.SGD, (5,)), [])


def test_all_mistakes_are_named_up_to_a_handful():
    saved = [(1,)] * 9
    here = [(2,)] * 9
    with pytest.raises(ValueError, match='and 4 more') as caught:
        check_state(
            make(torch.optim.RMSprop, *here), make(torch.optim.RMSprop, *saved).state_dict()
        )
    assert str(caught.value).count('has the shape') == 5


def test_parameters_are_matched_by_their_place_not_by_their_number():
    saved = make(TFRMSprop, (2,), (3,))
    here = make(TFRMSprop, (2,), (3,))
    state = saved.state_dict()
    state['param_groups'][0]['params'] = [5, 4]
    state['state'] = {5: state['state'][0], 4: state['state'][1]}
    here.load_state_dict(state)


def test_how_steps_are_computed_is_this_runs_choice():
    saved = make(torch.optim.Adam, (5,), foreach=True).state_dict()
    checked = check_state(make(torch.optim.Adam, (5,), fused=True), saved)
    assert checked['param_groups'][0]['fused'] is True
    assert checked['param_groups'][0]['foreach'] is None


def test_factored_statistics_of_other_optimizers_pass():
    optimizer = make(torch.optim.Adafactor, (4, 6))
    shapes = {tuple(value.shape) for value in optimizer.state_dict()['state'][0].values()}
    assert (4, 1) in shapes
    state = optimizer.state_dict()
    assert check_state(optimizer, state)['state'] == state['state']


def test_options_that_the_config_cannot_change_any_more_are_named(monkeypatch):
    lines = []
    log = lambda text, *args, **options: lines.append(text)
    monkeypatch.setattr('morn_plugin.engine.optimizers.state.print_log', log)

    saved = make(torch.optim.SGD, (5,), lr=0.1, momentum=0.9)
    saved.param_groups[0]['initial_lr'] = 0.1
    saved.param_groups[0]['lr'] = 0.001  # as a scheduler has left it
    for options in (
        dict(lr=0.1, momentum=0.9),
        dict(lr=0.2, momentum=0.9),
        dict(lr=0.1, momentum=0.8),
    ):
        check_state(make(torch.optim.SGD, (5,), **options), saved.state_dict())

    assert len(lines) == 2
    assert 'lr = 0.1 (now 0.2).' in lines[0]
    assert 'momentum = 0.9 (now 0.8).' in lines[1]
