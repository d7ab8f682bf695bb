"""Every tool answers --help, and an argument that is wrong, before it imports what takes seconds."""

import json
import subprocess
import sys

import pytest
from tools_helpers import ROOT

from morn_plugin.cli import find_commands

pytestmark = pytest.mark.slow  # starts processes

COMMANDS = find_commands(ROOT / 'tools')

# One process forks for each tool, so that none sees what another has imported.
ASK_ALL = """
import json, os, runpy, sys

def ask(path):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv, sys.path[0], code = [path, '--help'], os.path.dirname(path), None
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as end:
            code = end.code
        finally:
            slow = sorted({'torch', 'torchvision', 'mmengine', 'mmpretrain', 'matplotlib'} & set(sys.modules))
            os.write(writing, json.dumps([code, slow]).encode())
            os._exit(0)
    os.close(writing)
    return json.loads(os.fdopen(reading).read())

print(json.dumps({path: ask(path) for path in sys.argv[1:]}))
"""


@pytest.fixture(scope='module')
def answers():
    paths = [str(command.path) for command in COMMANDS]
    done = subprocess.run(
        [sys.executable, '-c', ASK_ALL, *paths],
        env=dict(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command.name)
def test_help_imports_nothing_slow(command, answers):
    code, slow = answers[str(command.path)]
    assert code == 0
    # The flag --cfg-options is MMEngine's own, which imports without torch in a third of a second.
    assert set(slow) <= {'mmengine'}
