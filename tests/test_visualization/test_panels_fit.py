"""No text leaves its picture or runs into another, whatever the labels and images are."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.table import Table
from matplotlib.text import Text

from morn_plugin.visualization import Prediction, render_predictions
from morn_plugin.visualization.panels import _make_figure, split_labels

CLASSES = [f'W$_long^name of a {"WM" * 8} label $number_{index}' for index in range(81)]


def make(height, width, num_true, num_predicted, steps=5):
    rng = np.random.default_rng(0)
    scores = rng.random((steps, 81))
    true = None if num_true is None else list(range(num_true))
    return Prediction(
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        'f' * 90 + '.png',
        true,
        list(range(5, 5 + num_predicted)),
        scores.max(0),
        scores,
        scores.argmax(1).tolist(),
    )


CASES = {
    'many labels, tiny image': [make(1, 1, 60, 70)],
    'large image': [make(2000, 3000, 3, 3)],
    'very wide, very high': [make(8, 900, 2, 0), make(900, 8, 0, 0)],
    'no truth': [make(50, 50, None, 12)],
    'many steps': [make(60, 60, 2, 4, steps=20)],
    'one step': [make(60, 60, 2, 4, steps=1)],
}


@pytest.mark.parametrize('predictions', CASES.values(), ids=CASES)
def test_everything_fits(predictions):
    figure = _make_figure(predictions, CLASSES, 'A heading')
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    width, height = canvas.get_width_height()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    texts += [
        cell.get_text() for table in figure.findobj(Table) for cell in table.get_celld().values()
    ]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    # no ticks
    boxes = [
        (text, box) for text, box in boxes if box.width and not text.replace('.', '').isdigit()
    ]
    assert len(boxes) > 5 + 6 * sum(len(item.step_scores) for item in predictions)
    for text, box in boxes:
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -1, text

    for (one, a), (other, b) in combinations(boxes, 2):
        overlap_x = min(a.x1, b.x1) - max(a.x0, b.x0)
        overlap_y = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap_x, overlap_y) <= 2, (one, other)

    for table in figure.findobj(Table):
        for cell in table.get_celld().values():
            inner = cell.get_text().get_window_extent()
            outer = cell.get_window_extent()
            assert (
                inner.width <= outer.width
                or not cell.get_text().get_text()
                or 't=' in cell.get_text().get_text()
            )


def test_labels_are_written_in_their_colours():
    kinds = split_labels([1, 2], [2, 3])
    assert kinds == dict(right=[2], missed=[1], extra=[3])
    figure = _make_figure([make(20, 20, 7, 3)], CLASSES, '')  # true 0..6, predicted 5..7
    colours = {
        text.get_text()[0]: text.get_color()
        for text in figure.findobj(Text)
        if text.get_text()[:2] in ('✓ ', '○ ', '✗ ') and 'missed' not in text.get_text()
    }
    assert len(set(colours.values())) == 3
    assert render_predictions([make(20, 20, 7, 3)], CLASSES).shape[2] == 3


def test_unknown_truth_is_neither_right_nor_wrong():
    figure = _make_figure([make(20, 20, None, 3)], CLASSES, '')
    text = ' '.join(item.get_text() for item in figure.findobj(Text))
    assert text.count('•') == 3
    assert not any(mark in text for mark in '✓○✗')
