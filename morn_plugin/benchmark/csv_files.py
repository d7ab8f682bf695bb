"""Writes figures and comparisons as CSV, and reads them to rebuild the tables."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..evaluation.columns import ALL_COLUMNS
from ..utils.files import atomic_path
from ..utils.strict_json import dump_json, parse_json
from .figures import CALIBRATED, NATIVE, Row
from .statistics import Comparison, SeedTest
from .tables import HABITS

RESULT_COLUMNS = (
    'group',
    'method',
    'title',
    'sees',
    'views',
    'has_probability',
    'settings',
    'seconds',
    'seed',
    'decision',
    'threshold',
)


def write_results(path: str | Path, rows: Mapping[str, Row]) -> None:
    """Write the figures of every method, seed and decision, one line each."""
    habits = list(HABITS)
    with atomic_path(path) as temporary, open(temporary, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow([*RESULT_COLUMNS, *ALL_COLUMNS, *habits])
        for row in rows.values():
            start = [
                row.group,
                row.method,
                row.title,
                row.tier,
                row.views,
                row.has_probability,
                dump_json(row.settings),
                f'{row.seconds:.1f}',
            ]
            for decision, figures in row.figures.items():
                for place, (seed, values) in enumerate(zip(row.seeds, figures, strict=True)):
                    threshold = f'{row.thresholds[place]:.8f}' if decision == CALIBRATED else ''
                    habit = [row.habits[name][place] for name in habits]
                    cells = [f'{value:.8f}' for value in (*values, *habit)]
                    writer.writerow([*start, seed, decision, threshold, *cells])


def read_results(path: str | Path) -> dict[str, Row]:
    """Read what :func:`write_results` wrote.

    Raises:
        ValueError: If a column is missing; names the file.
    """
    with open(path, encoding='utf-8', newline='') as file:
        reader = csv.DictReader(file)
        expected = {*RESULT_COLUMNS, *ALL_COLUMNS, *HABITS}
        missing = sorted(expected - set(reader.fieldnames or ()))
        if missing:
            raise ValueError(
                f'{path}: expected the columns of a benchmark, but {missing} are missing.'
            )
        lines = list(reader)

    rows = {}
    for name in dict.fromkeys(line['method'] for line in lines):
        own = [line for line in lines if line['method'] == name]
        decisions = dict.fromkeys(line['decision'] for line in own)
        by_decision = {
            decision: [line for line in own if line['decision'] == decision]
            for decision in decisions
        }
        native, first = by_decision[NATIVE], own[0]
        rows[name] = Row(
            method=name,
            title=first['title'],
            tier=first['sees'],
            group=first['group'],
            views=int(first['views']),
            has_probability=first['has_probability'] == 'True',
            seeds=tuple(int(line['seed']) for line in native),
            figures={
                decision: np.array([[float(line[key]) for key in ALL_COLUMNS] for line in part])
                for decision, part in by_decision.items()
            },
            thresholds=np.array(
                [float(line['threshold']) for line in by_decision.get(CALIBRATED, [])]
            ),
            habits={key: np.array([float(line[key]) for line in native]) for key in HABITS},
            settings=parse_json(first['settings'], 'settings'),
            seconds=float(first['seconds']),
        )
    return rows


COMPARISON_COLUMNS = (
    'reference',
    'method',
    'decision',
    'column',
    'difference',
    'seeds',
    'seeds_low',
    'seeds_high',
    'p',
    'p_holm',
    'images_low',
    'images_high',
)


def write_comparisons(path: str | Path, comparisons: Sequence[Comparison]) -> None:
    """Write every comparison, one line each."""
    with atomic_path(path) as temporary, open(temporary, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(COMPARISON_COLUMNS)
        for item in comparisons:
            test = item.seeds
            numbers = (
                test.low,
                test.high,
                test.p_value,
                item.p_holm,
                item.image_low,
                item.image_high,
            )
            writer.writerow(
                [
                    item.reference,
                    item.method,
                    item.decision,
                    item.column,
                    f'{test.difference:.8f}',
                    test.num_seeds,
                    *(f'{number:.8f}' for number in numbers),
                ]
            )


def read_comparisons(path: str | Path) -> list[Comparison]:
    """Read what :func:`write_comparisons` wrote.

    Raises:
        ValueError: If a column is missing; names the file.
    """
    with open(path, encoding='utf-8', newline='') as file:
        reader = csv.DictReader(file)
        missing = sorted(set(COMPARISON_COLUMNS) - set(reader.fieldnames or ()))
        if missing:
            raise ValueError(
                f'{path}: expected comparisons, but the columns {missing} are missing.'
            )
        lines = list(reader)
    return [
        Comparison(
            line['method'],
            line['reference'],
            line['decision'],
            line['column'],
            SeedTest(
                float(line['difference']),
                float(line['seeds_low']),
                float(line['seeds_high']),
                float(line['p']),
                int(line['seeds']),
            ),
            float(line['p_holm']),
            float(line['images_low']),
            float(line['images_high']),
        )
        for line in lines
    ]
