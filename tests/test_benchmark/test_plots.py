"""The pictures of a benchmark hold as many methods as there are."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from morn_plugin.benchmark.figures import NATIVE
from morn_plugin.benchmark.plots import draw_cost, draw_methods


def make_row(number):
    def column(decision, name):
        return np.array([50.0 + number, 51.0 + number])

    title = f'A method with a long name, {number}'
    return SimpleNamespace(title=title, seconds=3.0 + number, figures={NATIVE}, column=column)


def test_no_method_is_cut_off(tmp_path):
    rows = {str(number): make_row(number) for number in range(40)}
    for draw in (draw_cost, draw_methods):
        path = tmp_path / f'{draw.__name__}.png'
        draw(rows, path, 'Many')
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert('L'))

        edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
        assert all((edge == 255).all() for edge in edges), path.name


def test_the_cost_of_no_method_is_an_empty_picture(tmp_path):
    draw_cost({}, tmp_path / 'cost.png', 'None')
    with Image.open(tmp_path / 'cost.png') as picture:
        assert picture.size[0] > 100
