"""TagProp: tags propagate from the nearest training images.

Guillaumin, Mensink, Verbeek, Schmid, "TagProp: Discriminative metric learning in nearest neighbor
models for image auto-annotation", ICCV 2009. The weighted likelihood, the constant of the presence
and the initial values follow the authors' release 0.2.

N images, Q queries, C labels, K neighbours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....utils.checks import check_choice
from .memory import NeighbourDecoder
from .search import BLOCK, blocks, nearest

WEIGHTS = ('distance', 'rank')
EPSILON = 5e-4  # from the release; no label is ever impossible or certain


def neighbour_weights(
    distances: Tensor,
    decay: Tensor,
    kind: str = 'distance',
) -> Tensor:
    """Compute the weights of the neighbours, which sum to 1.

    Args:
        distances: (Q, K), ascending.
        decay: A scalar for ``'distance'``: softmax of -decay * distance; (K,) for ``'rank'``:
            softmax of -decay, the same for all queries.
        kind: ``'distance'`` or ``'rank'``.

    Returns:
        (Q, K).
    """
    logits = -decay * distances if kind == 'distance' else (-decay).expand_as(distances)
    return logits.softmax(dim=1)


def propagate(weights: Tensor, presence: Tensor) -> Tensor:
    """Compute the probability of each label.

    Args:
        weights: (Q, K).
        presence: Labels of the neighbours (Q, K, C) in {0, 1}.

    Returns:
        (Q, C), within (0, 1).
    """
    return _bound(torch.einsum('qk,qkc->qc', weights, presence))


def list_votes(presence: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """List every label of every neighbour: few of the (Q, K, C) possible ones.

    Args:
        presence: Labels of the memory (N, C) in {0, 1}.
        rows: The rows of the neighbours in the memory (Q, K).

    Returns:
        The neighbour of each vote, an index into the flattened (Q, K), and its image and label, an
        index into the flattened (Q, C).
    """
    width, num_classes = rows.shape[1], presence.shape[1]
    neighbours, entries = [], []
    for some in blocks(len(rows), BLOCK // max(width * num_classes, 1)):
        image, neighbour, label = presence[rows[some]].nonzero(as_tuple=True)
        image = image + some.start
        neighbours.append(image * width + neighbour)
        entries.append(image * num_classes + label)
    return torch.cat(neighbours), torch.cat(entries)


def propagate_votes(weights: Tensor, votes: tuple[Tensor, Tensor], num_classes: int) -> Tensor:
    """Compute what :func:`propagate` does, from the votes of :func:`list_votes`.

    Args:
        weights: (Q, K).
        votes: The neighbour, and the image and label, of each vote.
        num_classes: C.

    Returns:
        (Q, C), within (0, 1).
    """
    neighbours, entries = votes
    share = weights.new_zeros(len(weights) * num_classes)
    share = share.index_add(0, entries, weights.flatten().index_select(0, neighbours))
    return _bound(share.view(-1, num_classes))


def _bound(share: Tensor) -> Tensor:
    return EPSILON + (1 - 2 * EPSILON) * share


def entry_weights(targets: Tensor) -> Tensor:
    """Weight the entries of a likelihood so that positives and negatives have half each.

    Args:
        targets: (N, C) in {0, 1, -1}; ignored labels have no weight.

    Returns:
        (N, C), sums to 1; zeros where every label is ignored.
    """
    positive = (targets > 0).double()
    negative = (targets == 0).double()
    of_positives = positive / positive.sum().clamp(min=1)
    of_negatives = negative / negative.sum().clamp(min=1)
    halves = of_positives + of_negatives
    return halves / halves.sum().clamp(min=1)  # 2; 1 if one kind is missing; 0 if both are


def weighted_nll(probability: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Compute the weighted negative log-likelihood.

    Args:
        probability: (N, C), 0-1.
        targets: (N, C) in {0, 1, -1}.
        weights: (N, C), see :func:`entry_weights`.

    Returns:
        Scalar.
    """
    tiny = torch.finfo(probability.dtype).tiny
    likelihood = torch.where(targets > 0, probability, 1 - probability)
    return -(weights * likelihood.clamp(min=tiny).log()).sum()


class TagProp(NeighbourDecoder):
    """Weighted nearest neighbours, with a sigmoid per label that boosts rare labels.

    ``prepare`` stores the training set and fits all parameters by L-BFGS, with each image left out
    of its own neighbours. No training loop is needed (``train_cfg=dict(type='PrepareLoop')``).

    Args:
        num_classes: Number of labels C.
        num_neighbours: K. Defaults to 200, as in the paper (recalled).
        weights: ``'distance'``, one decay for the distance, or ``'rank'``, one for each of the K
            ranks.
        sigmoids: Pass the propagated share of each label through its own sigmoid.
        normalize: Divide features by their L2 norm first.
        memory_file: See :class:`NeighbourDecoder`.
        max_iterations: Maximum number of iterations of the fit.

    Raises:
        ValueError: If an option is unknown.
    """

    display_name = 'TagProp'

    decay: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        num_classes: int,
        num_neighbours: int = 200,
        weights: str = 'distance',
        sigmoids: bool = True,
        normalize: bool = True,
        memory_file: str | None = None,
        max_iterations: int = 500,
    ) -> None:
        super().__init__(num_classes, num_neighbours, normalize, memory_file)
        check_choice('weights', weights, WEIGHTS)
        self.weights = weights
        self.sigmoids = sigmoids
        self.max_iterations = max_iterations

        # Parameters, so that a loop can train them further; `prepare` fits them.
        shape = () if weights == 'distance' else (num_neighbours,)
        self.decay = torch.nn.Parameter(torch.zeros(shape))
        if sigmoids:
            self.scale = torch.nn.Parameter(torch.full((num_classes,), 5.0))
            self.offset = torch.nn.Parameter(torch.full((num_classes,), -2.0))

    def prepare(self, class_names: Sequence[str], targets: np.ndarray, features: Any) -> None:
        """Store the training set, see :meth:`NeighbourDecoder.prepare`, and fit to it."""
        super().prepare(class_names, targets, features)
        own = torch.arange(len(self.memory), device=self.memory.device)
        distances, rows = nearest(self.memory, self.memory, self.num_neighbours, exclude=own)
        self.fit(distances, rows)

    def fit(self, distances: Tensor, rows: Tensor) -> float:
        """Find decay, scale and offset with the highest weighted likelihood on the training set.

        Args:
            distances: (N, K) of each training image to its neighbours.
            rows: (N, K), the rows of the neighbours.

        Returns:
            The negative log-likelihood reached.
        """
        from scipy.optimize import minimize  # takes a third of a second

        targets = self.memory_targets
        weights = entry_weights(targets)
        votes = list_votes(self.presence, rows)
        distances = distances.double()

        # One vector holds all parameters, in the order of their names.
        parameters = dict(sorted(self.named_parameters()))
        sizes = [value.numel() for value in parameters.values()]

        def evaluate(point: np.ndarray) -> tuple[float, np.ndarray]:
            vector = torch.tensor(point, device=distances.device, requires_grad=True)
            values = dict(zip(parameters, vector.split(sizes), strict=True))
            nll = self._nll(distances, votes, targets, weights, values)
            nll.backward()
            assert vector.grad is not None
            return nll.detach().item(), vector.grad.cpu().numpy()

        bounds: list[tuple[float | None, None]] = []
        for name, size in zip(parameters, sizes, strict=True):
            is_decay = name == 'decay' and self.weights == 'distance'
            lowest = 0 if is_decay else None
            bounds += [(lowest, None)] * size

        flat = [value.detach().double().flatten().cpu() for value in parameters.values()]
        start = torch.cat(flat).numpy()
        options = dict(maxiter=self.max_iterations, ftol=1e-15, gtol=1e-9, maxcor=30)
        found = minimize(
            evaluate, start, jac=True, method='L-BFGS-B', bounds=bounds, options=options
        )

        fitted = torch.tensor(found.x).split(sizes)
        with torch.no_grad():
            for value, part in zip(parameters.values(), fitted, strict=True):
                value.copy_(part.view_as(value))

        return float(found.fun)

    def _nll(
        self,
        distances: Tensor,
        votes: tuple[Tensor, Tensor],
        targets: Tensor,
        weights: Tensor,
        values: dict[str, Tensor],
    ) -> Tensor:
        decay = values['decay'][0] if self.weights == 'distance' else values['decay']
        of_neighbours = neighbour_weights(distances, decay, self.weights)
        share = propagate_votes(of_neighbours, votes, self.num_classes)
        if self.sigmoids:
            share = (values['scale'] * share + values['offset']).sigmoid()
        return weighted_nll(share, targets, weights)

    def loss(self, features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_tagprop``, the weighted negative log-likelihood of a batch.

        A training image is itself in the memory, so neighbours at distance 0 are left out.
        """
        self.check_target(target, len(features))
        queries = self.read_queries(features)
        distances, rows = nearest(queries, self.memory, self.num_neighbours + 1)

        # One neighbour more was found: leave out the query itself, or else the last one.
        tolerance = 1e-6 * (1 + queries.norm(dim=1, keepdim=True))
        has_itself = distances[:, :1] <= tolerance
        distances = torch.where(has_itself, distances[:, 1:], distances[:, :-1])
        rows = torch.where(has_itself, rows[:, 1:], rows[:, :-1])

        probability = self._score(distances, rows)
        weights = entry_weights(target).to(probability.dtype)
        return dict(loss_tagprop=weighted_nll(probability, target, weights))

    def predict(self, features: Tensor) -> dict[str, Tensor]:
        """Score the labels of a batch.

        Returns:
            ``pred_score`` (Q, C), within (0, 1). Positives have half of the likelihood, so 0.5
            predicts too many labels: calibrate a threshold.
        """
        queries = self.read_queries(features)
        distances, rows = nearest(queries, self.memory, self.num_neighbours)
        return dict(pred_score=self._score(distances, rows))

    def _score(self, distances: Tensor, rows: Tensor) -> Tensor:
        weights = neighbour_weights(distances, self.decay, self.weights)
        share = propagate(weights, self.presence[rows])
        return (self.scale * share + self.offset).sigmoid() if self.sigmoids else share
