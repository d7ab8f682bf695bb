"""A head that predicts an image's labels from given inputs.

N images, D features, C labels, T steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ...utils.checks import check_positive, check_thr_topk
from ...utils.fields import CNN_SCORES, SCORES
from ...utils.precision import as_single, cast, find_dtype
from ..decisions import select_labels
from ..label_decoders import LabelDecoder
from ..label_decoders.base import MAP_INPUTS, check_inputs

Samples = Sequence[DataSample | None] | None


@MODELS.register_module()
class DecisionHead(BaseModule):
    """A label decoder and a decision rule.

    It has no classifier; a cache or a subclass provides the decoder's inputs.

    Args:
        num_classes: Number of labels C.
        decoder: Config of a registered :class:`LabelDecoder`, which receives ``num_classes``, or a
            built decoder. None: the given scores are the prediction.
        thr: Labels with a score strictly greater are predicted, 0-1, or C such numbers. Defaults to
            None, 0.5.
        topk: Predict this many best labels instead.
        decision: Config of a registered decision rule, instead of ``thr`` and ``topk``.
        init_cfg: MMEngine's.

    Raises:
        ValueError: If an argument is out of its range, or a decoder that decides itself is given a
            decision.
    """

    def __init__(
        self,
        num_classes: int,
        decoder: dict[str, Any] | LabelDecoder | None = None,
        thr: float | Sequence[float] | None = None,
        topk: int | None = None,
        decision: dict[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        check_positive(num_classes=num_classes)
        super().__init__(init_cfg)
        self._check_decision(num_classes, thr, topk, decision)
        self.num_classes = num_classes
        self.thr = thr
        self.topk = topk
        self._is_replaced = False  # the decision, by :meth:`use_threshold`
        #: Inputs kept in the predictions, for extraction.
        self.kept_inputs: tuple[str, ...] = ()
        #: Whether the head averages a feature map itself, instead of a neck.
        self.pools_maps = False

        def build(part: Any) -> Any:
            if isinstance(part, dict):
                return build_part(dict(part, num_classes=num_classes))
            return part

        self.decoder: LabelDecoder | None = build(decoder)
        self.decision = build(decision)
        for part in (self.decoder, self.decision):
            if part is not None:
                check_inputs(part)

        given = dict(thr=thr, topk=topk, decision=decision)
        self._require_threshold_for(given)

    @staticmethod
    def _check_decision(
        num_classes: int,
        thr: Any,
        topk: int | None,
        decision: dict[str, Any] | None,
    ) -> None:
        check_thr_topk(thr, topk)
        if topk is not None and topk > num_classes:
            raise ValueError(
                f'Expected `topk` to be at most num_classes={num_classes}, but got {topk}.'
            )
        if decision is not None and (thr is not None or topk is not None):
            raise ValueError(
                f'Expected `decision` alone, or `thr` or `topk`, but got thr={thr}, topk={topk} '
                f'beside decision={decision}.'
            )

    def _require_threshold_for(self, given: Mapping[str, Any]) -> None:
        """Refuse what would decide the labels of a decoder that decides itself."""
        if self.has_threshold or all(value is None for value in given.values()):
            return

        listed = ', '.join(f'{name}={value}' for name, value in given.items())
        raise ValueError(
            f'{self.method} decides itself which labels an image has: leave out `thr` and '
            f'`topk`, and `decision`, which would change nothing (got {listed}).'
        )

    @property
    def method(self) -> str:
        """Name of the method in messages: the decoder's class, or the CNN alone."""
        return 'The CNN alone' if self.decoder is None else type(self.decoder).__name__

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of decoder and decision, in the order of the contract."""
        wanted = ('scores',) if self.decoder is None else tuple(self.decoder.inputs)
        if self.decision is not None:
            wanted += tuple(self.decision.inputs)
        return tuple(dict.fromkeys(wanted))

    @property
    def has_threshold(self) -> bool:
        """Whether a threshold decides the labels and may be changed."""
        return self.decoder is None or self.decoder.has_threshold

    @property
    def has_steps(self) -> bool:
        """Whether predictions have ``step_scores`` and ``step_labels``."""
        return self.decoder is not None and self.decoder.has_steps

    @property
    def has_cnn(self) -> bool:
        """Whether predictions have ``cnn_score``, the CNN's own scores."""
        return 'scores' in self.inputs

    @property
    def has_probability(self) -> bool:
        """Whether a shown score is a probability, by the decision's map or by itself."""
        is_mapped = self.decision is not None and self.decision.gives_probability
        return is_mapped or self._scores_probabilities

    @property
    def _scores_probabilities(self) -> bool:
        return self.decoder is None or self.decoder.has_probability

    @property
    def wants_maps(self) -> bool:
        """Whether the head needs a feature map."""
        return any(name in MAP_INPUTS for name in (*self.inputs, *self.kept_inputs))

    def loss_from(self, inputs: Mapping[str, Any], target: Tensor) -> dict[str, Tensor]:
        """Compute the losses of decoder and decision.

        Args:
            inputs: The inputs in :attr:`inputs`.
            target: True labels (N, C); 1 true, 0 false, -1 ignored.

        Returns:
            Scalars to be summed; names start with ``loss_``.
        """
        losses: dict[str, Tensor] = {}
        if self.decoder is not None:
            losses |= self.decoder.loss(target=target, **self._select(inputs, self.decoder))

        if self.decision is not None and self.decision.learns:
            with torch.no_grad():
                scores = self.run_decoder(inputs)[SCORES.sample]
            seen = self._select(inputs, self.decision)
            losses |= self.decision.loss(target=target, **dict(seen, scores=scores))

        return losses

    def predict_from(
        self, inputs: Mapping[str, Any], data_samples: Samples = None
    ) -> list[DataSample]:
        """Predict the labels of a batch from given inputs.

        Args:
            inputs: The inputs in :attr:`inputs`; additional ``scores`` become ``cnn_score``.
            data_samples: Samples to be filled. Defaults to None, new ones.

        Returns:
            Samples with ``pred_score`` (C,), ``pred_label`` (indices), and further fields such as
            ``cnn_score`` (C,), ``step_scores`` (T, C) and ``step_labels`` (T,).
        """
        predictions = self.run_decoder(inputs)
        chosen = predictions.pop('pred_label', None)
        if chosen is None:
            chosen = self.decide(predictions[SCORES.sample], inputs)
        if self.decision is not None:
            predictions[SCORES.sample] = self.decision.map_scores(predictions[SCORES.sample])

        if 'scores' in inputs:
            predictions[CNN_SCORES.sample] = inputs['scores']

        for name in self.kept_inputs:
            predictions[name] = inputs[name]

        return fill_samples(predictions, chosen, data_samples)

    def predict_scores(self, scores: Tensor, data_samples: Samples = None) -> list[DataSample]:
        """Predict from the CNN's label probabilities (N, C) alone."""
        return self.predict_from(dict(scores=scores), data_samples)

    def use_threshold(self, thr: float | Sequence[float]) -> None:
        """From now on, decide by a threshold of the shown scores instead of the head's decision.

        The decision keeps its weights, and its map of the scores.

        Args:
            thr: 0-1, one number for all labels or C numbers.

        Raises:
            ValueError: If the decoder decides itself.
        """
        if not self.has_threshold:
            raise ValueError(
                f'{self.method} decides itself which labels an image has: it has no threshold to '
                'replace.'
            )
        check_thr_topk(thr, None)
        self.thr = thr
        self.topk = None
        self._is_replaced = True

    @property
    def plain_decision(self) -> dict[str, Any] | None:
        """The decision as ``thr`` or ``topk`` of the shown scores; None if it looks at the image.

        A decoder that decides itself has None too.
        """
        if not self.has_threshold:
            return None
        if self.decision is None or self._is_replaced:
            return dict(thr=self.thr, topk=self.topk)
        return self.decision.as_plain()

    def decide(self, scores: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """Mark the predicted labels (N, C) by the head's own decision."""
        if self.decision is None:
            return select_labels(scores, self.thr, self.topk)
        if self._is_replaced:
            return select_labels(self.decision.map_scores(scores), self.thr)
        seen = self._select(inputs, self.decision)
        return self.decision.decide(**dict(seen, scores=scores))

    def logits_from(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return one logit per label (N, C)."""
        if self.decoder is None:
            scores = inputs['scores']
            return torch.logit(scores, eps=1e-7)
        return as_single(self.decoder.logits(**self._select(inputs, self.decoder)))

    def run_decoder(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the decoder's predictions, see :meth:`LabelDecoder.predict`."""
        if self.decoder is None:
            return {SCORES.sample: inputs['scores']}
        predictions = self.decoder.predict(**self._select(inputs, self.decoder))
        return {name: as_single(value) for name, value in predictions.items()}

    def _select(self, inputs: Mapping[str, Any], part: Any) -> dict[str, Any]:
        """Select the inputs of a decoder or decision, in the precision of its weights.

        Raises:
            ValueError: If an input is missing; names it, and how to add it to a cached file.
        """
        missing = [name for name in part.inputs if name not in inputs]
        if missing:
            raise ValueError(
                f'{type(part).__name__} sees {", ".join(part.inputs)}, but the inputs are only '
                f'{", ".join(inputs)}: {", ".join(missing)} missing. {how_to_get(missing)}'
            )
        dtype = find_dtype(part)
        return {name: cast(inputs[name], dtype) for name in part.inputs}


def build_part(config: Mapping[str, Any]) -> Any:
    """Build a decoder or a decision, after the parts in its config, such as a loss."""
    parts = {
        name: MODELS.build(value) if isinstance(value, dict) and 'type' in value else value
        for name, value in config.items()
    }
    return MODELS.build(parts)


def how_to_get(missing: Sequence[str]) -> str:
    """Explain how to add missing inputs to a cached file."""
    flags = dict.fromkeys(
        '--feature-map' if name in MAP_INPUTS else '--features'
        for name in missing
        if name != 'scores'
    )
    return f'Extract with tools/extract_scores.py ... {" ".join(flags)}'.rstrip() + '.'


def fill_samples(
    predictions: Mapping[str, Any], chosen: Tensor, data_samples: Samples = None
) -> list[DataSample]:
    """Write the predictions of a batch into one data sample per image.

    Args:
        predictions: Tensors (N, ...), or tuples of tensors, by field name.
        chosen: The predicted labels, boolean (N, C).
        data_samples: N samples to be filled. Defaults to None, new ones.

    Returns:
        The N samples.
    """
    samples = [sample or DataSample() for sample in data_samples or [None] * len(chosen)]
    if not samples:
        return []

    # Wait for the device once per batch, not once per image.
    pred_labels = chosen.nonzero()[:, 1].split(chosen.sum(1).tolist())
    for index, (sample, labels) in enumerate(zip(samples, pred_labels, strict=True)):
        sample.set_pred_label(labels)
        for name, values in predictions.items():
            several = isinstance(values, tuple)
            row = tuple(value[index] for value in values) if several else values[index]
            sample.set_field(row, name)

    return samples
