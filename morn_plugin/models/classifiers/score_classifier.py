"""A decoder trained without its CNN."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor


@MODELS.register_module()
class ScoreClassifier(BaseModel):
    """Trains and tests a label decoder on cached inputs: the CNN's scores, features or maps.

    Its parameters have the same names as with a CNN, ``head.decoder.*``, so that
    ``tools/model_converters/merge_decoder.py`` can merge the two.

    Args:
        head: Config of a :class:`DecisionHead`, or of any head without a classifier.
        data_preprocessor: MMEngine's.
        init_cfg: MMEngine's.

    Raises:
        ValueError: If the head has a classifier, or no decoder.
    """

    def __init__(
        self,
        head: dict[str, Any],
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.head = MODELS.build(head)
        if self.head.decoder is None or getattr(self.head, 'fc', None) is not None:
            raise ValueError(
                'ScoreClassifier expected a head with a decoder and without a classifier, since '
                'what the decoder sees comes from a file: write '
                f"head=dict(type='DecisionHead', decoder=dict(type=...)). Got {head}."
            )

    def forward(
        self,
        inputs: Tensor | Mapping[str, Any],
        target: Tensor | None = None,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Run the decoder.

        Args:
            inputs: Scores (N, C), 0-1, or the inputs by name, see :class:`LabelDecoder`.
            target: (N, C) in {0, 1, -1}; required by ``mode='loss'``.
            data_samples: Samples to fill in ``mode='predict'``.
            mode: ``'tensor'`` for logits (N, C), ``'loss'`` or ``'predict'``, as for MMEngine's
                models.

        Raises:
            ValueError: If the mode is unknown, or an input of the decoder is missing.
        """
        seen = dict(scores=inputs) if isinstance(inputs, Tensor) else _as_float(inputs)

        if mode == 'loss':
            return self.head.loss_from(seen, target)
        if mode == 'predict':
            return self.head.predict_from(seen, data_samples)
        if mode == 'tensor':
            return self.head.logits_from(seen)
        raise ValueError(f"Expected `mode` to be 'tensor', 'loss' or 'predict', but got {mode!r}.")


def _as_float(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Convert float16, in which maps are stored, to float32."""
    convert = lambda value: value.float() if value.dtype == torch.float16 else value
    return {
        name: tuple(map(convert, value)) if isinstance(value, tuple | list) else convert(value)
        for name, value in inputs.items()
    }
