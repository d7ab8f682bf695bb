"""The Multi-order RNN's label decoder.

Dutta, Verma, Jawahar, "Recurrent Image Annotation With Explicit Inter-Label Dependencies", ECCV 2020,
https://github.com/ayushidutta/multi-order-rnn.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive
from .base import LabelDecoder
from .unroll import LSTMWeights, Picker, pick_argmax, unroll_labels

INIT_STATES = ('tanh', 'linear')
OUTPUT_LAYERS = ('linear', 'mlp')
FEEDBACKS = ('argmax', 'unpicked')
POOLINGS = ('max', 'mean', 'last')

StepLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


class MultiOrderLSTM(LabelDecoder):
    """An LSTM that starts from the CNN's label probabilities and feeds on its own most confident label.

    Args:
        num_classes: Number of labels C.
        loss: Maps step_logits (N, T, C), step_labels (N, T) and target (N, C) to a scalar.
        embed_dims: Width of the label embedding M.
        hidden_dims: LSTM cells H.
        num_steps: Steps T.
        state_norm: Arguments of :class:`BiasedBatchNorm1d` that the probabilities pass first, or None (default).
        init_state: How h_0 and c_0 come from the probabilities: ``'tanh'`` of two linear layers, or ``'linear'``. The
            paper leaves it open; configs/morn/README.md compares them.
        output_layer: ``'linear'`` (Eq. 3), or ``'mlp'``: a tanh layer of width M before it.
        forget_bias: Constant added to the forget gate.
        test_feedback: Label fed back outside training: ``'argmax'``, or ``'unpicked'``, the best one not picked yet.
        picked_logit: What ``'unpicked'`` writes over the logits of picked labels.
        pooling: How the logits of the steps become one score: ``'max'`` (the paper), ``'mean'`` or ``'last'``.
        sparse_embedding: Give the embedding a sparse gradient, so that an optimiser can tell which rows were looked up.

    Raises:
        ValueError: If an option is not one of those named, or a size is not positive.
    """

    gate_offset: Tensor

    def __init__(self, num_classes: int, loss: StepLoss, embed_dims: int = 256, hidden_dims: int = 512,
                 num_steps: int = 5, state_norm: dict[str, Any] | None = None, init_state: str = 'tanh',
                 output_layer: str = 'linear', forget_bias: float = 0.0, test_feedback: str = 'argmax',
                 picked_logit: float = float('-inf'), pooling: str = 'max', sparse_embedding: bool = False) -> None:
        super().__init__(num_classes)
        check_positive(embed_dims=embed_dims, hidden_dims=hidden_dims, num_steps=num_steps)
        check_choice('init_state', init_state, INIT_STATES)
        check_choice('output_layer', output_layer, OUTPUT_LAYERS)
        check_choice('test_feedback', test_feedback, FEEDBACKS)
        check_choice('pooling', pooling, POOLINGS)
        if test_feedback == 'unpicked' and picked_logit == float('-inf') and num_steps > num_classes:
            raise ValueError(f"test_feedback='unpicked' needs num_steps <= num_classes, but got {num_steps} steps for "
                             f'{num_classes} classes: no label would be left to pick.')
        self.step_loss = loss
        self.embed_dims, self.hidden_dims, self.num_steps = embed_dims, hidden_dims, num_steps
        self.init_state, self.pooling, self.sparse_embedding = init_state, pooling, sparse_embedding
        self.test_feedback, self.picked_logit = test_feedback, picked_logit

        self.state_norm = nn.Identity() if state_norm is None else BiasedBatchNorm1d(num_classes, **state_norm)
        self.init_h = nn.Linear(num_classes, hidden_dims)
        self.init_c = nn.Linear(num_classes, hidden_dims)
        # a module, though only its weight is used: DDP asks nn.Embedding whether to expect a sparse gradient
        self.embedding = nn.Embedding(num_classes + 1, embed_dims, sparse=sparse_embedding)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_dims, embed_dims))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_dims, hidden_dims))
        self.bias = nn.Parameter(torch.empty(4 * hidden_dims))
        self.register_buffer('gate_offset', torch.tensor([0.0, forget_bias, 0.0, 0.0]).repeat_interleave(hidden_dims),
                             persistent=False)
        self.hidden = nn.Linear(hidden_dims, embed_dims) if output_layer == 'mlp' else None
        self.output = nn.Linear(embed_dims if output_layer == 'mlp' else hidden_dims, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embedding from [-1, 1] as the release does, the cell as ``torch.nn.LSTMCell`` does."""
        nn.init.uniform_(self.embedding.weight, -1, 1)
        bound = self.hidden_dims**-0.5
        for parameter in (self.weight_ih, self.weight_hh, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Run the steps (Eq. 1-4).

        Args:
            scores: The CNN's label probabilities (N, C), 0-1.

        Returns:
            step_logits (N, T, C) and the labels picked, step_labels (N, T).
        """
        self.check_scores(scores)
        h, c = self._initial_state(scores)
        device = scores.device.type
        product_dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else h.dtype
        with torch.autocast(device, enabled=False):  # state and logits keep their precision, the products do not
            weights = self._weights(product_dtype)
            return unroll_labels((h, c), weights, self.num_steps, self._picker(), self.sparse_embedding)

    def loss(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Give ``loss_multi_order``: the step loss of the labels that the decoder itself picks, no teacher forcing."""
        step_logits, step_labels = self(scores)
        return dict(loss_multi_order=self.step_loss(step_logits, step_labels, target))

    def predict(self, scores: Tensor) -> dict[str, Tensor]:
        """Give ``pred_score`` (N, C), ``step_scores`` (N, T, C), both probabilities, and ``step_labels`` (N, T)."""
        step_logits, step_labels = self(scores)
        if self.pooling == 'max':
            logits = step_logits.amax(dim=1)
        else:
            logits = step_logits.mean(dim=1) if self.pooling == 'mean' else step_logits[:, -1]
        return dict(pred_score=logits.sigmoid(), step_scores=step_logits.sigmoid(), step_labels=step_labels)

    def _initial_state(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores (N, C) to h_0 and c_0, (N, H) each, in the precision of the weights."""
        q = self.state_norm(scores)
        h, c = self.init_h(q).to(self.bias.dtype), self.init_c(q).to(self.bias.dtype)
        return (h.tanh(), c.tanh()) if self.init_state == 'tanh' else (h, c)

    def _picker(self) -> Picker:
        if self.training or self.test_feedback == 'argmax':
            return pick_argmax
        return partial(_pick_unpicked, picked_logit=self.picked_logit)

    def _weights(self, dtype: torch.dtype) -> LSTMWeights:
        """Collect the weights, the matrices of the products in ``dtype``."""
        hidden_weight, hidden_bias = (None, None) if self.hidden is None else (self.hidden.weight.to(dtype),
                                                                               self.hidden.bias)
        return LSTMWeights(self.embedding.weight, self.weight_ih.to(dtype), self.weight_hh.to(dtype),
                           self.bias + self.gate_offset, hidden_weight, hidden_bias, self.output.weight.to(dtype),
                           self.output.bias)


def _pick_unpicked(logits: Tensor, picked: list[Tensor], picked_logit: float) -> Tensor:
    """Pick the best label after writing ``picked_logit`` over those picked before."""
    if picked:
        logits = logits.scatter(1, torch.stack(picked, dim=1), picked_logit)
    return logits.argmax(dim=1)


class BiasedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation whose running variance is the biased one, as in TensorFlow."""

    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C) to (N, C)."""
        if not self.training:
            return super().forward(x)
        with torch.no_grad():
            self.running_mean.lerp_(x.mean(0).to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(x.var(0, unbiased=False).to(self.running_var.dtype), self.momentum)
        # not F.batch_norm, which refuses a single image: the last batch of an epoch may be one, and TensorFlow takes it
        return torch.batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, torch.backends.cudnn.enabled)
