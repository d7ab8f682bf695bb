"""The paper's table at the end of a test."""

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from rich.console import Console
from rich.table import Table

COLUMNS = {
    'P_L': 'per-label/precision',
    'R_L': 'per-label/recall',
    'F1_L': 'per-label/f1-score',
    'P_I': 'per-image/precision',
    'R_I': 'per-image/recall',
    'F1_I': 'per-image/f1-score',
    'top-1': 'one-step/top-1',
}


@HOOKS.register_module()
class PaperTableHook(Hook):
    """Prints the columns of the paper's Tables 1 and 4 after a test, in percent.

    Args:
        rows: Title of each row to the prefix of its metrics' keys, ``''`` for none. A row of which
            nothing was computed is left out.
    """

    priority = 'LOW'

    def __init__(self, rows: Mapping[str, str]) -> None:
        self.rows = dict(rows)

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Print the table to the log, where it also stays in the log file."""
        metrics = metrics or {}
        rows = {
            title: prefix
            for title, prefix in self.rows.items()
            if any(prefix + key in metrics for key in COLUMNS.values())
        }
        if rows:
            runner.logger.info(
                'Results on the test set, in percent:\n' + format_table(rows, metrics)
            )


def format_table(rows: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    """Lay out the table as text; a figure that was not computed shows as a dash.

    Args:
        rows: Title of each row to the prefix of its metrics' keys.
        metrics: What the evaluator gave.

    Examples:
        >>> table = format_table({'CNN': 'cnn/'}, {'cnn/per-label/f1-score': 58.9})
        >>> table.splitlines()[-1].split()
        ['CNN', '-', '-', '58.90', '-', '-', '-', '-']
    """
    table = Table(box=None)
    table.add_column('')
    for column in COLUMNS:
        table.add_column(column, justify='right')
    for title, prefix in rows.items():
        values = [metrics.get(prefix + key) for key in COLUMNS.values()]
        table.add_row(title, *('-' if value is None else f'{value:.2f}' for value in values))
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
