"""Label sequences with attention: the decoder attends to the map before each label.

Yazici, Gonzalez-Garcia, Ramisa, Twardowski, van de Weijer, "Orderless Recurrent Models for
Multi-label Classification", CVPR 2020 (MLA and PLA as in their paper), and Chen, Chen, Yeh, Wang,
"Order-Free RNN with Visual Attention for Multi-Label Classification", AAAI 2018. The network is
show-attend-tell (Xu et al., ICML 2015) with ReLU in the attention, as in the first paper's code.

N images, C labels (symbol C is END), D features, L places, T steps, H cells, M embedding width.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive, check_probability
from .label_sequence import NAMES, SequenceDecoder
from .picking import Picker
from .sequence_objectives import make_objective
from .unroll import START

STARTS = ('features', 'scores')


class AttentionLSTM(nn.Module):
    """An LSTM whose input is a symbol and an attended feature.

    Args:
        num_symbols: Symbols that a step scores, C + 1.
        in_channels: Width of the map D.
        start_dims: Width of the input of the initial state: D, or C for label probabilities.
        embed_dims: Width of the symbol embedding M.
        hidden_dims: LSTM cells H.
        attention_dims: Width of the attention.
        dropout: Dropout rate of the attention's inputs in training.
    """

    def __init__(
        self,
        num_symbols: int,
        in_channels: int,
        start_dims: int,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        attention_dims: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.init_h = nn.Linear(start_dims, hidden_dims)
        self.init_c = nn.Linear(start_dims, hidden_dims)
        self.embedding = nn.Embedding(num_symbols + 1, embed_dims)  # row 0 is START
        self.attend_map = nn.Linear(in_channels, attention_dims)
        self.attend_state = nn.Linear(hidden_dims, attention_dims)
        self.attend = nn.Linear(attention_dims, 1)
        self.gate = nn.Linear(hidden_dims, in_channels)
        self.cell = nn.LSTMCell(embed_dims + in_channels, hidden_dims)
        self.output = nn.Linear(hidden_dims, num_symbols)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, places: Tensor, start: Tensor, num_steps: int, pick: Picker
    ) -> tuple[Tensor, Tensor]:
        """Run the steps.

        Args:
            places: The map (N, L, D).
            start: Input of the initial state (N, start_dims).
            num_steps: T.
            pick: Chooses the symbol fed to the next step.

        Returns:
            step_logits (N, T, C + 1) and the symbols picked, step_labels (N, T).
        """
        h = self.init_h(start)
        c = self.init_c(start)
        seen = self.attend_map(self.dropout(places))  # (N, L, A), the same at every step
        rows = torch.full_like(h[:, 0], START, dtype=torch.long)

        step_logits: list[Tensor] = []
        step_labels: list[Tensor] = []
        for _ in range(num_steps):
            context = self._look(places, seen, h)
            x = torch.cat([self.embedding(rows), context], dim=1)
            h, c = self.cell(x, (h, c))
            logits = self.output(h)

            label = pick(logits.detach(), step_labels)
            rows = label + 1
            step_logits.append(logits)
            step_labels.append(label)

        return torch.stack(step_logits, dim=1), torch.stack(step_labels, dim=1)

    def attention(self, seen: Tensor, h: Tensor) -> Tensor:
        """Compute the attention (N, L), which sums to 1, from the map's part and the state."""
        state = self.attend_state(self.dropout(h))
        energy = self.attend((seen + state[:, None]).relu())[..., 0]  # (N, L)
        return energy.softmax(dim=1)

    def _look(
        self,
        places: Tensor,
        seen: Tensor,
        h: Tensor,
    ) -> Tensor:
        """Average the places by attention and gate the result by the state: (N, D)."""
        weights = self.attention(seen, h)
        context = torch.bmm(weights[:, None], places)[:, 0]
        return self.gate(h).sigmoid() * context


class AttentionSequenceLSTM(SequenceDecoder):
    """A :class:`LabelSequenceLSTM` with attention over the feature map.

    Args:
        num_classes: Number of labels C. Symbol C is END.
        in_channels: Width of the map D.
        order: As of :class:`LabelSequenceLSTM`, but without a beam search.
        start: Input of the initial state: ``'features'``, the map averaged over its places (PLA's
            paper), or ``'scores'``, the CNN's label probabilities (Order-free RNN).
        max_labels: Longest sequence predicted. Defaults to None, the largest number of labels of a
            training image.
        repeats: Whether a label may be repeated in prediction; see :class:`LabelSequenceLSTM`.
        average: As of :class:`LabelSequenceLSTM`. Defaults to ``'steps'``, PLA's.
        temperature: As of :class:`LabelSequenceLSTM`.
        embed_dims: Width of the label embedding M.
        hidden_dims: LSTM cells H.
        attention_dims: Width of the attention.
        dropout: Dropout rate of the attention's inputs, 0-1. Defaults to 0.5.

    Raises:
        ValueError: If an option is unknown, or a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        order: str | Sequence[str] = 'pla',
        start: str = 'features',
        max_labels: int | None = None,
        repeats: bool | None = None,
        average: str = 'steps',
        temperature: float = 0.0,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        attention_dims: int = 512,
        dropout: float = 0.5,
    ) -> None:
        check_choice('start', start, STARTS)
        self.inputs = ('feature_map',) if start == 'features' else ('scores', 'feature_map')
        super().__init__(num_classes)
        check_positive(
            in_channels=in_channels,
            embed_dims=embed_dims,
            hidden_dims=hidden_dims,
            attention_dims=attention_dims,
        )
        check_probability('dropout', dropout)
        self.set_objective(order, make_objective(order, average, temperature), max_labels, repeats)
        self.display_name = f'{NAMES.get(str(order), "Sequence")}, attention on the map'

        self.in_channels = in_channels
        self.begins_with = start
        self.lstm = AttentionLSTM(
            num_classes + 1,
            in_channels,
            in_channels if start == 'features' else num_classes,
            embed_dims,
            hidden_dims,
            attention_dims,
            dropout,
        )

    def forward(self, **inputs: Any) -> tuple[Tensor, Tensor]:
        """Predict the labels of each image.

        Returns:
            step_logits (N, T, C + 1) and the symbols chosen, step_labels (N, T), END (C) from the
            end on.
        """
        return self.run(inputs, self.num_steps, self.greedy)

    def loss(self, *, target: Tensor, **inputs: Any) -> dict[str, Tensor]:
        """Compute ``loss_sequence`` as ``order`` says."""
        self.check_target(target, len(inputs['feature_map']))
        return self.sequence_loss(partial(self.run, inputs), target)

    def predict(self, **inputs: Any) -> dict[str, Tensor]:
        """Predict the labels of a batch, as :meth:`LabelSequenceLSTM.predict`."""
        return self.read_sequences(*self(**inputs))

    def run(
        self,
        inputs: dict[str, Tensor],
        num_steps: int,
        pick: Picker,
    ) -> tuple[Tensor, Tensor]:
        """Run the steps on the ``inputs``: step_logits (N, T, C + 1), step_labels (N, T)."""
        feature_map = inputs['feature_map']
        self.check_feature_map(feature_map, self.in_channels)
        places = feature_map.flatten(2).transpose(1, 2)  # (N, L, D)
        start = places.mean(dim=1) if self.begins_with == 'features' else inputs['scores']
        return self.lstm(places, start, num_steps, pick)
