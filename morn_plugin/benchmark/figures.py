"""Computes the figures of every method, by each decision.

Undefined ratios count as 0 (``docs/metrics.md``). All figures are of the test side and in percent,
except N+, which is a number of labels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..deploy.labels import mark_labels
from ..evaluation.calibration import global_threshold
from ..evaluation.columns import ALL_COLUMNS
from ..evaluation.functional import (
    count_sets,
    mean_average_precision,
    mean_precision_recall_f1,
    overall_precision_recall_f1,
    top_one,
)
from ..evaluation.platt import fit_score_map
from .results import BenchmarkInfo, RunResult, Side

NATIVE, HALF, CALIBRATED, EXACT = 'native', '0.5', 'calibrated', 'exactly k'
DECISIONS = (NATIVE, HALF, CALIBRATED, EXACT)
CALIBRATED_FOR = 'per-image-f1'


class Decided(NamedTuple):
    """The predicted labels of the test images by one decision.

    Attributes:
        labels: (N, C) bool.
        threshold: The threshold of the scores, if one for all labels was used.
    """

    labels: np.ndarray
    threshold: float | None = None


def decide(result: RunResult, decision: str, topk: int) -> Decided | None:
    """Decide the labels of the test images.

    ``'native'``: the method's own decision. ``'0.5'``: a probability above 0.5; scores that are not
    probabilities are mapped by one sigmoid that is fitted on validation. ``'calibrated'``: the one
    threshold with the highest F1_I on validation. ``'exactly k'``: the k best scores.

    Args:
        result: A run.
        decision: One of ``DECISIONS``.
        topk: k.

    Returns:
        None if the method lacks the scores that this decision needs.
    """
    val, test = result.val, result.test
    if decision == NATIVE:
        return Decided(test.labels)
    if test.scores is None or val.scores is None:
        return None

    if decision == EXACT:
        return Decided(mark_labels(test.scores, topk=min(topk, test.scores.shape[1])))
    if decision == CALIBRATED:
        threshold = global_threshold(val.scores, val.targets, CALIBRATED_FOR)
        return Decided(mark_labels(test.scores, threshold), threshold)
    if result.has_probability:
        return Decided(mark_labels(test.scores, 0.5), 0.5)

    mapped = fit_score_map(val.scores, val.targets).probabilities(test.scores)
    return Decided(mark_labels(mapped, 0.5), 0.5)


class Ranking(NamedTuple):
    """The figures that do not depend on the decision, in percent; NaN without scores.

    Attributes:
        average_precision: mAP.
        top_one: top-1.
    """

    average_precision: float
    top_one: float

    @classmethod
    def of(cls, side: Side) -> 'Ranking':
        """Compute the figures from the scores of a side."""
        ranked = first = float('nan')
        if side.scores is not None:
            ranked = mean_average_precision(side.scores, side.targets)
        if side.top_scores is not None:
            first = top_one(side.top_scores, side.targets)
        return cls(ranked, first)


def compute_figures(labels: np.ndarray, targets: np.ndarray, ranking: Ranking) -> np.ndarray:
    """Compute all columns for one decision.

    Args:
        labels: (N, C) bool.
        targets: (N, C); 1 true, 0 false, -1 ignored.
        ranking: The ranking figures of the same images.

    Returns:
        (columns,), as ``ALL_COLUMNS``.
    """
    per_label = count_sets(labels, targets, axis=0)
    per_image = count_sets(labels, targets, axis=1)
    return np.array(
        [
            *mean_precision_recall_f1(per_label),
            *mean_precision_recall_f1(per_image),
            *overall_precision_recall_f1(per_label),
            ranking.average_precision,
            float((per_label.correct > 0).sum()),
            ranking.top_one,
        ]
    )


@dataclass(frozen=True)
class Row:
    """The figures of one method on all its S seeds.

    Attributes:
        method: Its name.
        title: Its name in tables.
        tier: The kind of its input.
        group: The table it belongs to.
        views: Number of views of an image in a training step.
        has_probability: Whether its scores are probabilities.
        seeds: The seeds, ascending.
        figures: Decision to (S, columns), without the decisions that the method lacks.
        thresholds: The thresholds of ``'calibrated'`` (S,); empty without scores.
        habits: See :func:`describe_habits`, (S,) each.
        settings: The chosen settings, of the first seed.
        seconds: Seconds of one run, mean over seeds.
    """

    method: str
    title: str
    tier: str
    group: str
    views: int
    has_probability: bool
    seeds: tuple[int, ...]
    figures: dict[str, np.ndarray]
    thresholds: np.ndarray
    habits: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def column(self, decision: str, name: str) -> np.ndarray:
        """Return one column of a decision (S,).

        Raises:
            KeyError: If the method lacks this decision.
        """
        return self.figures[decision][:, ALL_COLUMNS.index(name)]


def group_by_method(
    results: Iterable[RunResult], order: Sequence[str] = ()
) -> dict[str, list[RunResult]]:
    """Sort runs by method and seed.

    Args:
        results: In any order.
        order: The methods that come first, in this order; the others follow by name.
    """
    found: dict[str, list[RunResult]] = {}
    for result in sorted(results, key=lambda result: (result.method, result.seed)):
        found.setdefault(result.method, []).append(result)
    names = [name for name in order if name in found]
    names += [name for name in found if name not in names]
    return {name: found[name] for name in names}


def make_rows(results: Iterable[RunResult], info: BenchmarkInfo) -> dict[str, Row]:
    """Compute the figures of every method."""
    return {
        name: make_row(runs, info.topk)
        for name, runs in group_by_method(results, info.order).items()
    }


def make_row(runs: Sequence[RunResult], topk: int) -> Row:
    """Compute the figures of one method from its runs, one for each seed."""
    first = runs[0]
    rankings = [Ranking.of(run.test) for run in runs]
    figures: dict[str, np.ndarray] = {}
    thresholds: list[float] = []
    for decision in DECISIONS:
        decided = [decide(run, decision, topk) for run in runs]
        found = [item for item in decided if item is not None]
        if len(found) < len(runs):
            continue
        figures[decision] = np.array(
            [
                compute_figures(item.labels, run.test.targets, ranking)
                for item, run, ranking in zip(found, runs, rankings, strict=True)
            ]
        )
        if decision == CALIBRATED:
            thresholds = [item.threshold for item in found if item.threshold is not None]

    habits = [describe_habits(run.test) for run in runs]
    shown = {name: np.array([habit[name] for habit in habits]) for name in habits[0]}
    return Row(
        method=first.method,
        title=first.title,
        tier=first.tier,
        group=first.group,
        views=first.views,
        has_probability=first.has_probability,
        seeds=tuple(run.seed for run in runs),
        figures=figures,
        thresholds=np.array(thresholds),
        habits=shown,
        settings=dict(first.settings),
        seconds=float(np.mean([run.seconds for run in runs])),
    )


def describe_habits(side: Side) -> dict[str, float]:
    """Describe a method's predictions, apart from their accuracy.

    Returns:
        ``'empty'``, percent of images without a predicted label; ``'labels'``, labels per image;
        ``'distinct'`` and ``'repeats'``, see :func:`path_habits`.
    """
    number = side.labels.sum(axis=1)
    distinct, repeats = path_habits(side.paths)
    return dict(
        empty=100 * float((number == 0).mean()),
        labels=float(number.mean()),
        distinct=distinct,
        repeats=repeats,
    )


def path_habits(paths: np.ndarray | None) -> tuple[float, float]:
    """Compute the mean number of distinct labels in a path, and how often a step repeats the last.

    Args:
        paths: (N, T), -1 after the end; None without steps.

    Returns:
        Labels, and percent of steps; NaN if there are no steps to compare.

    Examples:
        >>> path_habits(np.array([[1, 1, 2], [4, -1, -1]]))
        (1.5, 50.0)
    """
    if paths is None or paths.shape[1] < 2:
        return float('nan'), float('nan')

    distinct = [len(set(path[path >= 0].tolist())) for path in paths]
    before, after = paths[:, :-1], paths[:, 1:]
    repeats = (before == after)[after >= 0]
    share = 100 * float(repeats.mean()) if repeats.size else float('nan')
    return float(np.mean(distinct)), share


def label_f1(labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute the F1 of each label (C,), percent; 0 if it is neither true nor predicted."""
    counts = count_sets(labels, targets, axis=0)
    return 100 * 2 * counts.correct / np.maximum(counts.predicted + counts.true, 1)


def mean_label_f1(runs: Sequence[RunResult], decision: str, topk: int) -> np.ndarray | None:
    """Average the F1 of each label (C,) over the runs of a method; None without this decision."""
    decided = [decide(run, decision, topk) for run in runs]
    found = [
        label_f1(item.labels, run.test.targets)
        for item, run in zip(decided, runs, strict=True)
        if item is not None
    ]
    return np.mean(found, axis=0) if len(found) == len(runs) else None


def rank_methods(rows: Mapping[str, Row], decision: str, name: str) -> list[Row]:
    """Sort the methods that have a decision and a column by the column's mean, highest first."""
    having = [row for row in rows.values() if decision in row.figures]
    defined = [row for row in having if not np.isnan(row.column(decision, name)).any()]
    return sorted(defined, key=lambda row: -float(row.column(decision, name).mean()))
