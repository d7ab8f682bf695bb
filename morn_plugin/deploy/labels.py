"""Turns scores into label sets and records, in NumPy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.platt import PlattMap
from ..utils.schemas import ThresholdsContent, check_schema
from ..utils.strict_json import dump_json, parse_json

Thr = float | Sequence[float] | None


@dataclass(frozen=True)
class Thresholds:
    """The thresholds chosen by ``tools/analysis/calibrate.py``.

    Attributes:
        thr: One for all labels, or one per label; 0-1. A score must exceed it.
        classes: Names of the C labels.
        measure: The maximised figure.
        chosen_on: The annotation file of the images it was chosen on.
        score_map: Turns the scores into probabilities; None if they already are, or no map was
            fitted. ``thr`` applies to the model's scores, before the map.
    """

    thr: float | list[float]
    classes: list[str]
    measure: str
    chosen_on: str
    score_map: PlattMap | None = None

    def save(self, path: str | Path) -> None:
        """Write a JSON file; without ``score_map`` if there is none."""
        content = asdict(self)
        content.pop('score_map')
        if self.score_map is not None:
            content['score_map'] = self.score_map._asdict()
        Path(path).write_text(dump_json(content, indent=1) + '\n', encoding='utf-8')

    def map_record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record of an image with probabilities instead of scores.

        Args:
            record: A record of :func:`make_record`; it stays unchanged without ``scores`` (an image
                that could not be read) and without a map.
        """
        if self.score_map is None or 'scores' not in record:
            return record
        scores = self.score_map.probabilities(np.array(record['scores']))
        return dict(record, scores=scores.tolist())


def load_thresholds(path: str | Path, classes: Sequence[str] | None = None) -> Thresholds:
    """Read thresholds.

    Args:
        path: A file written by :meth:`Thresholds.save`.
        classes: The classes of the model, if known.

    Raises:
        ValueError: If the content is not valid or its classes differ; names file and field.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: expected JSON, but byte {error.start} is not UTF-8.') from error

    content = check_schema(ThresholdsContent, parse_json(text, str(path)), str(path))
    fields = dict(content)
    if content.score_map is not None:
        fields['score_map'] = PlattMap(**dict(content.score_map))
    found = Thresholds(**fields)
    if classes is not None and list(classes) != list(found.classes):
        raise ValueError(
            f'{path}: `classes` are not those of the model, in its order: expected '
            f'{list(classes)[:5]}... ({len(classes)}), but got {found.classes[:5]}... '
            f'({len(found.classes)}).'
        )

    return found


def mark_labels(
    scores: np.ndarray,
    thr: Thr = None,
    topk: int | None = None,
    floor: float | None = None,
    inclusive: bool = False,
) -> np.ndarray:
    """Mark the predicted labels of images: score strictly greater than ``thr``, or the best few.

    This equals ``select_labels`` for tensors, plus the conventions of other groups' evaluation
    code.

    Args:
        scores: (N, C), 0-1.
        thr: 0-1, one for all labels or C of them, or None for 0.5. Ignored if ``topk`` is given.
        topk: Predict this many best labels instead. Ties: the lower class index is better.
        floor: Of the ``topk`` best, only those with a score strictly greater than this: at most
            ``topk``. Defaults to None, exactly ``topk``.
        inclusive: A score equal to ``thr`` or ``floor`` is enough.

    Returns:
        Boolean (N, C).

    Raises:
        ValueError: If there are neither 1 nor C thresholds, or ``topk`` is more than C.

    Examples:
        >>> scores = np.array([[0.5, 0.6, 0.1]])
        >>> mark_labels(scores).tolist(), mark_labels(scores, inclusive=True).tolist()
        ([[False, True, False]], [[True, True, False]])
        >>> mark_labels(scores, topk=2).tolist(), mark_labels(scores, topk=2, floor=0.5).tolist()
        ([[True, True, False]], [[False, True, False]])
    """
    num_classes = scores.shape[1]
    exceeds = np.greater_equal if inclusive else np.greater
    if topk is None:
        if isinstance(thr, Sequence) and len(thr) != num_classes:
            raise ValueError(
                f'Expected one threshold for each of {num_classes} labels, but got {len(thr)}.'
            )

        thr = 0.5 if thr is None else thr
        return exceeds(scores, np.asarray(thr, dtype=scores.dtype))

    if topk > num_classes:
        raise ValueError(
            f'Expected `topk` to be at most the number of classes, {num_classes}, but got {topk}.'
        )

    best = np.argsort(-scores, axis=1, kind='stable')[:, :topk]
    marked = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(marked, best, True, axis=1)
    if floor is not None:
        marked &= exceeds(scores, np.asarray(floor, scores.dtype))
    return marked


def choose_labels(
    scores: np.ndarray,
    thr: Thr,
    topk: int | None,
) -> np.ndarray:
    """Return the labels of :func:`mark_labels` for one image, best first.

    Args:
        scores: (C,), 0-1.
        thr: See there.
        topk: See there.

    Returns:
        Class indices.

    Raises:
        ValueError: See there.

    Examples:
        >>> choose_labels(np.array([0.3, 0.6, 0.9]), [0.2, 0.7, 0.5], None).tolist()
        [2, 0]
    """
    return rank_labels(scores, mark_labels(scores[None], thr, topk)[0])


def rank_labels(scores: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Return the class indices of the labels that are marked for one image, best first.

    Args:
        scores: (C,).
        marked: Boolean (C,).

    Examples:
        >>> rank_labels(np.array([0.3, 0.6, 0.9]), np.array([True, False, True])).tolist()
        [2, 0]
    """
    order = np.argsort(-scores, kind='stable')
    return order[marked[order]]


def make_record(
    img_path: str | None,
    classes: Sequence[str],
    scores: np.ndarray,
    labels: np.ndarray,
    cnn_scores: np.ndarray | None = None,
    step_scores: np.ndarray | None = None,
    path: np.ndarray | None = None,
) -> dict[str, Any]:
    """Collect the results of one image as plain values.

    Args:
        img_path: Its file, or None for an array.
        classes: Names of the C labels.
        scores: (C,), 0-1.
        labels: Predicted class indices, best first.
        cnn_scores: (C,), those of the CNN alone.
        step_scores: (T, C).
        path: (T,), the label picked at each step, -1 after the end of a sequence.

    Returns:
        ``img_path``, ``labels``, ``names``, ``scores``, and if the model has them ``cnn_scores``,
        ``step_scores``, ``path`` and ``path_names``. Only ``img_path`` and ``error`` if a score is
        not finite: the labels would have no meaning.
    """
    error = find_not_finite(scores=scores, cnn_scores=cnn_scores, step_scores=step_scores)
    if error:
        image = img_path or 'the image'
        return dict(img_path=img_path, error=f'The prediction for {image} is refused: {error}.')

    path, step_scores = cut_at_end(path, step_scores)
    record: dict[str, Any] = dict(
        img_path=img_path,
        labels=labels.tolist(),
        names=[classes[i] for i in labels],
        scores=scores.tolist(),
    )
    if cnn_scores is not None:
        record['cnn_scores'] = cnn_scores.tolist()
    if step_scores is not None:
        record['step_scores'] = step_scores.tolist()
    if path is not None:
        record |= dict(path=path.tolist(), path_names=[classes[i] for i in path])
    return record


def find_not_finite(**arrays: np.ndarray | None) -> str | None:
    """Look for values that are not finite.

    Args:
        **arrays: Arrays by name; None if the model has none.

    Returns:
        A message with the array and the number of such values, or None.

    Examples:
        >>> find_not_finite(scores=np.array([0.5, np.nan]), cnn_scores=None)
        '1 of its 2 `scores` are not finite'
    """
    for name, array in arrays.items():
        wrong = 0 if array is None else int((~np.isfinite(array)).sum())
        if array is not None and wrong:
            return f'{wrong} of its {array.size} `{name}` are not finite'
    return None


def cut_at_end(
    path: np.ndarray | None, step_scores: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Cut a path that ended early: the steps up to END, and the labels before it.

    Args:
        path: (T,), -1 after the end; or None.
        step_scores: (T, C), or None.

    Examples:
        >>> path, step_scores = cut_at_end(np.array([4, 2, -1, -1]), np.zeros((4, 9)))
        >>> path.tolist(), step_scores.shape
        ([4, 2], (3, 9))
    """
    if path is None:
        return path, step_scores
    labels = np.asarray(path)
    labels = labels[labels >= 0]
    return labels, None if step_scores is None else step_scores[: len(labels) + 1]


def shorten_record(record: dict[str, Any]) -> dict[str, Any]:
    """Keep only the scores of the predicted labels, rounded for display."""
    labels = record['labels']
    short = {
        key: value
        for key, value in record.items()
        if key not in ('scores', 'cnn_scores', 'step_scores')
    }

    for key in ('scores', 'cnn_scores'):
        if key in record:
            short[key] = [round(record[key][label], 4) for label in labels]

    return short
