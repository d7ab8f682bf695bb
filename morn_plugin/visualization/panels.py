"""Pictures of predictions: image, labels, and the steps as in the paper's Fig. 3.

The colours are those of Okabe and Ito, which colour-blind readers can distinguish; shapes and words
repeat the information.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.table import Table
from matplotlib.transforms import Bbox
from PIL import Image

from ..deploy.labels import cut_at_end
from .fonts import Fonts, choose_fonts

RIGHT = '#0072B2'
MISSED = '#E69F00'
EXTRA = '#D55E00'
KINDS = (('right', RIGHT, '✓'), ('missed', MISSED, '○'), ('extra', EXTRA, '✗'))
SIGNS = '✓○✗★•…→'
TOP_LABELS = 5
STEP_HEIGHT = 0.4  # inches
MAX_LINES = 40  # labels written beside an image
MAX_SIDE = 600  # pixels of an image that can be told apart in print
WIDTHS = (2.2, 2.4, 7.4)  # inches: image, labels, steps
MARGIN = 0.1  # inches, in place of the steps where no image has them
# Points: a name beside mark and score, in a cell, below the image, in the path.
NAME_ROOM = 110
CELL_ROOM = 84
TITLE_ROOM = 145
PATH_ROOM = 70
# points
NAME_SIZE = 10
CELL_SIZE = 8.5
TITLE_SIZE = 7


@dataclass
class Prediction:
    """The drawn data of one image.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        title: Usually the file's name.
        true: Indices of the true labels; None if they are unknown.
        predicted: Indices of the predicted labels.
        step_scores: (T, C), 0-1; None for a model without steps.
        scores: (C,), 0-1.
        path: (T,), the label picked at each step, -1 after the end of a sequence; None for a model
            without steps.
    """

    image: np.ndarray
    title: str
    true: Sequence[int] | None
    predicted: Sequence[int]
    scores: np.ndarray
    step_scores: np.ndarray | None = None
    path: Sequence[int] | np.ndarray | None = None

    def __post_init__(self) -> None:
        path = None if self.path is None else np.asarray(self.path)
        self.path, self.step_scores = cut_at_end(path, self.step_scores)


def draw_predictions(
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    path: str | Path | IO[bytes],
    heading: str = '',
) -> None:
    """Draw one row per image into a picture file: image, labels, steps.

    Args:
        predictions: At least one.
        classes: Names of the C labels.
        path: Output file; its ending determines the format. An open file gets PNG.
        heading: A line on top.
    """
    figure = _make_figure(predictions, classes, heading)
    if isinstance(path, (str, Path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def render_predictions(
    predictions: Sequence[Prediction], classes: Sequence[str], heading: str = ''
) -> np.ndarray:
    """Draw like :func:`draw_predictions` into an array (H, W, 3) uint8, RGB."""
    canvas = FigureCanvasAgg(_make_figure(predictions, classes, heading))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _make_figure(
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    heading: str,
) -> Figure:
    fonts = choose_fonts([*classes, heading, *(item.title for item in predictions), SIGNS])

    height = _row_height(predictions)
    has_steps = any(item.step_scores is not None for item in predictions)
    widths = WIDTHS if has_steps else (*WIDTHS[:2], MARGIN)
    size = (sum(widths), height * len(predictions) + 0.7)

    figure = Figure(figsize=size, dpi=110, layout='constrained')
    axes = figure.subplots(len(predictions), 3, squeeze=False, width_ratios=widths)

    for row, item in zip(axes, predictions, strict=True):
        _draw_image(row[0], item, fonts)
        _draw_labels(row[1], item, classes, fonts)
        _draw_steps(row[2], item, classes, height, fonts)

    title = '\n'.join(filter(None, (fonts.clean(heading), _make_legend(predictions))))
    figure.suptitle(title, fontsize=10, parse_math=False, fontfamily=fonts.families)
    return figure


def _row_height(predictions: Sequence[Prediction]) -> float:
    """Return the height of a row, in inches: room for its steps and for its labels."""
    steps = max(1 if item.step_scores is None else len(item.step_scores) for item in predictions)
    lines = max(min(_count_lines(item), MAX_LINES + 1) for item in predictions)
    return max(2.3, STEP_HEIGHT * (steps + 1), 0.22 * (lines + 2))


def _make_legend(predictions: Sequence[Prediction]) -> str:
    parts = []
    if any(item.true is not None for item in predictions):
        parts += [f'{mark} {kind}' for kind, _, mark in KINDS]
    if any(item.step_scores is not None for item in predictions):
        parts.append('★ score kept by max-pooling')
    return '    '.join(parts)


def split_labels(true: Sequence[int], predicted: Sequence[int]) -> dict[str, list[int]]:
    """Sort labels into right, missed and extra.

    Examples:
        >>> split_labels([1, 2], [2, 3])
        {'right': [2], 'missed': [1], 'extra': [3]}
    """
    truth = set(true)
    guess = set(predicted)
    return dict(
        right=sorted(truth & guess),
        missed=sorted(truth - guess),
        extra=sorted(guess - truth),
    )


def kept_by_max_pooling(step_scores: np.ndarray, predicted: Sequence[int]) -> np.ndarray:
    """Mark, for every predicted label, the first step at which its score is highest.

    Returns:
        Boolean (T, C).
    """
    labels = list(predicted)
    steps = step_scores[:, labels].argmax(axis=0)

    kept = np.zeros(step_scores.shape, dtype=bool)
    kept[steps, labels] = True
    return kept


def _count_lines(item: Prediction) -> int:
    return len(set(item.true or ()) | set(item.predicted))


def _draw_image(axes: Axes, item: Prediction, fonts: Fonts) -> None:
    axes.imshow(shrink(item.image))
    axes.set_anchor('N')
    axes.set_xticks([])
    axes.set_yticks([])

    title = fonts.shorten(item.title, TITLE_ROOM, TITLE_SIZE)
    axes.set_xlabel(title, fontsize=TITLE_SIZE, parse_math=False, fontfamily=fonts.families)


def _draw_labels(
    axes: Axes,
    item: Prediction,
    classes: Sequence[str],
    fonts: Fonts,
) -> None:
    axes.axis('off')
    lines = []
    for label, colour, mark in sort_labels(item):
        name = fonts.shorten(classes[label], NAME_ROOM, NAME_SIZE)
        lines.append((f'{mark} {name}  {item.scores[label]:.2f}', colour))

    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [(f'… and {len(lines) - MAX_LINES} more', 'grey')]
    if not lines:
        lines = [('nothing predicted', 'grey')]

    for number, (text, colour) in enumerate(lines):
        axes.text(
            0,
            1 - (number + 0.5) / max(len(lines), 7),
            text,
            color=colour,
            va='center',
            fontsize=NAME_SIZE,
            fontfamily=fonts.families,
            parse_math=False,
            transform=axes.transAxes,
        )


def sort_labels(item: Prediction) -> list[tuple[int, str, str]]:
    """Return label, colour and mark of the text next to an image, from top to bottom."""
    if item.true is None:
        best_first = sorted(item.predicted, key=lambda label: -item.scores[label])
        return [(label, 'black', '•') for label in best_first]

    kinds = split_labels(item.true, item.predicted)
    return [(label, colour, mark) for kind, colour, mark in KINDS for label in kinds[kind]]


def _draw_steps(
    axes: Axes,
    item: Prediction,
    classes: Sequence[str],
    height: float,
    fonts: Fonts,
) -> None:
    axes.axis('off')
    if item.step_scores is None:
        return

    tall = min(1.0, STEP_HEIGHT * len(item.step_scores) / (height - STEP_HEIGHT))
    kept = kept_by_max_pooling(item.step_scores, item.predicted)
    best = np.argsort(-item.step_scores, axis=1, kind='stable')[:, :TOP_LABELS]  # (T, 5)

    text, colours = [], []
    for step, labels in enumerate(best):
        names = [fonts.shorten(classes[label], CELL_ROOM, CELL_SIZE) for label in labels]
        scores = item.step_scores[step, labels]
        stars = [' ★' if kept[step, label] else '' for label in labels]
        cells = zip(names, scores, stars, strict=True)
        text.append([f'{name}\n{score:.2f}{star}' for name, score, star in cells])
        colours.append([(0.0, 0.45, 0.70, 0.75 * float(score)) for score in scores])

    table = axes.table(
        text,
        cellColours=colours,
        rowLabels=[f't={step + 1}' for step in range(len(best))],
        cellLoc='center',
        loc='center',
        bbox=Bbox.from_bounds(0.04, 1 - tall, 0.96, tall),
    )
    _style_table(table, kept, best, fonts)
    if item.path is not None:
        _write_path(axes, item.path, classes, 1 - tall, fonts)


def _style_table(
    table: Table,
    kept: np.ndarray,
    best: np.ndarray,
    fonts: Fonts,
) -> None:
    table.auto_set_font_size(False)
    table.set_fontsize(CELL_SIZE)
    for (step, column), cell in table.get_celld().items():
        cell.set_edgecolor('white')
        cell.get_text().set_parse_math(False)
        cell.set_text_props(fontfamily=fonts.families)
        if column >= 0 and kept[step, best[step, column]]:
            cell.set_text_props(fontweight='bold')


def _write_path(
    axes: Axes,
    path: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    bottom: float,
    fonts: Fonts,
) -> None:
    """Write the labels picked at each step below the table, which ends at ``bottom``."""
    names = [fonts.shorten(classes[label], PATH_ROOM, CELL_SIZE) for label in path[:TOP_LABELS]]
    more = '  →  …' if len(path) > TOP_LABELS else ''
    axes.text(
        0.04,
        bottom - 0.05,
        f'path: {"  →  ".join(names)}{more}',
        fontsize=CELL_SIZE,
        fontfamily=fonts.families,
        va='top',
        color='0.3',
        clip_on=False,
        transform=axes.transAxes,
        parse_math=False,
    )


def shrink(image: np.ndarray, side: int = MAX_SIDE) -> np.ndarray:
    """Shrink an image (H, W, 3) to at most ``side`` pixels each way, and keep its proportions."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side))
    return np.asarray(picture)
