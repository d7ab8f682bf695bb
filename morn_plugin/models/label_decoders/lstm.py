"""The core of the recurrent label decoders.

An LSTM that starts from the CNN's label probabilities.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive
from .base import LabelDecoder
from .batch_statistics import batch_statistics, is_shared_out
from .picking import Picker
from .unroll import LSTMWeights, unroll_labels

INIT_STATES = ('tanh', 'linear')
OUTPUT_LAYERS = ('linear', 'mlp')


class LSTMDecoder(LabelDecoder):
    """Initial state, label embedding, LSTM cell and output layer.

    Subclasses define the inputs of the steps and the loss.

    Args:
        num_classes: Number of labels C.
        num_outputs: Symbols scored at each step: the labels, and the symbols that the subclass
            adds.
        embed_dims: Width of the symbol embedding M.
        hidden_dims: LSTM cells H.
        state_norm: Arguments of :class:`BiasedBatchNorm1d` applied to the probabilities first, or
            None (default).
        init_state: How h_0 and c_0 come from the probabilities: ``'tanh'`` of two linear layers, or
            ``'linear'``. The paper does not say; configs/morn/README.md compares them.
        output_layer: ``'linear'`` (Eq. 3), or ``'mlp'``: a tanh layer of width M before it.
        forget_bias: Constant added to the forget gate.
        sparse_embedding: Use a sparse gradient for the embedding, so that an optimiser knows which
            rows were looked up.

    Raises:
        ValueError: If an option is unknown, or a size is not positive.
    """

    gate_offset: Tensor

    def __init__(
        self,
        num_classes: int,
        num_outputs: int,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        state_norm: dict[str, Any] | None = None,
        init_state: str = 'tanh',
        output_layer: str = 'linear',
        forget_bias: float = 0.0,
        sparse_embedding: bool = False,
    ) -> None:
        super().__init__(num_classes)
        check_positive(embed_dims=embed_dims, hidden_dims=hidden_dims)
        check_choice('init_state', init_state, INIT_STATES)
        check_choice('output_layer', output_layer, OUTPUT_LAYERS)
        self.embed_dims = embed_dims
        self.hidden_dims = hidden_dims
        self.init_state = init_state
        self.sparse_embedding = sparse_embedding

        self.state_norm = (
            nn.Identity() if state_norm is None else BiasedBatchNorm1d(num_classes, **state_norm)
        )
        self.init_h = nn.Linear(num_classes, hidden_dims)
        self.init_c = nn.Linear(num_classes, hidden_dims)
        # a module, though only its weight is used: DDP asks nn.Embedding whether to expect a sparse
        # gradient
        self.embedding = nn.Embedding(num_outputs + 1, embed_dims, sparse=sparse_embedding)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_dims, embed_dims))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_dims, hidden_dims))
        self.bias = nn.Parameter(torch.empty(4 * hidden_dims))
        self.register_buffer(
            'gate_offset',
            torch.tensor([0.0, forget_bias, 0.0, 0.0]).repeat_interleave(hidden_dims),
            persistent=False,
        )
        self.hidden = nn.Linear(hidden_dims, embed_dims) if output_layer == 'mlp' else None
        self.output = nn.Linear(embed_dims if output_layer == 'mlp' else hidden_dims, num_outputs)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embedding from [-1, 1], as the release does.

        The cell is initialised like ``torch.nn.LSTMCell``.
        """
        nn.init.uniform_(self.embedding.weight, -1, 1)
        bound = self.hidden_dims**-0.5
        for parameter in (self.weight_ih, self.weight_hh, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def unroll(
        self,
        scores: Tensor,
        num_steps: int,
        pick: Picker,
    ) -> tuple[Tensor, Tensor]:
        """Run the steps.

        Args:
            scores: The CNN's label probabilities (N, C), 0-1.
            num_steps: T.
            pick: Chooses the symbol fed to the next step.

        Returns:
            step_logits (N, T, outputs) and the symbols picked, step_labels (N, T).
        """
        state, weights = self.start(scores)
        with torch.autocast(
            scores.device.type, enabled=False
        ):  # state and logits keep full precision
            return unroll_labels(state, weights, num_steps, pick, self.sparse_embedding)

    def start(self, scores: Tensor) -> tuple[tuple[Tensor, Tensor], LSTMWeights]:
        """Compute the weights of the steps and the initial state, h_0 and c_0, (N, H) each.

        And the weights of the steps.
        """
        self.check_scores(scores)
        q = self.state_norm(scores)
        h = self.init_h(q).to(self.bias.dtype)
        c = self.init_c(q).to(self.bias.dtype)
        device = scores.device.type
        product_dtype = (
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else h.dtype
        )

        with torch.autocast(device, enabled=False):
            state = (h.tanh(), c.tanh()) if self.init_state == 'tanh' else (h, c)
            return state, self._weights(product_dtype)

    def _weights(self, dtype: torch.dtype) -> LSTMWeights:
        """Collect the weights; the matrices of the products have ``dtype``."""
        hidden_weight, hidden_bias = (
            (None, None)
            if self.hidden is None
            else (self.hidden.weight.to(dtype), self.hidden.bias)
        )
        return LSTMWeights(
            self.embedding.weight,
            self.weight_ih.to(dtype),
            self.weight_hh.to(dtype),
            self.bias + self.gate_offset,
            hidden_weight,
            hidden_bias,
            self.output.weight.to(dtype),
            self.output.bias,
        )


class BiasedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation with a biased running variance, as in TensorFlow.

    In training, the statistics cover the batches of all processes: two with 16 images each train
    like one with 32.
    """

    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C) to (N, C)."""
        if not self.training:
            return super().forward(x)

        mean, variance = batch_statistics(x)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)

        if is_shared_out():
            normal = (x - mean) * (variance + self.eps).rsqrt()
            return torch.addcmul(self.bias, normal, self.weight) if self.affine else normal

        # not F.batch_norm, which refuses a single image: the last batch of an epoch may be one, and
        # TensorFlow takes it
        return torch.batch_norm(
            x, self.weight, self.bias, None, None, True, 0.0, self.eps, torch.backends.cudnn.enabled
        )
