"""MS-CNN: fuses the maps of all stages into one feature for the labels and their number.

Niu, Lu, Wen, Xiang, Chang, "Multi-Modal Multi-Scale Deep Learning for Large-Scale Image
Annotation", TIP 2019, without user tags. The structure follows the unofficial port;
``configs/ms_cnn/README.md`` lists the differences.

N images, C labels, D_i channels of stage i, E width of the fused feature.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ...utils.checks import check_positive
from ..decisions.quantity import LabelQuantity
from ..losses.label_loss import label_loss
from .base import LabelDecoder
from .lstm import BiasedBatchNorm1d


class MultiScaleFusion(LabelDecoder):
    """A branch beside the backbone that carries the early stages' maps to the last one.

    Stage by stage, a fusion block halves the map, and the result is added to the map of the next
    stage. The last sum, averaged over its places, is the feature that a linear layer scores.

    Args:
        num_classes: Number of labels C.
        stage_channels: Channels of the backbone's stages, those of its ``out_indices``, finest
            first. Defaults to those of a ResNet-50 or deeper.
        embed_dims: Width of the fused feature E. Defaults to 2048.
        quantity: Whether to learn the number of labels from the feature too and predict that many
            of the best (LQP). Defaults to True; otherwise a threshold decides.

    Raises:
        ValueError: If an option is out of its range.
    """

    inputs = ('stage_maps',)

    def __init__(
        self,
        num_classes: int,
        stage_channels: Sequence[int] = (256, 512, 1024, 2048),
        embed_dims: int = 2048,
        quantity: bool = True,
    ) -> None:
        super().__init__(num_classes)
        check_positive(embed_dims=embed_dims)
        if len(stage_channels) < 2:
            raise ValueError(
                'MultiScaleFusion expected the channels of two stages or more to fuse, but got '
                f'stage_channels={tuple(stage_channels)}.'
            )

        self.stage_channels = tuple(stage_channels)
        self.blocks = nn.ModuleList(
            fusion_block(channels, following)
            for channels, following in zip(
                self.stage_channels[:-1], self.stage_channels[1:], strict=True
            )
        )
        self.embed = nn.Sequential(
            nn.Linear(self.stage_channels[-1], embed_dims),
            BiasedBatchNorm1d(embed_dims),  # which accepts a batch of one
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(embed_dims, num_classes)
        self.quantity = LabelQuantity(num_classes, embed_dims) if quantity else None

        self.has_threshold = self.quantity is None
        self.display_name = 'MS-CNN+LQP' if quantity else 'MS-CNN'

    def fuse(self, stage_maps: tuple[Tensor, ...]) -> Tensor:
        """Fuse the maps of the stages, (N, D_i, H_i, W_i) each, into one feature (N, E).

        Raises:
            ValueError: If the stages differ, or one is not half as high and wide as the previous
                one.
        """
        self.check_stage_maps(stage_maps, self.stage_channels)
        fused = stage_maps[0]

        for block, following in zip(self.blocks, stage_maps[1:], strict=True):
            halved = block(fused)
            if halved.shape != following.shape:
                raise ValueError(
                    'MultiScaleFusion expected every stage to halve the map of the one before, '
                    f'{tuple(halved.shape)} here, but got {tuple(following.shape)}: name stages '
                    "that do by the backbone's `out_indices`."
                )

            fused = halved + following

        return self.embed(fused.mean(dim=(2, 3)))

    def logits(self, stage_maps: tuple[Tensor, ...]) -> Tensor:
        """Map the maps of the stages to logits (N, C)."""
        return self.fc(self.fuse(stage_maps))

    def loss(self, *, stage_maps: tuple[Tensor, ...], target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_labels``, and ``loss_quantity`` without gradient to the feature."""
        feature = self.fuse(stage_maps)
        logits = self.fc(feature)
        self.check_target(target, len(logits))
        losses = dict(loss_labels=label_loss(nn.BCEWithLogitsLoss(), logits, target))
        if self.quantity is not None:
            seen = dict(scores=logits.detach().sigmoid(), features=feature.detach())
            losses |= self.quantity.loss(target=target, **seen)
        return losses

    def predict(self, stage_maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1, and with a quantity ``pred_label`` (N, C)."""
        feature = self.fuse(stage_maps)
        scores = self.fc(feature).sigmoid()
        if self.quantity is None:
            return dict(pred_score=scores)
        return dict(pred_score=scores, pred_label=self.quantity.decide(scores, features=feature))


def fusion_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return the layers that halve a map and map it to the channels of the next stage."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
