"""CNN-RNN: the labels of an image as a sequence in a fixed order.

Wang, Yang, Mao, Huang, Huang, Xu, "CNN-RNN: A Unified Framework for Multi-label Image
Classification", CVPR 2016. The label probabilities as the interface, and rare-first: Liu, Xiang,
Hospedales, Yang, Sun, "Semantic Regularisation for Recurrent Image Annotation", CVPR 2017. Both are
baselines in Tables 1 and 4 of the Multi-order RNN's paper.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_positive
from ..losses.sequence_cross_entropy import sequence_cross_entropy
from .beam_search import beam_search
from .label_orders import build_sequences, check_order, order_labels
from .lstm import LSTMDecoder
from .picking import pick_given, pick_unpicked
from .unroll import step_once


class LabelSequenceLSTM(LSTMDecoder):
    """An LSTM that names the labels of an image one after the other, until END.

    Training is teacher-forced softmax cross-entropy of START, the true labels in a fixed order,
    END; an image without labels trains on END alone. Prediction is greedy or a beam search, and
    never names a label twice. The decoder decides itself which labels an image has, so that there
    is no threshold.

    For metrics that rank labels, the score of a label is its highest probability over the steps of
    the predicted sequence,
    the one that says END included: softmax probabilities, given the labels before. Labels that are
    not in the sequence have one as well.

    Args:
        num_classes: Number of labels C. Symbol C is END.
        order: ``'frequent_first'``, ``'rare_first'``, ``'lexicographic'``, or all class names in
            the order that is wanted; ``prepare`` computes it from the training annotations, and
            checkpoints hold it.
        beam_size: Sequences that the search keeps. Defaults to 1, greedy.
        max_labels: Longest sequence predicted. Defaults to None, the largest number of labels of a
            training image.
        embed_dims: Width of the label embedding M.
        hidden_dims: LSTM cells H.
        **core: The options of :class:`LSTMDecoder`: ``state_norm``, ``init_state``,
            ``output_layer`` ...

    Raises:
        ValueError: If ``order`` is none of these, or a size is not positive.
    """

    needs_training_labels = True
    has_threshold = False
    label_order: Tensor
    longest: Tensor

    def __init__(
        self,
        num_classes: int,
        order: str | Sequence[str],
        beam_size: int = 1,
        max_labels: int | None = None,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        **core: Any,
    ) -> None:
        super().__init__(num_classes, num_classes + 1, embed_dims, hidden_dims, **core)
        check_order(order)
        check_positive(
            beam_size=beam_size, **({} if max_labels is None else dict(max_labels=max_labels))
        )
        self.order, self.beam_size, self.end = order, beam_size, num_classes
        self.register_buffer('label_order', torch.full((num_classes,), -1))
        self.register_buffer('longest', torch.tensor(0))
        self._given_max_labels = max_labels
        self._num_steps: int | None = None

    def prepare(self, class_names: Sequence[str], targets: np.ndarray) -> None:
        """Compute the order and the length of the longest sequence.

        Args:
            class_names: Names of the C labels.
            targets: True labels of the training set (N, C), int8 in {0, 1, -1}.

        Raises:
            ValueError: If there are not C classes, or a list of names does not hold every class
                once.
        """
        if targets.ndim != 2 or {targets.shape[1], len(class_names)} != {self.num_classes}:
            raise ValueError(
                f'{type(self).__name__} was built with num_classes={self.num_classes}, but the '
                f'training annotations name {len(class_names)} classes and have labels of shape '
                f'{targets.shape}: write head=dict(num_classes={len(class_names)}) in the config.'
            )
        present = targets == 1
        order = order_labels(self.order, class_names, present.sum(axis=0).tolist())
        self.label_order.copy_(torch.tensor(order))
        self.longest.fill_(int(present.sum(axis=1).max(initial=0)))
        self._read_buffers()

    def loss(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Give ``loss_sequence``.

        Cross-entropy, summed over the steps of an image and averaged over images.

        A label to be ignored (-1) is in no sequence, and no step is punished for naming it.

        Raises:
            RuntimeError: If there is no order yet.
            ValueError: If scores or target are not (N, C).
        """
        self.check_target(target, len(scores))
        if self._num_steps is None:
            raise RuntimeError(
                f'{type(self).__name__} has no label order yet: add PrepareDecoderHook to the '
                'hooks, or call `prepare` with the training annotations.'
            )
        sequences, lengths = build_sequences(target, self.label_order)  # (N, L)
        step_logits, _ = self.unroll(
            scores, sequences.shape[1], partial(pick_given, sequences=sequences)
        )  # (N, L, C + 1)
        loss = sequence_cross_entropy(step_logits, sequences, lengths, ignored=target < 0)
        return dict(loss_sequence=loss)

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Search the sequence of each image.

        Args:
            scores: The CNN's label probabilities (N, C), 0-1.

        Returns:
            step_logits (N, T, C + 1) and the symbols chosen, step_labels (N, T), END (C) from the
            end on; T is ``max_labels``.
        """
        num_steps = self._num_steps or self.num_classes
        if self.beam_size == 1:
            return self.unroll(scores, num_steps, partial(pick_unpicked, end=self.end))
        state, weights = self.start(scores)
        with torch.autocast(scores.device.type, enabled=False):
            best = beam_search(
                lambda labels, state: step_once(labels, state, weights),
                state,
                num_steps,
                self.beam_size,
            )
        return self.unroll(scores, num_steps, partial(pick_given, sequences=best))

    def predict(self, scores: Tensor) -> dict[str, Tensor]:
        """Predict the labels of a batch.

        Returns:
            ``pred_label``, a mask (N, C) of the labels named; ``step_scores`` (N, T, C), the
            probabilities of the labels at each step, zero after END; ``step_labels`` (N, T), the
            sequence, -1 from END on; ``pred_score`` (N, C), the highest of ``step_scores``.
        """
        step_logits, symbols = self(scores)
        ended = symbols == self.end
        reached = ~F.pad(ended[:, :-1], (1, 0))  # the step that says END still counts
        step_scores = step_logits.softmax(2)[..., : self.end] * reached[..., None]
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
        self._num_steps = (
            self._given_max_labels or max(int(self.longest), 1)
            if int(self.label_order[0]) >= 0
            else None
        )
