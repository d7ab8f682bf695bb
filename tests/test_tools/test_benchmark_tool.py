"""The benchmark's command ends with a sentence when it is stopped."""

import signal
import sys
import time

import pytest
from tools_helpers import ROOT, load_tool


class Running:
    def __init__(self, number):
        self.number = number

    def run(self):
        signal.raise_signal(self.number)
        time.sleep(0.01)
        raise AssertionError('it went on')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_says_how_to_go_on_when_it_is_stopped(number, monkeypatch):
    before = {other: signal.getsignal(other) for other in (signal.SIGINT, signal.SIGTERM)}
    tool = load_tool(ROOT / 'tools' / 'benchmark' / 'benchmark.py')
    monkeypatch.setattr(tool, 'make_bench', lambda args: Running(number))
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')  # the tool sets it
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', 'data/mine'])
    try:
        with pytest.raises(SystemExit, match='The same command goes on from here'):
            tool.main()
    finally:
        for other, handler in before.items():
            signal.signal(other, handler)
