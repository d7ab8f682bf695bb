"""Runs independent checks one after the other within a time limit."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from ..utils.strict_json import dump_json
from .timing import Table

#: The possible results of a check.
PASSED, FAILED, BROKEN, SKIPPED = 'passed', 'FAILED', 'BROKEN', 'skipped'


class NotHere(Exception):  # noqa: N818  no error: the check has nothing to look at
    """A check cannot run on this machine; names what it needs."""


@dataclass
class Found:
    """The findings of a check.

    Attributes:
        holds: Whether the guarantee holds; None if the check only measures.
        text: A sentence or two.
        tables: The measurements.
    """

    holds: bool | None
    text: str
    tables: list[Table] = field(default_factory=list)


class Settings(NamedTuple):
    """The settings of checks.

    Attributes:
        device: ``'cuda'`` or ``'cpu'``.
        batches: Batch sizes N.
        labels: Numbers of labels C.
        cells: LSTM cells H.
        width: Embedding width M.
        rounds: Rounds of which medians are reported.
        seconds: Length of a round.
        depth: Layers of the ResNet.
        pixels: Side of an image.
        images: Images in a batch of the ResNet.
        updates: Training steps to check that training stays finite.
    """

    device: str = 'cuda'
    batches: tuple[int, ...] = (32, 128, 512)
    labels: tuple[int, ...] = (80, 1_000, 10_000)
    cells: int = 512
    width: int = 256
    rounds: int = 3
    seconds: float = 0.2
    depth: int = 101
    pixels: int = 448
    images: int = 32
    updates: int = 200

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith('cuda')

    def need_cuda(self) -> None:
        """Raise unless the device is a GPU.

        Raises:
            NotHere: If it is not.
        """
        if not self.is_cuda:
            raise NotHere('It needs CUDA.')


def make_settings(device: str, rounds: int, small: bool = False) -> Settings:
    """Return the settings for a device.

    Args:
        device: ``'cuda'`` or ``'cpu'``.
        rounds: Rounds of which medians are reported.
        small: Use tiny sizes, only to check that the checks run.
    """
    if not small:
        return Settings(device, rounds=rounds)
    return Settings(
        device,
        batches=(4,),
        labels=(7,),
        cells=8,
        width=6,
        rounds=1,
        seconds=0.01,
        depth=18,
        pixels=64,
        images=3,
        updates=30,
    )


Check = Callable[[Settings], Found]


def find_checks(places: Mapping[str, tuple[str, str]]) -> dict[str, Check]:
    """Return checks by name; each is imported when it runs.

    So a missing library affects only the check that needs it.

    Args:
        places: Module, in this package, and function of each.
    """
    return {name: partial(_import_and_check, *place) for name, place in places.items()}


def _import_and_check(module: str, function: str, settings: Settings) -> Found:
    check = getattr(import_module(f'{__package__}.{module}'), function)
    return check(settings)


@dataclass
class Result:
    """The result of a check: its name, status and time."""

    name: str
    status: str
    text: str
    tables: list[Table]
    seconds: float

    @property
    def is_bad(self) -> bool:
        """Whether a guarantee does not hold, or an error prevented the check."""
        return self.status in (FAILED, BROKEN)

    def to_markdown(self) -> str:
        """Lay it out as a section."""
        head = f'## {self.name}: {self.status} ({self.seconds:.0f} s)'
        parts = [head, '', self.text, '', *(table.to_markdown() for table in self.tables)]
        return '\n'.join(parts)


def run_checks(
    checks: Mapping[str, Check],
    settings: Settings,
    minutes: float,
    after_each: Callable[[Sequence[Result]], None],
) -> list[Result]:
    """Run checks until the time is over.

    Args:
        checks: By name, in their order.
        settings: The settings of the checks.
        minutes: Time after which no further check starts.
        after_each: Called with all results so far, so that an external stop loses none.

    Returns:
        One result per check.
    """
    end = time.monotonic() + 60 * minutes
    results: list[Result] = []
    for name, check in checks.items():
        if time.monotonic() < end:
            results.append(run_check(name, check, settings))
        else:
            text = f'The {minutes:g} minutes were over: --only {name} makes it alone.'
            results.append(Result(name, SKIPPED, text, [], 0.0))
        after_each(results)
    return results


def run_check(name: str, check: Check, settings: Settings) -> Result:
    """Run one check; an exception becomes its result."""
    start = time.monotonic()
    try:
        found = check(settings)
        status = FAILED if found.holds is False else PASSED
        text, tables = found.text, found.tables
    except NotHere as reason:
        status, text, tables = SKIPPED, str(reason), []
    except Exception as error:
        trace = ''.join(traceback.format_exception(error))
        status, text, tables = BROKEN, f'{type(error).__name__}: {error}\n\n```\n{trace}```', []
    return Result(name, status, text, tables, time.monotonic() - start)


def write_report(folder: Path, machine: str, results: Sequence[Result]) -> None:
    """Write ``gpu_check.md`` and ``gpu_check.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'gpu_check.md').write_text(to_markdown(machine, results), encoding='utf-8')
    rows = [asdict(result) | dict(tables=_as_dicts(result)) for result in results]
    text = dump_json(dict(machine=machine, checks=rows), indent=1)
    (folder / 'gpu_check.json').write_text(f'{text}\n', encoding='utf-8')


def _as_dicts(result: Result) -> list[dict]:
    return [dict(table._asdict()) for table in result.tables]


def to_markdown(machine: str, results: Sequence[Result]) -> str:
    """Lay out a report: the machine, one line per check, then each check."""
    lines = [f'- {result.name}: {result.status}' for result in results]
    sections = [result.to_markdown() for result in results]
    return '\n'.join(['# Check of a GPU', '', machine, '', *lines, '', *sections])
