"""Tests how certain a difference is: over seeds, and over test images.

A claim must hold against two sources of chance. Another seed gives another CNN and another decoder:
a paired t-test over seeds. Other test images give other figures: a paired bootstrap over images.
p-values are corrected for the number of methods compared with one reference (Holm).
"""

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats

from ..evaluation.functional import best_is_true
from ..evaluation.resampling import LabelSets, RankedLabels, bootstrap_images
from ..utils.extras import require_extra
from .figures import Row, decide
from .results import RunResult

#: The columns that are tested for differences.
COMPARED = ('F1_L', 'F1_I', 'OF1', 'mAP', 'top-1')
#: The tested columns that depend on the decision.
OF_SETS = ('F1_L', 'F1_I', 'OF1')
CONFIDENCE, ALPHA = 0.95, 0.05
RESAMPLES = 1000
# Largest number of test images times labels for which mAP is resampled: each resample is ranked.
MOST_RANKED = 2_000_000


class SeedTest(NamedTuple):
    """A paired t-test of two methods over their common seeds.

    Attributes:
        difference: Mean of the differences.
        low: Lower end of its 95 % interval; NaN for a single seed.
        high: Upper end.
        p_value: Two-sided; NaN for a single seed.
        num_seeds: Number of common seeds.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_seeds: int


def paired_test(first: np.ndarray, second: np.ndarray) -> SeedTest:
    """Test whether two methods differ, from their figures on the same seeds.

    Args:
        first: (S,).
        second: (S,), the same seeds.

    Returns:
        The test; p is 1 if all differences are 0, and 0 if all are equal but not 0.
    """
    changes = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    difference = float(changes.mean())

    if len(changes) < 2:
        unknown = float('nan')
        return SeedTest(difference, unknown, unknown, unknown, len(changes))
    if np.ptp(changes) < 1e-12:
        p_value = 1.0 if abs(difference) < 1e-12 else 0.0
        return SeedTest(difference, difference, difference, p_value, len(changes))

    found = stats.ttest_rel(first, second)
    low, high = found.confidence_interval(CONFIDENCE)
    return SeedTest(difference, float(low), float(high), float(found.pvalue), len(changes))


def correct_p_values(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's method; NaN stays and is not counted.

    Raises:
        ImportError: If statsmodels is missing; gives the pip command.

    Examples:
        >>> [round(float(p), 3) for p in correct_p_values([0.01, 0.04, float('nan')])]
        [0.02, 0.04, nan]
    """
    multitest = require_extra('statsmodels.stats.multitest', 'benchmark')
    values = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(values)
    if known.any():
        values[known] = multitest.multipletests(values[known], method='holm')[1]
    return values.tolist()


@dataclass(frozen=True)
class Comparison:
    """A method compared with the reference in one column, by one decision.

    Attributes:
        method: Its name.
        reference: Name of the reference.
        decision: The decision, the same for both.
        column: One of ``COMPARED``.
        seeds: The test over seeds.
        p_holm: The corrected p-value of that test.
        image_low: Lower end of the interval over test images; NaN if none was computed.
        image_high: Upper end.
    """

    method: str
    reference: str
    decision: str
    column: str
    seeds: SeedTest
    p_holm: float
    image_low: float
    image_high: float

    @property
    def verdict(self) -> str:
        """``'above'`` or ``'below'`` if both tests agree, else ``'open'``."""
        if not self.p_holm < ALPHA:  # NaN: a single seed
            return 'open'
        if np.isnan([self.image_low, self.image_high]).any():
            return 'open'
        low = min(self.seeds.low, self.image_low)
        high = max(self.seeds.high, self.image_high)
        return _place_of_zero(low, high)

    @property
    def image_verdict(self) -> str:
        """The verdict by test images alone, for a single seed: no p-value, no correction."""
        return _place_of_zero(self.image_low, self.image_high)


def _place_of_zero(low: float, high: float) -> str:
    """Return ``'above'`` or ``'below'`` for an interval on one side of 0, else ``'open'``."""
    if low > 0:
        return 'above'
    return 'below' if high < 0 else 'open'


def compare_methods(
    runs: Mapping[str, Sequence[RunResult]],
    rows: Mapping[str, Row],
    reference: str,
    decision: str,
    topk: int,
    num_resamples: int = RESAMPLES,
    columns: Sequence[str] = COMPARED,
) -> list[Comparison]:
    """Compare methods with a reference, on the seeds that both have.

    Args:
        runs: Method to its runs, by seed.
        rows: Their figures.
        reference: Name of the reference method.
        decision: One of ``figures.DECISIONS``; methods that lack it are left out.
        topk: k of ``'exactly k'``.
        num_resamples: Number of bootstrap resamples of the test images.
        columns: The columns to compare.

    Returns:
        One comparison for every other method and column.

    Raises:
        ValueError: If the reference does not exist, lacks the decision, or has no seed in common
            with a method; names it.
    """
    if reference not in rows:
        raise ValueError(
            f'Expected the reference to be one of {", ".join(rows)}, but got {reference!r}.'
        )
    if decision not in rows[reference].figures:
        raise ValueError(f'The reference {reference!r} has no decision {decision!r}.')

    others = {
        name: row for name, row in rows.items() if name != reference and decision in row.figures
    }
    seeds = {name: _find_common_seeds(row, rows[reference]) for name, row in others.items()}
    pairs = {}
    for name, (own, theirs) in seeds.items():
        first = [runs[name][place] for place in own]
        second = [runs[reference][place] for place in theirs]
        pairs[name] = list(zip(first, second, strict=True))

    intervals = _image_intervals(pairs, decision, topk, num_resamples, columns)

    found: list[Comparison] = []
    for name, row in others.items():
        own, theirs = seeds[name]
        for column in columns:
            test = paired_test(
                row.column(decision, column)[own], rows[reference].column(decision, column)[theirs]
            )
            ends = intervals.get((name, column), (float('nan'), float('nan')))
            found.append(Comparison(name, reference, decision, column, test, test.p_value, *ends))
    return _correct_by_column(found)


def _find_common_seeds(first: Row, second: Row) -> tuple[list[int], list[int]]:
    """Return the positions of the seeds that two methods have in common.

    Raises:
        ValueError: If there is none.
    """
    common = [seed for seed in first.seeds if seed in second.seeds]
    if not common:
        raise ValueError(
            f'{first.method} (seeds {first.seeds}) and {second.method} (seeds {second.seeds}) have '
            'no seed in common, so they cannot be compared.'
        )
    own = [first.seeds.index(seed) for seed in common]
    theirs = [second.seeds.index(seed) for seed in common]
    return own, theirs


def _image_intervals(
    pairs: Mapping[str, Sequence[tuple[RunResult, RunResult]]],
    decision: str,
    topk: int,
    num_resamples: int,
    columns: Sequence[str],
) -> dict[tuple[str, str], tuple[float, float]]:
    """Bootstrap the mean differences of pairs of runs; all methods get the same resamples.

    Returns:
        Method and column to the ends of their interval; columns that cannot be computed are absent.
    """
    runs_of = {method: list(itertools.chain.from_iterable(own)) for method, own in pairs.items()}
    runs = {(run.method, run.seed): run for run in itertools.chain.from_iterable(runs_of.values())}
    if not runs:
        return {}

    resampled = {key: _Resampled.of(run, decision, topk) for key, run in runs.items()}
    defined = []
    for method, name in itertools.product(pairs, columns):
        own = [resampled[run.method, run.seed] for run in runs_of[method]]
        if all(item.defines(name) for item in own):
            defined.append((method, name))

    def mean_differences(weights: np.ndarray) -> np.ndarray:
        results = pool.map(lambda item: item.figures(weights, columns), resampled.values())
        figures = dict(zip(resampled, results, strict=True))
        return np.stack(
            [_mean_difference(figures, pairs[method], name) for method, name in defined]
        )

    num_images = len(next(iter(runs.values())).test.targets)
    with ThreadPoolExecutor() as pool:  # NumPy lets other threads run
        found = bootstrap_images(mean_differences, num_images, num_resamples)
    ends = zip(found.low.tolist(), found.high.tolist(), strict=True)
    return dict(zip(defined, ends, strict=True))


def _mean_difference(
    figures: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
    pairs: Sequence[tuple[RunResult, RunResult]],
    column: str,
) -> np.ndarray:
    """Average the differences of pairs of runs in a column for each resample (B,)."""
    changes = [
        figures[first.method, first.seed][column] - figures[second.method, second.seed][column]
        for first, second in pairs
    ]
    return np.mean(changes, axis=0)


class _Resampled(NamedTuple):
    """The data for computing the figures of one run on resampled test images.

    Attributes:
        sets: Its label sets.
        ranked: For mAP; None without scores, or if there are too many.
        right: For top-1 (N,), 1 if the best label is a true one; None without scores.
    """

    sets: LabelSets
    ranked: RankedLabels | None
    right: np.ndarray | None

    @classmethod
    def of(cls, run: RunResult, decision: str, topk: int) -> '_Resampled':
        side, decided = run.test, decide(run, decision, topk)
        assert decided is not None  # only methods with this decision are compared
        ranked = right = None
        if side.scores is not None and side.targets.size <= MOST_RANKED:
            ranked = RankedLabels.of(side.scores, side.targets)
        if side.top_scores is not None:
            right = best_is_true(side.top_scores, side.targets).astype(np.float64)
        return cls(LabelSets.of(decided.labels, side.targets), ranked, right)

    def defines(self, name: str) -> bool:
        """Return whether a column can be computed."""
        missing = {'mAP': self.ranked is None, 'top-1': self.right is None}
        return not missing.get(name, False)

    def figures(self, weights: np.ndarray, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """Compute the columns that are defined, (B,) each, from weights (B, N)."""
        figures = self.sets.figures(weights)
        if 'mAP' in columns and self.ranked is not None:
            figures['mAP'] = self.ranked.mean_average_precision(weights)
        if 'top-1' in columns and self.right is not None:
            figures['top-1'] = 100 * weights @ self.right / weights.sum(axis=1)
        return figures


def _correct_by_column(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of each column for the number of methods."""
    corrected: dict[tuple[str, str], float] = {}
    for column in dict.fromkeys(item.column for item in comparisons):
        family = [item for item in comparisons if item.column == column]
        values = correct_p_values([item.seeds.p_value for item in family])
        for item, value in zip(family, values, strict=True):
            corrected[item.method, column] = value
    return [replace(item, p_holm=corrected[item.method, item.column]) for item in comparisons]
