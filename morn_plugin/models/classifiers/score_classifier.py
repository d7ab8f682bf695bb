"""A decoder without its CNN."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModel
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor


@MODELS.register_module()
class ScoreClassifier(BaseModel):
    """Trains and tests a label decoder on cached scores.

    Its parameters have the names that they have behind a CNN, ``head.decoder.*``, so that
    ``tools/model_converters/merge_decoder.py`` can put the two together.

    Args:
        head: Config of a head with ``in_channels=None``.
        data_preprocessor: MMEngine's.
        init_cfg: MMEngine's.
    """

    def __init__(
        self,
        head: dict[str, Any],
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.head = MODELS.build(head)
        if self.head.decoder is None or self.head.fc is not None:
            raise ValueError(
                'ScoreClassifier expected a head with a decoder and in_channels=None, since the '
                f'scores come from a file, but got in_channels={self.head.in_channels}, '
                f'decoder={self.head.decoder}.'
            )

    def forward(
        self,
        inputs: Tensor,
        target: Tensor | None = None,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Run the decoder.

        Args:
            inputs: Scores (N, C), 0-1.
            target: (N, C) in {0, 1, -1}; needed by ``mode='loss'``.
            data_samples: Samples to be filled by ``mode='predict'``.
            mode: ``'tensor'``, ``'loss'`` or ``'predict'``, as MMEngine's models.

        Raises:
            ValueError: If the mode is another.
        """
        if mode == 'loss':
            return self.head.decoder.loss(inputs, target)
        if mode == 'predict':
            return self.head.predict_scores(inputs, data_samples)
        if mode == 'tensor':
            return self.head.decoder(inputs)
        raise ValueError(f"Expected `mode` to be 'tensor', 'loss' or 'predict', but got {mode!r}.")
