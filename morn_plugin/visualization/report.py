"""Builds one self-contained HTML page about a tested model, which makes no requests."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.columns import METRIC_KEYS
from .cards import CARD_STYLE
from .panels import EXTRA, MISSED, RIGHT

Cell = str | float | int | None
MANY = 100  # images with a label; with so many, labels are spread by a logarithm

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1200px;
  padding: 0 16px 48px; }
h1 { font-size: 1.6em; margin-bottom: 0; }
h2 { margin-top: 2em; font-size: 1.2em; }
.note { opacity: .75; margin-top: .2em; }
.wide { overflow-x: auto; }
.two { display: flex; flex-wrap: wrap; gap: 12px 48px; }
.two > div { max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
tbody tr:hover { background: var(--soft); }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: ' \\25b2'; }
th[aria-sort=descending] button::after { content: ' \\25bc'; }
img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
@media (max-width: 640px) {
  table { font-size: 12px; }
  th, td { padding: 3px 4px; white-space: normal; }
  td.text { min-width: 5.5em; overflow-wrap: anywhere; }
}
"""

SCRIPT = """
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') !== 'descending'
      && (column > 0 || head.hasAttribute('aria-sort'));
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const number = row => value(row) === '' ? -Infinity : Number(value(row));
    const compare = column ? (a, b) => number(a) - number(b)
      : (a, b) => value(a).localeCompare(value(b));
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b)));
  }));
}
"""

# The browser then refuses everything that is not in the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def make_page(
    title: str,
    note: str,
    sections: Iterable[tuple[str, str]],
) -> str:
    """Build a page.

    Args:
        title: Plain text.
        note: Plain text below it.
        sections: Heading (plain text) and content (HTML) of each.
    """
    parts = [f'<section><h2>{escape(name)}</h2>{content}</section>' for name, content in sections]
    head = (
        f'<meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{STYLE}{CARD_STYLE}</style>'
    )
    top = f'<h1>{escape(title)}</h1><p class="note">{escape(note)}</p>'
    body = f'{top}{"".join(parts)}<script>{SCRIPT}</script>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def make_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    sortable: bool = False,
    note: str = '',
) -> str:
    """Lay out a table.

    Args:
        columns: Headings.
        rows: Cells; numbers are written with one decimal, integers whole, None and NaN as a dash.
        sortable: Let a click on a heading sort.
        note: Plain text above.
    """
    lines = list(rows)
    first = lines[0] if lines else [None] * len(columns)
    kinds = ['text' if isinstance(cell, str) else '' for cell in first]
    heads = [
        f'<th scope="col" class="{kind}">{_heading(name, sortable)}</th>'
        for name, kind in zip(columns, kinds, strict=True)
    ]
    body = ''.join(f'<tr>{"".join(map(_cell, row))}</tr>' for row in lines)
    kind = ' class="sortable"' if sortable else ''
    head = f'<thead><tr>{"".join(heads)}</tr></thead>'
    table = f'<table{kind}>{head}<tbody>{body}</tbody></table>'
    return f'{make_note(note)}<div class="wide">{table}</div>'


def _heading(name: str, sortable: bool) -> str:
    return f'<button>{escape(name)}</button>' if sortable else escape(name)


def make_note(text: str) -> str:
    """Return a paragraph of plain text, or nothing without text."""
    return f'<p class="note">{escape(text)}</p>' if text else ''


def embed_figure(figure: Figure, description: str) -> str:
    """Embed a figure in the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return embed_png(buffer.getvalue(), description)


def embed_png(content: bytes, description: str) -> str:
    """Embed the bytes of a PNG file in the page."""
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'


def place_beside(parts: Iterable[str]) -> str:
    """Put parts of HTML side by side, or below each other where the screen is narrow."""
    return f'<div class="two">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def draw_losses(log: Sequence[dict[str, Any]]) -> Figure:
    """Draw the losses by step.

    Args:
        log: The lines of MMEngine's ``scalars.json``.
    """
    figure, axes = _make_figure()
    _draw_losses(log, axes)
    axes.set(xlabel='iteration', title='Training losses')
    _add_legend(axes)
    return figure


def draw_validations(log: Sequence[dict[str, Any]]) -> Figure:
    """Draw the F1s of the validations by epoch.

    Args:
        log: The lines of MMEngine's ``scalars.json``.
    """
    figure, axes = _make_figure()
    for prefix, dashes in (('', '-'), ('cnn/', ':')):
        _draw_validation(log, prefix, 'F1_L', axes, RIGHT, 'o', dashes)
        _draw_validation(log, prefix, 'F1_I', axes, EXTRA, 's', dashes)

    axes.set(xlabel='epoch', title='Validation, percent')
    _add_legend(axes)
    return figure


def _make_figure() -> tuple[Figure, Axes]:
    """Make a figure of which two fit beside each other."""
    figure = Figure(figsize=(5, 3.4), dpi=110, layout='constrained')
    return figure, figure.subplots()


def _add_legend(axes: Axes) -> None:
    if axes.has_data():
        axes.legend()
        axes.grid(alpha=0.3)


def _draw_losses(log: Sequence[dict[str, Any]], axes: Axes) -> None:
    names = sorted({key for line in log for key in line if key.startswith('loss')})
    curves = {name: _find_points(log, name) for name in names}
    for name, points in curves.items():
        only_part = list(curves.values()).count(points) > 1
        if name == 'loss' and only_part:  # the sum of one part would cover it
            continue
        axes.plot(*zip(*points, strict=True), label=name)


def _draw_validation(
    log: Sequence[dict[str, Any]],
    prefix: str,
    column: str,
    axes: Axes,
    colour: str,
    mark: str,
    dashes: str,
) -> None:
    key = prefix + METRIC_KEYS[column]
    points = _find_points([line for line in log if 'loss' not in line], key)
    if points:
        label = f'CNN {column}' if prefix else column
        style: dict[str, Any] = dict(color=colour, marker=mark, linestyle=dashes)
        axes.plot(*zip(*points, strict=True), label=label, **style)


def _find_points(log: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(line['step'], line[name]) for line in log if name in line]


def draw_supports(support: np.ndarray, f1: np.ndarray) -> Figure:
    """Draw each label's F1 (C,) over its number of images (C,)."""
    figure, axes = _make_figure()
    axes.scatter(support, np.nan_to_num(f1), color=RIGHT, edgecolors='white')
    axes.set(
        xlabel='images with the label',
        ylabel='F1, percent',
        ylim=(-4, 104),
        title='Frequent and rare labels',
    )
    if support.max() >= MANY:
        axes.set_xscale('symlog', linthresh=10)
    axes.xaxis.set_major_formatter('{x:,.0f}')
    axes.grid(alpha=0.3)
    axes.axhline(np.nan_to_num(f1).mean(), color=MISSED, label='mean of the labels')
    axes.legend()
    return figure


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return f'<td class="text">{escape(value)}</td>'
    if value is None or not np.isfinite(value):
        return '<td data-value="">-</td>'
    text = f'{value:d}' if isinstance(value, (int, np.integer)) else f'{value:.1f}'
    return f'<td data-value="{float(value)!r}">{text}</td>'
