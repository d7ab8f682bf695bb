"""Images and label sets in one space, and a decoder from there to labels.

After Li, Liu, Duan, Gao, Zheng, "Reconstruction Regularized Deep Metric Learning for Multi-label
Image Classification" (RETDM), TNNLS 2019; ``configs/retdm_style/README.md`` says what is known of
it and what is our own choice.

N images, D features, C labels, E width of the space.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_positive
from ..decisions.quantity import mlp
from ..losses.label_loss import label_loss
from ..losses.two_way_margins import two_way_margin_loss
from .base import LabelDecoder


class LabelSetEmbedding(LabelDecoder):
    """Embeds images and label sets in one space and reads an image's labels from its point.

    Two networks map features and label sets to points of length 1; a third maps points back to
    labels. The third learns from the points of label sets and is applied to the points of images.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D.
        embed_dims: Width of the space E. Defaults to 128.
        hidden_dims: Widths of the hidden layers of each network, with ReLU after each. Defaults to
            one of 512.
        num_neighbours: Number of label sets of the batch that each is kept apart from. Defaults to
            5.
        margin: Margin between label sets without common labels; points are at most 2 apart.
            Defaults to 1.
        reconstruction_weight: Weight of the reconstruction of label sets, cross-entropy summed over
            labels. Defaults to 1.

    Raises:
        ValueError: If an option is out of its range.
    """

    inputs = ('features',)
    display_name = 'RETDM-style'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        embed_dims: int = 128,
        hidden_dims: Sequence[int] = (512,),
        num_neighbours: int = 5,
        margin: float = 1.0,
        reconstruction_weight: float = 1.0,
    ) -> None:
        super().__init__(num_classes)
        check_positive(in_channels=in_channels, num_neighbours=num_neighbours)
        if not margin > 0 or not reconstruction_weight > 0:
            raise ValueError(
                'Expected a positive `margin` and `reconstruction_weight`, but got '
                f'margin={margin!r}, reconstruction_weight={reconstruction_weight!r}.'
            )

        self.in_channels = in_channels
        self.num_neighbours = num_neighbours
        self.margin = margin
        self.reconstruction_weight = reconstruction_weight
        self.embed_features = mlp(in_channels, hidden_dims, embed_dims)
        self.embed_labels = mlp(num_classes, hidden_dims, embed_dims)
        self.read_labels = mlp(embed_dims, hidden_dims, num_classes)

    def place_images(self, features: Tensor) -> Tensor:
        """Map features (N, D) to points of length 1, (N, E)."""
        self.check_features(features, self.in_channels)
        return F.normalize(self.embed_features(features), dim=1)

    def place_label_sets(self, target: Tensor) -> Tensor:
        """Map label sets (N, C) to points of length 1, (N, E); ignored labels count as absent."""
        return F.normalize(self.embed_labels(target.clamp(min=0)), dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, D) to logits (N, C)."""
        return self.read_labels(self.place_images(features))

    def loss(self, *, features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_margins``, and ``loss_reconstruction`` of the label sets."""
        self.check_target(target, len(features))
        images = self.place_images(features)
        label_sets = self.place_label_sets(target.to(images.dtype))

        margins = two_way_margin_loss(images, label_sets, target, self.num_neighbours, self.margin)
        back = label_loss(nn.BCEWithLogitsLoss(), self.read_labels(label_sets), target)
        return dict(loss_margins=margins, loss_reconstruction=self.reconstruction_weight * back)

    def predict(self, features: Tensor) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1."""
        return dict(pred_score=self.logits(features).sigmoid())
