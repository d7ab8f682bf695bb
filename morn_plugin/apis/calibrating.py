"""Chooses thresholds and score maps for a model on its validation images.

N images, C labels.
"""

from dataclasses import dataclass

import numpy as np

from ..deploy.labels import Thresholds, mark_labels
from ..evaluation.calibration import choose_scope, choose_thresholds
from ..evaluation.columns import PAPER_COLUMNS
from ..evaluation.functional import count_sets, overall_precision_recall_f1, paper_figures
from ..evaluation.platt import fit_score_map
from .collecting import PredictionSet

DECISION_COLUMNS = ('precision', 'recall', 'predicted', 'an image')


@dataclass(frozen=True)
class Calibration:
    """The chosen thresholds, and the reason.

    Attributes:
        thresholds: The thresholds, to save and apply to other images.
        reason: Why one threshold or one per label, a sentence; empty if the user chose.
        floor: The requested precision, 0-1; None for other measures.
    """

    thresholds: Thresholds
    reason: str = ''
    floor: float | None = None

    def predict(self, data: PredictionSet) -> np.ndarray:
        """Mark the labels of other images by the thresholds, boolean (N, C)."""
        return mark_labels(data.scores, self.thresholds.thr)


def calibrate(
    val: PredictionSet,
    measure: str = 'per-label-f1',
    scope: str = 'auto',
    floor: float = 0.9,
    with_map: bool = False,
) -> Calibration:
    """Choose thresholds on validation images.

    Args:
        val: The model's predictions on them.
        measure: The figure to maximise: ``'per-label-f1'``, ``'per-image-f1'`` or ``'precision'``.
        scope: ``'global'``, one threshold for all labels; ``'label'``, one for each; or ``'auto'``:
            the result of cross-validation.
        floor: Minimum precision, for ``'precision'``.
        with_map: Also fit the map from scores to probabilities.

    Returns:
        The choice.

    Raises:
        ValueError: If an argument is out of its range, or no map can be fitted.
    """
    reason = ''
    if scope == 'auto':
        choice = choose_scope(val.scores, val.targets, measure, floor)
        scope = choice.scope
        reason = choice.reason

    thr = choose_thresholds(val.scores, val.targets, measure, scope, floor)
    score_map = fit_score_map(val.scores, val.targets) if with_map else None
    chosen_on = val.ann_file.replace('\\', '/').rsplit('/', 1)[-1]
    thresholds = Thresholds(thr, val.classes, measure, chosen_on, score_map)
    return Calibration(thresholds, reason, floor if measure == 'precision' else None)


def compare_decisions(calibration: Calibration, sets: dict[str, PredictionSet]) -> list[str]:
    """Format the effect of the thresholds as lines of text.

    Args:
        calibration: The chosen thresholds.
        sets: Predictions by title, such as those on validation and on test images.

    Returns:
        The paper's columns, then those of all decisions together, each before and after; for a
        requested precision, one line per set says whether it is reached.
    """
    rows = [
        (f'{title}, {when}', data, predicted)
        for title, data in sets.items()
        for when, predicted in (
            ('before', data.predicted),
            ('calibrated', calibration.predict(data)),
        )
    ]
    lines = [f'{"":22}' + ''.join(f'{name:>8}' for name in PAPER_COLUMNS)]
    for title, data, predicted in rows:
        figures = paper_figures(predicted, data.targets)
        lines.append(f'{title:22}' + ''.join(f'{value:8.2f}' for value in figures))

    lines += ['', f'{"all decisions together":26}' + ''.join(f'{n:>11}' for n in DECISION_COLUMNS)]
    for title, data, predicted in rows:
        counts = count_sets(predicted, data.targets, axis=1)
        precision, recall, _ = overall_precision_recall_f1(counts)
        number = int(counts.predicted.sum())
        per_image = counts.predicted.mean()
        lines.append(f'    {title:22}{precision:11.2f}{recall:11.2f}{number:11d}{per_image:11.2f}')

    if calibration.floor is not None:
        lines += ['', *_say_what_is_reached(calibration, sets)]
    return lines


def _say_what_is_reached(calibration: Calibration, sets: dict[str, PredictionSet]) -> list[str]:
    """State for each set whether the precision is reached and how many labels remain."""
    assert calibration.floor is not None
    wanted = 100 * calibration.floor

    lines = []
    for title, data in sets.items():
        counts = count_sets(calibration.predict(data), data.targets, axis=0)
        before = int(count_sets(data.predicted, data.targets, axis=0).predicted.sum())
        left = int(counts.predicted.sum())
        if not left:
            lines.append(f'{title}: no label is predicted, since none is as sure as {wanted:g} %.')
            continue

        precision = overall_precision_recall_f1(counts).precision
        verdict = 'reached' if precision >= wanted else 'NOT reached'
        lines.append(
            f'{title}: precision {precision:.2f} %, the {wanted:g} % are {verdict}; {left} labels '
            f'are predicted, before {before}.'
        )

    return lines
