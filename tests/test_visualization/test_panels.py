from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.table import Table
from PIL import Image

from morn_plugin.visualization import Prediction, draw_predictions
from morn_plugin.visualization.panels import EXTRA, MISSED, RIGHT, kept_by_max_pooling, split_labels

CLASSES = [
    'person',
    'a very long label name that goes on and on',
    'W' * 30,
    '$x_1$ and $y$',
    'miniature_schnauzer_breed',
    *(f'class {k}' for k in range(5, 20)),
]
GREEN = (12, 200, 34)


def predict(true, predicted, size=(40, 60), steps=5, title='image.jpg', classes=20):
    """A green image; the predicted labels have scores near 1, each at some step."""
    scores = np.random.default_rng(0).random((max(steps, 1), classes)) / 2
    for place, label in enumerate(predicted):
        scores[place % len(scores), label] = 0.9
    image = np.full((*size, 3), GREEN, dtype=np.uint8)
    return Prediction(image, title, true, predicted, scores.max(0), scores if steps else None)


def draw(path, *predictions, **options):
    draw_predictions(predictions, CLASSES, path, **options)
    return np.asarray(Image.open(path).convert('RGB')).astype(int)


def count(picture, colour):
    """Count pixels within a little of a colour."""
    wanted = np.array(
        colour if isinstance(colour, tuple) else [255 * part for part in to_rgb(colour)]
    )
    return int((np.abs(picture - wanted).max(axis=2) <= 8).sum())


def test_every_kind_of_label_has_its_colour(tmp_path):
    mixed = draw(tmp_path / 'mixed.png', predict([0, 5], [0, 6], steps=0))
    assert all(count(mixed, colour) > 20 for colour in (RIGHT, MISSED, EXTRA))
    right = draw(tmp_path / 'right.png', predict([0], [0], steps=0))
    assert count(right, RIGHT) > 20
    assert count(right, MISSED) == count(right, EXTRA) == 0


def test_without_steps_no_room_is_left_for_them(tmp_path):
    with_steps = draw(tmp_path / 'steps.png', predict([0], [0]))
    without = draw(tmp_path / 'none.png', predict([0], [0], steps=0))
    assert without.shape[1] < with_steps.shape[1] / 2
    assert count(without, RIGHT) > 20


def test_without_true_labels_no_guess_is_right_or_wrong(tmp_path):
    picture = draw(tmp_path / 'a.png', predict(None, [0], steps=0))
    assert count(picture, EXTRA) == count(picture, RIGHT) == count(picture, MISSED) == 0
    assert count(picture, 'black') > 20


@pytest.mark.parametrize(
    'size', [(40, 60), (400, 20), (20, 400), (1, 1)], ids=['usual', 'tall', 'wide', 'a-pixel']
)
def test_the_image_is_shown_in_its_own_proportions(tmp_path, size):
    shown = np.abs(draw(tmp_path / 'a.png', predict([0], [0], size)) - GREEN).max(axis=2) <= 2
    rows = np.flatnonzero(shown.any(1))
    columns = np.flatnonzero(shown.any(0))
    height = np.ptp(rows) + 1
    width = np.ptp(columns) + 1
    assert max(height, width) > 100
    assert height / width == pytest.approx(size[0] / size[1], rel=0.5, abs=0.02)


def test_surer_steps_are_darker(tmp_path):
    sure, unsure = (predict([], [], steps=1) for _ in range(2))
    sure.step_scores[:], unsure.step_scores[:] = 1, 0
    dark, light = (
        draw(tmp_path / f'{name}.png', item) for name, item in dict(dark=sure, light=unsure).items()
    )
    steps = (slice(80, -20), slice(700, -20))
    share = lambda picture: (picture[steps][..., 0] < 128).mean()  # of pixels with little red
    assert share(dark) > share(light) + 0.02


def test_one_row_an_image(tmp_path):
    one = draw(tmp_path / 'one.png', predict([0], [0]))
    three = draw(tmp_path / 'three.png', *[predict([0], [0])] * 3, heading='Three of a kind')
    assert count(three, GREEN) == pytest.approx(3 * count(one, GREEN), rel=0.05)
    assert three.shape[0] > 2 * one.shape[0]


HARD = {
    'no label': ([], []),
    'one label': ([0], [0]),
    'long names': ([1, 2], [2, 1, 3, 4]),
    'twelve labels': (list(range(12)), list(range(12))),
    'twenty labels': (list(range(10)), list(range(20))),
}


@pytest.mark.parametrize('steps', [0, 1, 5, 12])
@pytest.mark.parametrize(('true', 'predicted'), HARD.values(), ids=HARD.keys())
def test_no_text_leaves_its_place(tmp_path, monkeypatch, true, predicted, steps):
    """Cells hold their text, labels stay between image and steps and do not touch, everything is on the page."""
    figures = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, path: figures.append(self))
    items = [
        predict(
            true, predicted, (300, 30), steps, 'a_very_long_name_of_a_photograph_0001_of_2019.jpg'
        ),
        predict(true, predicted, (30, 300), steps, '$a$_$b.jpg'),
    ]
    draw_predictions(items, CLASSES, tmp_path / 'a.png', heading='Test images')
    (figure,) = figures
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()
    box = lambda artist: artist.get_window_extent(renderer)

    for image, labels, table_axes in np.reshape(figure.axes, (-1, 3)):
        lines = sorted((box(text) for text in labels.texts), key=lambda extent: -extent.y0)
        assert len(lines) == max(1, len({*true, *predicted}))
        assert all(upper.y0 > lower.y0 + 8 for upper, lower in pairwise(lines))
        assert all(box(image).x1 < line.x0 < line.x1 < box(table_axes).x0 for line in lines)

        texts = [*labels.texts, image.xaxis.label]
        for table in table_axes.get_children():
            if isinstance(table, Table):
                cells = [cell for (_, column), cell in table.get_celld().items() if column >= 0]
                assert len(cells) == 5 * steps
                for cell in cells:
                    inner = box(cell.get_text())
                    outer = box(cell)
                    assert outer.x0 <= inner.x0 <= inner.x1 <= outer.x1, cell.get_text().get_text()
                    assert outer.y0 <= inner.y0 <= inner.y1 <= outer.y1, cell.get_text().get_text()

        for text in texts:
            extent = box(text)
            assert 0 <= extent.x0 <= extent.x1 <= figure.bbox.x1
            assert 0 <= extent.y0 <= extent.y1 <= figure.bbox.y1


def test_dollars_are_no_formula(tmp_path):
    """One alone would be harmless, two would be set as mathematics, and an unknown command would stop the drawing."""
    item = predict([0], [0], title='$\\nonsense$.jpg', classes=1)
    draw_predictions([item], ['$\\alsononsense$'], tmp_path / 'a.png', heading='$\\more$')
    assert (tmp_path / 'a.png').stat().st_size > 1000


def test_fewer_labels_than_columns(tmp_path):
    draw_predictions(
        [predict([0], [0], classes=2)], ['a', 'b'], tmp_path / 'deep' / 'folder' / 'a.png'
    )
    assert (tmp_path / 'deep' / 'folder' / 'a.png').is_file()


def test_the_first_best_step_of_each_predicted_label_is_kept():
    scores = np.array([[0.9, 0.2, 0.3], [0.9, 0.8, 0.1], [0.1, 0.8, 0.9]])
    assert kept_by_max_pooling(scores, [0, 1]).tolist() == [
        [True, False, False],
        [False, True, False],
        [False] * 3,
    ]
    assert not kept_by_max_pooling(scores, []).any()


@pytest.mark.parametrize(
    ('true', 'predicted', 'expected'), [([], [], ([], [], [])), ([3, 1], [1, 2], ([1], [3], [2]))]
)
def test_split_labels(true, predicted, expected):
    assert tuple(split_labels(true, predicted).values()) == expected


@pytest.mark.parametrize(('labels', 'steps'), [([2, 0], 3), ([], 1), ([2, 0, 1, 3, 4], 5)])
def test_a_path_that_has_ended_shows_no_steps_after_it(tmp_path, labels, steps, monkeypatch):
    tables, texts = [], []
    table = Axes.table
    text = Axes.text
    monkeypatch.setattr(
        Axes,
        'table',
        lambda self, rows, **kwargs: tables.append(rows) or table(self, rows, **kwargs),
    )
    monkeypatch.setattr(
        Axes,
        'text',
        lambda self, x, y, s, **kwargs: texts.append(s) or text(self, x, y, s, **kwargs),
    )
    shown = predict([0], labels)
    draw(
        tmp_path / 'a.png',
        Prediction(
            shown.image,
            'image.jpg',
            shown.true,
            labels,
            shown.scores,
            shown.step_scores,
            np.array(labels + [-1] * (5 - len(labels))),
        ),
    )
    assert [len(rows) for rows in tables] == [steps]
    (path,) = (s.removeprefix('path:').strip() for s in texts if s.startswith('path:'))
    assert path.count('→') == max(len(labels) - 1, 0)
    assert bool(path) == bool(labels)
