"""The labels of an image as a sequence, in an order that is given or found in training.

With a given order this is CNN-RNN: Wang, Yang, Mao, Huang, Huang, Xu, "CNN-RNN: A Unified Framework
for Multi-label Image Classification", CVPR 2016. The label probabilities as the interface, and
rare-first: Liu, Xiang, Hospedales, Yang, Sun, "Semantic Regularisation for Recurrent Image
Annotation", CVPR 2017. Both are baselines in Tables 1 and 4 of the Multi-order RNN's paper. For the
orders found in training, see ``sequence_objectives.py``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_positive
from .base import LabelDecoder
from .beam_search import beam_search
from .label_orders import check_order, order_labels
from .lstm import LSTMDecoder
from .picking import Picker, pick_given, pick_unpicked, pick_until_end
from .sequence_objectives import SequenceObjective, make_objective
from .unroll import step_once

RunSteps = Callable[[int, Picker], tuple[Tensor, Tensor]]

#: The decoder's name in tables, by its order.
NAMES = {
    'frequent_first': 'CNN-RNN, frequent-first',
    'rare_first': 'CNN-RNN, rare-first',
    'lexicographic': 'CNN-RNN, lexicographic',
    'mla': 'MLA',
    'pla': 'PLA',
    'pla_release': 'PLA, as released',
    'pool': 'Candidate pool',
    'pool_likelihood': 'Candidate pool, likelihood',
    'ocd': 'OCD',
}


class SequenceDecoder(LabelDecoder):
    """Base class of decoders of label sequences, for any input.

    A subclass calls :meth:`set_objective` and has a function that runs its steps: (num_steps, pick)
    to step_logits (N, T, C + 1) and step_labels (N, T).

    Args:
        num_classes: Number of labels C. Symbol C is END.
    """

    needs_training_labels = True
    has_threshold = False
    has_steps = True
    label_order: Tensor
    longest: Tensor

    def set_objective(
        self,
        order: str | Sequence[str],
        objective: SequenceObjective,
        max_labels: int | None,
        repeats: bool | None,
    ) -> None:
        """Set the objective, and register the buffers that ``prepare`` fills.

        Args:
            order: See :class:`LabelSequenceLSTM`.
            objective: The training objective that belongs to the order.
            max_labels: Longest sequence predicted, or None.
            repeats: Whether a label may be repeated in prediction; None: the objective's default.
        """
        check_order(order)
        if max_labels is not None:
            check_positive(max_labels=max_labels)
        self.order = order
        self.end = self.num_classes
        self.objective = objective
        self.repeats = objective.repeats if repeats is None else repeats
        self.display_name = NAMES.get(str(order), 'CNN-RNN')

        self.register_buffer('label_order', torch.full((self.num_classes,), -1))
        self.register_buffer('longest', torch.tensor(0))
        self._given_max_labels = max_labels
        self._most_labels: int | None = None

    def prepare(self, class_names: Sequence[str], targets: np.ndarray) -> None:
        """Compute the label order and the length of the longest sequence.

        Args:
            class_names: Names of the C labels.
            targets: True labels of the training set (N, C), int8 in {0, 1, -1}.

        Raises:
            ValueError: If there are not C classes, or a list of names does not contain every class
                once.
        """
        self.check_training_set(class_names, targets)
        present = targets == 1
        order = order_labels(self.order, class_names, present.sum(axis=0).tolist())
        self.label_order.copy_(torch.tensor(order))
        self.longest.fill_(int(present.sum(axis=1).max(initial=0)))
        self._read_buffers()

    @property
    def num_steps(self) -> int:
        """Steps of a prediction T."""
        return self._given_max_labels or self._most_labels or self.num_classes

    @property
    def greedy(self) -> Picker:
        """The picking rule of greedy prediction."""
        return partial(pick_until_end if self.repeats else pick_unpicked, end=self.end)

    def sequence_loss(self, run_steps: RunSteps, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_sequence`` as ``order`` says.

        An ignored label (-1) is in no sequence, and predicting it is not penalised.

        Args:
            run_steps: Runs the steps on the batch.
            target: (N, C); 1 true, 0 false, -1 ignored.

        Raises:
            RuntimeError: If there is no order yet.
            ValueError: If N is 0.
        """
        if not len(target):
            raise ValueError(
                f'{type(self).__name__} has nothing to learn from a batch of no images.'
            )
        if self._most_labels is None:
            raise RuntimeError(
                f'{type(self).__name__} has no label order yet: add PrepareDecoderHook to the '
                'hooks, or call `prepare` with the training annotations.'
            )

        run = self.objective.start(target, self.label_order, self._most_labels)
        step_logits, step_labels = run_steps(run.num_steps, run.pick)
        return dict(loss_sequence=run.loss(step_logits, step_labels))

    def read_sequences(self, step_logits: Tensor, symbols: Tensor) -> dict[str, Tensor]:
        """Turn predicted sequences into the fields of a prediction.

        Args:
            step_logits: (N, T, C + 1).
            symbols: The chosen symbols (N, T), END (C) from the end on.

        Returns:
            ``pred_label``, a mask (N, C) of the predicted labels; ``step_scores`` (N, T, C), the
            probabilities of the labels at each step, zero after END; ``step_labels`` (N, T), the
            sequence, -1 from END on; ``pred_score`` (N, C), the highest of ``step_scores``.
        """
        ended = symbols == self.end
        reached = ~F.pad(ended[:, :-1], (1, 0))  # the step that predicts END still counts
        has_softmax = self.objective.has_softmax
        probs = step_logits.softmax(dim=2) if has_softmax else step_logits.sigmoid()
        step_scores = probs[..., : self.end] * reached[..., None]

        named = torch.zeros_like(step_logits[:, 0], dtype=torch.bool).scatter(1, symbols, True)[
            :, : self.end
        ]
        return dict(
            pred_score=step_scores.amax(dim=1),
            step_scores=step_scores,
            step_labels=symbols.masked_fill(ended, -1),
            pred_label=named,
        )

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._read_buffers()

    def _read_buffers(self) -> None:
        """Read the length once, so that no batch waits for the device."""
        is_prepared = int(self.label_order[0]) >= 0
        self._most_labels = max(int(self.longest), 1) if is_prepared else None


class LabelSequenceLSTM(SequenceDecoder, LSTMDecoder):
    """An LSTM that predicts the labels of an image one after the other, until END.

    With a fixed order it is trained by teacher forcing: softmax cross-entropy of START, the true
    labels in that order, END. With the other orders its input is its own predictions. An image
    without labels trains only END. The decoder itself chooses the labels of an image, so there is
    no threshold.

    For metrics that rank labels, the score of a label is its highest probability over the steps of
    the predicted sequence, including the END step, given the previous labels. Labels that are not
    in the sequence also have a score.

    Args:
        num_classes: Number of labels C. Symbol C is END.
        order: A fixed one: ``'frequent_first'``, ``'rare_first'``, ``'lexicographic'``, or all
            class names in the desired order; ``prepare`` computes it from the training annotations,
            and checkpoints store it. Or an order found in training: ``'mla'``, ``'pla'``,
            ``'pla_release'`` (alignment), ``'pool'``, ``'pool_likelihood'`` (candidate pool),
            ``'ocd'`` (optimal completion).
        beam_size: Number of sequences that the search keeps. Defaults to 1, greedy.
        max_labels: Longest sequence predicted. Defaults to None, the largest number of labels of a
            training image.
        repeats: Whether a label may be repeated in prediction; it counts once. Defaults to None:
            yes for the alignments, as in their authors' code, else no.
        average: ``'images'`` (default): the loss is summed over the steps of an image and averaged
            over images; ``'steps'``: averaged over all steps of the batch.
        temperature: Temperature of optimal completion: at 0 (default) only the remaining labels are
            correct; above 0 every symbol gets a share.
        embed_dims: Width of the label embedding M.
        hidden_dims: LSTM cells H.
        **core: The options of :class:`LSTMDecoder`: ``state_norm``, ``init_state``,
            ``output_layer`` ...

    Raises:
        ValueError: If an option is unknown, a size is not positive, or beam search is impossible:
            with ``repeats``, or for ``'pool'``, whose scores are not a softmax.
    """

    def __init__(
        self,
        num_classes: int,
        order: str | Sequence[str],
        beam_size: int = 1,
        max_labels: int | None = None,
        repeats: bool | None = None,
        average: str = 'images',
        temperature: float = 0.0,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        **core: Any,
    ) -> None:
        LSTMDecoder.__init__(self, num_classes, num_classes + 1, embed_dims, hidden_dims, **core)
        check_order(order)
        check_positive(beam_size=beam_size)
        self.beam_size = beam_size
        self.set_objective(order, make_objective(order, average, temperature), max_labels, repeats)
        self._check_search()

    def loss(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_sequence`` as ``order`` says.

        Raises:
            RuntimeError: If there is no order yet.
            ValueError: If scores or target are not (N, C), or N is 0.
        """
        self.check_target(target, len(scores))
        return self.sequence_loss(partial(self.unroll, scores), target)

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Search for the sequence of each image.

        Args:
            scores: The CNN's label probabilities (N, C), 0-1.

        Returns:
            step_logits (N, T, C + 1) and the symbols chosen, step_labels (N, T), END (C) from the
            end on; T is ``max_labels``.
        """
        if self.beam_size == 1:
            return self.unroll(scores, self.num_steps, self.greedy)

        state, weights = self.start(scores)
        with torch.autocast(scores.device.type, enabled=False):
            best = beam_search(
                lambda labels, state: step_once(labels, state, weights),
                state,
                self.num_steps,
                self.beam_size,
            )

        return self.unroll(scores, self.num_steps, partial(pick_given, sequences=best))

    def predict(self, scores: Tensor) -> dict[str, Tensor]:
        """Predict the labels of a batch, see :meth:`SequenceDecoder.read_sequences`."""
        return self.read_sequences(*self(scores))

    def _check_search(self) -> None:
        if self.beam_size == 1:
            return
        if self.repeats:
            raise ValueError(
                f'A beam search never says a label twice: write repeats=False beside beam_size='
                f'{self.beam_size}, or beam_size=1.'
            )
        if not self.objective.has_softmax:
            raise ValueError(
                f'order={self.order!r} learns a sigmoid for each symbol; a beam search (beam_size='
                f'{self.beam_size}) needs probabilities that add up to 1 over symbols: take '
                "order='pool_likelihood', or beam_size=1."
            )
