"""Tasks go on where one fails, and stop being started when time is up."""

import time

import pytest

from morn_plugin.benchmark.runner.stages import OutOfTimeError, Stages, Task


def append(path, text):
    if text == 'bad':
        raise ValueError('no good')
    with open(path, 'a') as file:
        file.write(text)


def make_tasks(path, texts):
    return [Task(text, append, (path, text), seconds=60.0) for text in texts]


def test_a_failure_is_noted(tmp_path, capsys):
    stages = Stages(3, 180.0, 0, tmp_path / 'log')
    stages.do(make_tasks(tmp_path / 'out', ['a', 'bad', 'b']))
    assert (tmp_path / 'out').read_text() == 'ab'
    assert stages.failed == dict(bad='ValueError: no good')
    assert 'bad failed: no good' in capsys.readouterr().out
    assert stages.seconds_left == 0


def test_nothing_is_started_when_time_is_up(tmp_path):
    stages = Stages(1, 60.0, 0, tmp_path / 'log', deadline=time.time() - 1)
    with pytest.raises(OutOfTimeError):
        stages.do(make_tasks(tmp_path / 'out', ['a']))
    assert not (tmp_path / 'out').exists()
