"""The page that compares the methods says what their configs do."""

import re

import pytest
from config_files import read_leaf
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from tools_helpers import ROOT

import morn_plugin  # noqa: F401

PAGE = ROOT / 'docs' / 'methods.md'
COLUMNS = (
    'Method',
    'Sees',
    'What it does to the labels',
    'Order',
    'Decides by',
    'Learns',
    'Config',
)
NAMES = dict(feature_map='map', stage_maps='stage maps')
DECISIONS = dict(
    TopLabels='{number} best',
    LearntThresholds='learnt thresholds',
    LabelQuantity='learnt number',
    ScoreMap='threshold after a map',
)
FIXED_ORDERS = ('frequent_first', 'rare_first', 'lexicographic')


def read_rows():
    """Return the rows of the page's table, each a dictionary by column."""
    table = re.search(r'(?:^\|.*\n)+', PAGE.read_text(encoding='utf-8'), re.M)[0].splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split(' | ')] for line in table]
    assert tuple(cells[0]) == COLUMNS
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells[2:]]


def config_of(row):
    link = re.search(r'\((.*?)\)', row['Config'])[1]
    return (PAGE.parent / link).resolve()


ROWS = read_rows()


def describe_order(cfg, decoder):
    order = cfg.model.head.get('decoder', {}).get('order')
    if order is None:
        return 'many, none given' if decoder is not None and decoder.has_steps else 'none'
    return order.replace('_', ' ') if order in FIXED_ORDERS else f'found: {order}'


def describe_decision(cfg, head):
    decision = cfg.model.head.get('decision')
    if decision:
        return DECISIONS[decision['type']].format(**decision)
    if not head.has_threshold:
        return 'its sequence' if head.has_steps else 'its own number'
    has_probability = head.decoder is None or head.decoder.has_probability
    return 'threshold' if has_probability else 'calibrated threshold'


def describe_number(number):
    for unit, name in ((1e6, 'M'), (1e3, 'k')):
        if number >= unit:
            return f'{number / unit:.2f} M' if name == 'M' else f'{number / unit:.0f} k'
    return str(number)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: config_of(row).stem)
def test_row_is_what_the_config_does(row):
    init_default_scope('mmpretrain')
    cfg = read_leaf(config_of(row))
    head = MODELS.build(cfg.model.head)
    inputs = head.inputs if cfg.model.type == 'ScoreClassifier' else ('images',)

    assert row['Sees'] == ', '.join(NAMES.get(name, name) for name in inputs)
    assert row['Order'] == describe_order(cfg, head.decoder)
    assert row['Decides by'] == describe_decision(cfg, head)
    learnt = sum(parameter.numel() for parameter in head.parameters())
    assert row['Learns'] == describe_number(learnt)


def test_every_method_has_a_row():
    folders = {path.parent for path in (ROOT / 'configs').glob('*/metafile.yml')}
    assert {config_of(row).parent for row in ROWS} == folders


def test_no_method_has_two_rows():
    configs = [config_of(row) for row in ROWS]
    assert len(set(configs)) == len(configs)
    names = [re.sub(r'\[(.*?)\]\(.*?\)', r'\1', row['Method']) for row in ROWS]
    assert len(set(names)) == len(names)
