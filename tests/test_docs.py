"""The commands and the code of docs and tools/docs, run as they stand."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time

import pytest
from tools_helpers import ROOT, SLICE, write_config
from warm_start import WarmProcess

TOOL_PAGES = sorted(
    path for path in (ROOT / 'tools' / 'docs').glob('*.md') if path.name != 'README.md'
)
RUNNABLE = re.compile(r'^```(?:bash|python)$', flags=re.M)
PAGES = [
    *TOOL_PAGES,
    *(path for path in sorted((ROOT / 'docs').rglob('*.md')) if RUNNABLE.search(path.read_text())),
]
MORN = ['-c', 'from morn_plugin.cli import main; main()']  # as the command that pip installs
NEEDS = dict(
    report=('networkx',),
    export=('onnx', 'onnxruntime', 'onnxscript'),
    serve=('gradio',),
    benchmark_page=('statsmodels',),
)


@pytest.fixture(scope='module')
def place(work_dir, tmp_path_factory):
    """A folder in which the commands find what they name."""
    folder = tmp_path_factory.mktemp('docs')
    (folder / 'tools').symlink_to(ROOT / 'tools')
    (folder / 'photos').symlink_to(SLICE / 'images' / 'animals' / 'bugs')
    (folder / 'work_dirs').mkdir()
    (folder / 'work_dirs' / 'morn').symlink_to(work_dir)
    write_config(folder / 'work_dirs' / 'morn.py')
    return folder


def start(command, place):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    _, program, *arguments = command
    if program.endswith('.py'):
        return WarmProcess(place / program, arguments, place, environment)
    return subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def as_command(line):
    program, *arguments = shlex.split(line)
    return [sys.executable, *(MORN if program == 'morn' else []), *arguments]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_page(page, place):
    for module in NEEDS.get(page.stem, ()):
        pytest.importorskip(module)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    text = page.read_text(encoding='utf-8').replace('7865', port)
    blocks = re.findall(r'```(bash|python)\n(.*?)```', text, flags=re.S)
    commands = []  # in the order of the page: what one block writes, the next may read
    for kind, code in blocks:
        if kind == 'bash':
            commands += [as_command(line) for line in code.splitlines()]
        else:
            commands.append([sys.executable, '-c', code])
    assert commands
    for command in commands:
        process = start(command, place)
        if 'tools/serve.py' in command:
            wait_for(process, f'Serving on http://127.0.0.1:{port}')
            continue
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, f'{command}\n{output[-3000:]}'
    run = '\n'.join(code for _, code in blocks)
    for name in re.findall(r'--(?:out|plot) (\S+)', run):
        assert (place / name).stat().st_size > 100


def wait_for(process, line):
    deadline = time.monotonic() + 100
    try:
        while time.monotonic() < deadline:
            said = process.stdout.readline()
            if line in said:
                return
            assert said or process.poll() is None, 'the server ended'
        pytest.fail(f'{line!r} never came')
    finally:
        process.kill()
        process.communicate()


def test_every_page_is_linked_from_the_readme_of_the_tools():
    text = (ROOT / 'tools' / 'docs' / 'README.md').read_text(encoding='utf-8')
    assert all(f'({page.name})' in text for page in TOOL_PAGES)
