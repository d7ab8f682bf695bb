"""Processes for the tools that need not import torch and MMPretrain again.

A tool takes a second and its imports four, on an idle machine. So one process imports them once, has
computed nothing, and forks for each tool: the fork has its own folder, environment, output, end and
exit code, and is what ``python tools/NAME.py`` is in all but the time it takes to start.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path

TESTS = Path(__file__).parent


PLACES = (TESTS, TESTS / 'test_engine', TESTS.parent)  # of what warm_imports.py imports


@cache
def warm_context():
    """Return the context of multiprocessing whose processes have imported everything.

    The server that forks them knows no path but those of its environment, and takes an import that
    fails for one that is not wanted: so it is started here, with the paths in it.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['warm_imports'])
    given = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [*map(str, PLACES), given]))

    try:
        forkserver.ensure_running()
    finally:
        if given is None:
            del os.environ['PYTHONPATH']
        else:
            os.environ['PYTHONPATH'] = given

    return context


class WarmProcess:
    """A started program, with those attributes of ``subprocess.Popen`` that the tests use.

    Both standard output and errors are in ``stdout``.
    """

    def __init__(self, script, arguments, cwd, environment):
        reading_end, writing_end = os.pipe()
        self.stdout = os.fdopen(reading_end, encoding='utf-8', errors='replace')
        self._process = warm_context().Process(
            target=_Program(script, arguments, cwd, environment, writing_end)
        )
        self._process.start()
        os.close(writing_end)
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit code, or None while the program runs."""
        return self._process.exitcode

    def poll(self):
        """Return the exit code, or None while the program runs."""
        return self._process.exitcode

    def wait(self, timeout=None):
        """Wait for the end, and return the exit code."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(f'process {self.pid}', timeout)
        return self._process.exitcode

    def communicate(self, timeout=None):
        """Read to the end, and return what was printed, and None in place of the errors."""
        said = []
        reader = threading.Thread(target=lambda: said.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(f'process {self.pid}', timeout)

        self.wait(timeout)
        self.stdout.close()
        return said[0], None

    def send_signal(self, number):
        """Send a signal to the program, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """End it."""
        self.send_signal(signal.SIGKILL)


class WarmGroup:
    """Programs that work together, one a rank, used as if they were one."""

    def __init__(self, processes):
        self.processes = processes

    @property
    def returncode(self):
        """The exit code of the first rank that failed, or 0."""
        return next(filter(None, (process.returncode for process in self.processes)), 0)

    def communicate(self, timeout=None):
        """Read all to their ends, and return what they printed, one after the other."""
        with ThreadPoolExecutor(len(self.processes)) as pool:
            reading = [pool.submit(process.communicate, timeout) for process in self.processes]
        return '\n'.join(read.result()[0] for read in reading), None


def start_ranks(number, script, arguments, cwd, environment):
    """Start a program once a rank, with what torchrun sets in their environments."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    place = dict(environment, MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE=str(number))
    ranks = [dict(place, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(number)]
    return WarmGroup([WarmProcess(script, arguments, cwd, rank) for rank in ranks])


class _Program:
    """What a process does: ``python SCRIPT ARGUMENTS`` in a folder and an environment."""

    def __init__(self, script, arguments, cwd, environment, output):
        self.script = str(script)
        self.arguments = list(arguments)
        self.cwd = str(cwd or Path.cwd())
        self.environment = environment
        self.output = output

    def __getstate__(self):
        return dict(vars(self), output=DupFd(self.output))

    def __call__(self):
        output = self.output.detach()
        for stream in (1, 2):
            os.dup2(output, stream)

        os.close(output)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environment)
        tempfile.tempdir = None  # what the server found once; TMPDIR of this environment counts

        sys.stdout = open(1, 'w', encoding='utf-8', closefd=False)  # noqa: SIM115  to the end
        sys.stderr = open(2, 'w', encoding='utf-8', closefd=False, buffering=1)  # noqa: SIM115
        sys.argv = [self.script, *self.arguments]
        sys.path[0] = str(Path(self.script).parent)
        given = self.environment.get('PYTHONPATH', '').split(os.pathsep)
        sys.path[1:1] = [
            path for path in map(os.path.abspath, filter(None, given)) if path not in sys.path
        ]

        try:
            runpy.run_path(self.script, run_name='__main__')
        finally:
            atexit._run_exitfuncs()  # multiprocessing ends without
