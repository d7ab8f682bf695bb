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

    by_method: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        by_method.setdefault(line['method'], []).append(line)
    return {name: _read_row(own) for name, own in by_method.items()}


def _read_row(lines: Sequence[Mapping[str, str]]) -> Row:
    """Build the row of a method from its lines."""
    by_decision: dict[str, list[Mapping[str, str]]] = {}
    for line in lines:
        by_decision.setdefault(line['decision'], []).append(line)

    first, native = lines[0], by_decision[NATIVE]
    figures = {
        decision: np.stack([_read_numbers(part, name) for name in ALL_COLUMNS], axis=1)
        for decision, part in by_decision.items()
    }
    return Row(
        method=first['method'],
        title=first['title'],
        tier=first['sees'],
        group=first['group'],
        views=int(first['views']),
        has_probability=first['has_probability'] == 'True',
        seeds=tuple(int(line['seed']) for line in native),
        figures=figures,
        thresholds=_read_numbers(by_decision.get(CALIBRATED, []), 'threshold'),
        habits={name: _read_numbers(native, name) for name in HABITS},
        settings=parse_json(first['settings'], 'settings'),
        seconds=float(first['seconds']),
    )


def _read_numbers(lines: Sequence[Mapping[str, str]], column: str) -> np.ndarray:
    """Return a column of some lines as numbers."""
    return np.array([float(line[column]) for line in lines])


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
