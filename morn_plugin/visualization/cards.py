"""Predictions as HTML: image, labels and steps, stacked on a narrow screen."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from .fonts import make_readable
from .panels import (
    EXTRA,
    KINDS,
    MAX_LINES,
    MISSED,
    RIGHT,
    TOP_LABELS,
    Prediction,
    kept_by_max_pooling,
    shrink,
    sort_labels,
)

SIDE = 360  # pixels of an image on a page

# Text cells wrap anywhere, so a table is never wider than a phone.
CARD_STYLE = f"""
.card {{ display: flex; flex-wrap: wrap; gap: 12px 24px; padding: 12px 0;
  border-bottom: 1px solid #8885; }}
.card figure {{ flex: 0 1 200px; margin: 0; }}
.card figcaption {{ font-size: 12px; overflow-wrap: anywhere; opacity: .75; }}
.card img {{ max-width: 100%; height: auto; min-width: 0; background: white; }}
.card ul {{ flex: 1 1 180px; margin: 0; padding: 0; list-style: none; font-size: 14px; }}
.card li {{ display: inline-block; margin: 0 14px 2px 0; overflow-wrap: anywhere; }}
.card li.right {{ color: {RIGHT}; }} .card li.missed {{ color: {MISSED}; }}
.card li.extra {{ color: {EXTRA}; }}
.card .steps {{ flex: 3 1 420px; min-width: 0; font-size: 12px; }}
.card table {{ width: 100%; table-layout: fixed; border-collapse: separate; border-spacing: 2px; }}
.card td, .card th {{ padding: 3px; border: 0; text-align: center; white-space: normal;
  overflow-wrap: anywhere; }}
.card th {{ width: 2.6em; font-weight: normal; text-align: right; }}
.card td {{ background: rgb(0 114 178 / calc(var(--score) * .75)); }}
.card p {{ margin: 4px 0 0; overflow-wrap: anywhere; }}
@media (max-width: 640px) {{ .card .steps {{ flex-basis: 100%; font-size: 11px; }} }}
@media (prefers-color-scheme: dark) {{ .card li.right {{ color: #56B4E9; }} }}
"""
LEGEND = '✓ right   ○ missed   ✗ extra'
STEP_LEGEND = '   ★ score kept by max-pooling'


def make_card(item: Prediction, classes: Sequence[str]) -> str:
    """Lay out one image: itself, its labels, and a table of its steps.

    Args:
        item: The prediction to show; its image is shrunk.
        classes: Names of the C labels.
    """
    title = make_readable(item.title)
    image = (
        f'<figure><img alt="{escape(title)}" src="{encode_image(item.image)}">'
        f'<figcaption>{escape(title)}</figcaption></figure>'
    )
    return (
        f'<div class="card">{image}{_make_labels(item, classes)}{_make_steps(item, classes)}</div>'
    )


def encode_image(image: np.ndarray, side: int = SIDE) -> str:
    """Shrink an image (H, W, 3) uint8 and encode it as a ``data:`` address."""
    buffer = io.BytesIO()
    Image.fromarray(shrink(image, side)).save(buffer, 'PNG')
    return f'data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'


def _make_labels(item: Prediction, classes: Sequence[str]) -> str:
    kind_of = {mark: kind for kind, _, mark in KINDS}
    lines = []
    for label, _, mark in sort_labels(item):
        text = f'{mark} {make_readable(classes[label])} {item.scores[label]:.2f}'
        lines.append(f'<li class="{kind_of.get(mark, "")}">{escape(text)}</li>')

    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f'<li>… and {len(lines) - MAX_LINES} more</li>']
    return f'<ul>{"".join(lines) or "<li>nothing predicted</li>"}</ul>'


def _make_steps(item: Prediction, classes: Sequence[str]) -> str:
    if item.step_scores is None:
        return ''

    kept = kept_by_max_pooling(item.step_scores, item.predicted)
    rows = []
    for step, scores in enumerate(item.step_scores):
        best = np.argsort(-scores, kind='stable')[:TOP_LABELS]
        cells = [_make_cell(classes[label], scores[label], kept[step, label]) for label in best]
        rows.append(f'<tr><th scope="row">t={step + 1}</th>{"".join(cells)}</tr>')

    path = '' if item.path is None else _make_path(item.path, classes)
    return f'<div class="steps"><table><tbody>{"".join(rows)}</tbody></table>{path}</div>'


def _make_cell(name: str, score: float, kept: bool) -> str:
    text = f'{escape(make_readable(name))}<br>{score:.2f}'
    text = f'<b>{text} ★</b>' if kept else text
    return f'<td style="--score:{score:.3f}">{text}</td>'


def _make_path(path: Sequence[int] | np.ndarray, classes: Sequence[str]) -> str:
    names = [escape(make_readable(classes[label])) for label in path]
    return f'<p>path: {" → ".join(names)}</p>'
