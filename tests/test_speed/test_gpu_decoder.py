"""The checks of the decoder, as far as they go on a CPU."""

import pytest
import torch

from morn_plugin.speed import gpu_decoder
from morn_plugin.speed.checks import NotHere, make_settings

SETTINGS = make_settings('cpu', rounds=1, small=True)


def test_steps_are_measured_at_each_size():
    settings = SETTINGS._replace(batches=(2, 3), labels=(4,), seconds=0.001)
    (table,) = gpu_decoder.check_steps(settings).tables
    names = [row[2] for row in table.rows]
    assert names == 2 * ['products', 'ours', 'plain', 'given']
    assert [row[1] for row in table.rows] == 4 * ['2'] + 4 * ['3']
    assert all(float(row[3]) > 0 for row in table.rows)
    assert [row[4] for row in table.rows if row[2] == 'products'] == ['1.00', '1.00']


def test_half_precision_trains():
    found = gpu_decoder.check_half_precision(SETTINGS)
    assert found.holds
    assert [row[0] for row in found.tables[0].rows] == ['float32', 'float16', 'bfloat16']


def test_a_loss_that_is_not_finite_is_found(monkeypatch):
    make = gpu_decoder.make_batch
    monkeypatch.setattr(
        gpu_decoder, 'make_batch', lambda *args: (make(*args)[0] * torch.nan, make(*args)[1])
    )
    found = gpu_decoder.check_half_precision(SETTINGS._replace(updates=2))
    assert found.holds is False
    assert found.tables[0].rows[0][3] == 'NO'


@pytest.mark.parametrize('check', ['check_waits', 'check_graph'])
def test_what_needs_a_gpu_says_so(check):
    with pytest.raises(NotHere, match='CUDA'):
        getattr(gpu_decoder, check)(SETTINGS)
