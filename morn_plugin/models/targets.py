"""Target vectors from data samples."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def stack_targets(
    samples: Sequence[Any],
    num_classes: int,
    device: torch.device | str = 'cpu',
) -> Tensor:
    """Stack the true labels of a batch.

    Args:
        samples: N data samples, or dicts of their fields, with ``gt_score`` (C,) or ``gt_label``
            (indices, possibly none).
        num_classes: C.
        device: Device of the result.

    Returns:
        Float (N, C); 1 true, 0 false, -1 ignored; between 0 and 1 if an augmentation mixed images.

    Raises:
        ValueError: If a sample has neither, or a label or length is out of range; names the image.

    Examples:
        >>> indices, scores = torch.tensor([0, 2]), torch.tensor([0, -1, 1])
        >>> stack_targets([dict(gt_label=indices), dict(gt_score=scores)], 3).tolist()
        [[1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]
    """
    target = torch.zeros(len(samples), num_classes)
    rows, labels = [], []

    for row, sample in enumerate(samples):
        if 'gt_score' in sample:
            score = sample.get('gt_score')
            if score.shape != (num_classes,):
                raise ValueError(
                    f'Expected gt_score of {num_classes} classes, but got {tuple(score.shape)}, in '
                    f'{describe(sample)}.'
                )

            target[row] = score
        elif 'gt_label' in sample:
            indices = sample.get('gt_label').tolist()
            if indices and not 0 <= min(indices) <= max(indices) < num_classes:
                raise ValueError(
                    f'Expected gt_label in 0..{num_classes - 1}, but got {indices}, in '
                    f'{describe(sample)}.'
                )

            rows += [row] * len(indices)
            labels += indices
        else:
            raise ValueError(
                f'Expected gt_label or gt_score, but got neither, in {describe(sample)}.'
            )

    target[rows, labels] = 1
    return target.to(device, non_blocking=True)


def describe(sample: Any) -> str:
    """Name the image of a data sample or of a dict of its fields, for messages."""
    return str(
        sample.get('img_path', None)
        or f'a sample without img_path (it has {sorted(sample.keys())})'
    )
