"""Writes the page of the benchmark.

Tables into README.md between its markers, results.csv and pictures beside it.

What is said about the figures is written by hand, around the markers.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from plan import (
    ABLATION_SEEDS,
    BETTER,
    BY_NAME,
    CNN_LEARNING_RATES,
    PAPER,
    SEEDS,
    VARIANTS,
    Variant,
)
from runs import PREDICTIONS, RECORD, Bench, Run, predict_cnn, read_record, read_seconds

from morn_plugin.benchmark.figures import label_f1, path_habits
from morn_plugin.benchmark.page import replace_section
from morn_plugin.benchmark.statistics import paired_test as seed_test
from morn_plugin.benchmark.tables import markdown, mean_sd
from morn_plugin.evaluation.calibration import global_threshold
from morn_plugin.evaluation.functional import paper_figures, top_one

COLUMNS = ('P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I', 'top-1')
SHORT = ('F1_L', 'F1_I', 'top-1')  # of the ablations
# What a method predicts beside its figures: percent of test images for which it is nothing, labels
# an image; on its paths, different labels an image and percent of steps that pick the label before
# once more; F1_L and F1_I of the first step alone, where steps give scores with a threshold; and
# F1_I on the validation side.
HABITS = ('empty', 'labels', 'distinct', 'repeats', 'first F1_L', 'first F1_I', 'val F1_I')
CALIBRATED = 'calibrated '  # before a threshold in results.csv
GROUPS = ('steps', 'mask', 'release', 'pooling', 'gradient', 'length', 'beam', 'weak', 'incomplete')
# Whose differences are shown beside those of an earlier run.
COMPARED_TWICE = (
    'cnn',
    'frequent-first',
    'rare-first',
    'lexicographic',
    'sr-cnn-rnn',
    'steps-1',
    'mask-none',
    'mask-cumulative',
    'release-steps',
    'release',
    BETTER,
    'paper-schedule',
    'joint',
)
EARLIER = 'results_earlier.csv'
CNN_GROUPS = {'cnn': 'methods', 'weak-cnn': 'weak', 'incomplete-cnn': 'incomplete'}
Predictions = dict[str, np.ndarray]
FinalRun = Callable[[Bench, Variant, int], Run]


@dataclass(frozen=True)
class Row:
    """One line of a table: the same method on every seed.

    Attributes:
        name: The variant's.
        title: What the table calls it.
        lr: Learning rate.
        figures: (seeds, 7), percent, test side; the columns of ``COLUMNS``.
        calibrated: The same with one threshold chosen on the validation side for F1_I; None without
            a threshold.
        thresholds: (seeds,), those.
        habits: What ``HABITS`` names, an array (seeds,) each; none where the row was read from
            results.csv.
        per_label: F1 of each label (C,), percent, mean over seeds; likewise.
    """

    name: str
    title: str
    lr: float
    figures: np.ndarray
    calibrated: np.ndarray | None
    thresholds: np.ndarray | None
    habits: dict[str, np.ndarray] = field(default_factory=dict)
    per_label: np.ndarray | None = None


def write(bench: Bench, rows: dict[str, Row], folder: Path) -> None:
    """Write everything.

    Raises:
        ValueError: If README.md lacks a marker.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw_steps(rows, folder / 'steps.png')
    draw_frequency(bench, rows, folder / 'frequency.png')
    write_csv(rows, folder / 'results.csv')
    sections = dict(
        tables(rows, read_csv(folder / EARLIER)),
        setting=describe(bench),
        rates=rates_table(bench),
        habits=habits_table(rows),
    )
    readme = folder / 'README.md'
    text = readme.read_text(encoding='utf-8')
    for name, content in sections.items():
        text = replace_section(text, name, content)
    readme.write_text(text, encoding='utf-8')


def tables(rows: dict[str, Row], earlier: dict[str, Row]) -> dict[str, str]:
    """Return the tables of figures by their section.

    They follow from results.csv and that of an earlier run.
    """
    return dict(
        methods=methods_table(rows),
        calibrated=calibrated_table(rows),
        earlier=earlier_table(rows, earlier),
        **{group: group_table(rows, group) for group in GROUPS},
    )


def collect(bench: Bench, final_run: FinalRun) -> dict[str, Row]:
    """Read the predictions of every reported run and compute its figures.

    Raises:
        FileNotFoundError: If a run is missing.
    """
    rows = {}
    for name, kind, seeds in (
        ('cnn', 'full', SEEDS),
        ('weak-cnn', 'weak', ABLATION_SEEDS),
        ('incomplete-cnn', 'incomplete', ABLATION_SEEDS),
    ):
        parts = [predict_cnn(bench, seed, kind) for seed in range(bench.count_seeds(seeds))]
        rows[name] = make_row(name, 'CNN', parts, True, bench.cnn_lr)
    for variant in VARIANTS:
        runs = [final_run(bench, variant, seed) for seed in range(bench.count_seeds(variant.seeds))]
        parts = [load_predictions(bench.folder(run)) for run in runs]
        rows[variant.name] = make_row(
            variant.name, variant.title, parts, variant.has_threshold, runs[0].lr
        )
    return rows


def load_predictions(folder: Path) -> Predictions:
    """Read the predictions of a finished run."""
    read_record(folder)
    with np.load(folder / PREDICTIONS) as file:
        return dict(file)


def make_row(
    name: str, title: str, parts: Sequence[Predictions], has_threshold: bool, lr: float
) -> Row:
    """Compute the figures of the seeds of a method."""
    figures, validation = (
        np.array([paper_columns(part[f'{side}_label'], part, side) for part in parts])
        for side in ('test', 'val')
    )
    calibrated = thresholds = None
    if has_threshold:
        thresholds = np.array(
            [
                global_threshold(part['val_score'], part['val_target'], 'per-image-f1')
                for part in parts
            ]
        )
        calibrated = np.array(
            [
                paper_columns(part['test_score'] > threshold, part)
                for part, threshold in zip(parts, thresholds, strict=True)
            ]
        )
    labels = np.stack([part['test_label'] for part in parts]).sum(2)  # (seeds, N)
    distinct, repeats = np.array([path_habits(part.get('test_path')) for part in parts]).T
    first = (
        np.array([paper_columns(part['test_first'] > 0.5, part) for part in parts])
        if has_threshold
        else np.full_like(figures, np.nan)
    )
    f1_label, f1_image = COLUMNS.index('F1_L'), COLUMNS.index('F1_I')
    habits = dict(
        zip(
            HABITS,
            (
                100 * (labels == 0).mean(1),
                labels.mean(1),
                distinct,
                repeats,
                first[:, f1_label],
                first[:, f1_image],
                validation[:, f1_image],
            ),
            strict=True,
        )
    )
    per_label = np.mean(
        [label_f1(part['test_label'], part['test_target']) for part in parts], axis=0
    )
    return Row(name, title, lr, figures, calibrated, thresholds, habits, per_label)


def paper_columns(predicted: np.ndarray, part: Predictions, side: str = 'test') -> list[float]:
    """Return the seven columns of a side.

    By the conventions of the authors (``undefined='zero'``).
    """
    target = part[f'{side}_target']
    return [*paper_figures(predicted, target), top_one(part[f'{side}_first'], target)]


def paired_test(figures: np.ndarray, reference: np.ndarray, column: int) -> float:
    """Return the p-value of a paired t-test over the seeds that both have, two-sided.

    1 if they are equal.

    Args:
        figures: (seeds, 7).
        reference: The same of another method, perhaps with another number of seeds.
        column: Index of the column.
    """
    number = min(len(figures), len(reference))
    return seed_test(figures[:number, column], reference[:number, column]).p_value


def p_values(figures: np.ndarray, reference: np.ndarray, columns: Sequence[str]) -> str:
    """Write what the paired test says of some columns; a dash for the reference itself."""
    if figures is reference:
        return '-'
    values = [paired_test(figures, reference, COLUMNS.index(name)) for name in columns]
    return ' / '.join('<.001' if value < 0.001 else f'{value:.3f}' for value in values)


def methods_table(rows: dict[str, Row]) -> str:
    """Return the paper's columns, and what the paired test says of F1_L, F1_I and top-1."""
    reference = rows[PAPER].figures
    lines = [
        [
            row.title,
            *map(mean_sd, row.figures.T),
            p_values(row.figures, reference, ('F1_L', 'F1_I', 'top-1')),
        ]
        for row in compared(rows)
    ]
    return markdown(['', *COLUMNS, 'p (F1_L / F1_I / top-1)'], lines)


def calibrated_table(rows: dict[str, Row]) -> str:
    """Return the same with thresholds chosen on validation, those without one unchanged."""
    reference = rows[PAPER].calibrated
    assert reference is not None
    lines = []
    for row in compared(rows):
        figures = row.figures if row.calibrated is None else row.calibrated
        threshold = 'none' if row.thresholds is None else mean_sd(row.thresholds)
        lines.append(
            [
                row.title,
                threshold,
                *map(mean_sd, figures.T),
                p_values(figures, reference, ('F1_L', 'F1_I')),
            ]
        )
    return markdown(['', 'threshold', *COLUMNS, 'p (F1_L / F1_I)'], lines)


def compared(rows: dict[str, Row]) -> list[Row]:
    """Return the rows that are compared on all seeds."""
    return [rows['cnn'], *_group(rows, 'methods'), rows[BETTER]]


def group_table(rows: dict[str, Row], group: str) -> str:
    """Return an ablation on the seeds that all of it has.

    Each line with its difference to the reference, the bold line.

    The second half is with thresholds chosen on validation; a dash without one.
    """
    columns = [COLUMNS.index(name) for name in SHORT]
    variants = _group(rows, group)
    number = min(len(row.figures) for row in variants)

    def line(title: str, row: Row, reference: Row | None) -> list[str]:
        cells = [title]
        for name, count in (('figures', 3), ('calibrated', 2)):
            figures, other = (
                None if item is None else getattr(item, name) for item in (row, reference)
            )
            cells += (
                ['-'] * count
                if figures is None
                else [mean_sd(figures[:number, c]) for c in columns[:count]]
            )
            if figures is None or other is None:
                cells += ['', '']
                continue
            cells += difference(figures[:number], other[:number], SHORT[:count])
        return cells

    if f'{group}-cnn' in rows:
        references = dict.fromkeys((row.name for row in variants), f'{group}-cnn')
    else:
        references = {row.name: BY_NAME[row.name].reference for row in variants}
    lines = [
        line(f'**{rows[name].title}** (seeds 0-{number - 1})', rows[name], None)
        for name in dict.fromkeys(references.values())
    ]
    lines += [line(row.title, row, rows[references[row.name]]) for row in variants]
    return markdown(
        [
            '',
            *SHORT,
            'against the bold line',
            'p',
            'F1_L calibrated',
            'F1_I calibrated',
            'against',
            'p',
        ],
        lines,
    )


def difference(figures: np.ndarray, reference: np.ndarray, columns: Sequence[str]) -> list[str]:
    """Write the mean difference on the seeds that both have.

    And what the paired test says of it.
    """
    number = min(len(figures), len(reference))
    change = (figures[:number] - reference[:number]).mean(0)
    return [
        ' / '.join(f'{change[COLUMNS.index(name)]:+.2f}' for name in columns),
        p_values(figures, reference, columns),
    ]


def earlier_table(rows: dict[str, Row], earlier: dict[str, Row]) -> str:
    """Return the differences to the Multi-order RNN in this run and in an earlier one."""
    lines = []
    for name in COMPARED_TWICE:
        cells = [rows[name].title]
        for run in (rows, earlier):
            cells += difference(run[name].figures, run[PAPER].figures, SHORT)
            calibrated, reference = run[name].calibrated, run[PAPER].calibrated
            cells += (
                ['-', '-']
                if calibrated is None or reference is None
                else difference(calibrated, reference, SHORT[:2])
            )
        lines.append(cells)
    half = ('F1_L / F1_I / top-1', 'p', 'F1_L / F1_I calibrated', 'p')
    return markdown(['', *half, *(f'earlier: {title}' for title in half)], lines)


def habits_table(rows: dict[str, Row]) -> str:
    """Say what the methods predict beside their figures, and how the validation side saw them."""
    text = lambda values: '-' if np.isnan(values).any() else f'{values.mean():.2f}'
    others = (
        rows[name] for name in ('steps-1', 'mask-none', 'mask-cumulative', 'release-feedback')
    )
    return markdown(
        [
            '',
            'without a label, %',
            'labels an image',
            'different labels of a path',
            'steps that repeat, %',
            'F1_L of the first step',
            'F1_I of the first step',
            'F1_I on validation',
        ],
        [
            [row.title, *(text(row.habits[name]) for name in HABITS)]
            for row in [*compared(rows), *others]
        ],
    )


def rates_table(bench: Bench) -> str:
    """Return the searches: F1_I on validation at each learning rate, seed 0."""

    def cells(folders: Iterable[tuple[float, Path]]) -> str:
        found = {lr: read_record(folder)['validation']['f1_image'] for lr, folder in folders}
        best = max(found, key=lambda lr: found[lr])
        edge = ', the best at the end of the list' if best in (min(found), max(found)) else ''
        marked = (
            f'**{lr:g}: {value:.2f}**' if lr == best else f'{lr:g}: {value:.2f}'
            for lr, value in found.items()
        )
        return ', '.join(marked) + edge

    lines = [['CNN', cells((lr, bench.cnn_folder(lr, 0)) for lr in CNN_LEARNING_RATES)]]
    lines += [
        [
            variant.title,
            cells((lr, bench.folder(Run(variant.name, lr, 0))) for lr in variant.learning_rates),
        ]
        for variant in VARIANTS
        if len(variant.learning_rates) > 1 and variant.tuned_as is None
    ]
    return markdown(['', 'learning rate: F1_I on validation, seed 0'], lines)


def describe(bench: Bench) -> str:
    """Say what made the figures: command, commits, time."""
    records = {
        path: json.loads(path.read_text(encoding='utf-8'))
        for path in sorted(bench.out.glob('**/' + RECORD))
    }
    commits, versions = (
        ', '.join(f'`{value}`' for value in sorted({record[key] for record in records.values()}))
        for key in ('commit', 'torch')
    )
    joint_folders = {variant.name for variant in VARIANTS if variant.joint}
    minutes = dict.fromkeys(('cnn', 'scores', 'joint', 'decoder'), 0.0)
    for path, record in records.items():
        stage, variant = path.relative_to(bench.out).parts[:2]
        kind = (
            'scores'
            if stage == 'scores'
            else 'cnn'
            if stage.startswith('cnn')
            else 'joint'
            if variant in joint_folders
            else 'decoder'
        )
        minutes[kind] += record['seconds'] / 60
    cores = os.cpu_count()
    return (
        f'Made by `make benchmark` at commit {commits}, torch {versions}, {cores} cores: '
        f'{len(records)} runs in {read_seconds(bench.clock) / 60:.0f} min. The CNNs took '
        f'{minutes["cnn"]:.0f} min and their scores {minutes["scores"]:.0f} min; CNN and decoder '
        f'together {minutes["joint"]:.0f} min and the decoders {minutes["decoder"]:.0f} min, '
        f'{cores} of them at a time.'
    )


def write_csv(rows: dict[str, Row], path: Path) -> None:
    """Write every figure of every seed.

    A line each, and where there is a threshold one more for the calibrated one.
    """
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['group', 'variant', 'lr', 'seed', 'threshold', *COLUMNS, *HABITS])
        for row in rows.values():
            group = BY_NAME[row.name].group if row.name in BY_NAME else CNN_GROUPS[row.name]
            start = [group, row.name, f'{row.lr:g}']
            habits = np.stack([row.habits[name] for name in HABITS], axis=1)
            for seed, figures in enumerate(np.hstack([row.figures, habits])):
                writer.writerow(
                    [
                        *start,
                        seed,
                        'none' if row.thresholds is None else '0.5',
                        *map('{:.8f}'.format, figures),
                    ]
                )
            if row.calibrated is not None and row.thresholds is not None:
                for seed, (threshold, figures) in enumerate(
                    zip(row.thresholds, row.calibrated, strict=True)
                ):
                    cells = [*map('{:.8f}'.format, figures), *[''] * len(HABITS)]
                    writer.writerow([*start, seed, f'{CALIBRATED}{threshold:.6f}', *cells])


def read_csv(path: Path) -> dict[str, Row]:
    """Read the figures that :func:`write_csv` wrote."""
    with open(path, encoding='utf-8', newline='') as file:
        lines = list(csv.DictReader(file))
    rows = {}
    for name in dict.fromkeys(line['variant'] for line in lines):
        own = [line for line in lines if line['variant'] == name]
        plain = [line for line in own if not line['threshold'].startswith(CALIBRATED)]
        chosen = [line for line in own if line['threshold'].startswith(CALIBRATED)]
        figures, calibrated = (
            np.array([[float(line[key]) for key in COLUMNS] for line in part])
            for part in (plain, chosen)
        )
        thresholds = np.array(
            [float(line['threshold'].removeprefix(CALIBRATED)) for line in chosen]
        )
        title = BY_NAME[name].title if name in BY_NAME else 'CNN'
        rows[name] = Row(
            name,
            title,
            float(plain[0]['lr']),
            figures,
            calibrated if chosen else None,
            thresholds if chosen else None,
        )
    return rows


def draw_steps(rows: dict[str, Row], path: Path) -> None:
    """Draw F1 against the number of steps."""
    points = [
        (steps, rows[PAPER] if steps == 5 else rows[f'steps-{steps}']) for steps in (1, 2, 3, 5, 8)
    ]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), dpi=110, layout='constrained')
    for axis, name in zip(axes, ('F1_L', 'F1_I'), strict=True):
        column = COLUMNS.index(name)
        for label, colour, marker, read in (
            ('threshold 0.5', '#0072B2', 'o', lambda row: row.figures),
            ('threshold chosen on validation', '#D55E00', 's', lambda row: row.calibrated),
        ):
            values = [read(row)[:ABLATION_SEEDS, column] for _, row in points]
            axis.errorbar(
                [steps for steps, _ in points],
                [part.mean() for part in values],
                [part.std(ddof=1) for part in values],
                color=colour,
                marker=marker,
                capsize=3,
                label=label,
            )
            axis.axhline(
                read(rows['cnn'])[:ABLATION_SEEDS, column].mean(),
                color=colour,
                linestyle=':',
                label=f'CNN, {label}',
            )
        axis.set_xlabel('steps T')
        axis.set_ylabel(f'{name}, percent')
        axis.set_xticks([steps for steps, _ in points])
    axes[1].legend(fontsize=7)
    figure.suptitle(
        'Multi-order RNN on Open Clip Art, test side: mean and standard deviation of '
        f'{ABLATION_SEEDS} seeds',
        fontsize=10,
    )
    figure.savefig(path)
    plt.close(figure)


def draw_frequency(bench: Bench, rows: dict[str, Row], path: Path, groups: int = 6) -> None:
    """Draw the F1 of labels against how often they are in the training set."""
    from morn_plugin.datasets.cached import load_scores

    counts = load_scores(
        bench.score_folder('full', 0) / 'scores_train.safetensors'
    ).annotations.label_counts()
    parts = np.array_split(np.argsort(counts, kind='stable'), groups)
    figure, axis = plt.subplots(figsize=(8, 4.2), dpi=110, layout='constrained')
    styles = (
        ('cnn', '#000000', 'x', ':'),
        ('frequent-first', '#E69F00', '^', '--'),
        ('rare-first', '#009E73', 'v', '--'),
        ('lexicographic', '#CC79A7', 'D', '--'),
        (PAPER, '#0072B2', 'o', '-'),
    )
    for name, colour, marker, line in styles:
        row = rows[name]
        if row.per_label is None:
            raise ValueError(f'{name}: expected the F1 of each label, but the row has none.')
        if name in ('cnn', PAPER):
            axis.scatter(counts, row.per_label, s=9, color=colour, marker=marker, alpha=0.3)
        axis.plot(
            [counts[part].mean() for part in parts],
            [row.per_label[part].mean() for part in parts],
            color=colour,
            marker=marker,
            linestyle=line,
            label=row.title,
        )
    axis.set_xscale('log')
    axis.set_xlabel('training images that have the label')
    axis.set_ylabel('F1 of the label on the test side, percent')
    axis.set_title(
        f'Lines: means of {groups} groups of equally many labels; points: labels (CNN and '
        f'Multi-order); {SEEDS} seeds',
        fontsize=9,
    )
    axis.legend(fontsize=8)
    figure.savefig(path)
    plt.close(figure)


def _group(rows: dict[str, Row], group: str) -> list[Row]:
    return [rows[variant.name] for variant in VARIANTS if variant.group == group]
