"""CMA and MS-CMA: labels attend to the places that resemble them.

You, Guo, Cui, Long, Bao, Wen, "Cross-Modality Attention with Semantic Graph Embedding for
Multi-Label Classification", AAAI 2020. Details are recalled from the paper. The paper's label
embeddings start as word vectors and are moved to agree with the co-occurrence of labels. Here they
are learnt from the co-occurrence alone, which is all that the loss needs.

N images, D features, C labels, M width of the embeddings, L = H W places.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_positive, check_probability
from ..losses.label_loss import label_loss
from .base import LabelDecoder


class CrossModalityAttention(nn.Module):
    """The attention of all labels over one map, and one linear layer per label.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the map D.
        embed_dims: Width of the embeddings M.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        embed_dims: int,
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, embed_dims, 1, bias=False), nn.BatchNorm2d(embed_dims)
        )
        self.weight = nn.Parameter(torch.empty(num_classes, embed_dims))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.uniform_(self.weight, -(embed_dims**-0.5), embed_dims**-0.5)

    def attend(self, places: Tensor, embeddings: Tensor) -> Tensor:
        """Compute the attention: relu of the cosine, divided by its sum over places.

        Args:
            places: Projected features (N, L, M).
            embeddings: (C, M).

        Returns:
            (N, C, L), sums to 1 for each label; uniform if no place resembles the label.
        """
        places = F.normalize(places, dim=2)
        embeddings = F.normalize(embeddings, dim=1)
        cosine = places @ embeddings.t()  # (N, L, C)
        similar = cosine.transpose(1, 2).relu()
        total = similar.sum(dim=2, keepdim=True)
        even = torch.full_like(similar, 1 / similar.shape[2])
        return torch.where(total > 1e-6, similar / total.clamp(min=1e-6), even)

    def forward(self, feature_map: Tensor, embeddings: Tensor) -> Tensor:
        """Map a feature map (N, D, H, W) and embeddings (C, M) to logits (N, C)."""
        places = self.project(feature_map).flatten(2).transpose(1, 2)  # (N, L, M)
        contents = self.attend(places, embeddings) @ places  # (N, C, M)
        return (contents * self.weight).sum(2) + self.bias


class MultiScaleCMA(LabelDecoder):
    """MS-CMA: attention on the maps of several stages; losses are summed, probabilities averaged.

    Args:
        num_classes: Number of labels C.
        stage_channels: Channels of the backbone's stages, those of its ``out_indices``.
        embed_dims: Width of the embeddings M. Defaults to 256.
        bound: Pairs of labels that co-occur less than this, 0-1, and whose embeddings are no
            closer, are not moved. Defaults to 0.02.

    Raises:
        ValueError: If an option is out of its range.
    """

    inputs: tuple[str, ...] = ('stage_maps',)
    needs_training_labels = True
    display_name = 'MS-CMA'

    embeddings: Tensor

    def __init__(
        self,
        num_classes: int,
        stage_channels: Sequence[int] = (1024, 2048),
        embed_dims: int = 256,
        bound: float = 0.02,
    ) -> None:
        super().__init__(num_classes)
        check_positive(embed_dims=embed_dims)
        check_probability('bound', bound)
        self.stage_channels = tuple(stage_channels)
        self.embed_dims = embed_dims
        self.bound = bound
        self.stages = nn.ModuleList(
            CrossModalityAttention(num_classes, channels, embed_dims)
            for channels in self.stage_channels
        )
        self.register_buffer('embeddings', torch.zeros(num_classes, embed_dims))
        self._is_prepared = False

    def prepare(self, class_names: Sequence[str], targets: np.ndarray) -> None:
        """Learn the label embeddings from the co-occurrence of the training labels.

        Args:
            class_names: Names of the C labels.
            targets: (N, C) int8 in {0, 1, -1}.

        Raises:
            ValueError: If the classes differ from those the decoder was built for.
        """
        self.check_training_set(class_names, targets)
        affinity = label_affinity(torch.from_numpy(targets == 1))
        learnt = embed_labels(affinity, self.embed_dims, self.bound)
        self.embeddings.copy_(learnt)
        self._is_prepared = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._is_prepared = bool(self.embeddings.any())  # once, so that no batch waits for it

    def loss(self, *, target: Tensor, **inputs: Any) -> dict[str, Tensor]:
        """Compute ``loss_cma``: sigmoid cross-entropy, summed over the stages."""
        answers = self._answers(**inputs)
        self.check_target(target, len(answers[0]))
        losses = [label_loss(nn.BCEWithLogitsLoss(), logits, target) for logits in answers]
        return dict(loss_cma=torch.stack(losses).sum())

    def predict(self, **inputs: Any) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), the stages' probabilities averaged."""
        probabilities = [logits.sigmoid() for logits in self._answers(**inputs)]
        return dict(pred_score=torch.stack(probabilities).mean(0))

    def _maps(self, *args: Any, **inputs: Any) -> tuple[Tensor, ...]:
        """Select the attended maps from the inputs."""
        return inputs['stage_maps']

    def _answers(self, **inputs: Any) -> list[Tensor]:
        """Compute the logits (N, C) of each stage."""
        stage_maps = self._maps(**inputs)
        self.check_stage_maps(stage_maps, self.stage_channels)
        if not self._is_prepared:
            raise RuntimeError(
                f'{type(self).__name__} has no label embeddings yet: add PrepareDecoderHook to the '
                'hooks, or call `prepare` with the training annotations.'
            )

        return [
            stage(feature_map, self.embeddings)
            for stage, feature_map in zip(self.stages, stage_maps, strict=True)
        ]


class CMA(MultiScaleCMA):
    """CMA: attention on the map of the last stage.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the map D.
        embed_dims: Width of the embeddings M. Defaults to 256.
        bound: See :class:`MultiScaleCMA`.
    """

    inputs = ('feature_map',)
    display_name = 'CMA'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        embed_dims: int = 256,
        bound: float = 0.02,
    ) -> None:
        super().__init__(num_classes, (in_channels,), embed_dims, bound)
        self.in_channels = in_channels

    def _maps(self, feature_map: Tensor) -> tuple[Tensor, ...]:
        return (feature_map,)


def label_affinity(present: Tensor) -> Tensor:
    """Compute how often labels co-occur: the mean of P(i | j) and P(j | i).

    Args:
        present: Training labels, boolean (N, C).

    Returns:
        (C, C), 0-1, symmetric, with ones on the diagonal.

    Examples:
        >>> label_affinity(torch.tensor([[True, True], [True, False]])).tolist()
        [[1.0, 0.75], [0.75, 1.0]]
    """
    counts = present.float()
    together = counts.t() @ counts
    given = together / together.diagonal().clamp(min=1)  # P(row | column)
    affinity = (given + given.t()) / 2
    return affinity.fill_diagonal_(1)


def embed_labels(
    affinity: Tensor,
    embed_dims: int,
    bound: float,
    num_steps: int = 300,
) -> Tensor:
    """Find embeddings whose cosines are the affinities.

    They start from the largest eigenvectors and are optimised by Adam. Pairs that co-occur less
    than ``bound`` and lie no closer than that are left out of the squared error.

    Args:
        affinity: (C, C), see :func:`label_affinity`.
        embed_dims: Width M.
        bound: 0-1.
        num_steps: Steps of Adam.

    Returns:
        (C, M) of unit length, the same on every run.
    """
    values, vectors = torch.linalg.eigh(affinity)
    start = vectors * values.clamp(min=1e-3).sqrt()
    width = min(embed_dims, len(affinity))
    padded = F.pad(start.flip(1)[:, :width], (0, embed_dims - width))

    embeddings = padded.clone().requires_grad_()
    optimizer = torch.optim.Adam([embeddings], lr=1e-2)
    with torch.enable_grad():
        for _ in range(num_steps):
            optimizer.zero_grad()
            unit = F.normalize(embeddings, dim=1)
            cosine = unit @ unit.t()
            counts = (affinity >= bound) | (cosine > bound)
            ((cosine - affinity).square() * counts).sum().backward()
            optimizer.step()

    return F.normalize(embeddings.detach(), dim=1)
