import sys

import pytest

from morn_plugin.utils.next_steps import next_step


@pytest.mark.parametrize(
    ('started_as', 'expected'),
    [
        ('tools/train.py', 'python tools/analysis/report.py a.pth'),
        ('/opt/my tools/tools/train.py', "python '/opt/my tools/tools/analysis/report.py' a.pth"),
        ('tools/model_converters/merge_decoder.py', 'python tools/analysis/report.py a.pth'),
        ('morn train', 'morn report a.pth'),
        ('', 'python tools/analysis/report.py a.pth'),
    ],
)
def test_the_command_is_as_this_one(
    monkeypatch: pytest.MonkeyPatch, started_as: str, expected: str
) -> None:
    monkeypatch.setattr(sys, 'argv', [started_as, 'config.py'])
    step = next_step('analysis/report', 'a.pth', to='see where it errs')
    assert step == f'Next, to see where it errs: {expected}'


def test_converters_are_a_group_of_morn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['morn test'])
    step = next_step('model_converters/merge_decoder', 'CNN', 'it is.pth', to='merge')
    assert step == "Next, to merge: morn convert merge-decoder CNN 'it is.pth'"
