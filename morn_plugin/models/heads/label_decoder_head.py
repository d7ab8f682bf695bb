"""Heads that put a label decoder behind a CNN: thin adapters from features and data samples.

N images, D features, C labels, T steps.
"""

from collections.abc import Sequence
from typing import Any

from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...utils.checks import check_positive
from ...utils.precision import cast
from ..decisions import select_labels
from ..features import describe_unpooled
from ..label_decoders import LabelDecoder
from ..losses.label_loss import label_loss
from ..targets import stack_targets
from .decision_head import DecisionHead, Samples

Feats = tuple[Tensor, ...]


@MODELS.register_module()
class LabelDecoderHead(DecisionHead):
    """The CNN's own classifier and a label decoder.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the pooled feature D. None: no classifier, for decoders whose inputs
            are features or maps but not scores.
        decoder: Config of a registered :class:`LabelDecoder`, which receives ``num_classes``, or a
            built decoder. None: the CNN alone, the paper's first stage and first baseline.
        thr: Labels with a score strictly greater are predicted, 0-1, or C such numbers. Defaults to
            None, 0.5.
        topk: Predict this many best labels instead.
        detach_scores: Stop the decoder's gradient before the CNN (the paper's second stage).
            Defaults to True.
        init_cfg: MMEngine's. By default the classifier is initialised like that of MMPretrain's
            linear head.
        loss_cnn: Config of the classifier's loss: (logits (N, C), target (N, C)) to (N, C), or to a
            scalar for the losses in :mod:`morn_plugin.models.losses`. Defaults to None, sigmoid
            cross-entropy, summed over labels and averaged over images.
        decision: Config of a registered decision rule, instead of ``thr`` and ``topk``.

    Raises:
        ValueError: If an argument is out of its range, or ``thr`` or ``topk`` is given to a decoder
            without threshold.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | None,
        decoder: dict[str, Any] | LabelDecoder | None = None,
        thr: float | Sequence[float] | None = None,
        topk: int | None = None,
        detach_scores: bool = True,
        init_cfg: dict | None = None,
        loss_cnn: dict[str, Any] | None = None,
        decision: dict[str, Any] | None = None,
    ) -> None:
        check_positive(num_classes=num_classes)
        if in_channels is not None:
            check_positive(in_channels=in_channels)
            init_cfg = init_cfg or dict(type='Normal', std=0.01, override=dict(name='fc'))

        super().__init__(num_classes, decoder, thr, topk, decision, init_cfg)

        self.in_channels = in_channels
        self.detach_scores = detach_scores
        self.fc = None if in_channels is None else nn.Linear(in_channels, num_classes)
        self.loss_cnn = None if loss_cnn is None else MODELS.build(loss_cnn)

    @property
    def has_cnn(self) -> bool:
        """Whether predictions have ``cnn_score``, the CNN's own scores."""
        return self.fc is not None

    @property
    def _scores_probabilities(self) -> bool:
        if self.decoder is None:
            return getattr(self.loss_cnn, 'has_probability', True)
        return self.decoder.has_probability

    def pre_logits(self, feats: Feats) -> Tensor:
        """Return the pooled feature (N, D) of the last stage.

        Raises:
            ValueError: If it is not (N, in_channels); names the right number or neck.
        """
        x = feats[-1]
        if isinstance(x, Tensor) and x.dim() == 4 and (self.wants_maps or self.pools_maps):
            x = x.mean(dim=(2, 3))
        if not isinstance(x, Tensor) or x.dim() != 2:
            raise ValueError(
                f'{type(self).__name__} expected a pooled feature of shape (N, '
                f'{self.in_channels}), but got {describe_unpooled(x, self.in_channels)}'
            )
        if self.in_channels is not None and x.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__} was built with in_channels={self.in_channels}, but the '
                f'backbone and neck give {x.shape[1]} features: write '
                f'head=dict(in_channels={x.shape[1]}) in the config.'
            )

        return x

    def classify(self, feats: Feats) -> Tensor:
        """Return the logits (N, C) of the CNN's own classifier."""
        if self.fc is None:
            raise ValueError(
                f'{type(self).__name__} was built with in_channels=None: it takes scores, not '
                'features.'
            )
        return self.fc(cast(self.pre_logits(feats), self.fc.weight.dtype))

    def decoder_inputs(self, feats: Feats) -> dict[str, Any]:
        """Collect the inputs of decoder and decision, and the scores if there is a classifier.

        Args:
            feats: The backbone's stages, or the neck's outputs; the last is pooled.

        Returns:
            The inputs by name, see :class:`LabelDecoder`. Scores are float32 probabilities.
        """
        wanted = {*self.inputs, *self.kept_inputs}
        found: dict[str, Any] = {}

        if self.fc is not None:
            found['logits'] = self.classify(feats).float()
            found['scores'] = found['logits'].sigmoid()

        if 'features' in wanted:
            found['features'] = self.pre_logits(feats)

        if self.wants_maps:
            self._check_maps(feats)
            found['feature_map'], found['stage_maps'] = feats[-1], tuple(feats)

        return {name: value for name, value in found.items() if name in {*wanted, 'scores'}}

    def forward(self, feats: Feats) -> Tensor:
        """Return one logit per label (N, C): the decoder's, or the CNN's without a decoder."""
        if self.decoder is None:
            return self.classify(feats)
        return self.logits_from(self.decoder_inputs(feats))

    def loss(
        self, feats: Feats, data_samples: Sequence[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Compute ``loss_cnn`` if there is a classifier, and the decoder's losses.

        Args:
            feats: Features of the stages.
            data_samples: N samples with the true labels.
            **kwargs: Passed by MMPretrain's classifiers; not used.

        Returns:
            Scalars to be summed.
        """
        target = stack_targets(data_samples, self.num_classes, feats[-1].device)
        losses = {}

        inputs = self.decoder_inputs(feats)
        if self.fc is not None:
            logits = inputs['logits'] if 'logits' in inputs else self.classify(feats)
            losses['loss_cnn'] = (
                cnn_loss(logits, target)
                if self.loss_cnn is None
                else label_loss(self.loss_cnn, logits, target)
            )

        if self.decoder is not None or self.decision is not None:
            seen = detach(inputs) if self.detach_scores else inputs
            losses |= self.loss_from(seen, target)

        return losses

    def predict(
        self, feats: Feats, data_samples: Samples = None, **kwargs: Any
    ) -> list[DataSample]:
        """Predict the labels of a batch.

        Args:
            feats: Features of the stages; the last is used, (N, D).
            data_samples: Samples to be filled. Defaults to None, new ones.
            **kwargs: Passed by MMPretrain's classifiers; not used.

        Returns:
            Samples with ``pred_score`` (C,), ``pred_label`` (indices), with a classifier
            ``cnn_score`` (C,), and further fields of the decoder, such as ``step_scores`` (T, C)
            and ``step_labels`` (T,).
        """
        return self.predict_from(self.decoder_inputs(feats), data_samples)

    def _check_maps(self, feats: Feats) -> None:
        flat = [tuple(stage.shape) for stage in feats if stage.dim() != 4]
        if flat:
            raise ValueError(
                f'{self.method} sees a feature map (N, D, H, W), but the backbone and neck give '
                f'{flat[0]}: write neck=None in the model, and use a backbone that keeps places.'
            )


def cnn_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the sigmoid cross-entropy of logits (N, C) and target (N, C).

    It is summed over labels and averaged over images, without labels of -1.
    """
    return label_loss(nn.BCEWithLogitsLoss(), logits, target)


def detach(inputs: dict[str, Any]) -> dict[str, Any]:
    """Detach every tensor in a dict of tensors and tuples of tensors."""
    detached: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, tuple):
            detached[name] = tuple(part.detach() for part in value)
        else:
            detached[name] = value.detach()

    return detached


@MODELS.register_module()
class MultiOrderLSTMHead(LabelDecoderHead):
    """The Multi-order RNN: CNN classifier and self-fed LSTM.

    By default every option has the paper's value.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the pooled feature D. None: there is no CNN; the scores come from
            elsewhere.
        embed_dims: Width of the label embedding.
        hidden_dims: LSTM cells.
        num_steps: Steps T.
        loss: Config of the step loss.
        thr: Labels with a score strictly greater are predicted, 0-1, or C such numbers. Defaults to
            None, 0.5.
        topk: Predict this many best labels instead.
        detach_scores: Stop the decoder's gradient before the CNN.
        init_cfg: MMEngine's.
        loss_cnn: Config of the classifier's loss.
        decision: Config of a decision rule, instead of ``thr`` and ``topk``.
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
        loss_cnn: dict[str, Any] | None = None,
        decision: dict[str, Any] | None = None,
        **decoder_options: Any,
    ) -> None:
        decoder = dict(
            type='MultiOrderLSTM',
            embed_dims=embed_dims,
            hidden_dims=hidden_dims,
            num_steps=num_steps,
            loss=loss,
            **decoder_options,
        )
        super().__init__(
            num_classes,
            in_channels,
            decoder,
            thr,
            topk,
            detach_scores,
            init_cfg,
            loss_cnn,
            decision,
        )


__all__ = ['LabelDecoderHead', 'MultiOrderLSTMHead', 'cnn_loss', 'select_labels']
