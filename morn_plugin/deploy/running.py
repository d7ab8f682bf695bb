"""Many images through a model: batches, reading ahead, failures, progress."""

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

from .sources import name_record

Source = TypeVar('Source')
Result = TypeVar('Result')


def count_readers(num_workers: int | None, on_cpu: bool) -> int:
    """Return the number of threads that read ahead: as given, else 2 with a GPU, none on a CPU.

    On a CPU the model uses every core, and a reading thread costs it more time than it saves
    (``tools/analysis/throughput.py``).
    """
    if num_workers is not None:
        return num_workers
    return 0 if on_cpu else 2


def read_ahead(
    function: Callable[[Source], Result],
    sources: Iterable[Source],
    num_workers: int,
    ahead: int,
) -> Generator[tuple[Source, Result | Exception], None, None]:
    """Apply a function in threads, in order, while the results are used.

    If closed early, it drops calls that have not started and waits for the others, so no thread
    outlives it.

    Args:
        function: Reads and prepares one image; Pillow, OpenCV and NumPy release the interpreter's
            lock while they work.
        sources: Its arguments, taken from an iterator only as they are needed.
        num_workers: Threads; 0 reads when the result is wanted.
        ahead: Results to hold ready at most.

    Yields:
        The argument, and the result or the exception it raised.
    """
    if not num_workers:
        yield from ((source, _attempt(function, source)) for source in sources)
        return

    remaining = iter(sources)
    pool = ThreadPoolExecutor(num_workers)
    submit = lambda source: (source, pool.submit(_attempt, function, source))

    try:
        waiting: deque[tuple[Source, Future]] = deque(map(submit, islice(remaining, ahead)))
        while waiting:
            source, future = waiting.popleft()
            waiting.extend(map(submit, islice(remaining, 1)))
            yield source, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def batched(items: Iterable[Source], size: int) -> Iterator[list[Source]]:
    """Cut into lists of ``size``; the last may be shorter.

    Examples:
        >>> list(batched('abcde', 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def run_batches(
    function: Callable[[list[Any]], list[dict[str, Any]]],
    loaded: Generator[tuple[Any, Any], None, None],
    size: int,
) -> Iterator[dict[str, Any]]:
    """Predict in batches of readable images, and keep the order.

    Args:
        function: Maps what was loaded of a batch to records.
        loaded: What :func:`read_ahead` gives; closed in the end, also after an error of the
            function.
        size: Images in a batch.

    Yields:
        A record an image, or ``dict(img_path, error)`` for one that could not be read; the path is
        None for one in memory.
    """
    with closing(loaded):
        for batch in batched(loaded, size):
            good = [item for _, item in batch if not isinstance(item, Exception)]
            records = iter(function(good) if good else ())
            for source, item in batch:
                if isinstance(item, Exception):
                    yield dict(img_path=name_record(source), error=str(item) or type(item).__name__)
                else:
                    yield next(records)


def show_progress(
    items: Iterable[Source],
    total: int | None,
    unit: str = 'images',
    done: int = 0,
) -> Iterator[Source]:
    """Pass items on, and say on stderr how many there were, twice a second.

    Args:
        items: What is passed on.
        total: How many there are, including those done before; None if unknown.
        unit: What they are called.
        done: How many were done before.
    """
    start = last = time.monotonic()
    before = done

    for item in items:
        yield item
        done += 1
        now = time.monotonic()

        if now - last > 0.5 or done == total:
            last = now
            rate = (done - before) / max(now - start, 1e-9)
            print(f'\r{_bar(done, total)}  {rate:.1f} {unit}/s', end='', file=sys.stderr)

    print(file=sys.stderr)


def _bar(done: int, total: int | None) -> str:
    """Draw a progress bar.

    Examples:
        >>> _bar(1, 3), _bar(7, None)
        ('[##########                    ] 1/3', '7')
    """
    if total is None:
        return str(done)
    return f'[{"#" * (30 * done // max(total, 1)):<30}] {done}/{total}'


def _attempt(function: Callable[[Source], Result], source: Source) -> Result | Exception:
    try:
        return function(source)
    except Exception as error:
        return error
