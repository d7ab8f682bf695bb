"""Report and label graph of a model, and pictures while training."""

import base64
import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from tools_helpers import open_browser, run_tool, write_config

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.collecting import collect_predictions
from morn_plugin.apis.reporting import choose_different
from morn_plugin.evaluation.label_graph import TRANSITION_COLUMNS, choose_edges
from morn_plugin.visualization import Prediction
from morn_plugin.visualization.cards import make_card
from morn_plugin.visualization.label_graph import write_graph
from morn_plugin.visualization.report import (
    draw_losses,
    draw_supports,
    draw_validations,
    make_page,
    make_table,
)

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture(scope='module')
def report(work_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')
    log = folder / 'run' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    lines = [
        *(dict(step=step, loss=2.0 / step) for step in (1, 2, 3)),
        {'step': 1, 'per-image/f1-score': 40.0, 'cnn/per-image/f1-score': 30.0},
    ]
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    out = folder / 'report.html'
    run_tool('analysis/report.py', work_dir, '--out', out, '--images', 2, '--log-dir', folder)
    return out


def test_report_holds_the_figures_and_nothing_foreign(report, work_dir, tmp_path):
    page = report.read_text(encoding='utf-8')
    assert not re.findall(r'(?:src|href)="(?!data:)|url\(|@import|https?://', page)
    assert page.count('<img ') == 7  # two best, two worst, losses, validations, supports
    data = collect_predictions(MultiLabelInferencer(work_dir, device='cpu'))
    rows = re.findall(r'<tr>(.*?)</tr>', page[page.index('class="sortable"') :])
    cells = [re.sub('<.*?>', ' ', row).split() for row in rows[1:]]
    assert [row[0] for row in cells] == data.classes
    assert [int(row[1]) for row in cells] == (data.targets > 0).sum(0).tolist()


def test_report_says_what_a_test_says(report, work_dir, tmp_path):
    config = write_config(tmp_path / 'morn.py')
    run_tool(
        'test.py',
        config,
        work_dir / 'epoch_1.pth',
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'm.json',
    )
    metrics = json.loads((tmp_path / 'm.json').read_text())
    page = report.read_text(encoding='utf-8')

    for title, prefix in (('CNN', 'cnn/'), ('Multi-order RNN', '')):
        row = re.search(rf'<td class="text">{title}</td>(.*?)</tr>', page).group(1)
        found = [float(value) for value in re.findall(r'data-value="(.*?)"', row)]
        keys = [
            f'per-{kind}/{name}'
            for kind in ('label', 'image')
            for name in ('precision', 'recall', 'f1-score')
        ]
        np.testing.assert_allclose(
            found, [metrics[prefix + key] for key in (*keys, 'one-step/top-1')], atol=1e-6
        )


def test_names_are_escaped_and_undefined_is_a_dash():
    page = make_page(
        '<script>',
        'a & b',
        [('T', make_table(('x',), [['<b>'], [float('nan')], [None], [3], [2.5]]))],
    )
    assert '<script>alert' not in page
    assert '<h1>&lt;script&gt;</h1>' in page
    assert re.findall(r'<td.*?>(.*?)</td>', page) == ['&lt;b&gt;', '-', '-', '3', '2.5']


def list_lines(figure):
    return {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}


def test_curves_take_what_the_log_has():
    log = [
        dict(step=1, loss=2.0, loss_cnn=1.0),
        dict(step=2, loss=1.0, loss_cnn=0.5),
        {'step': 1, 'per-image/f1-score': 40.0, 'cnn/per-image/f1-score': 30.0},
    ]
    assert list_lines(draw_losses(log)) == dict(loss=[2.0, 1.0], loss_cnn=[1.0, 0.5])
    assert list_lines(draw_validations(log)) == {'F1_I': [40.0], 'CNN F1_I': [30.0]}


def test_a_loss_of_one_part_is_drawn_once():
    log = [dict(step=step, loss=2.0 / step, loss_multi_order=2.0 / step) for step in (1, 2)]
    assert list_lines(draw_losses(log)) == dict(loss_multi_order=[2.0, 1.0])


@pytest.mark.parametrize(('most', 'scale'), [(13, 'linear'), (1300, 'symlog')])
def test_numbers_of_images_are_written_out(most, scale):
    axes = draw_supports(np.array([0, 4, most]), np.array([np.nan, 40.0, 80.0])).axes[0]
    assert axes.get_xscale() == scale
    assert axes.xaxis.get_major_formatter()(1000) == '1,000'


def test_a_click_sorts(report, tmp_path):
    with open_browser(tmp_path) as browser:
        from selenium.webdriver.common.by import By

        browser.get(report.as_uri())
        column = lambda: [
            int(cell.text)
            for cell in browser.find_elements(
                By.CSS_SELECTOR, 'table.sortable tbody td:nth-child(2)'
            )
        ]
        before = column()
        button = browser.find_elements(By.CSS_SELECTOR, 'table.sortable th button')[1]

        for order in (True, False):
            browser.execute_script('arguments[0].click()', button)
            assert column() == sorted(before, reverse=order)

        assert before not in (sorted(before), sorted(before, reverse=True))


@pytest.mark.parametrize('width', [400, 1200])
def test_no_table_is_cut_and_the_page_does_not_scroll_sideways(report, tmp_path, width):
    with open_browser(tmp_path, width) as browser:
        from selenium.webdriver.common.by import By

        browser.get(report.as_uri())
        room = browser.execute_script('return document.documentElement.clientWidth')
        assert browser.execute_script('return document.documentElement.scrollWidth') <= room
        tables = browser.find_elements(By.TAG_NAME, 'table')
        assert len(tables) == 8  # figures, missed, confused, labels, and the steps of four images
        images = browser.find_elements(By.TAG_NAME, 'img')
        assert len(images) == 7  # losses, validations, supports, and the four

        for part in [*tables, *images]:
            assert part.rect['x'] >= 0
            assert part.rect['x'] + part.rect['width'] <= room, part.text[:200]

        cells = browser.find_elements(By.CSS_SELECTOR, '.steps td')
        assert len(cells) == 4 * 3 * 5
        for cell in cells:  # its text lies inside
            inner = 'return arguments[0].scrollWidth - arguments[0].clientWidth'
            assert browser.execute_script(inner, cell) <= 0, cell.text


def test_near_copies_are_passed_over(tmp_path):
    """Four copies, shifted in brightness, and three others: one of the four is shown."""
    rng = np.random.default_rng(0)
    others = [rng.integers(0, 200, (40, 60, 3), dtype=np.uint8) for _ in range(4)]
    images = [others[0] + step for step in (0, 3, 6, 9)] + others[1:]
    read = lambda path: images[int(path)]
    paths = [str(place) for place in range(7)]
    chosen, copies = choose_different([1, 0, 2, 4, 3, 5, 6], paths, read, 3)
    assert [place for place, _ in chosen] == [1, 4, 5]
    assert copies == 3
    assert np.array_equal(chosen[0][1], images[1])
    chosen, copies = choose_different(range(7), paths, read, 9)
    assert [place for place, _ in chosen] == [0, 4, 5, 6]


def test_cards_escape_and_say_what_they_say():
    scores = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.1]])
    image = np.full((30, 20, 3), 7, np.uint8)
    item = Prediction(
        image, '<b>\udcff.jpg', [0, 2], [0, 1], scores.max(0), scores, np.array([0, 1])
    )
    card = make_card(item, ['<i>cat</i>', '\u732b', 'sea'])
    text = re.sub('<.*?>', ' ', card)
    assert '<i>' not in card
    assert '&lt;b&gt;\\xff.jpg' in text
    assert re.findall(r'<li class="(.*?)">(\S)', card) == [
        ('right', '✓'),
        ('missed', '○'),
        ('extra', '✗'),
    ]
    assert 'path: &lt;i&gt;cat&lt;/i&gt; → \u732b' in text
    assert [len(row) for row in re.findall(r'★', text)] == [1, 1]  # one of each predicted label
    assert '--score:0.900' in card
    content = base64.b64decode(re.search('base64,(.*?)"', card).group(1))
    assert (np.asarray(Image.open(io.BytesIO(content))) == image).all()
    plain = make_card(Prediction(image, 'a', None, [], scores[0]), ['a', 'b', 'c'])
    assert 'nothing predicted' in plain
    assert '<table' not in plain


def test_label_graph_writes_the_same_graph_three_times(work_dir, tmp_path):
    run_tool('analysis/label_graph.py', work_dir, '--out-dir', tmp_path, '--min-count', 1)
    rows = list(
        csv.DictReader((tmp_path / 'transitions.csv').read_text(encoding='utf-8').splitlines())
    )
    data = collect_predictions(MultiLabelInferencer(work_dir, device='cpu'))

    counted = {}
    for path in data.paths:
        for a, b in pairwise(path.tolist()):
            counted[data.classes[a], data.classes[b]] = (
                counted.get((data.classes[a], data.classes[b]), 0) + 1
            )

    assert {(row['label'], row['next']): int(row['count']) for row in rows} == counted
    links = json.loads((tmp_path / 'graph.json').read_text())['edges']
    assert {(edge['source'], edge['target']): edge['count'] for edge in links} == counted
    edges = (
        ElementTree.parse(tmp_path / 'graph.graphml')
        .getroot()
        .iter('{http://graphml.graphdrawing.org/xmlns}edge')
    )
    assert {(edge.get('source'), edge.get('target')) for edge in edges} == set(counted)
    assert (tmp_path / 'heat_map.png').stat().st_size > 10_000
    assert (tmp_path / 'graph.png').stat().st_size > 10_000


def test_the_graph_draws_what_stands_out_from_co_occurrence(tmp_path):
    row = lambda label, following, count, probability, expected: dict(
        zip(TRANSITION_COLUMNS, (label, following, count, probability, expected, None), strict=True)
    )
    rows = [
        row('a', 'a', 50, 1.0, 0.0),
        row('b', 'c', 20, 0.5, 0.6),
        row('c', 'b', 10, 0.4, 0.3),
        row('b', 'a', 9, 0.9, None),
        row('a', 'b', 8, 1.0, 0.5),
    ]
    assert [(item['label'], item['next']) for item in choose_edges(rows, 2)] == [
        ('b', 'a'),
        ('a', 'b'),
    ]
    assert len(choose_edges(rows, 9)) == 3
    write_graph(rows[:1], tmp_path, 9)  # nothing stands out: a picture without arrows
    assert (tmp_path / 'graph.png').is_file()


def test_pictures_reach_tensorboard_while_training(tmp_path):
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    config = write_config(tmp_path / 'morn.py')
    config.write_text(
        config.read_text()
        + """
train_cfg = dict(max_epochs=2)
custom_hooks = [dict(type='PredictionVisualizationHook', overview=2, val_interval=2)]
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
"""
    )
    run_tool('train.py', config, '--work-dir', tmp_path / 'run')
    assert len(list((tmp_path / 'run').glob('*/vis_data/vis_image/predictions_*.png'))) == 1
    (folder,) = (tmp_path / 'run').glob('*/vis_data')
    events = event_accumulator.EventAccumulator(str(folder)).Reload()
    assert events.Tags()['images'] == ['predictions']
    assert [image.step for image in events.Images('predictions')] == [2]
