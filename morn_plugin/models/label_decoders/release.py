"""The authors' release as options and weights of our decoder.

Source: https://github.com/ayushidutta/multi-order-rnn.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..losses.masked_stepwise_bce import masked_stepwise_bce
from .multi_order_lstm import MultiOrderLSTM

PREFIX = 'cnn_rnn_att/'
RELEASE_OPTIONS: dict[str, Any] = dict(
    state_norm=dict(eps=1e-3, momentum=0.05),
    init_state='tanh',
    output_layer='mlp',
    forget_bias=1.0,
    test_feedback='unpicked',
    picked_logit=-9.0,
    sparse_embedding=True,
)
RELEASE_LOSS: dict[str, Any] = dict(mask='cumulative', steps='num_labels')


def decoder_from_release(variables: Mapping[str, np.ndarray], num_steps: int = 5) -> MultiOrderLSTM:
    """Build the decoder of the release from its variables.

    Args:
        variables: Name to array, with the names of the release's checkpoints such as
            ``cnn_rnn_att/lstm/basic_lstm_cell/kernel``. Others, such as the optimiser's slots, are
            ignored.
        num_steps: Steps T, which no variable contains.

    Returns:
        The decoder with the release's options and the sizes of the arrays, in training mode;
        ``train()`` and ``eval()`` switch batch statistics and feedback as the release's two graphs
        do.

    Raises:
        KeyError: If a variable is missing; the message names it.
        ValueError: If the shapes of two variables do not fit; the message names them.
    """
    state, (num_classes, hidden_dims, embed_dims) = state_dict_from_release(variables)
    decoder = MultiOrderLSTM(
        num_classes,
        partial(masked_stepwise_bce, **RELEASE_LOSS),
        embed_dims,
        hidden_dims,
        num_steps,
        **RELEASE_OPTIONS,
    )
    decoder.load_state_dict(state)
    return decoder


def state_dict_from_release(
    variables: Mapping[str, np.ndarray],
) -> tuple[dict[str, Tensor], tuple[int, int, int]]:
    """Rename and lay out the release's variables as the decoder's state dict.

    Returns:
        The state dict and (C, H, M).
    """
    get = partial(_read_variable, variables)

    # The sizes follow from two arrays; the others must have them.
    w_ph = get('initial_lstm/w_ph', None, None)
    num_classes, hidden_dims = w_ph.shape
    embedding = get('word_embedding/w', num_classes + 1, None)
    embed_dims = embedding.shape[1]

    # TensorFlow multiplies input and state by one kernel, and stores it transposed.
    kernel = get('lstm/basic_lstm_cell/kernel', embed_dims + hidden_dims, 4 * hidden_dims)
    kernel = _reorder_gates(kernel).t()  # (4H, M + H)
    bias = get('lstm/basic_lstm_cell/bias', 4 * hidden_dims)

    state = {
        'state_norm.weight': get('init_prob_batch_norm/gamma', num_classes),
        'state_norm.bias': get('init_prob_batch_norm/beta', num_classes),
        'state_norm.running_mean': get('init_prob_batch_norm/moving_mean', num_classes),
        'state_norm.running_var': get('init_prob_batch_norm/moving_variance', num_classes),
        'state_norm.num_batches_tracked': torch.tensor(0),
        'init_h.weight': w_ph.t(),
        'init_h.bias': get('initial_lstm/b_ph', hidden_dims),
        'init_c.weight': get('initial_lstm/w_pc', num_classes, hidden_dims).t(),
        'init_c.bias': get('initial_lstm/b_pc', hidden_dims),
        'embedding.weight': embedding,
        'weight_ih': kernel[:, :embed_dims],
        'weight_hh': kernel[:, embed_dims:],
        'bias': _reorder_gates(bias),
        'hidden.weight': get('logits/w_h', hidden_dims, embed_dims).t(),
        'hidden.bias': get('logits/b_h', embed_dims),
        'output.weight': get('logits/w_out', embed_dims, num_classes).t(),
        'output.bias': get('logits/b_out', num_classes),
    }
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    return state, (num_classes, hidden_dims, embed_dims)


def _read_variable(
    variables: Mapping[str, np.ndarray],
    name: str,
    *shape: int | None,
) -> Tensor:
    """Return a variable as float32, and require its shape (None: any size)."""
    name = PREFIX + name
    if name not in variables:
        raise KeyError(f'The variable {name!r} is missing; got {sorted(variables)}.')

    array = np.asarray(variables[name])
    fits = array.ndim == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f'Expected the variable {name!r} to have the shape {shape} (None: any), '
            f'as the variables read before ask for, but got {array.shape}.'
        )

    return torch.tensor(array, dtype=torch.float32)


def _reorder_gates(tensor: Tensor) -> Tensor:
    """Turn TensorFlow's i, j, f, o along the last axis into our i, f, o, j."""
    i, j, f, o = tensor.chunk(4, dim=-1)
    return torch.cat([i, f, o, j], dim=-1)
