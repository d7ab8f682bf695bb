"""The page on metrics: its table of conventions follows from the example, its code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import load_golden
from mmpretrain.registry import METRICS

from morn_plugin.deploy.labels import mark_labels
from morn_plugin.evaluation.functional import (
    count_sets,
    mean_average_precision,
    mean_precision_recall_f1,
    overall_precision_recall_f1,
    topk_bound,
)

PAGE = (Path(__file__).parents[2] / 'docs' / 'metrics.md').read_text(encoding='utf-8')
DECISION = ('topk', 'floor', 'inclusive')


def read_conventions():
    """The options that each line of the table names in its first cell, and its figures."""
    conventions = []
    table = PAGE.split('| Convention |')[1].split('\n\n')[0].splitlines()[2:]

    for line in table:
        title, *cells = [cell.strip() for cell in line.strip('|').split('|')]
        code = re.search(r'`(.*)`', title)
        options = eval(f'dict({code.group(1)})') if code else {}  # noqa: S307  our own page
        expected = [float(cell) for cell in cells]
        conventions.append(pytest.param(options, expected, id=title.split(':')[0]))

    return conventions


@pytest.mark.parametrize(('options', 'expected'), read_conventions())
def test_table_of_conventions(options, expected):
    golden = load_golden('protocols')
    scores = 1 / (1 + np.exp(-golden['logits']))
    target = golden['labels']
    predicted = mark_labels(scores, **{key: options[key] for key in DECISION if key in options})
    undefined = options.get('undefined', 'zero')
    f1 = options.get('f1', 'of-means')
    kept = target.any(1) if options.get('unlabelled') == 'drop' else np.ones(len(target), bool)

    per_label = count_sets(predicted, target, axis=0)
    per_image = count_sets(predicted[kept], target[kept], axis=1)
    ranking = {key: options[key] for key in ('envelope', 'ties') if key in options}
    figures = [
        *mean_precision_recall_f1(per_label, undefined, f1),
        *mean_precision_recall_f1(per_image, undefined, f1),
        *overall_precision_recall_f1(per_label, undefined, options.get('at_least_one', False)),
        mean_average_precision(scores, target, undefined, **ranking),
    ]
    assert [f'{value:.2f}' for value in figures] == [f'{value:.2f}' for value in expected]


def test_the_table_has_all_conventions():
    assert len(read_conventions()) == 11


def test_what_the_page_says_of_the_example():
    golden = load_golden('protocols')
    scores = 1 / (1 + np.exp(-golden['logits']))
    target = golden['labels']
    predicted = scores > 0.5
    assert scores.shape == (80, 7)
    assert (~target.any(1)).sum() == 11
    assert (~predicted.any(1)).sum() == 14
    assert (~predicted.any(0)).sum() == 1
    assert (scores == 0.5).sum() == 1
    bound = topk_bound(target.sum(1), 3)
    assert 'P_I = OP {P_I:.2f}, R_I {R_I:.2f}, OR {OR:.2f}'.format(**bound) in PAGE

    of_images = [expected.values[1][5] for expected in read_conventions()]
    assert f'from {min(of_images):.1f} to {max(of_images):.1f}' in PAGE


def test_what_the_page_says_of_mmpretrain():
    calculate = METRICS.get('AveragePrecision').calculate
    scores = torch.rand(5, 2)
    with pytest.raises(IndexError):
        calculate(scores, torch.tensor([[1, -1]]).repeat(5, 1))
    macro = METRICS.get('MultiLabelMetric').calculate(
        torch.tensor([[0.9, 0.9]] * 10), torch.tensor([[1, 0]] * 9 + [[1, 1]]), thr=0.5
    )
    counts = count_sets(np.ones((10, 2), bool), np.array([[1, 0]] * 9 + [[1, 1]]), axis=0)
    assert float(macro[2]) == pytest.approx(mean_precision_recall_f1(counts, f1='mean').f1)
    assert float(macro[2]) != pytest.approx(mean_precision_recall_f1(counts).f1)


def test_code_of_the_page_runs():
    (code,) = re.findall(r'```python\n(.*?)```', PAGE, flags=re.S)
    scope = {}
    exec(code, scope)
    assert len(scope['metrics']) == 10
