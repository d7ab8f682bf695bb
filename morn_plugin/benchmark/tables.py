"""Formats the tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.columns import ALL_COLUMNS, OTHER_NAMES
from ..utils.markdown import markdown_table, table_row
from .claims import format_p
from .figures import CALIBRATED, EXACT, HALF, NATIVE, Row
from .statistics import COMPARED, Comparison

HABITS = {
    'empty': 'without a label, %',
    'labels': 'labels an image',
    'distinct': 'different labels of a path',
    'repeats': 'steps that repeat, %',
}
MISSING = '-'


def mean_sd(values: np.ndarray, digits: int = 2) -> str:
    """Format mean and sample standard deviation; a single value stands alone.

    Examples:
        >>> mean_sd(np.array([1.0, 2.0, 3.0])), mean_sd(np.array([2.0]))
        ('2.00 ± 1.00', '2.00')
    """
    if not len(values) or np.isnan(values).any():
        return MISSING
    if len(values) == 1:
        return f'{values[0]:.{digits}f}'
    return f'{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}'


def figures_table(rows: Mapping[str, Row], decision: str) -> str:
    """Format the columns of every method that has a decision."""
    header = ['', 'sees', *(['threshold'] if decision == CALIBRATED else [])]
    header += map(_title_of_column, ALL_COLUMNS)

    lines = []
    for row in rows.values():
        if decision not in row.figures:
            continue
        line = [title_of(row, decision), row.tier]
        if decision == CALIBRATED:
            line.append(mean_sd(row.thresholds))
        digits = [1 if name == 'N+' else 2 for name in ALL_COLUMNS]
        line += map(mean_sd, row.figures[decision].T, digits)
        lines.append(line)
    return markdown_table(header, lines)


def _title_of_column(name: str) -> str:
    return f'{name} = {OTHER_NAMES[name]}' if name in OTHER_NAMES else name


def title_of(row: Row, decision: str = NATIVE) -> str:
    """Return a method's title, with a remark for the reader where needed."""
    notes = [f'{row.views} views'] if row.views > 1 else []
    if decision == HALF and not row.has_probability:
        notes.append('after a score map')
    return f'{row.title} ({", ".join(notes)})' if notes else row.title


def differences_table(
    comparisons: Sequence[Comparison], rows: Mapping[str, Row], columns: Sequence[str] = COMPARED
) -> str:
    """Format the differences to the reference, one line for each method.

    A cell holds the difference, its 95 % intervals over seeds and over test images, and the
    corrected p-value; the difference is bold if the method is above or below.

    Args:
        comparisons: Comparisons of one decision and one reference.
        rows: All methods.
        columns: The columns to show.
    """
    found = {(item.method, item.column): item for item in comparisons}
    methods = dict.fromkeys(item.method for item in comparisons)
    lines = []
    for name in methods:
        cells = [_difference_cell(found[name, column]) for column in columns]
        lines.append([rows[name].title, *cells])
    return markdown_table(['', *columns], lines)


def _difference_cell(item: Comparison) -> str:
    seeds = item.seeds
    if np.isnan(seeds.difference):
        return MISSING
    change = f'{seeds.difference:+.2f}'
    parts = [f'**{change}**' if item.verdict != 'open' else change]
    if seeds.num_seeds > 1:
        parts.append(f'[{seeds.low:+.2f}, {seeds.high:+.2f}]')
    if not np.isnan(item.image_low):
        parts.append(f'[{item.image_low:+.2f}, {item.image_high:+.2f}]')
    parts.append(f'p {format_p(item.p_holm)}' if seeds.num_seeds > 1 else 'one seed')
    return ' '.join(parts)


def exact_table(rows: Mapping[str, Row], topk: int, bound: Mapping[str, float]) -> str:
    """Format the figures of exactly k labels per image, and below them their upper bounds.

    Args:
        rows: Methods.
        topk: k.
        bound: Column to its bound, see :func:`morn_plugin.evaluation.functional.topk_bound`.
    """
    limits = [f'{bound[name]:.2f}' if name in bound else '' for name in ALL_COLUMNS]
    last = table_row([f'the most that {topk} labels allow', '', *limits])
    return f'{figures_table(rows, EXACT)}\n{last}'


def search_table(rows: Mapping[str, Row], trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Format the trials that settings were chosen from.

    Args:
        rows: Methods.
        trials: Method to its trials: the settings of each, and its ``F1_I`` on validation.
    """
    lines = []
    for name, row in rows.items():
        own = trials.get(name, [])
        best = max((trial['F1_I'] for trial in own), default=None)
        cells = []
        for trial in own:
            settings = {key: value for key, value in trial.items() if key != 'F1_I'}
            text = f'{describe_settings(settings)}: {trial["F1_I"]:.2f}'
            cells.append(f'**{text}**' if trial['F1_I'] == best else text)
        if cells:
            lines.append([row.title, '; '.join(cells)])
    return markdown_table(['', 'settings: F1_I on validation'], lines)


def describe_settings(settings: Mapping[str, object]) -> str:
    """Format settings briefly.

    Examples:
        >>> describe_settings(dict(lr=0.001, k=3))
        'lr 0.001, k 3'
    """
    return ', '.join(
        f'{name} {value:g}' if isinstance(value, float) else f'{name} {value}'
        for name, value in settings.items()
    )


def habits_table(rows: Mapping[str, Row]) -> str:
    """Format the habits of the methods' predictions, and the cost of a run."""
    lines = []
    for row in rows.values():
        means = [_mean(row.habits[name]) for name in HABITS]
        lines.append([row.title, *means, f'{row.seconds / 60:.1f}'])
    return markdown_table(['', *HABITS.values(), 'minutes a run'], lines)


def _mean(values: np.ndarray) -> str:
    return MISSING if np.isnan(values).any() else f'{values.mean():.2f}'
