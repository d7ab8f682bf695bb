"""Two-way margins of images and label sets in one space.

Following the idea of Li, Liu, Duan, Gao, Zheng, "Reconstruction Regularized Deep Metric Learning
for Multi-label Image Classification" (RETDM), TNNLS 2019: an image should lie nearer to its own
label set than to similar ones, and its label set nearer to it than to the images of those.

N images, C labels, E width of the space, K neighbours.
"""

import torch
from torch import Tensor


def label_set_distances(target: Tensor) -> Tensor:
    """Compute the Jaccard distances between the label sets of a batch.

    Args:
        target: (N, C) in {0, 1, -1}; a label counts for a pair if neither image ignores it.

    Returns:
        (N, N), 0-1: of the labels that either image has, the share that only one has; 0 if neither
        has labels.

    Examples:
        >>> label_set_distances(torch.tensor([[1, 1, 0], [1, 0, 0], [-1, 1, 1]]))
        tensor([[0.0000, 0.5000, 0.5000],
                [0.5000, 0.0000, 1.0000],
                [0.5000, 1.0000, 0.0000]])
    """
    true = (target == 1).float()
    known = (target >= 0).float()
    both = true @ true.t()
    either = true @ known.t() + known @ true.t() - both
    return torch.where(either > 0, 1 - both / either.clamp(min=1), 0)


def two_way_margin_loss(
    images: Tensor, label_sets: Tensor, target: Tensor, num_neighbours: int, margin: float
) -> Tensor:
    """Compute the loss in both directions, over the neighbours of each image's label set.

    [m + d(image, own set) - d(image, neighbour's set)]+ and [m + d(image, own set) - d(neighbour's
    image, own set)]+, where d is Euclidean and m is the margin times the distance of the label
    sets.

    Args:
        images: Embedded images (N, E).
        label_sets: Their embedded label sets (N, E).
        target: (N, C) in {0, 1, -1}.
        num_neighbours: K, the number of other images in the batch whose label sets differ least,
            but do differ.
        margin: Margin between label sets without common labels.

    Returns:
        Scalar: summed over neighbours and directions, averaged over images. 0 if all label sets of
            the batch are equal.
    """
    difference = label_set_distances(target)  # (N, N)
    candidates = difference.masked_fill(difference == 0, float('inf'))
    number = min(num_neighbours, len(target))
    nearest = candidates.topk(number, dim=1, largest=False)  # (N, K)
    counts = nearest.values.isfinite()

    distance = torch.cdist(images, label_sets)  # (N, N): row an image, column a label set
    own = distance.diagonal()[:, None]
    gap = margin * torch.where(counts, nearest.values, 0) + own
    to_sets = (gap - distance.gather(1, nearest.indices)).relu()
    to_images = (gap - distance.t().gather(1, nearest.indices)).relu()
    return ((to_sets + to_images) * counts).sum() / len(target)
