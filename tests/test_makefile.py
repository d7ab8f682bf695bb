"""The commands of the Makefile in a folder whose name has a space and an umlaut.

Python and what it installs are stand-ins that write down how they were called: what is tested is
how make and the shell scripts hand names on.
"""

import os
import shutil
import subprocess

import pytest
from tools_helpers import ROOT

pytestmark = pytest.mark.skipif(not shutil.which('make'), reason='make is not installed')

# What a make that runs these tests itself would hand on.
INHERITED = {'MAKEFLAGS', 'MAKEOVERRIDES', 'MAKELEVEL', 'MFLAGS', 'T', 'VENV', 'PYTHON', 'JOBS'}
OPTIONS = ['-n', '3', '--dist', 'worksteal', '--doctest-modules']  # of pytest, with JOBS=3

# Writes its arguments to $CALLS, one call a line; makes environments as `python -m venv` does, and
# leaves a checkpoint where a training would.
STAND_IN = """#!/usr/bin/env bash
{ printf '%s' "$0"; for each in "$@"; do printf '|%s' "$each"; done; echo; } >> "$CALLS"
echo "$OMP_NUM_THREADS" > "$CALLS.threads"
if [ "$1 $2" = '-m venv' ]; then
    mkdir -p "$3/bin"
    for name in python ruff mypy; do cp "$0" "$3/bin/$name"; done
fi
if [ "$1" = tools/train.py ]; then
    mkdir -p "$4"; touch "$4/best_epoch_1.pth"
fi
"""


@pytest.fixture
def checkout(tmp_path):
    """What make needs of the repository, and a stand-in for the Python of the system."""
    folder = tmp_path / 'Käse und Brot'
    (folder / 'tools').mkdir(parents=True)
    for name in ('Makefile', 'setup.py', 'constraints.txt', 'tools/make_env.sh', 'tools/demo.sh'):
        shutil.copy(ROOT / name, folder / name)
    python = tmp_path / 'mein python'
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return folder


def make(checkout, *arguments):
    """Run make, and return the calls that the stand-ins noted: lists of program and arguments."""
    calls = checkout.parent / 'calls'
    calls.write_text('')
    environment = {key: value for key, value in os.environ.items() if key not in INHERITED}
    done = subprocess.run(
        ['make', f'PYTHON={checkout.parent / "mein python"}', *arguments],
        cwd=checkout,
        env=dict(environment, CALLS=str(calls)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split('|') for line in calls.read_text().splitlines()]


@pytest.mark.parametrize('venv', ['.venv', '../eine Umgebung für alles', 'absolute'])
def test_make_test_sets_up_once_and_runs_everything(checkout, venv):
    venv = str(checkout.parent / 'ganz woanders') if venv == 'absolute' else venv
    first = make(checkout, 'test', f'VENV={venv}', 'JOBS=3')
    checks = [
        [f'{venv}/bin/ruff', 'check', '.'],
        [f'{venv}/bin/ruff', 'format', '--check', '.'],
        [f'{venv}/bin/mypy'],
        [f'{venv}/bin/python', '-m', 'pytest', *OPTIONS, 'morn_plugin', 'tests'],
    ]
    assert first[0] == [str(checkout.parent / 'mein python'), '-m', 'venv', venv]
    assert any('install' in call and '.[all]' in call for call in first)
    assert first[-4:] == checks
    assert make(checkout, 'test', f'VENV={venv}', 'JOBS=3') == checks


def test_make_test_of_some(checkout):
    calls = make(checkout, 'test', 'T=tests/test_cli.py -x', 'JOBS=3')
    assert calls[-1][3:] == [*OPTIONS, 'tests/test_cli.py', '-x']


def test_make_test_runs_one_process_for_each_core_but_at_most_four(checkout):
    for cores, processes in (('1', '1'), ('2', '2'), ('64', '4')):
        *_, tests = make(checkout, 'test', f'CORES={cores}')
        assert tests[tests.index('-n') + 1] == processes


def test_each_process_of_the_tests_has_one_thread(checkout):
    for target in ('quick', 'test'):
        make(checkout, target, 'CORES=8')
        assert (checkout.parent / 'calls.threads').read_text() == '1\n'


def test_make_quick_leaves_out_what_is_slow(checkout):
    calls = make(checkout, 'quick', 'JOBS=3')
    assert calls[-1][3:] == [*OPTIONS, '-m', 'not slow', 'morn_plugin', 'tests']


def test_make_demo_hands_each_checkpoint_on(checkout):
    calls = make(checkout, 'demo')
    steps = [call[1:] for call in calls if call[1].startswith('tools/')]
    assert len(steps) == 6
    assert 'work_dirs/demo/cnn/best_epoch_1.pth' in steps[2]
    assert steps[-1][0] == 'tools/test.py'


def test_make_benchmark(checkout):
    scripts = [call[1] for call in make(checkout, 'benchmark')]
    assert scripts[-3:] == [
        'tools/dataset_converters/openclipart.py',
        'tools/model_converters/efficientnet_lite.py',
        'tools/benchmark/benchmark.py',
    ]
