"""Searches a method's settings on the first seed, one setting after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cell import Run
from .records import RECORD, read_record


@dataclass(frozen=True)
class Search:
    """The search of one method.

    Attributes:
        name: Name of the method.
        searches: Settings and their values, in the order of the search.
        make_cell: Makes the run for given settings.
    """

    name: str
    searches: Sequence[tuple[str, tuple[Any, ...]]]
    make_cell: Callable[[Mapping[str, Any]], Run]

    @property
    def depth(self) -> int:
        """Number of consecutive searches; without any there is one trial."""
        return max(1, len(self.searches))

    def trials(self, place: int) -> list[Run]:
        """Return the trials of a setting, at the best values of those before it.

        Args:
            place: Position of the setting; the ones before it were searched already.
        """
        if not self.searches:
            return [self.make_cell({})]
        settings: dict[str, Any] = {}
        for earlier, (key, _) in enumerate(self.searches[:place]):
            done = [cell for cell in self.trials(earlier) if is_done(cell)]
            if done:
                settings[key] = max(done, key=found_f1).settings[key]
        key, values = self.searches[place]
        return [self.make_cell({**settings, key: value}) for value in values]

    def done(self) -> list[Run]:
        """Return the finished trials."""
        cells = [cell for place in range(self.depth) for cell in self.trials(place)]
        return [cell for cell in cells if is_done(cell)]

    def best(self) -> Run:
        """Return the trial whose settings all seeds use: the best of the last search.

        Raises:
            ValueError: If no trial is finished.
        """
        done = self.done()
        if not done:
            raise ValueError(f'{self.name}: no run of its search came to its end; see runs.log.')
        most = max(len(cell.settings) for cell in done)
        return max((cell for cell in done if len(cell.settings) == most), key=found_f1)

    def describe(self) -> list[dict[str, Any]]:
        """Return the settings and the validation F1_I of all trials."""
        return [dict(shorten_keys(cell.settings), F1_I=found_f1(cell)) for cell in self.done()]


def is_done(cell: Run) -> bool:
    """Return whether a run is finished."""
    return (cell.folder / RECORD).is_file()


def found_f1(cell: Run) -> float:
    """Return the validation F1_I of a finished run, percent."""
    return float(read_record(cell.folder)['f1_image'])


def name_settings(settings: Mapping[str, Any], folder: Path) -> Path:
    """Return the folder of a trial, such as ``lr_0.001``."""
    return folder / ('_'.join(describe_settings(settings)).replace(' ', '_') or 'as_configured')


def describe_settings(settings: Mapping[str, Any]) -> list[str]:
    """Format settings, such as ``'lr 0.001'``."""
    return [f'{name} {value}' for name, value in shorten_keys(settings).items()]


def shorten_keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Name settings by the last part of their keys.

    Examples:
        >>> shorten_keys({'optim_wrapper.optimizer.lr': 0.001})
        {'lr': 0.001}
    """
    return {key.rpartition('.')[2]: value for key, value in settings.items()}
