"""Heads that put a label decoder behind a CNN: thin adapters from features and data samples.

N images, D features, C labels, T steps.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...utils.checks import check_positive, check_thr_topk
from ..features import describe_unpooled
from ..label_decoders import LabelDecoder
from ..targets import stack_targets

Feats = tuple[Tensor, ...]


@MODELS.register_module()
class LabelDecoderHead(BaseModule):
    """The CNN's own classifier.

    And a label decoder that sees nothing of the image but its probabilities.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the pooled feature D. None: there is no CNN, the scores come from
            elsewhere.
        decoder: Config of a registered :class:`LabelDecoder`, which gets ``num_classes``, or one
            that is built. None: the CNN alone, which is the paper's first stage and its first
            baseline.
        thr: Labels with a score strictly greater are predicted, 0-1, or C such numbers. Defaults to
            None, 0.5.
        topk: Predict this many best labels instead.
        detach_scores: Keep the decoder's gradient from the CNN (the paper's second stage). Defaults
            to True.
        init_cfg: MMEngine's. By default the classifier starts as that of MMPretrain's linear head.

    Raises:
        ValueError: If an argument is out of its range, or ``thr`` or ``topk`` is given to a decoder
            without threshold.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | None,
        decoder: dict[str, Any] | LabelDecoder | None,
        thr: float | Sequence[float] | None = None,
        topk: int | None = None,
        detach_scores: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        check_positive(
            num_classes=num_classes,
            **({} if in_channels is None else dict(in_channels=in_channels)),
        )
        if init_cfg is None and in_channels is not None:
            init_cfg = dict(type='Normal', std=0.01, override=dict(name='fc'))
        super().__init__(init_cfg)
        check_thr_topk(thr, topk)
        if topk is not None and topk > num_classes:
            raise ValueError(
                f'Expected `topk` to be at most num_classes={num_classes}, but got {topk}.'
            )
        self.num_classes, self.in_channels = num_classes, in_channels
        self.thr, self.topk = thr, topk
        self.detach_scores = detach_scores
        self.fc = None if in_channels is None else nn.Linear(in_channels, num_classes)
        self.decoder: LabelDecoder | None = (
            MODELS.build(dict(decoder, num_classes=num_classes))
            if isinstance(decoder, dict)
            else decoder
        )
        if (
            self.decoder is not None
            and not self.decoder.has_threshold
            and (thr is not None or topk is not None)
        ):
            raise ValueError(
                f'{type(self.decoder).__name__} decides itself which labels an image has: leave '
                f'out `thr` and `topk`, which would change nothing (got thr={thr}, topk={topk}).'
            )

    def pre_logits(self, feats: Feats) -> Tensor:
        """Take the pooled feature (N, D) of the last stage.

        Raises:
            ValueError: If it is not (N, in_channels); says which number or neck to write.
        """
        x = feats[-1]
        if not isinstance(x, Tensor) or x.dim() != 2:
            raise ValueError(
                f'{type(self).__name__} expected a pooled feature of shape (N, '
                f'{self.in_channels}), but got {describe_unpooled(x, self.in_channels)}'
            )
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__} was built with in_channels={self.in_channels}, but the '
                f'backbone and neck give {x.shape[1]} features: write '
                f'head=dict(in_channels={x.shape[1]}) in the config.'
            )
        return x

    def classify(self, feats: Feats) -> Tensor:
        """Give the logits (N, C) of the CNN's own classifier."""
        if self.fc is None:
            raise ValueError(
                f'{type(self).__name__} was built with in_channels=None: it takes scores, not '
                'features.'
            )
        return self.fc(self.pre_logits(feats))

    def forward(self, feats: Feats) -> Any:
        """Give the raw output of the decoder, or the CNN's logits (N, C) where there is none."""
        cnn_logits = self.classify(feats)
        return cnn_logits if self.decoder is None else self.decoder(cnn_logits.float().sigmoid())

    def loss(self, feats: Feats, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Give ``loss_cnn``, summed over labels and averaged over images.

        And the decoder's losses.
        """
        cnn_logits = self.classify(feats)  # (N, C)
        target = stack_targets(data_samples, self.num_classes, cnn_logits.device)
        losses = dict(loss_cnn=cnn_loss(cnn_logits, target))
        if self.decoder is not None:
            scores = cnn_logits.float().sigmoid()
            losses |= self.decoder.loss(scores.detach() if self.detach_scores else scores, target)
        return losses

    def predict(
        self, feats: Feats, data_samples: Sequence[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Predict the labels of a batch.

        Args:
            feats: Features of the stages; the last is used, (N, D).
            data_samples: Samples to be filled. Defaults to None, new ones.

        Returns:
            Samples with ``pred_score`` (C,), ``pred_label`` (indices), ``cnn_score`` (C,), and what
            else the decoder gives, such as ``step_scores`` (T, C) and ``step_labels`` (T,). Scores
            are probabilities.
        """
        return self.predict_scores(self.classify(feats).float().sigmoid(), data_samples)

    def predict_scores(
        self, scores: Tensor, data_samples: Sequence[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Predict from the CNN's label probabilities (N, C).

        As :meth:`predict` does from features.
        """
        predictions = (
            dict(pred_score=scores) if self.decoder is None else self.decoder.predict(scores)
        )
        predictions = dict(predictions, cnn_score=scores)
        chosen = predictions.pop('pred_label', None)
        if chosen is None:
            chosen = select_labels(predictions['pred_score'], self.thr, self.topk)
        pred_labels = chosen.nonzero()[:, 1].split(chosen.sum(1).tolist())
        samples = [sample or DataSample() for sample in data_samples or [None] * len(scores)]
        rows = zip(*(tensor.unbind(0) for tensor in predictions.values()), strict=True)
        for sample, labels, row in zip(samples, pred_labels, rows, strict=True):
            sample.set_pred_label(labels)
            for name, value in zip(predictions, row, strict=True):
                sample.set_field(value, name)
        return samples


@MODELS.register_module()
class MultiOrderLSTMHead(LabelDecoderHead):
    """The Multi-order RNN: CNN classifier and self-fed LSTM.

    Every option at the paper's value by default.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the pooled feature D. None: there is no CNN, the scores come from
            elsewhere.
        embed_dims: Width of the label embedding.
        hidden_dims: LSTM cells.
        num_steps: Steps T.
        loss: Config of the step loss.
        thr: Labels with a score strictly greater are predicted, 0-1, or C such numbers. Defaults to
            None, 0.5.
        topk: Predict this many best labels instead.
        detach_scores: Keep the decoder's gradient from the CNN.
        init_cfg: MMEngine's.
        **decoder_options: The other options of
            :class:`~morn_plugin.models.label_decoders.MultiOrderLSTM`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | None,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        num_steps: int = 5,
        loss: dict | None = None,
        thr: float | Sequence[float] | None = None,
        topk: int | None = None,
        detach_scores: bool = True,
        init_cfg: dict | None = None,
        **decoder_options: Any,
    ) -> None:
        decoder = dict(
            type='MultiOrderLSTM',
            embed_dims=embed_dims,
            hidden_dims=hidden_dims,
            num_steps=num_steps,
            loss=MODELS.build(loss or dict(type='MaskedStepwiseBCELoss')),
            **decoder_options,
        )
        super().__init__(num_classes, in_channels, decoder, thr, topk, detach_scores, init_cfg)


def cnn_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Sigmoid cross-entropy of logits (N, C) and target (N, C), summed over labels.

    Averaged over images; -1 ignored.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), target.clamp(min=0), reduction='none')
    return (loss * (target >= 0)).sum() / logits.shape[0]


def select_labels(scores: Tensor, thr: float | Sequence[float] | None, topk: int | None) -> Tensor:
    """Mark the predicted labels: score strictly greater than ``thr``, or the ``topk`` best.

    Args:
        scores: (N, C), 0-1.
        thr: 0-1, one for all labels or C of them, or None for 0.5.
        topk: A positive integer, or None. Of equal scores the lower class index is the better.

    Returns:
        Boolean (N, C).

    Raises:
        ValueError: If there are neither 1 nor C thresholds, or ``topk`` is more than C.

    Examples:
        >>> select_labels(torch.tensor([[0.5, 0.6, 0.1]]), 0.5, None).tolist()
        [[False, True, False]]
        >>> select_labels(torch.tensor([[0.5, 0.6, 0.1]]), None, 2).tolist()
        [[True, True, False]]
    """
    if topk is None:
        return scores > _threshold(thr, scores)
    if topk > scores.shape[1]:
        raise ValueError(
            f'Expected `topk` to be at most the number of classes, {scores.shape[1]}, but got '
            f'{topk}.'
        )
    best = scores.sort(dim=1, descending=True, stable=True).indices[:, :topk]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best, True)


def _threshold(thr: float | Sequence[float] | None, scores: Tensor) -> Tensor | float:
    if not isinstance(thr, Sequence):
        return 0.5 if thr is None else thr
    if len(thr) != scores.shape[1]:
        raise ValueError(
            f'Expected one threshold for each of {scores.shape[1]} labels, but got {len(thr)}.'
        )
    return scores.new_tensor(thr)
