"""Query2Label: each label is a query that attends to the map.

Liu, Zhang, Yang, Su, Zhu, "Query2Label: A Simple Transformer Way to Multi-Label Classification",
arXiv 2107.10834, 2021.

N images, D features, C labels, L = H W places, M width of the transformer.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.checks import check_positive
from .logit_decoder import LogitDecoder


class Query2Label(LogitDecoder):
    """A transformer whose decoder queries are learnt label embeddings.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the map D.
        embed_dims: Width of the transformer M, a multiple of 4 and of ``num_heads``. Defaults to
            2048.
        num_heads: Attention heads. Defaults to 4.
        num_encoder_layers: Layers over the places. Defaults to 1.
        num_decoder_layers: Layers of label queries. Defaults to 2.
        feedforward_dims: Hidden width of the layers. Defaults to None, M.
        dropout: In the layers. Defaults to 0.1.
        loss: See :class:`LogitDecoder`; the paper's is the asymmetric loss.
        self_attention: Whether the queries of the labels attend to each other in every decoder
            layer, as in the paper's equations. The authors' release leaves that out unless asked;
            the cost of it grows with the square of C. Defaults to True.

    Raises:
        ValueError: If a size is not positive, or the width does not fit the heads.
    """

    inputs = ('feature_map',)
    display_name = 'Query2Label'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        embed_dims: int = 2048,
        num_heads: int = 4,
        num_encoder_layers: int = 1,
        num_decoder_layers: int = 2,
        feedforward_dims: int | None = None,
        dropout: float = 0.1,
        loss: nn.Module | None = None,
        self_attention: bool = True,
    ) -> None:
        super().__init__(num_classes, loss)
        check_positive(
            in_channels=in_channels,
            embed_dims=embed_dims,
            num_heads=num_heads,
            num_encoder_layers=num_encoder_layers,
            num_decoder_layers=num_decoder_layers,
        )
        if embed_dims % num_heads or embed_dims % 4:
            raise ValueError(
                f'Expected `embed_dims` to be a multiple of 4 and of num_heads={num_heads}, but '
                f'got {embed_dims}.'
            )

        self.in_channels = in_channels
        self.embed_dims = embed_dims
        self.project = nn.Conv2d(in_channels, embed_dims, 1)
        options: dict[str, Any] = dict(
            nhead=num_heads,
            dim_feedforward=feedforward_dims or embed_dims,
            dropout=dropout,
            batch_first=True,
        )
        encoder_layer = nn.TransformerEncoderLayer(embed_dims, **options)
        kind = nn.TransformerDecoderLayer if self_attention else CrossAttentionLayer
        decoder_layer = kind(embed_dims, **options)
        self.encoder = nn.TransformerEncoder(
            encoder_layer, num_encoder_layers, enable_nested_tensor=False
        )
        self.decoder = nn.TransformerDecoder(decoder_layer, num_decoder_layers)
        self.queries = nn.Embedding(num_classes, embed_dims)

        # One linear layer with a single output per label, not shared.
        self.weight = nn.Parameter(torch.empty(num_classes, embed_dims))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.uniform_(self.weight, -(embed_dims**-0.5), embed_dims**-0.5)

    def logits(self, feature_map: Tensor) -> Tensor:
        """Map a feature map (N, D, H, W) to logits (N, C)."""
        self.check_feature_map(feature_map, self.in_channels)
        places = self.project(feature_map)  # (N, M, H, W)
        places = places + sine_positions(places)
        memory = self.encoder(places.flatten(2).transpose(1, 2))  # (N, L, M)

        answers = self.queries.weight.expand(memory.shape[0], -1, -1)  # (N, C, M)
        for layer in self.decoder.layers:  # torch's decoder asks for self-attention in each
            answers = layer(answers, memory)
        return (answers * self.weight).sum(2) + self.bias


class CrossAttentionLayer(nn.TransformerDecoderLayer):
    """A decoder layer whose queries attend to the memory but not to each other.

    Takes the arguments of torch's layer, which normalises after each part.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.self_attn, self.norm1, self.dropout1

    def forward(self, tgt: Tensor, memory: Tensor, *_: Any, **__: Any) -> Tensor:
        """Map queries (N, C, M) and a memory (N, L, M) to (N, C, M)."""
        tgt = self.norm2(tgt + self._mha_block(tgt, memory, None, None))
        return self.norm3(tgt + self._ff_block(tgt))


def sine_positions(places: Tensor) -> Tensor:
    """Compute sines and cosines of the places of a map (N, M, H, W): (M, H, W).

    The first half of the channels encodes the row, the second half the column.
    """
    channels, height, width = places.shape[1:]
    count = partial(torch.arange, device=places.device, dtype=places.dtype)

    quarter = channels // 4
    rates = torch.exp(-math.log(10_000) * (count(quarter) / quarter))  # (M / 4,)

    def waves(positions: Tensor) -> Tensor:
        angles = rates[:, None] * positions  # (M / 4, P)
        return torch.cat([angles.sin(), angles.cos()])  # (M / 2, P)

    vertical = waves(count(height))[:, :, None].expand(-1, -1, width)
    horizontal = waves(count(width))[:, None].expand(-1, height, -1)
    return torch.cat([vertical, horizontal])
