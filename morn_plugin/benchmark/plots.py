"""Draws the pictures of a benchmark from its figures alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from .figures import CALIBRATED, NATIVE, Row

MARKERS = 'osD^vP*X<>pd'
LEGEND_COLUMNS = 3
# Colour, marker and name of each drawn decision.
STYLES = {
    NATIVE: ('#0072B2', 'o', 'their own decision'),
    CALIBRATED: ('#D55E00', 's', 'threshold chosen on validation'),
}


def draw_methods(rows: Mapping[str, Row], path: str | Path, title: str) -> None:
    """Draw the mean and standard deviation over seeds of F1_L and F1_I of every method."""
    figure = Figure(figsize=(9, 1.2 + 0.3 * len(rows)), dpi=110, layout='constrained')
    for axis, column in zip(figure.subplots(1, 2, sharey=True), ('F1_L', 'F1_I'), strict=True):
        _draw_column(axis, rows, column)
    figure.axes[0].set_yticks(range(len(rows)), [row.title for row in rows.values()], fontsize=8)
    figure.axes[0].set_ylim(len(rows) - 0.5, -0.5)  # the first method on top
    handles, labels = figure.axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(labels), fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def _draw_column(axis: Axes, rows: Mapping[str, Row], column: str) -> None:
    for offset, (decision, style) in zip((-0.12, 0.12), STYLES.items(), strict=True):
        colour, marker, label = style
        places = [place for place, row in enumerate(rows.values()) if decision in row.figures]
        values = [row.column(decision, column) for row in rows.values() if decision in row.figures]
        spread = [part.std(ddof=1) if len(part) > 1 else 0.0 for part in values]
        axis.errorbar(
            [part.mean() for part in values],
            np.array(places) + offset,
            xerr=spread,
            linestyle='none',
            capsize=2,
            markersize=4,
            color=colour,
            marker=marker,
            label=label,
        )
    axis.set_xlabel(f'{column}, percent')
    axis.grid(axis='x', alpha=0.3)


def draw_frequency(
    per_label: Mapping[str, np.ndarray],
    counts: Sequence[int],
    path: str | Path,
    title: str,
    num_groups: int = 6,
) -> None:
    """Draw the F1 of labels against their frequency in the training set.

    Args:
        per_label: Title of a method to the F1 of each label (C,), percent.
        counts: Number of training images with each label (C,).
        path: The picture file.
        title: The heading of the picture.
        num_groups: Number of points; each is the mean of an equal number of labels.
    """
    number = np.asarray(counts)
    parts = np.array_split(np.argsort(number, kind='stable'), min(num_groups, len(number)))
    figure = Figure(figsize=(8, 4.2), dpi=110, layout='constrained')
    axis = figure.subplots()
    for place, (name, values) in enumerate(per_label.items()):
        axis.plot(
            [number[part].mean() for part in parts],
            [values[part].mean() for part in parts],
            color=f'C{place % 10}',
            marker=MARKERS[place % len(MARKERS)],
            label=name,
        )
    axis.set_xscale('symlog', linthresh=1, subs=[2, 5])
    for which in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        which(ScalarFormatter())
    axis.set_xlabel('training images that have the label')
    axis.set_ylabel('F1 of the label on the test side, percent')
    axis.set_title(title, fontsize=9)
    axis.legend(fontsize=7)
    figure.savefig(path)


def draw_cost(rows: Mapping[str, Row], path: str | Path, title: str) -> None:
    """Draw F1_I, with a calibrated threshold if there is one, against the minutes of a run.

    Rows of unknown cost are left out.
    """
    timed = [row for row in rows.values() if row.seconds > 0]
    lines = math.ceil(len(timed) / LEGEND_COLUMNS)
    figure = Figure(figsize=(8, 4 + 0.2 * lines), dpi=110, layout='constrained')
    axis = figure.subplots()
    for place, row in enumerate(timed):
        decision = CALIBRATED if CALIBRATED in row.figures else NATIVE
        axis.plot(
            row.seconds / 60,
            row.column(decision, 'F1_I').mean(),
            color=f'C{place % 10}',
            marker=MARKERS[place % len(MARKERS)],
            linestyle='none',
            label=row.title,
        )
    axis.set_xlabel('minutes a run')
    axis.set_ylabel('F1_I, percent')
    axis.set_title(title, fontsize=9)
    if timed:
        axis.set_xscale('log')
        axis.xaxis.set_major_locator(LogLocator(subs=[1, 2, 5]))
        axis.xaxis.set_major_formatter('{x:g}')
        axis.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc='outside lower center', ncols=LEGEND_COLUMNS, fontsize=7)
    figure.savefig(path)
