"""Target vectors from data samples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmpretrain.structures import DataSample


def stack_targets(data_samples: Sequence[DataSample], num_classes: int, device: torch.device | str = 'cpu') -> Tensor:
    """Stack the true labels of a batch.

    Args:
        data_samples: N samples with ``gt_score`` (C,) or ``gt_label`` (indices, possibly none).
        num_classes: C.
        device: Where the result is wanted.

    Returns:
        Float (N, C); 1 true, 0 false, -1 ignored; between 0 and 1 where an augmentation mixed images.

    Raises:
        ValueError: If a sample has neither, or a label or length out of range; names the image.
    """
    target = torch.zeros(len(data_samples), num_classes)
    for row, sample in zip(target, data_samples, strict=True):
        if 'gt_score' in sample:
            if sample.gt_score.shape != row.shape:
                raise ValueError(f'Expected gt_score of {num_classes} classes, but got '
                                 f'{tuple(sample.gt_score.shape)}, in {describe(sample)}.')
            row.copy_(sample.gt_score)
        elif 'gt_label' in sample:
            labels = sample.gt_label.tolist()
            if any(not 0 <= label < num_classes for label in labels):
                raise ValueError(f'Expected gt_label in 0..{num_classes - 1}, but got {labels}, in {describe(sample)}.')
            row[labels] = 1
        else:
            raise ValueError(f'Expected gt_label or gt_score, but got neither, in {describe(sample)}.')
    return target.to(device, non_blocking=True)


def describe(sample: DataSample) -> str:
    """Name the image of a sample, for messages."""
    return str(sample.get('img_path', None) or f'a sample without img_path (fields {sorted(sample.all_keys())})')
