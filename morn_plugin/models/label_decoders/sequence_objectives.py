"""Training objectives of decoders of label sequences, and the inputs of their steps.

A fixed order is trained by teacher forcing. All others feed back the decoder's own predictions: its
best symbol (MLA, PLA), the best of the remaining labels (pool), or a sampled symbol (optimal
completion, OCD).

N images, C labels, T steps. Symbol C is END.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor

from ...utils.checks import check_choice
from ..losses.candidate_pool import FORMS, candidate_pool_loss
from ..losses.optimal_completion import check_temperature, optimal_completion_loss
from ..losses.sequence_alignment import ALIGNMENTS, align_sequences
from ..losses.sequence_cross_entropy import AVERAGES, sequence_cross_entropy
from .label_orders import build_sequences
from .picking import Picker, pick_argmax, pick_from_pool, pick_given, pick_sampled

POOLS = {'pool': 'bce', 'pool_likelihood': 'likelihood'}

StepLoss = Callable[[Tensor, Tensor], Tensor]


class TrainingRun(NamedTuple):
    """One training batch of a decoder.

    Attributes:
        num_steps: T.
        pick: Chooses the input of each step.
        loss: Maps step_logits (N, T, C + 1) and the symbols picked (N, T) to a scalar.
    """

    num_steps: int
    pick: Picker
    loss: StepLoss


class SequenceObjective(ABC):
    """Defines the loss and the step inputs for a batch of targets.

    Args:
        average: ``'images'``: the loss is summed over the steps of an image and averaged over
            images; ``'steps'``: averaged over all steps of the batch.

    Raises:
        ValueError: If ``average`` is unknown.
    """

    #: Whether the logits of a step belong to one softmax over all symbols, or to one sigmoid each.
    has_softmax = True
    #: Whether the decoder may repeat a label in prediction, as in training.
    repeats = False

    def __init__(self, average: str) -> None:
        check_choice('average', average, AVERAGES)
        self.average = average

    @abstractmethod
    def start(self, target: Tensor, label_order: Tensor, most_labels: int) -> TrainingRun:
        """Prepare the steps of a batch.

        Args:
            target: (N, C); 1 true, 0 false, -1 ignored.
            label_order: (C,), the class indices in order.
            most_labels: The largest number of labels of a training image.
        """


class FixedOrder(SequenceObjective):
    """Softmax cross-entropy of the true labels in a given order, which are also the step inputs."""

    def start(self, target: Tensor, label_order: Tensor, most_labels: int) -> TrainingRun:
        """See the base class; as many steps as the longest sequence of the batch."""
        sequences, lengths = build_sequences(target, label_order)  # (N, L)

        def loss(step_logits: Tensor, step_labels: Tensor) -> Tensor:
            return sequence_cross_entropy(step_logits, sequences, lengths, target < 0, self.average)

        return TrainingRun(sequences.shape[1], partial(pick_given, sequences=sequences), loss)


class AlignedOrder(SequenceObjective):
    """Softmax cross-entropy of the true labels in the order that best fits the predictions.

    Args:
        average: ``'images'`` or ``'steps'``.
        how: See :func:`~morn_plugin.models.losses.align_sequences`.
    """

    repeats = True

    def __init__(self, average: str, how: str) -> None:
        super().__init__(average)
        check_choice('how', how, ALIGNMENTS)
        self.how = how

    def start(self, target: Tensor, label_order: Tensor, most_labels: int) -> TrainingRun:
        """See the base class; the decoder receives its own best symbol."""
        sequences, lengths = build_sequences(target, label_order)  # (N, L)
        ignored = target < 0

        def loss(step_logits: Tensor, step_labels: Tensor) -> Tensor:
            aligned = align_sequences(step_logits, sequences, lengths, self.how)
            return sequence_cross_entropy(step_logits, aligned, lengths, ignored, self.average)

        num_steps = max(most_labels + 1, sequences.shape[1])
        return TrainingRun(num_steps, pick_argmax, loss)


class CandidatePool(SequenceObjective):
    """Picks and feeds back the best remaining label, which then leaves the pool.

    Args:
        average: ``'images'`` or ``'steps'``.
        form: See :func:`~morn_plugin.models.losses.candidate_pool_loss`.
    """

    def __init__(self, average: str, form: str) -> None:
        super().__init__(average)
        check_choice('form', form, FORMS)
        self.form = form
        self.has_softmax = form == 'likelihood'

    def start(self, target: Tensor, label_order: Tensor, most_labels: int) -> TrainingRun:
        """See the base class; one step more than the most labels of the batch."""
        pool = target == 1

        def loss(step_logits: Tensor, step_labels: Tensor) -> Tensor:
            return candidate_pool_loss(step_logits, step_labels, target, self.form, self.average)

        num_steps = int(pool.sum(dim=1).max()) + 1
        return TrainingRun(num_steps, partial(pick_from_pool, pool=pool), loss)


class OptimalCompletion(SequenceObjective):
    """Samples symbols from the decoder and learns the best continuation at each step.

    Args:
        average: ``'images'`` or ``'steps'``.
        temperature: See :func:`~morn_plugin.models.losses.optimal_completion_loss`.
    """

    def __init__(self, average: str, temperature: float) -> None:
        super().__init__(average)
        check_temperature(temperature)
        self.temperature = temperature

    def start(self, target: Tensor, label_order: Tensor, most_labels: int) -> TrainingRun:
        """See the base class; one step more than the most labels of a training image."""

        def loss(step_logits: Tensor, step_labels: Tensor) -> Tensor:
            return optimal_completion_loss(
                step_logits, step_labels, target, self.temperature, self.average
            )

        return TrainingRun(most_labels + 1, pick_sampled, loss)


def make_objective(
    order: str | Sequence[str], average: str, temperature: float
) -> SequenceObjective:
    """Return the training objective that belongs to an order.

    Args:
        order: One of ``label_orders.LEARNT_ORDERS``; any other is a fixed order.
        average: ``'images'`` or ``'steps'``.
        temperature: Of optimal completion.

    Raises:
        ValueError: If ``average`` is unknown or ``temperature`` is negative.
    """
    if not isinstance(order, str):
        return FixedOrder(average)
    if order in ALIGNMENTS:
        return AlignedOrder(average, order)
    if order in POOLS:
        return CandidatePool(average, POOLS[order])
    if order == 'ocd':
        return OptimalCompletion(average, temperature)

    return FixedOrder(average)
