"""Processes for the tools that need not import torch and MMPretrain anew.

A tool takes a second and its imports four, on an idle machine. So one process imports them once, and
forks for each tool: the child has its own folder, environment, output, end and exit code, and is
what ``python tools/NAME.py`` is in all but the time it takes to start.

Run as a program this file is that process: ``python warm_start.py SOCKET``.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path


class WarmProcess:
    """A started program, with those attributes of ``subprocess.Popen`` that the tests use."""

    def __init__(self, connection, reading_end):
        self.args = None
        self.returncode = None
        self.stdout = os.fdopen(reading_end, encoding='utf-8', errors='replace')
        self._status = connection.makefile()
        connection.close()
        self.pid = int(self._status.readline())

    def poll(self):
        """Return the exit code, or None while the program runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout=None):
        """Wait for the end, and return the exit code."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f'process {self.pid}', timeout)
            self.returncode = int(self._status.readline())
        return self.returncode

    def communicate(self, timeout=None):
        """Read to the end, and return what was printed, and None for the errors, printed there too."""
        said = []
        reader = threading.Thread(target=lambda: said.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(f'process {self.pid}', timeout)
        self.wait(timeout)
        self.stdout.close()
        self._status.close()
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


def start_warm(script, arguments, cwd, environment):
    """Start ``python SCRIPT ARGUMENTS`` as a fork of a process that has imported everything."""
    reading_end, writing_end = os.pipe()
    request = dict(
        script=str(script),
        arguments=list(arguments),
        cwd=str(cwd or Path.cwd()),
        environment=environment,
    )
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server())
    socket.send_fds(connection, [json.dumps(request).encode()], [writing_end])
    connection.shutdown(socket.SHUT_WR)
    os.close(writing_end)
    return WarmProcess(connection, reading_end)


@cache
def _server():
    """Start the process that imports, and return the path of its socket."""
    folder = tempfile.TemporaryDirectory()  # a short path: that of a socket is limited
    path = f'{folder.name}/socket'
    process = subprocess.Popen(
        [sys.executable, __file__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(Path(__file__).parents[1])),
    )
    atexit.register(folder.cleanup)
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # the first to run: the process ends with its input
    if process.stdout.readline() != b'ready\n':
        raise RuntimeError('The process that the tools are forked from did not start.')
    return path


def serve(path):
    """Fork for each request; return the request in a process that has to run it."""
    import morn_plugin.apis
    import morn_plugin.visualization  # noqa: F401  with matplotlib

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who watch
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that it looks at
    os.write(1, b'ready\n')
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        return watch(connection)


def watch(connection):
    """Fork once more, tell of that process's id and end, and return the request in it."""
    text, (output,), *_ = socket.recv_fds(connection, 1 << 20, 1)
    while part := connection.recv(1 << 20):
        text += part
    pid = os.fork()
    if pid == 0:
        connection.close()
        return json.loads(text), output

    os.close(output)
    connection.sendall(f'{pid}\n'.encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f'{os.waitstatus_to_exitcode(status)}\n'.encode())
    os._exit(0)


def run(request, output):
    """Do what ``python SCRIPT ARGUMENTS`` does in a folder and an environment."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(request['cwd'])
    os.environ.clear()
    os.environ.update(request['environment'])

    sys.argv = [request['script'], *request['arguments']]
    sys.path[0] = str(Path(request['script']).parent)
    code = 1
    try:
        runpy.run_path(request['script'], run_name='__main__')
        code = 0
    except SystemExit as end:
        code = exit_code(end)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finish(code)


def exit_code(end):
    """Return the exit code of ``sys.exit``, and print its message as Python does."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def finish(code):
    """End as Python does, but leave the modules alone: to take them down takes over a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == '__main__':
    run(*serve(sys.argv[1]))
