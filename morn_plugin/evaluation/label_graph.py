"""Which label follows which on a model's paths, compared with co-occurrence alone.

No MMEngine here.

N images, T steps, C labels. ``paths`` (N, T) are the labels picked at each step, -1 after the end
of a path; ``targets`` (M, C) are training labels in {0, 1, -1}.
"""

from dataclasses import dataclass

import numpy as np

TRANSITION_COLUMNS = ('label', 'next', 'count', 'probability', 'expected', 'lift')


@dataclass(frozen=True)
class LabelGraph:
    """Transitions between labels, arrays (C, C) from rows a to columns b.

    A row is NaN if nothing is known about a.

    Attributes:
        count: How often b directly follows a.
        probability: P(l_t = b | l_{t-1} = a), rows sum to 1.
        expected: The probability if the next label were drawn from the labels that share a training
            image with a, in proportion to how often they do.
        lift: probability / expected; infinite if b follows a but never shares an image with it, NaN
            if both are 0.
    """

    count: np.ndarray
    probability: np.ndarray
    expected: np.ndarray
    lift: np.ndarray


def count_transitions(paths: np.ndarray, num_classes: int) -> np.ndarray:
    """Count how often label b directly follows label a.

    -1, after the end of a path, does not count.

    Returns:
        Integer (C, C).

    Examples:
        >>> count_transitions(np.array([[0, 1, 0], [0, 1, 1]]), 2).tolist()
        [[0, 2], [1, 1]]
        >>> count_transitions(np.array([[0, 1, -1], [1, -1, -1]]), 2).tolist()
        [[0, 1], [0, 0]]
    """
    before = paths[:, :-1].ravel()
    after = paths[:, 1:].ravel()
    pairs = (before * num_classes + after)[(before >= 0) & (after >= 0)]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def expected_transitions(targets: np.ndarray) -> np.ndarray:
    """Compute n_ab / sum over b' != a of n_ab'; n_ab counts the training images with both.

    The diagonal is 0.

    Returns:
        (C, C), rows that sum to 1, NaN for a label that never shares an image.
    """
    true = (targets > 0).astype(np.int64)
    together = true.T @ true
    np.fill_diagonal(together, 0)
    return _normalise(together)


def build_label_graph(paths: np.ndarray, targets: np.ndarray) -> LabelGraph:
    """Compare a model's transitions with those that training co-occurrence predicts.

    Args:
        paths: (N, T), -1 after the end of a path.
        targets: (M, C).

    Raises:
        ValueError: If there is no transition, or a path has an unknown label.
    """
    if paths.ndim != 2 or paths.shape[1] < 2:
        raise ValueError(
            f'Expected paths of at least 2 steps, (N, T), but got shape {paths.shape}.'
        )
    if paths.min() < -1 or paths.max() >= targets.shape[1]:
        raise ValueError(
            f'Expected labels in 0..{targets.shape[1] - 1}, or -1 after the end of a path, but got '
            f'{paths.min()}..{paths.max()}.'
        )

    count = count_transitions(paths, targets.shape[1])
    if not count.any():
        raise ValueError(
            f'Expected a path of at least 2 labels, but each of the {len(paths)} ended before.'
        )

    probability = _normalise(count)
    expected = expected_transitions(targets)
    with np.errstate(divide='ignore', invalid='ignore'):
        return LabelGraph(count, probability, expected, probability / expected)


def structure_share(graph: LabelGraph) -> float | None:
    """Measure how far transitions are from co-occurrence.

    Returns:
        The mean distance of the two rows in total variation, 0-1, over the transitions from labels
        with a known row on both sides; None if there is no such transition.
    """
    known = np.isfinite(graph.probability).all(1) & np.isfinite(graph.expected).all(1)
    weight = graph.count[known].sum(1)
    if not weight.any():
        return None
    distance = np.abs(graph.probability - graph.expected)[known].sum(1) / 2
    return float((distance * weight).sum() / weight.sum())


def _normalise(count: np.ndarray) -> np.ndarray:
    with np.errstate(invalid='ignore'):
        return count / count.sum(1, keepdims=True)


def list_transitions(
    graph: LabelGraph,
    classes: list[str],
    min_count: int,
) -> list[dict]:
    """List transitions under ``TRANSITION_COLUMNS``, the most frequent first.

    Args:
        graph: The transitions.
        classes: Names of the C labels.
        min_count: Leave out rarer transitions.

    Returns:
        One dict per transition; an infinite lift (never together in training) is None.
    """
    a, b = np.nonzero(graph.count >= min_count)
    order = np.argsort(-graph.count[a, b], kind='stable')

    rows = []
    for i, j in zip(a[order], b[order], strict=True):
        row = (
            classes[i],
            classes[j],
            int(graph.count[i, j]),
            _finite_or_none(graph.probability[i, j]),
            _finite_or_none(graph.expected[i, j]),
            _finite_or_none(graph.lift[i, j]),
        )
        rows.append(dict(zip(TRANSITION_COLUMNS, row, strict=True)))

    return rows


def _finite_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def choose_edges(rows: list[dict], number: int) -> list[dict]:
    """Return the transitions that exceed co-occurrence the most.

    Transitions from a label to itself are left out.

    Args:
        rows: See :func:`list_transitions`.
        number: Maximum number.
    """

    def surplus(row: dict) -> float:
        expected = row['expected'] or 0
        return row['count'] * (1 - expected / row['probability'])

    others = [row for row in rows if row['label'] != row['next']]
    best = sorted(others, key=surplus, reverse=True)[:number]
    return [row for row in best if surplus(row) > 0]


def describe_structure(graph: LabelGraph) -> str:
    """Return, as the end of a sentence, the share that co-occurrence does not explain."""
    share = structure_share(graph)
    if share is None:
        return 'none of them leaves a label that shares a training image with another one'
    return f'{100 * share:.0f} % of their probability differs from co-occurrence'
