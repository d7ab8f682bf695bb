"""Runs each step once, and remembers the finished ones.

A file stores the hash of the settings of each step. A step is skipped if it is finished, its
settings are unchanged and its output still exists.
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...utils.layout import PACKAGE, find_root
from ...utils.strict_json import dump_json, read_json, write_json
from .timing import format_time

STATE = 'state.json'
TAIL = 15  # lines of a log that an error shows
PERIOD = 15.0  # seconds between lines of progress
# A line of MMEngine's log: the epoch in training, the batch and their number, the time left.
PROGRESS = re.compile(r'Epoch\(\w+\)\s*(?:\[(\d+)\])?\[\s*(\d+)/(\d+)\](?:.*?eta: (\S.*?)  )?')


class StepError(RuntimeError):
    """A step failed; the message contains the end of its log."""


class Steps:
    """Runs steps one after the other, and remembers the finished ones.

    Args:
        folder: Where everything is written.
        number: Number of steps.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.place = 0
        self.start = time.monotonic()
        self._chain = ''
        self._state = self._read()

    @property
    def log_dir(self) -> Path:
        """The folder of the steps' logs."""
        return self.folder / 'logs'

    def run(
        self,
        name: str,
        title: str,
        settings: Mapping[str, Any],
        outputs: Callable[[], bool],
        work: Callable[[], None],
        clear: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a step, unless it is finished.

        Args:
            name: Key in the file.
            title: Title for the user.
            settings: Everything that the result depends on, besides earlier steps.
            outputs: Returns whether the step's output exists.
            work: Runs the step; continues after an interruption.
            clear: Removes unfinished output of different settings.
        """
        self.place += 1
        text = dump_json(dict(settings), sort_keys=True, default=str)
        self._chain = hashlib.sha256(f'{self._chain}{name}{text}'.encode()).hexdigest()
        entry = self._state.get(name, {})
        is_same = entry.get('settings') == self._chain
        if is_same and entry.get('finished') and outputs():
            self._say(f'{title}: done before')
            return

        self._say(f'{title} ...' if not is_same else f'{title} (continues) ...')
        if not is_same:
            clear()
        begin = time.monotonic()
        self._note(name, finished=False)
        work()
        self._note(name, finished=True)
        print(f'      {format_time(time.monotonic() - begin)}', flush=True)

    def run_tool(self, log: str, tool: str, *arguments: str | Path) -> None:
        """Run a tool of the package to its end, with its output in a log.

        Args:
            log: Name of the log.
            tool: Path below ``tools``.
            *arguments: Arguments of the tool.

        Raises:
            StepError: If it fails; shows the end of the log.
        """
        path = self.log_dir / f'{log}.log'
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(find_root() / 'tools' / tool), *map(str, arguments)]
        with open(path, 'a', encoding='utf-8') as file:
            code = _follow(command, file)
        if code:
            raise StepError(f'tools/{tool} ended with status {code}.\n{read_tail(path)}')

    def _say(self, text: str) -> None:
        elapsed = format_time(time.monotonic() - self.start)
        print(f'[{self.place}/{self.number}] {text}  ({elapsed} so far)', flush=True)

    def _read(self) -> dict[str, Any]:
        path = self.folder / STATE
        if not path.is_file():
            return {}
        try:
            content = read_json(path)
        except ValueError:
            return {}  # without the file every step is repeated: slow, but correct
        return content if isinstance(content, dict) else {}

    def _note(self, name: str, finished: bool) -> None:
        self._state[name] = dict(settings=self._chain, finished=finished)
        write_json(self.folder / STATE, self._state, indent=2)


def _follow(command: Sequence[str], log: Any) -> int:
    """Run a command, write its output to a log, and show its progress from time to time."""
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get('PYTHONPATH')])]
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join(paths), PYTHONUNBUFFERED='1')
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding='utf-8',
        errors='replace',
    )
    shown = time.monotonic()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            log.flush()
            is_progress = PROGRESS.search(line) is not None
            if is_progress and time.monotonic() - shown >= PERIOD:
                shown = time.monotonic()
                print(f'      {describe_progress(line)}', flush=True)
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def describe_progress(line: str) -> str:
    """Return the progress in a line of MMEngine's log, for people.

    Examples:
        >>> describe_progress('INFO - Epoch(train) [2][13/27]  lr: 5e-04  eta: 0:00:28  loss: 9.2')
        'epoch 2, batch 13 of 27, 0:00:28 to go'
        >>> describe_progress('INFO - Epoch(test) [ 7/60]    time: 1.2')
        'batch 7 of 60'
    """
    found = PROGRESS.search(line)
    if not found:
        return line.strip()

    epoch, batch, batches, time_left = found.groups()
    parts = [f'epoch {epoch}'] if epoch else []
    parts.append(f'batch {batch} of {batches}')
    if time_left:
        parts.append(f'{time_left} to go')
    return ', '.join(parts)


def read_tail(path: Path) -> str:
    """Return the last lines of a log, and its path."""
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()[-TAIL:]
    return '\n'.join([*(f'    {line}' for line in lines), f'The whole log: {path}'])
