"""The products of a step: all that it calls, once each, and nothing else."""

import pytest
import torch
from torch import nn

from morn_plugin.speed import methods
from morn_plugin.speed.methods import list_configs, make_step, matching, method_table
from morn_plugin.speed.products import record_products


def test_a_linear_layer_has_three_products():
    """Forward 2 N D C, of the weights the same, and of the inputs the same: floating point operations."""
    layer, x = nn.Linear(7, 3), torch.randn(5, 7, requires_grad=True)
    found = record_products(lambda: layer(x).sigmoid().sum().backward())
    assert found.flops == 3 * 2 * 5 * 7 * 3
    sizes = [[tuple(a.shape) for a in call.args if a.dim() == 2] for call in found.calls]
    forward, to_inputs, of_weights = [(5, 7), (7, 3)], [(5, 3), (3, 7)], [(3, 5), (5, 7)]
    assert sorted(sizes) == sorted([forward, to_inputs, of_weights])


def test_a_convolution_counts_both_ways():
    layer = nn.Conv2d(4, 6, 3, padding=1)
    x = torch.randn(2, 4, 5, 5, requires_grad=True)
    found = record_products(lambda: layer(x).relu().sum().backward())
    names = [call.operation.overloadpacket.__name__ for call in found.calls]
    assert names == ['convolution', 'convolution_backward']
    assert found.flops == 3 * 2 * (2 * 5 * 5) * (4 * 9) * 6


def test_a_replay_calls_the_same_and_changes_nothing():
    layer = nn.Linear(7, 3)
    x = torch.randn(5, 7)
    found = record_products(lambda: layer(x).sum().backward())
    before = [part.clone() for part in (layer.weight, layer.weight.grad, x)]
    again = record_products(found.replay)
    assert [call.operation for call in again.calls] == [call.operation for call in found.calls]
    assert again.flops == found.flops
    for part, old in zip((layer.weight, layer.weight.grad, x), before, strict=True):
        assert torch.equal(part, old)


def test_operands_lie_in_memory_as_those_of_the_step_do():
    a, b = torch.randn(4, 5).t(), torch.randn(4, 6)
    (call,) = record_products(lambda: a @ b).calls
    assert [part.stride() for part in call.args] == [a.stride(), b.stride()]
    assert call.args[0].data_ptr() != a.data_ptr()


def test_an_operand_that_is_spread_out_is_imitated():
    a = torch.randn(5, 1).expand(5, 4)
    found = record_products(lambda: a @ torch.randn(4, 3))
    assert found.calls[0].args[0].stride() == (1, 0)
    found.replay()


def test_every_method_on_cached_inputs_has_a_step():
    """All that train by steps; those that are fitted as a whole have none."""
    folders = {path.parent.name for path in list_configs()}
    assert {'morn', 'warp', 'pla', 'srn', 'wgan_gp', 'retdm_style', 'ms_cnn'} <= folders
    assert not {'tagprop', 'two_pass_knn', 'acfs'} & folders


@pytest.mark.parametrize('folder', ['warp', 'wgan_gp'])
def test_a_step_trains_and_its_row_is_there(folder, monkeypatch):
    path = next(path for path in list_configs() if path.parent.name == folder)
    monkeypatch.setattr(methods, 'MEMORY', 40)
    name, step = make_step(path)
    step()
    found = record_products(step)
    linear = 2 * 2 * 32 * 1280 * 72  # the classifier's forward, and the gradient of its weights
    assert found.flops >= linear
    if folder == 'warp':
        assert found.flops == linear

    table = method_table([path], rounds=1, seconds=0.01)
    ((title, milliseconds, products, ratio, _, _),) = table.rows
    assert title == name
    assert float(ratio) == pytest.approx(float(milliseconds) / float(products), rel=0.2)


def test_the_orders_that_are_timed_are_orders():
    sequences = matching('mla', labels=3, images=4)()
    assert sequences.shape == (4, 4)
    assert (sequences[:, -1] == 80).all()
