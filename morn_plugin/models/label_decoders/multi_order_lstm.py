"""The Multi-order RNN's label decoder.

Dutta, Verma, Jawahar, "Recurrent Image Annotation With Explicit Inter-Label Dependencies", ECCV
2020, https://github.com/ayushidutta/multi-order-rnn.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ...utils.checks import check_choice, check_positive
from ..losses.masked_stepwise_bce import MaskedStepwiseBCELoss
from .lstm import LSTMDecoder
from .picking import Picker, pick_argmax, pick_unpicked

FEEDBACKS = ('argmax', 'unpicked')
POOLINGS = ('max', 'mean', 'last')

StepLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


class MultiOrderLSTM(LSTMDecoder):
    """An LSTM that starts from the CNN's label probabilities and feeds back its own best label.

    Args:
        num_classes: Number of labels C.
        loss: Maps step_logits (N, T, C), step_labels (N, T) and target (N, C) to a scalar. Defaults
            to None, :class:`MaskedStepwiseBCELoss` at the paper's settings.
        embed_dims: Width of the label embedding M.
        hidden_dims: LSTM cells H.
        num_steps: Steps T.
        test_feedback: The label fed back outside training: ``'argmax'``, or ``'unpicked'``, the
            best label not picked yet.
        picked_logit: The value with which ``'unpicked'`` overwrites the logits of picked labels.
        pooling: How the logits of the steps become one score: ``'max'`` (the paper), ``'mean'`` or
            ``'last'``.
        **core: The options of :class:`LSTMDecoder`: ``state_norm``, ``init_state``,
            ``output_layer`` ...

    Raises:
        ValueError: If an option is unknown, or a size is not positive.
    """

    has_steps = True
    display_name = 'Multi-order RNN'

    def __init__(
        self,
        num_classes: int,
        loss: StepLoss | None = None,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        num_steps: int = 5,
        test_feedback: str = 'argmax',
        picked_logit: float = float('-inf'),
        pooling: str = 'max',
        **core: Any,
    ) -> None:
        super().__init__(num_classes, num_classes, embed_dims, hidden_dims, **core)
        check_positive(num_steps=num_steps)
        check_choice('test_feedback', test_feedback, FEEDBACKS)
        check_choice('pooling', pooling, POOLINGS)
        if (
            test_feedback == 'unpicked'
            and picked_logit == float('-inf')
            and num_steps > num_classes
        ):
            raise ValueError(
                f"test_feedback='unpicked' needs num_steps <= num_classes, but got {num_steps} "
                f'steps for {num_classes} classes: no label would be left to pick.'
            )

        self.step_loss = MaskedStepwiseBCELoss() if loss is None else loss
        self.num_steps = num_steps
        self.pooling = pooling
        self.test_feedback = test_feedback
        self.picked_logit = picked_logit

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Run the steps (Eq. 1-4).

        Args:
            scores: The CNN's label probabilities (N, C), 0-1.

        Returns:
            step_logits (N, T, C) and the labels picked, step_labels (N, T).
        """
        return self.unroll(scores, self.num_steps, self._picker())

    def loss(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_multi_order``.

        The steps receive the labels that the decoder picks itself, without teacher forcing.
        """
        step_logits, step_labels = self(scores)
        return dict(loss_multi_order=self.step_loss(step_logits, step_labels, target))

    def predict(self, scores: Tensor) -> dict[str, Tensor]:
        """Predict the labels of a batch.

        Returns:
            ``pred_score`` (N, C), ``step_scores`` (N, T, C), all probabilities, and ``step_labels``
            (N, T).
        """
        step_logits, step_labels = self(scores)
        return dict(
            pred_score=self._pool(step_logits).sigmoid(),
            step_scores=step_logits.sigmoid(),
            step_labels=step_labels,
        )

    def logits(self, scores: Tensor) -> Tensor:
        """Return the logits pooled over the steps, (N, C)."""
        return self._pool(self(scores)[0])

    def _pool(self, step_logits: Tensor) -> Tensor:
        """Pool the scores of the steps: (N, T, C) to (N, C)."""
        if self.pooling == 'max':
            return step_logits.amax(dim=1)
        if self.pooling == 'mean':
            return step_logits.mean(dim=1)
        return step_logits[:, -1]

    def _picker(self) -> Picker:
        if self.training or self.test_feedback == 'argmax':
            return pick_argmax
        return partial(pick_unpicked, picked_logit=self.picked_logit)
