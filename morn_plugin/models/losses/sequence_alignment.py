"""The order of the true labels that best fits an RNN's own predictions.

Yazici, Gonzalez-Garcia, Ramisa, Twardowski, van de Weijer, "Orderless Recurrent Models for
Multi-Label Classification", CVPR 2020. An RNN that receives its own predictions learns from a
sequence whose order is chosen for every image in every training step. The choice has no gradient.

N images, C labels, T steps, L places of a sequence, n labels of an image. Symbol C is END.
"""

import numpy as np
import torch
from torch import Tensor

from ...utils.checks import check_choice

ALIGNMENTS = ('mla', 'pla', 'pla_release')
NO_LABEL = -1


def align_sequences(
    step_logits: Tensor,
    sequences: Tensor,
    lengths: Tensor,
    how: str,
) -> Tensor:
    """Choose the order of the labels in each sequence.

    Args:
        step_logits: (N, T, C + 1), T at least as long as the longest sequence.
        sequences: (N, L): the n labels of an image in any order, END, and padding.
        lengths: (N,): n + 1.
        how: ``'mla'``, minimal loss alignment: the order with the least cross-entropy over the n
            steps. ``'pla'``, predicted label alignment, as the paper defines it: a true label that
            is the best symbol of one of the n steps is placed at the first such step; the others
            are assigned to the remaining steps with the least cross-entropy. ``'pla_release'``, as
            in the authors' code: predicted labels are swapped to their steps; then only labels that
            are the best symbol of none of the T steps are matched. So a label predicted after step
            n stays where the swaps put it, and the given order matters.

    Returns:
        (N, L): the labels of each image in the chosen order; everything else unchanged.

    Raises:
        ValueError: If a shape or an option does not fit.

    Examples:
        >>> logits = torch.tensor([[[0., 9., 0.], [9., 0., 0.], [0., 0., 9.]]])
        >>> align_sequences(logits, torch.tensor([[0, 1, 2]]), torch.tensor([3]), 'mla')
        tensor([[1, 0, 2]])
    """
    check_choice('how', how, ALIGNMENTS)
    _check_shapes(step_logits, sequences, lengths)
    num_places = sequences.shape[1]
    place = torch.arange(num_places, device=lengths.device)
    labelled = place < (lengths - 1)[:, None]  # (N, L)

    labels = torch.where(labelled, sequences, 0)  # padding may not be a symbol
    exact = torch.promote_types(step_logits.dtype, torch.float32)
    logits = step_logits.detach()[:, :num_places].to(exact)
    losses = -logits.log_softmax(dim=2)
    costs = losses.gather(2, labels[:, None].expand(-1, num_places, -1))  # (N, step, place)

    picks = step_logits.argmax(dim=2)  # (N, T)
    arrays = [array.cpu().numpy() for array in (costs, picks, sequences, labelled)]
    origins = _choose_origins(how, *arrays)
    return sequences.gather(1, torch.from_numpy(origins).to(sequences.device))


def _check_shapes(step_logits: Tensor, sequences: Tensor, lengths: Tensor) -> None:
    if step_logits.dim() != 3 or not step_logits.is_floating_point():
        raise ValueError(
            'Expected `step_logits` to be a floating-point (N, T, C + 1), but got '
            f'{tuple(step_logits.shape)} of {step_logits.dtype}.'
        )

    num_images, num_steps = step_logits.shape[:2]
    if sequences.dim() != 2 or len(sequences) != num_images or sequences.shape[1] > num_steps:
        raise ValueError(
            f'Expected `sequences` (N, L) of {num_images} images and at most {num_steps} places, '
            'one for each step of step_logits (N, T, C + 1), but got '
            f'{tuple(sequences.shape)} beside {tuple(step_logits.shape)}: run more steps.'
        )
    if lengths.shape != (num_images,):
        raise ValueError(
            f'Expected `lengths` of shape ({num_images},), one for each sequence, but got '
            f'{tuple(lengths.shape)}.'
        )


def _choose_origins(
    how: str,
    costs: np.ndarray,
    picks: np.ndarray,
    sequences: np.ndarray,
    labelled: np.ndarray,
) -> np.ndarray:
    """Choose for each place of a sequence the origin of its symbol.

    Args:
        how: See :func:`align_sequences`.
        costs: (N, L, L), the cross-entropy at a step of the label at a place.
        picks: (N, T), the best symbol of each step.
        sequences: (N, L).
        labelled: (N, L), the places of labels.

    Returns:
        (N, L), a permutation in each row.
    """
    places = np.arange(sequences.shape[1])
    unmoved = np.tile(places, (len(sequences), 1))
    if how == 'mla':
        return _match(costs, unmoved, labelled)

    origins, placed = _swap_to_predicted_steps(picks, sequences, unmoved, labelled)
    if how == 'pla':
        return _match(costs, origins, labelled & ~placed)

    swapped = np.take_along_axis(sequences, origins, axis=1)
    predicted = (swapped[:, :, None] == picks[:, None, :]).any(axis=2)  # (N, L), at any step
    return _match(costs, origins, labelled & ~predicted)


def _swap_to_predicted_steps(
    picks: np.ndarray,
    sequences: np.ndarray,
    origins: np.ndarray,
    labelled: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Move each true label to the first step that predicts it, by a swap with the label there.

    Args:
        picks: (N, T), the best symbol of each step.
        sequences: (N, L).
        origins: (N, L), where the symbol of each place comes from; changed in place.
        labelled: (N, L), the places of labels.

    Returns:
        ``origins``, and a mask (N, L) of the places whose label was moved there or was already
        there.
    """
    placed = np.zeros_like(labelled)
    unplaced = np.where(labelled, sequences, NO_LABEL)  # the label of each place, as it moves

    for step in range(sequences.shape[1]):
        rows, columns = np.nonzero(unplaced == picks[:, step, None])  # at most one of an image
        has_place = labelled[rows, step]
        rows = rows[has_place]
        columns = columns[has_place]

        there = origins[rows, columns]
        origins[rows, columns] = origins[rows, step]
        origins[rows, step] = there
        unplaced[rows, columns] = unplaced[rows, step]
        unplaced[rows, step] = NO_LABEL
        placed[rows, step] = True

    return origins, placed


def _match(
    costs: np.ndarray,
    origins: np.ndarray,
    free: np.ndarray,
) -> np.ndarray:
    """Reassign the labels at the free places (N, L) of each sequence, with the least cost.

    Changes ``origins`` (N, L) in place and returns it.
    """
    from scipy.optimize import linear_sum_assignment  # takes a third of a second

    for image in np.flatnonzero(free.sum(axis=1) > 1):
        places = np.flatnonzero(free[image])
        labels = origins[image, places]
        _, columns = linear_sum_assignment(costs[image, places[:, None], labels])
        origins[image, places] = labels[columns]
    return origins
