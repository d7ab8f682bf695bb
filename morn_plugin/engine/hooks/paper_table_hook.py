"""Prints the paper's table and the field's table at the end of a test."""

import math
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from rich.console import Console
from rich.table import Table

from ...evaluation.columns import (
    METRIC_KEYS,
    OTHER_NAMES,
    OVERALL_COLUMNS,
    PAPER_COLUMNS,
    PER_LABEL_COLUMNS,
)
from ..kept_thresholds import CNN

COLUMNS = {name: METRIC_KEYS[name] for name in (*PAPER_COLUMNS, 'top-1')}
#: The columns of other papers, under their names.
FIELD_COLUMNS = {
    'mAP': METRIC_KEYS['mAP'],
    **{OTHER_NAMES[name]: METRIC_KEYS[name] for name in PER_LABEL_COLUMNS},
    **{name: METRIC_KEYS[name] for name in (*OVERALL_COLUMNS, 'N+')},
}
LEGEND = (
    'P, R, F1: means over labels (_L, or C), means over images (_I), all decisions together (O); '
    'F1 is the\nharmonic mean of P and R; an undefined ratio counts as 0. top-1: the best label '
    'after one step. N+: labels\nwith a recall above 0. More in docs/metrics.md.'
)


@HOOKS.register_module()
class PaperTableHook(Hook):
    """Prints the figures of a test in percent: like the paper's Tables 1 and 4, then like others.

    Args:
        rows: Title of each row to the prefix of its metrics' keys, ``''`` for none. Rows without a
            computed figure are left out. Defaults to None: the best constant answer, the CNN, the
            model under the name of its method, and the CNN at a threshold that was chosen in
            validation (see :class:`CalibratedF1`).
    """

    priority = 'LOW'

    def __init__(self, rows: Mapping[str, str] | None = None) -> None:
        self.rows = None if rows is None else dict(rows)

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Print the tables to the screen and the log file."""
        metrics = metrics or {}
        rows = self.rows

        if rows is None:
            method = method_title(getattr(runner, 'model', None))
            rows = {
                'Best constant answer': 'constant/',
                'CNN': 'cnn/',
                method: '',
                'CNN, calibrated': f'{CNN}/',
            }

        tables = [
            format_table(shown, metrics, columns)
            for columns in (COLUMNS, FIELD_COLUMNS)
            if (shown := _rows_with_figures(rows, metrics, columns))
        ]
        if tables:
            runner.logger.info('\n'.join(['Results on the test set, in percent:', *tables, LEGEND]))


def method_title(model: Any, rows: Mapping[str, str] | None = None) -> str:
    """Return a model's name in tables.

    Args:
        model: Any classifier, perhaps wrapped.
        rows: Those of a config's :class:`PaperTableHook`, if it has any.

    Returns:
        ``'Model'`` without a label decoder; else the title of the row without a prefix, or the
        decoder's ``display_name``, or the name of its class.
    """
    while hasattr(model, 'module'):  # of test-time augmentation, or of several processes
        model = model.module
    decoder = getattr(getattr(model, 'head', None), 'decoder', None)
    if decoder is None:
        return 'Model'

    for title, prefix in (rows or {}).items():
        if prefix == '':
            return title
    return getattr(decoder, 'display_name', None) or type(decoder).__name__


def format_table(
    rows: Mapping[str, str],
    metrics: Mapping[str, float],
    columns: Mapping[str, str] = COLUMNS,
) -> str:
    """Format the table as text; a figure that is missing or not a number shows as a dash.

    Args:
        rows: Title of each row to the prefix of its metrics' keys.
        metrics: The evaluator's figures.
        columns: Title of each column to its metric's key.

    Examples:
        >>> table = format_table({'CNN': 'cnn/'}, {'cnn/per-label/f1-score': 58.9})
        >>> table.splitlines()[-1].split()
        ['CNN', '-', '-', '58.90', '-', '-', '-', '-']
    """
    table = Table(box=None)
    table.add_column('')
    for column in columns:
        table.add_column(column, justify='right')

    for title, prefix in rows.items():
        cells = [_format_figure(name, metrics.get(prefix + key)) for name, key in columns.items()]
        table.add_row(title, *cells)

    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def _format_figure(name: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return '-'
    return f'{value:.0f}' if name == 'N+' else f'{value:.2f}'


def _rows_with_figures(
    rows: Mapping[str, str],
    metrics: Mapping[str, float],
    columns: Mapping[str, str],
) -> dict[str, str]:
    """Keep the rows that have a computed figure."""

    def has_figure(prefix: str) -> bool:
        return any(prefix + key in metrics for key in columns.values())

    return {title: prefix for title, prefix in rows.items() if has_figure(prefix)}
