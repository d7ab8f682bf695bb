"""Measures in alternating rounds, so that all candidates see the same machine."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.benchmark import Timer

from ..utils.markdown import markdown_table


class Table(NamedTuple):
    """A table of a report: its title, its head, and rows of text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_markdown(self) -> str:
        """Lay out the table; all columns but the first are numbers."""
        return f'### {self.title}\n\n{markdown_table(self.head, self.rows)}\n'


def time_in_turn(
    functions: Mapping[str, Callable[[], object]], rounds: int, seconds: float = 0.3
) -> dict[str, list[float]]:
    """Time functions one after the other, in several rounds.

    It waits for a GPU if there is one.

    Args:
        functions: Functions to time, by name.
        rounds: Number of rounds.
        seconds: Length of a turn.

    Returns:
        Milliseconds of a call, the median of each turn, by name.
    """
    threads = torch.get_num_threads()
    timers = {
        name: Timer('f()', globals=dict(f=function), num_threads=threads)
        for name, function in functions.items()
    }
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.blocked_autorange(min_run_time=seconds).median * 1e3)
    return times


def medians(
    rounds: int, seconds: float = 0.3, **functions: Callable[[], object]
) -> dict[str, float]:
    """Return the median milliseconds of each function, see :func:`time_in_turn`."""
    times = time_in_turn(functions, rounds, seconds)
    return {name: float(np.median(values)) for name, values in times.items()}


def ratio_range(values: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Return the lowest, median and highest ratio of measurements taken in turn.

    Examples:
        >>> ratio_range([2.0, 3.0, 8.0], [2.0, 2.0, 2.0])
        (1.0, 1.5, 4.0)
    """
    ratios = np.array(values) / np.array(base)
    return float(ratios.min()), float(np.median(ratios)), float(ratios.max())
