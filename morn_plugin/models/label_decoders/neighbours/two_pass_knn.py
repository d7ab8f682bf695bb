"""2PKNN: takes the nearest images of every label, so that rare labels have neighbours too.

Verma, Jawahar, "Image annotation using metric learning in semantic neighbourhoods", ECCV 2012, and
"Image annotation by propagating labels from semantic neighbourhoods", IJCV 2017. There is no metric
learning: with one distance, only the bandwidth must be chosen.

N images, Q queries, C labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....utils.checks import check_choice
from .memory import NeighbourDecoder
from .search import distances_to, rank_candidates, sum_squares

NORMALIZE = ('none', 'training', 'transductive')


class TwoPassKNN(NeighbourDecoder):
    """Two passes: the K1 nearest images of each label, then a vote of their union.

    A vote is exp(-bandwidth * (d - d_min) / d_mean), with d_min and d_mean over the union; the
    scores of an image sum to 1. ``prepare`` stores the training set, and nothing is trained
    (``train_cfg=dict(type='PrepareLoop')``).

    Args:
        num_classes: Number of labels C.
        num_neighbours: K1, the nearest images of each label; all of them if a label has fewer.
        bandwidth: w, positive.
        normalize_labels: Divide the scores of each label by their maximum: over the training
            images, each left out of its own neighbours (``'training'``, or True), or over the
            predicted batch (``'transductive'``, as in the authors' release: the prediction for an
            image then depends on the others). Defaults to ``'none'``, also None or False.
        normalize: Divide features by their L2 norm first.
        memory_file: See :class:`NeighbourDecoder`.

    Raises:
        ValueError: If an option is unknown, or a number is not positive.
    """

    display_name = '2PKNN'

    label_maxima: Tensor
    members: Tensor

    def __init__(
        self,
        num_classes: int,
        num_neighbours: int = 4,
        bandwidth: float = 1.0,
        normalize_labels: str | bool | None = 'none',
        normalize: bool = True,
        memory_file: str | None = None,
    ) -> None:
        super().__init__(num_classes, num_neighbours, normalize, memory_file)
        if not bandwidth > 0:
            raise ValueError(f'Expected `bandwidth` to be a positive number, but got {bandwidth}.')
        if normalize_labels in (None, False, True):
            normalize_labels = 'training' if normalize_labels else 'none'
        check_choice('normalize_labels', normalize_labels, NORMALIZE)
        self.normalize_labels = normalize_labels
        self.depends_on_batch = normalize_labels == 'transductive'

        # A parameter, so that a loop can train it further; it starts at the given value.
        self.bandwidth = torch.nn.Parameter(torch.tensor(float(bandwidth)))
        self.register_buffer('label_maxima', torch.ones(num_classes))
        # The images of each label that has some, label after label; follows from the memory.
        self.register_buffer('members', torch.empty(0, dtype=torch.long), persistent=False)
        self._num_members: list[int] = []

    def prepare(self, class_names: Sequence[str], targets: np.ndarray, features: Any) -> None:
        """Store the training set, see :meth:`NeighbourDecoder.prepare`.

        If scores are normalised over it, also compute the maximum of each label.
        """
        super().prepare(class_names, targets, features)
        if self.normalize_labels != 'training':
            return

        with torch.no_grad():
            own = torch.arange(len(self.memory), device=self.memory.device)
            maxima = torch.zeros(self.num_classes, dtype=self.memory.dtype, device=own.device)
            for rows in own.split(256):
                scores = self._score(self.memory[rows], exclude=rows)
                maxima = torch.maximum(maxima, scores.amax(dim=0))

            self.label_maxima = torch.where(maxima > 0, maxima, 1)

    def loss(self, features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_two_pass_knn``: cross-entropy of an image's scores and its true labels.

        Only the bandwidth gets a gradient. An image without true labels adds nothing.
        """
        self.check_target(target, len(features))
        scores = self._score(self.read_queries(features))
        truth = target.clamp(min=0)
        share = truth / truth.sum(1, keepdim=True).clamp(min=1)
        tiny = torch.finfo(scores.dtype).tiny
        return dict(loss_two_pass_knn=-(share * scores.clamp(min=tiny).log()).sum() / len(scores))

    def predict(self, features: Tensor) -> dict[str, Tensor]:
        """Score the labels of a batch.

        Returns:
            ``pred_score`` (Q, C), 0-1; without the division per label the rows sum to 1. A score is
            not a probability: calibrate a threshold, or take the best few.
        """
        scores = self._score(self.read_queries(features))
        if self.normalize_labels == 'training':
            scores = (scores / self.label_maxima).clamp(max=1)
        if self.normalize_labels == 'transductive' and len(scores):
            maxima = scores.amax(dim=0)
            scores = scores / torch.where(maxima > 0, maxima, 1)
        return dict(pred_score=scores)

    def keep_memory(self, memory: Tensor, targets: Tensor) -> None:
        """See the base class; and list the images of each label.

        Raises:
            ValueError: If no image has a label.
        """
        super().keep_memory(memory, targets)
        members = [has_label.nonzero()[:, 0] for has_label in (targets > 0).unbind(1)]
        members = [rows for rows in members if len(rows)]
        if not members:
            raise ValueError(
                'TwoPassKNN looks for neighbours among the images of each label, but no training '
                'image has one.'
            )

        self.members = torch.cat(members).to(self.memory.device)
        self._num_members = [len(rows) for rows in members]

    def _score(self, queries: Tensor, exclude: Tensor | None = None) -> Tensor:
        """Vote: (Q, D) to (Q, C), rows that sum to 1, or zeros where nothing else has a label."""
        ranks = rank_candidates(queries, self.memory, sum_squares(self.memory))  # (Q, N)
        if exclude is not None:
            ranks = ranks.scatter(1, exclude[:, None], float('inf'))
        rows = self._neighbours_of_labels(ranks)  # (Q, P), an image may be there for many labels

        # The union has each image once.
        votes_for = torch.zeros_like(ranks, dtype=torch.bool).scatter(1, rows, True)
        if exclude is not None:
            votes_for = votes_for.scatter(1, exclude[:, None], False)
        near = distances_to(queries, self.memory, rows)
        distances = torch.zeros_like(ranks).scatter(1, rows, near)  # (Q, N)

        lowest = distances.masked_fill(~votes_for, float('inf')).amin(dim=1, keepdim=True)
        inside = distances.masked_fill(~votes_for, 0)
        mean = inside.sum(1, keepdim=True) / votes_for.sum(1, keepdim=True).clamp(min=1)
        mean = torch.where(mean > 0, mean, 1)  # only copies of the query: each has one vote
        votes = torch.exp(-self.bandwidth * (inside - lowest) / mean).masked_fill(~votes_for, 0)

        scores = votes @ self.presence
        total = scores.sum(1, keepdim=True)
        return scores / torch.where(total > 0, total, 1)

    def _neighbours_of_labels(self, ranks: Tensor) -> Tensor:
        """Find the K1 nearest images of every label: (Q, N) to rows of the memory (Q, P)."""
        rows = []
        for members in self.members.split(self._num_members):
            number = min(self.num_neighbours, members.shape[0])
            near = ranks[:, members].topk(number, dim=1, largest=False)
            rows.append(members[near.indices])
        return torch.cat(rows, dim=1)
