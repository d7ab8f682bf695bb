"""The page: what it says follows from its figures, and it is made without torch."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from morn_plugin.benchmark import page as module
from morn_plugin.benchmark.claims import claim, format_p, summarise
from morn_plugin.benchmark.csv_files import read_comparisons, read_results
from morn_plugin.benchmark.figures import CALIBRATED, EXACT, HALF, NATIVE
from morn_plugin.benchmark.page import (
    compose,
    list_sections,
    make_template,
    read_sections,
    replace_section,
    select_group,
    write_page,
)
from morn_plugin.benchmark.results import Group, load_facts, load_info
from morn_plugin.benchmark.tables import (
    differences_table,
    exact_table,
    figures_table,
    search_table,
    title_of,
)
from morn_plugin.utils.markdown import markdown_table

pytestmark = pytest.mark.slow  # makes whole pages

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def written(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp('page')
    rows = write_page(folder, place, num_resamples=100)
    return place, rows


def sections_of(text):
    return dict(re.findall(r'<!-- begin (.*?) -->\n(.*?)\n<!-- end \1 -->', text, flags=re.S))


def test_figures_are_read_back_as_they_were_written(written):
    place, rows = written
    found = read_results(place / 'results.csv')
    assert list(found) == list(rows)
    for name, row in rows.items():
        other = found[name]
        for field in ('method', 'title', 'tier', 'group', 'views', 'has_probability', 'seeds'):
            assert getattr(other, field) == getattr(row, field)
        assert (other.settings, other.seconds) == (row.settings, row.seconds)
        assert list(other.figures) == list(row.figures)
        for decision, figures in row.figures.items():
            np.testing.assert_allclose(other.figures[decision], figures, atol=1e-7)
        np.testing.assert_allclose(other.thresholds, row.thresholds, atol=1e-7)
        for key, values in row.habits.items():
            np.testing.assert_allclose(other.habits[key], values, atol=1e-7)


def test_the_page_follows_from_the_files_beside_it(written):
    place, _ = written
    found = sections_of((place / 'README.md').read_text(encoding='utf-8'))
    assert read_sections(place) == found


def test_a_page_has_a_summary_then_tables_then_pictures_then_a_legend(written):
    place, _ = written
    text = (place / 'README.md').read_text(encoding='utf-8')
    places = [
        text.index(part)
        for part in (
            '<!-- begin summary -->',
            '## The methods',
            '## Exactly 2 labels an image',
            '## An ablation',
            '## Pictures',
            '## How to read it',
        )
    ]
    assert places == sorted(places)
    assert 'make nothing' in text
    for name in re.findall(r'!\[.*?\]\((.*?)\)', text):
        assert (place / name).stat().st_size > 5000
    assert 'NaN' not in text
    assert 'nan' not in text.replace('neighbour', '')
    summary = sections_of(text)['summary'].splitlines()
    assert 8 <= len(summary) <= 12
    for place_of, line in enumerate(summary, 1):
        assert line.startswith(f'{place_of}. **')


def test_what_is_written_by_hand_stays(small_folder, tmp_path):
    info = load_info(small_folder)
    template = make_template(info).replace('## Pictures', 'My own findings.\n\n## Pictures')
    (tmp_path / 'README.md').write_text(template)
    write_page(small_folder, tmp_path, num_resamples=20)
    text = (tmp_path / 'README.md').read_text(encoding='utf-8')
    assert 'My own findings.' in text
    assert list(sections_of(text)) == list_sections(info)
    assert read_sections(tmp_path) == sections_of(text)


def test_a_page_without_markers_is_refused_before_the_work(folder, tmp_path, monkeypatch):
    (tmp_path / 'README.md').write_text('no markers')
    monkeypatch.setattr(module, 'load_results', lambda path: pytest.fail('too late'))
    with pytest.raises(ValueError, match='<!-- begin summary --> and <!-- end summary --> once'):
        write_page(folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['README.md']


def test_tables_hold_the_means_of_the_seeds(written):
    _, rows = written
    lines = figures_table(rows, CALIBRATED).splitlines()
    header = [cell.strip() for cell in lines[0].strip('|').split('|')]
    assert header[:6] == ['', 'sees', 'threshold', 'P_L = CP', 'R_L = CR', 'F1_L = CF1']
    table = {
        cells[0]: cells
        for line in lines[2:]
        if (cells := [cell.strip() for cell in line.strip('|').split('|')])
    }
    assert set(table) == {'Cnn', 'The same', 'Better', 'Other (2 views)', 'Ranks'}
    values = rows['better'].column(CALIBRATED, 'F1_I')
    assert table['Better'][header.index('F1_I')] == (
        f'{values.mean():.2f} ± {values.std(ddof=1):.2f}'
    )
    assert table['Better'][1] == 'features'


def test_ranks_are_marked_where_a_map_was_fitted(written):
    _, rows = written
    assert title_of(rows['ranks'], HALF) == 'Ranks (after a score map)'
    assert title_of(rows['ranks'], NATIVE) == 'Ranks'
    assert title_of(rows['other'], HALF) == 'Other (2 views)'


def test_exactly_k_stands_beside_its_bound(written, results):
    place, rows = written
    facts = load_facts(place)
    targets = results[0].test.targets
    hits = [min(2, n) for n in targets.sum(1)]
    assert facts.bound['OP'] == pytest.approx(100 * sum(hits) / (2 * len(hits)))
    assert facts.bound['OR'] == pytest.approx(100 * sum(hits) / targets.sum())
    last = exact_table(rows, 2, facts.bound).splitlines()[-1]
    assert last.startswith('| the most that 2 labels allow |')
    assert f' {facts.bound["OP"]:.2f} ' in last
    for row in rows.values():
        if EXACT in row.figures:
            assert (row.column(EXACT, 'OR') <= facts.bound['OR'] + 1e-9).all()


def test_the_reference_of_a_group_comes_first_and_by_name(written):
    _, rows = written
    assert list(select_group(rows, Group('ablation', '', 'better'))) == ['better', 'other']
    with_more = Group('ablation', '', 'better', members=['same', 'not there'])
    assert list(select_group(rows, with_more)) == ['better', 'same', 'other']
    with pytest.raises(ValueError, match=r"reference of 'ablation' to be one of cnn, .*'bett'"):
        select_group(rows, Group('ablation', '', 'bett'))


def test_a_sentence_says_what_its_comparison_says(written):
    place, rows = written
    comparisons = read_comparisons(place / 'comparisons.csv')
    for item in comparisons:
        text = claim(item, rows)
        words = {
            'above': ' is above ',
            'below': ' is below ',
            'open': ' is not confirmed to differ',
        }
        assert [verdict for verdict in words if words[verdict] in text] == [item.verdict]
        assert f'{item.seeds.difference:+.2f}' in text
        assert rows[item.method].title in text
        assert rows[item.reference].title in text
    better = next(item for item in comparisons if (item.method, item.column) == ('better', 'F1_I'))
    turned = replace(
        better,
        seeds=better.seeds._replace(difference=-9.0, low=-10.0, high=-8.0),
        image_low=-11.0,
        image_high=-7.0,
    )
    assert 'Better is below Cnn in F1_I: -9.00 (seeds -10.00 to -8.00' in claim(turned, rows)


def test_the_summary_says_what_the_tables_say(written, info):
    place, rows = written
    facts, comparisons = load_facts(place), read_comparisons(place / 'comparisons.csv')
    lines = summarise(info, facts, rows, comparisons)
    text = '\n'.join(lines)
    best = rows['better'].column(CALIBRATED, 'F1_I').mean()
    assert f'**Highest F1_I**, with calibrated thresholds: Better ({best:.2f}), then ' in text
    assert '5 methods on Made-up data, 4 seeds each: 6 labels; 2,000 images to train on, 80' in text
    assert f'no more than {facts.bound["F1_I"]:.2f} F1_I' in text
    assert '12 minutes for all' in text
    against = next(
        line for line in lines if 'in F1_I, with calibrated' in line and 'Against' in line
    )
    above, below, undecided = re.findall(r'(?:above|below|undecided): (.*?)(?:;|\.$)', against)
    assert above.startswith('Better (+')
    assert below == 'none'
    assert 'The same (' in undecided

    swapped = [replace(item, p_holm=0.9) for item in comparisons]
    text = '\n'.join(summarise(info, facts, rows, swapped))
    assert 'above: none; below: none' in text


def test_a_summary_of_one_seed_says_that_it_has_one(written, info):
    place, rows = written
    nan = float('nan')
    comparisons = [
        replace(
            item,
            p_holm=nan,
            seeds=item.seeds._replace(low=nan, high=nan, p_value=nan, num_seeds=1),
        )
        for item in read_comparisons(place / 'comparisons.csv')
    ]
    single = {name: replace(row, seeds=(0,)) for name, row in rows.items()}
    lines = summarise(info, load_facts(place), single, comparisons)
    assert 'on Made-up data, one seed each: ' in lines[0]
    against = [line for line in lines if line.startswith('**Against Cnn**')]
    assert len(against) == 3
    for line in against:
        assert 'one seed, by test images alone and without correction: above: Better (+' in line


def test_methods_of_several_views_are_compared_with_their_control(written, info):
    place, rows = written
    facts, comparisons = load_facts(place), read_comparisons(place / 'comparisons.csv')
    assert not [line for line in summarise(info, facts, rows, comparisons) if 'views' in line]

    # The same rows, but "other" is of two views, as is what it is compared with.
    first, ablation = info.groups
    info = replace(info, groups=[first, replace(ablation, note='A note.')])
    rows = {**rows, 'better': replace(rows['better'], views=2)}
    (line,) = (line for line in summarise(info, facts, rows, comparisons) if 'views' in line)
    (item,) = (
        item
        for item in comparisons
        if (item.method, item.decision, item.column) == ('other', CALIBRATED, 'F1_I')
    )
    assert item.reference == 'better'
    assert line.startswith('**Of 2 views an image**')
    assert f'against Better in F1_I, with calibrated thresholds: Other {item.verdict}, ' in line
    assert f'{item.seeds.difference:+.2f} (seeds ' in line
    section = compose(info, facts, rows, comparisons)['group ablation']
    assert section.startswith('A note.\n\n**By their own decisions**')


def test_differences_are_bold_where_they_stand(written):
    place, rows = written
    comparisons = [
        item for item in read_comparisons(place / 'comparisons.csv') if item.decision == CALIBRATED
    ]
    own = [item for item in comparisons if item.reference == 'cnn']
    table = differences_table(own, rows, ('F1_I',))
    for line in table.splitlines()[2:]:
        title = line.strip('| ').split('|')[0].strip()
        item = next(
            item for item in own if rows[item.method].title == title and item.column == 'F1_I'
        )
        assert ('**' in line) == (item.verdict != 'open')
        assert f'[{item.seeds.low:+.2f}, {item.seeds.high:+.2f}]' in line
        assert f'[{item.image_low:+.2f}, {item.image_high:+.2f}]' in line
        assert f'p {format_p(item.p_holm)}' in line


def test_the_best_trial_is_bold(written):
    place, rows = written
    table = search_table(rows, load_facts(place).trials)
    assert table.splitlines()[2:] == ['| Better | lr 0.001: 50.00; **lr 0.01: 60.00** |']


def test_markdown_by_hand():
    assert markdown_table(['', 'a'], [['x', '1']]) == '|  | a |\n|---|--:|\n| x | 1 |'


def test_sections_are_replaced_between_their_markers():
    text = 'before <!-- begin a --> old <!-- end a --> after'
    expected = 'before <!-- begin a -->\nnew\n<!-- end a --> after'
    assert replace_section(text, 'a', 'new') == expected
    with pytest.raises(ValueError, match='<!-- begin b --> and <!-- end b --> once'):
        replace_section(text, 'b', 'new')


@pytest.mark.parametrize('name', ['results.csv', 'comparisons.csv', 'facts.json', 'benchmark.json'])
def test_a_missing_file_of_a_page_is_named(written, tmp_path, name):
    place, _ = written
    for path in place.iterdir():
        if path.name != name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises((ValueError, OSError), match=name):
        read_sections(tmp_path)
    (tmp_path / name).write_text('a,b\n1,2\n')
    with pytest.raises(ValueError, match=name):
        read_sections(tmp_path)


def test_the_tool_makes_a_page_without_torch(small_folder, tmp_path):
    script = tmp_path / 'run.py'
    script.write_text(
        'import runpy, sys\n'
        f'sys.argv = ["make_page.py", {str(small_folder)!r}, {str(tmp_path / "out")!r}, "--resamples", "20"]\n'
        'import __main__\n'
        f'__main__.__file__ = {str(ROOT / "tools" / "benchmark" / "make_page.py")!r}\n'
        'runpy.run_path(__main__.__file__, run_name="__main__")\n'
        'assert not {"torch", "mmengine", "mmpretrain"} & set(sys.modules)\n'
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'README.md' in done.stdout
    assert (tmp_path / 'out' / 'README.md').is_file()


def test_the_legend_says_how_every_column_treats_what_is_undefined():
    for name in ('P_L', 'CP', 'P_I', 'OP', 'mAP', 'N+', 'top-1', '0/0', 'Holm', 'bootstrap'):
        assert name in module.LEGEND
