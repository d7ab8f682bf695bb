"""Runs tasks in parallel, shows the progress, and starts no more tasks when time is up."""

import itertools
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.utils.dl_utils import set_multi_processing
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...utils.memory import keep_freed_memory


@dataclass(frozen=True)
class Task:
    """A function call for a worker process.

    Attributes:
        title: Its name in the progress bar.
        function: An importable function.
        arguments: The arguments of the function.
        seconds: The expected time.
    """

    title: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    seconds: float = 0.0


class OutOfTimeError(Exception):
    """The time is up: running tasks finish, no more are started."""


class Stages:
    """Runs lists of tasks, with one progress bar for all.

    Args:
        total: Total number of tasks.
        seconds: Expected time of all tasks.
        workers: Number of processes, each with one thread. 0: one task at a time in this process.
        log: File for the output of the processes.
        deadline: Time, as of ``time.time()``, after which no task is started. Defaults to None: no
            deadline.
    """

    def __init__(
        self, total: int, seconds: float, workers: int, log: Path, deadline: float | None = None
    ) -> None:
        self.workers, self.log, self.deadline = workers, log, deadline
        self.seconds_left = seconds
        #: Title of a failed task to its error; the other tasks continue.
        self.failed: dict[str, str] = {}
        columns = (
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.progress = Progress(*columns, disable=workers == 0)
        self._bar = self.progress.add_task('', total=total)

    def do_first(self, tasks: Sequence[Task]) -> None:
        """Do tasks that all others need and that are not counted in the total.

        If there are fewer tasks than workers, each gets several threads.

        Raises:
            OutOfTimeError: If the deadline came before the last of them was started.
            RuntimeError: If one fails.
        """
        self.progress.update(self._bar, total=self._total() + len(tasks))
        if self.workers == 0:
            self.do(tasks)
        else:
            processes = min(self.workers, len(tasks))
            with open_pool(processes, self.workers // processes, self.log) as pool:
                self._do_in(pool, [iter([tasks])])

        failed = [task.title for task in tasks if task.title in self.failed]
        if failed:
            raise RuntimeError('\n'.join(f'{title}: {self.failed[title]}' for title in failed))

    def _total(self) -> float:
        return self.progress.tasks[self._bar].total or 0

    def do(self, tasks: Sequence[Task]) -> None:
        """Do tasks in parallel, as many as there are workers.

        A failed task is noted in ``failed``.

        Raises:
            OutOfTimeError: If the deadline came before the last of them was started.
        """
        self.do_chains([iter([tasks])])

    def do_chains(self, chains: Sequence[Iterator[Sequence[Task]]]) -> None:
        """Do chains of task lists: the lists of a chain one after the other, chains in parallel.

        A chain yields its next list once all tasks of its previous list are done. Earlier chains
        have priority, so that they are complete when time is up.

        Raises:
            OutOfTimeError: If the deadline came before the last task was started.
        """
        if self.workers == 0:
            for task in itertools.chain.from_iterable(itertools.chain.from_iterable(chains)):
                self._check_time()
                with self._noted(task):
                    task.function(*task.arguments)
                self._show(task)
            return

        self._do_in(self._pool, chains)

    def _do_in(self, pool: ProcessPoolExecutor, chains: Sequence[Iterator[Sequence[Task]]]) -> None:
        """Do chains of task lists in the processes of a pool, and show the progress."""
        for task in self._run(pool, [filter(None, chain) for chain in chains]):
            self._show(task)

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        """The processes, which are kept from one list of tasks to the next."""
        return open_pool(self.workers, 1, self.log)

    def __enter__(self) -> 'Stages':
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the processes finish their current tasks, and start no more."""
        self.progress.stop()
        if '_pool' in self.__dict__:
            self._pool.shutdown(cancel_futures=True)

    def _run(
        self, pool: ProcessPoolExecutor, chains: Sequence[Iterator[Sequence[Task]]]
    ) -> Iterator[Task]:
        """Yield finished tasks, and start a new one whenever a process is free."""
        waiting = [list(next(chain, ())) for chain in chains]
        running = dict[Future, tuple[int, Task]]()  # with the index of its chain
        while running or any(waiting):
            for place, tasks in enumerate(waiting):
                while tasks and len(running) < self.workers and not self._is_late():
                    task = tasks.pop(0)
                    running[pool.submit(task.function, *task.arguments)] = place, task
            if not running:
                self._check_time()

            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                place, task = running.pop(future)
                with self._noted(task):
                    future.result()
                yield task

                is_busy = any(other == place for other, _ in running.values())
                if not waiting[place] and not is_busy:
                    waiting[place] = list(next(chains[place], ()))

    @contextmanager
    def _noted(self, task: Task) -> Iterator[None]:
        """Let the other tasks continue if one fails."""
        try:
            yield
        except Exception as error:  # a method may raise anything for unsuitable data
            self.failed[task.title] = f'{type(error).__name__}: {error}'
            print(f'{task.title} failed: {error}', flush=True)

    def _is_late(self) -> bool:
        return self.deadline is not None and time.time() > self.deadline

    def _check_time(self) -> None:
        if self._is_late():
            raise OutOfTimeError

    def _show(self, task: Task) -> None:
        self.seconds_left = max(0.0, self.seconds_left - task.seconds)
        left = f'{self.seconds_left / max(1, self.workers) / 60:.0f} min left'
        self.progress.update(self._bar, advance=1, description=f'{task.title}; about {left}')
        if not self.progress.console.is_terminal and not self.progress.disable:
            state = self.progress.tasks[self._bar]
            print(f'{state.completed:.0f}/{state.total:.0f} {state.description}', flush=True)


def open_pool(processes: int, threads: int, log: Path) -> ProcessPoolExecutor:
    """Start processes that have a number of threads each and write their output to a file."""
    spawn = multiprocessing.get_context('spawn')
    return ProcessPoolExecutor(processes, spawn, set_up_process, (str(log), threads))


def set_up_process(log: str, threads: int) -> None:
    """Limit the threads of a process and of the tools that it calls; write its output to a file.

    The process keeps freed memory, as a tool does. Its own processes, those of data loaders, are
    forked as in a run: a spawned process would spawn them, and each would import everything again.
    """
    from ...engine.safe_loading import force_weights_only

    keep_freed_memory()
    with warnings.catch_warnings():  # that a process which was spawned forks is meant so
        warnings.simplefilter('ignore')
        set_multi_processing()
    torch.set_num_threads(threads)
    os.environ['OMP_NUM_THREADS'] = str(threads)  # for the tools that it calls
    force_weights_only()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
