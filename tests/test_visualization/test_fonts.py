"""Names in every script: drawn by a font that has them, else by their codes, and said once."""

import io
import warnings

import numpy as np
import pytest
from matplotlib import font_manager, rcParams

from morn_plugin.evaluation.label_graph import build_label_graph
from morn_plugin.visualization import Prediction, draw_predictions, fonts
from morn_plugin.visualization.fonts import choose_fonts, make_readable
from morn_plugin.visualization.label_graph import draw_graph, draw_heat_map

CHINESE = '\u732b'
HINDI = '\u0939\u093f'
ROCKET = '\U0001f680'


@pytest.fixture
def bare(monkeypatch):
    """A machine with matplotlib's own fonts alone."""
    monkeypatch.setattr(font_manager, 'findSystemFonts', list)
    monkeypatch.setattr(fonts, '_font_of', {})
    monkeypatch.setattr(fonts, '_said', set())


def draw(*names):
    scores = np.linspace(1, 0.5, len(names), dtype=np.float32)
    steps = np.stack([scores] * 3)
    image = np.zeros((20, 20, 3), np.uint8)
    item = Prediction(image, f'{names[0]}.jpg', [0], [0], scores, steps, [0, 1, 0])
    draw_predictions([item], names, io.BytesIO(), heading=names[0])


def test_missing_fonts_are_named_once_and_nothing_is_warned_of_each_character(bare):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for _ in range(2):
            draw(CHINESE, HINDI, f'a {ROCKET}', 'plain')
    (message,) = {str(item.message) for item in caught}
    assert len(caught) == 1
    assert message.endswith('apt-get install fonts-noto-cjk fonts-noto-core fonts-symbola')


def test_each_package_is_named_when_it_is_missed_first(bare):
    with pytest.warns(UserWarning, match='apt-get install fonts-noto-cjk$'):
        draw(CHINESE, 'plain')
    with pytest.warns(UserWarning, match='apt-get install fonts-symbola$'):
        draw(CHINESE, ROCKET)


def test_codes_are_drawn_of_what_no_font_has(bare):
    with pytest.warns(UserWarning, match='No installed font'):
        found = choose_fonts([f'cat {CHINESE}'])
    assert found.clean(f'cat {CHINESE}') == 'cat \\u732b'
    assert found.families == tuple(rcParams['font.family'])


def test_latin_greek_and_cyrillic_need_no_other_font(bare, recwarn):
    draw('café', 'Ελληνικά', 'кошка', 'naïve ✓')
    assert not recwarn.list


def test_a_font_that_has_the_character_is_used(bare, monkeypatch):
    """DejaVu stands for it, where matplotlib's own font is one of mathematics that has no faces."""
    dejavu = font_manager.findfont('DejaVu Sans')
    monkeypatch.setitem(rcParams, 'font.family', ['STIXGeneral'])
    monkeypatch.setattr(font_manager, 'findSystemFonts', lambda: [dejavu])
    found = choose_fonts([f'a {chr(0x1F600)}'])
    assert found.families == ('STIXGeneral', 'DejaVu Sans')
    assert found.clean(chr(0x1F600)) == chr(0x1F600)
    draw(chr(0x1F600), 'plain')


def test_fonts_that_cannot_be_drawn_are_passed_over(bare, monkeypatch, tmp_path):
    """Boxes for all characters, and a file that is no font."""
    boxes = [
        entry.fname for entry in font_manager.fontManager.ttflist if 'Last Resort' in entry.name
    ]
    (tmp_path / 'a.ttf').write_bytes(b'no font')
    monkeypatch.setattr(font_manager, 'findSystemFonts', lambda: [*boxes, str(tmp_path / 'a.ttf')])
    with pytest.warns(UserWarning, match='No installed font'):
        assert choose_fonts([CHINESE]).missing == {CHINESE}


@pytest.mark.parametrize(
    ('text', 'shown'),
    [('a\udcff.jpg', 'a\\xff.jpg'), ('a\nb\tc', 'a b c'), ('\x07', '\\x07'), ('\ud800', '\\ud800')],
)
def test_names_that_are_no_text(text, shown, recwarn):
    assert make_readable(text) == shown
    draw(text, 'plain')
    assert not recwarn.list


def test_a_name_keeps_as_many_characters_as_fit():
    name = 'W' * 12 + 'il' * 6 + 'end'
    chosen = choose_fonts([name])
    cuts = [
        f'{name[: kept - kept // 3]}…{name[len(name) - kept // 3 :]}' for kept in range(len(name))
    ]
    for room in (1, 30, 60, 90, 1000):
        fits = [text for text in (*cuts, name) if chosen.width(text, 8) <= room]
        assert chosen.shorten(name, room, 8) == (fits or ['…'])[-1]


def test_the_label_graph_shows_every_name_or_its_code(bare, tmp_path):
    networkx = pytest.importorskip('networkx')
    row = dict(label=CHINESE, next='dog', probability=0.5, expected=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        draw_graph(networkx, [row], tmp_path / 'graph.png')
        graph = build_label_graph(np.array([[0, 1], [1, 0]]), np.array([[1, 1], [1, 1]]))
        draw_heat_map(graph, [CHINESE, 'dog'], 2, tmp_path / 'heat_map.png')

    assert len(caught) == 1
    assert 'fonts-noto-cjk' in str(caught[0].message)
