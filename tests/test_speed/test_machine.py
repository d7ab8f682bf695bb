"""A busy machine is not measured on."""

import pytest
import torch

from morn_plugin.speed import machine


def test_a_busy_machine_is_refused_unless_it_is_allowed(monkeypatch):
    monkeypatch.setattr(machine.os, 'getloadavg', lambda: (0.5, 0.0, 0.0))
    with pytest.raises(ValueError, match=r'got 0\.50.*--busy'):
        machine.refuse_if_busy(False)
    machine.refuse_if_busy(True)
    monkeypatch.setattr(machine.os, 'getloadavg', lambda: (0.49, 9.0, 9.0))
    machine.refuse_if_busy(False)


def test_the_machine_is_described(monkeypatch):
    monkeypatch.setattr(machine.os, 'getloadavg', lambda: (0.25, 0.0, 0.0))
    monkeypatch.setenv('OMP_WAIT_POLICY', 'passive')
    text = machine.describe_machine()
    assert machine.cpu_name() in text
    assert 'load 0.25' in text
    assert 'wait policy passive' in text


def test_a_busy_machine_ends_the_program_after_it_was_named(monkeypatch, capsys):
    monkeypatch.setattr(machine, 'read_load', lambda: 3.0)
    with pytest.raises(SystemExit, match=r'load below 0.5, but got 3\.00'):
        machine.start_measuring(False, more=' Medians.')
    assert capsys.readouterr().out.endswith('. Medians.\n\n')
    machine.start_measuring(True, threads=torch.get_num_threads())
