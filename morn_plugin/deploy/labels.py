"""From scores to label sets and records, in NumPy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.schemas import ThresholdsContent, check_schema
from ..utils.strict_json import dump_json, parse_json

Thr = float | Sequence[float] | None


@dataclass(frozen=True)
class Thresholds:
    """What ``tools/analysis/calibrate.py`` chose.

    Attributes:
        thr: One for all labels, or one a label; 0-1, to be exceeded strictly.
        classes: Names of the C labels.
        measure: What was made best.
        chosen_on: The annotation file of the images it was chosen on.
    """

    thr: float | list[float]
    classes: list[str]
    measure: str
    chosen_on: str

    def save(self, path: str | Path) -> None:
        """Write a JSON file."""
        Path(path).write_text(dump_json(asdict(self), indent=1) + '\n', encoding='utf-8')


def load_thresholds(path: str | Path, classes: Sequence[str] | None = None) -> Thresholds:
    """Read thresholds.

    Args:
        path: A file that :meth:`Thresholds.save` wrote.
        classes: The classes of the model, where they are known.

    Raises:
        ValueError: If the content is not valid, or of other classes; names file and field.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: expected JSON, but byte {error.start} is no UTF-8.') from error
    content = check_schema(ThresholdsContent, parse_json(text, str(path)), str(path))
    found = Thresholds(**dict(content))
    if classes is not None and list(classes) != list(found.classes):
        raise ValueError(
            f'{path}: `classes` are not those of the model, in its order: expected '
            f'{list(classes)[:5]}... ({len(classes)}), but got {found.classes[:5]}... '
            f'({len(found.classes)}).'
        )
    return found


def choose_labels(scores: np.ndarray, thr: Thr, topk: int | None) -> np.ndarray:
    """Give the labels of one image, best first.

    Score strictly greater than ``thr``, or the ``topk`` best.

    The same labels as :func:`morn_plugin.models.heads.label_decoder_head.select_labels` marks in
    tensors.

    Args:
        scores: (C,), 0-1.
        thr: 0-1, one for all labels or C of them, or None for 0.5.
        topk: A positive integer, or None. Of equal scores the lower class index is the better.

    Returns:
        Class indices.

    Raises:
        ValueError: If there are neither 1 nor C thresholds, or ``topk`` is more than C.

    Examples:
        >>> choose_labels(np.array([0.3, 0.6, 0.9]), [0.2, 0.7, 0.5], None).tolist()
        [2, 0]
    """
    order = np.argsort(-scores, kind='stable')
    if topk is not None:
        if topk > len(scores):
            raise ValueError(
                f'Expected `topk` to be at most the number of classes, {len(scores)}, but got '
                f'{topk}.'
            )
        return order[:topk]
    if isinstance(thr, Sequence) and len(thr) != len(scores):
        raise ValueError(
            f'Expected one threshold for each of {len(scores)} labels, but got {len(thr)}.'
        )
    limit = np.asarray(0.5 if thr is None else thr, dtype=scores.dtype)
    return order[(scores > limit)[order]]


def make_record(
    img_path: str | None,
    classes: Sequence[str],
    scores: np.ndarray,
    labels: np.ndarray,
    cnn_scores: np.ndarray | None = None,
    step_scores: np.ndarray | None = None,
    path: np.ndarray | None = None,
) -> dict[str, Any]:
    """Collect what is known of one image as plain values.

    Args:
        img_path: Its file, or None for an array.
        classes: Names of the C labels.
        scores: (C,), 0-1.
        labels: Predicted class indices, best first.
        cnn_scores: (C,), those of the CNN alone.
        step_scores: (T, C).
        path: (T,), the label picked at each step, -1 after the end of a sequence.

    Returns:
        ``img_path``, ``labels``, ``names``, ``scores``, and where the model gives them
        ``cnn_scores``, ``step_scores``, ``path`` and ``path_names``.
    """
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


def cut_at_end(
    path: np.ndarray | None, step_scores: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Cut a path that ended early: the steps up to the one that said END, and the labels before it.

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
    """Leave the scores of the predicted labels alone, rounded: what a person reads."""
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
