"""The pages of the repository follow from the files beside them, and so do figures beside configs."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from config_files import CONFIGS, read_leaf

from morn_plugin.benchmark.csv_files import read_results
from morn_plugin.benchmark.figures import CALIBRATED, NATIVE
from morn_plugin.benchmark.page import PAGE, RESULTS, read_sections, replace_section

ROOT = Path(__file__).parents[1]
PAPER = ROOT / 'configs' / 'benchmark'
PAGES = [path for path in sorted(PAPER.iterdir()) if path.is_dir()]
#: The configs that train as a run of the paper's comparison did.
MEASURED = {
    'cnn/cnn_efficientnet-lite0_1xb32-6e_openclipart-128px': 'cnn',
    'morn/morn_efficientnet-lite0_1xb32-50e_openclipart-128px': 'paper-schedule',
    'morn/morn_scores_1xb32-50e_openclipart': 'paper-schedule',
    'morn/morn-bn_efficientnet-lite0_1xb32-15e_openclipart-128px': 'release-norm',
    'morn/morn-bn_scores_1xb32-15e_openclipart': 'release-norm',
    'morn/morn-joint_efficientnet-lite0_1xb32-1e_openclipart-128px': 'joint',
    'sr_cnn_rnn/sr-cnn-rnn_efficientnet-lite0_1xb32-1e_openclipart-128px': 'sr-cnn-rnn',
}
COLUMNS = ('P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I', 'top-1')


def read_paper_results():
    """Read the runs of the paper's comparison at their own decision: variant to (lr, figures)."""
    with open(PAPER / 'results.csv', newline='') as file:
        lines = [line for line in csv.DictReader(file) if line['threshold'] in ('0.5', 'none')]
    rows = {}
    for name in dict.fromkeys(line['variant'] for line in lines):
        own = [line for line in lines if line['variant'] == name]
        figures = np.array([[float(line[column]) for column in COLUMNS] for line in own])
        rows[name] = float(own[0]['lr']), figures
    return rows


@pytest.mark.parametrize('folder', PAGES, ids=lambda path: path.name)
def test_a_page_follows_from_the_files_beside_it(folder):
    page = (folder / PAGE).read_text(encoding='utf-8')
    for name, content in read_sections(folder).items():
        assert replace_section(page, name, content) == page, name


@pytest.mark.parametrize('folder', PAGES, ids=lambda path: path.name)
def test_the_page_that_reads_both_has_their_figures(folder):
    text = (ROOT / 'docs' / 'which_method.md').read_text(encoding='utf-8')
    for row in read_results(folder / RESULTS).values():
        cells = [row.title, str(len(row.seeds))]
        for decision in (NATIVE, CALIBRATED):
            cells.append(' / '.join(show_mean(row, decision, name) for name in ('F1_L', 'F1_I')))
        cells += [show_mean(row, NATIVE, name) for name in ('mAP', 'top-1')]
        assert f'| {" | ".join(cells)} |'.replace('- / -', '-') in text


def show_mean(row, decision, column):
    """Write a mean; a dash where a method lacks the decision or the column."""
    if decision not in row.figures:
        return '-'
    mean = row.column(decision, column).mean()
    return '-' if np.isnan(mean) else f'{mean:.1f}'


def test_the_papers_comparison_has_its_seeds():
    rows = read_paper_results()
    assert len(rows) > 30
    methods = ('cnn', 'multi-order', 'frequent-first', 'rare-first', 'lexicographic', 'sr-cnn-rnn')
    assert all(len(rows[name][1]) == 5 for name in methods)


@pytest.mark.parametrize('path', MEASURED, ids=lambda path: path.split('/')[1])
def test_figures_beside_a_config_are_those_that_were_measured(path):
    folder, name = path.split('/')
    lr, figures = read_paper_results()[MEASURED[path]]
    assert read_leaf(CONFIGS / f'{path}.py').optim_wrapper.optimizer.lr == lr
    means = [f'{value:.2f}' for value in figures.mean(axis=0)]

    index = yaml.safe_load((ROOT / 'configs' / folder / 'metafile.yml').read_text())
    (entry,) = (entry for entry in index['Models'] if entry['Name'] == name)
    assert [f'{value:.2f}' for value in entry['Results'][0]['Metrics'].values()] == means

    readme = (ROOT / 'configs' / folder / 'README.md').read_text()
    (line,) = (
        line for line in readme.splitlines() if f'({name}.py)' in line and '| ours |' in line
    )
    found = [cell.strip() for cell in line.split('| ours |')[1].strip(' |').split('|')]
    assert found == means[: len(found)]


def test_the_better_variant_is_offered_as_it_was_measured():
    offered = read_leaf(CONFIGS / 'morn/morn-bn_scores_1xb32-15e_openclipart.py')
    measured = read_leaf(CONFIGS / 'morn/morn_scores_1xb32-50e_openclipart.py')
    measured.merge_from_dict(
        {
            'model.head.state_norm': dict(eps=1e-3, momentum=0.05),
            'train_cfg.max_epochs': 15,
            'optim_wrapper.optimizer.lr': read_paper_results()['release-norm'][0],
        }
    )
    of_runs = [{**cfg.to_dict(), 'benchmark': None} for cfg in (offered, measured)]
    assert of_runs[0] == of_runs[1]

    on_images = read_leaf(
        ROOT / 'configs/morn/morn-bn_efficientnet-lite0_1xb32-15e_openclipart-128px.py'
    )
    for part in ('optim_wrapper', 'train_cfg'):
        assert on_images[part] == offered[part]
    assert on_images.model.head.state_norm == offered.model.head.state_norm
