"""Tasks go on where one fails, and stop being started when time is up."""

import os
import time
from pathlib import Path

import pytest

from morn_plugin.benchmark.runner import stages as module
from morn_plugin.benchmark.runner.stages import OutOfTimeError, Stages, Task, set_up_process
from morn_plugin.engine import safe_loading


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


def chain_of(folder, name, log):
    """Yield two lists of tasks; note what is there when each is asked for."""
    for part in ('search', 'seeds'):
        log.append((f'{name} {part}', sorted(path.name for path in folder.iterdir())))
        yield [
            Task(f'{name} {part} {k}', Path.touch, (folder / f'{name}_{part}_{k}',))
            for k in range(2)
        ]


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_chain_is_asked_for_more_when_its_list_is_done(tmp_path, workers):
    folder, log = tmp_path / 'out', []
    folder.mkdir()
    chains = [chain_of(folder, name, log) for name in 'ab']
    with Stages(8, 8.0, workers, tmp_path / 'log') as stages:
        stages.do_chains(chains)
    assert len(list(folder.iterdir())) == 8
    seen = dict(log)
    for name in 'ab':
        assert {f'{name}_search_0', f'{name}_search_1'} <= set(seen[f'{name} seeds'])


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'threads'), [(1, 3), (3, 1)])
def test_first_tasks_share_the_cores(tmp_path, number, threads):
    paths = [tmp_path / f'out_{k}' for k in range(number)]
    with Stages(4, 4.0, 3, tmp_path / 'log') as stages:
        commands = [f'echo "$OMP_NUM_THREADS" > "{path}"' for path in paths]
        stages.do_first([Task(command, os.system, (command,)) for command in commands])
        assert stages.progress.tasks[0].total == 4 + number
    assert [int(path.read_text()) for path in paths] == [threads] * number


def test_a_failed_first_task_is_an_error(tmp_path):
    stages = Stages(1, 1.0, 0, tmp_path / 'log')
    with pytest.raises(RuntimeError, match='bad: ValueError: no good'):
        stages.do_first(make_tasks(tmp_path / 'out', ['a', 'bad']))


def test_an_empty_list_does_not_end_a_chain(tmp_path):
    tasks = make_tasks(tmp_path / 'out', ['a'])
    Stages(1, 1.0, 0, tmp_path / 'log').do_chains([iter([[], tasks])])
    assert (tmp_path / 'out').read_text() == 'a'


WRITE_START_METHOD = """
import multiprocessing, pathlib
pathlib.Path({path!r}).write_text(multiprocessing.get_start_method())
"""


@pytest.mark.slow  # starts a process
def test_data_loaders_of_a_process_fork_theirs(tmp_path):
    """Else each worker would import everything, for every data loader."""
    out = tmp_path / 'out'
    code = WRITE_START_METHOD.format(path=str(out))
    with Stages(1, 1.0, 1, tmp_path / 'log') as stages:
        stages.do([Task('ask', exec, (code,))])
    assert out.read_text() == 'fork'


def test_a_process_keeps_freed_memory_as_a_tool_does(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(module, 'keep_freed_memory', lambda: calls.append('memory'))
    monkeypatch.setattr(module, 'set_multi_processing', lambda: calls.append('fork'))
    monkeypatch.setattr(module.torch, 'set_num_threads', calls.append)
    monkeypatch.setattr(safe_loading, 'force_weights_only', lambda: calls.append('safe'))
    monkeypatch.setattr(module.os, 'dup2', lambda file, other: calls.append(other))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    set_up_process(str(tmp_path / 'log'), 2)
    assert calls == ['memory', 'fork', 2, 'safe', 1, 2]
    assert os.environ['OMP_NUM_THREADS'] == '2'
