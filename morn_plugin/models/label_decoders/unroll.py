"""The recurrence over labels.

T LSTM steps, each with the label picked at the previous step as input (Eq. 1-4).

The caller chooses the label: the argmax, the best label not picked yet, or the label of a given
sequence (teacher forcing). ``unroll_labels`` runs all steps; ``step_once`` runs a single one for
searches.

The forward steps are plain tensor operations, which prediction, autocast and export use directly.
If gradients are needed, ``_UnrolledSteps`` runs the same steps with a hand-written gradient. The
labels fed back are constants (the argmax is not differentiated), so the backward pass is that of an
LSTM over a known sequence, and one matrix product computes the weight gradients of all steps.

Shapes: N images, C labels, T steps, H cells, M embedding width. Tensors of all steps are
step-major, (T, N, ...), so that a step is contiguous. Gate order is input, forget, output,
candidate: one sigmoid serves the first three.
"""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...utils.onednn import linear
from ...utils.small_work import SmallWork
from .picking import Picker, pick_argmax

sigmoid_backward = torch.ops.aten.sigmoid_backward
tanh_backward = torch.ops.aten.tanh_backward
START = 0  # row of the embedding for the first step; class k is row k + 1


class LSTMWeights(NamedTuple):
    """Weights of the recurrence.

    Attributes:
        embedding: (C + 1, M), row 0 is START.
        weight_ih: (4H, M).
        weight_hh: (4H, H).
        bias: (4H,).
        hidden_weight: (K, H) of a tanh layer before the output, or None.
        hidden_bias: (K,), or None.
        output_weight: (C, K or H).
        output_bias: (C,).
    """

    embedding: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    hidden_weight: Tensor | None
    hidden_bias: Tensor | None
    output_weight: Tensor
    output_bias: Tensor


def unroll_labels(
    state: tuple[Tensor, Tensor],
    weights: LSTMWeights,
    num_steps: int,
    pick: Picker = pick_argmax,
    sparse_embedding: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        state: h_0 and c_0, each (N, H).
        weights: The weights; matrices in a lower precision than the state (autocast) affect only
            the products.
        num_steps: T.
        pick: Chooses the label to feed back.
        sparse_embedding: Return the gradient of the embedding as a sparse tensor of the looked-up
            rows.

    Returns:
        step_logits (N, T, C) and step_labels (N, T).
    """
    if torch.is_grad_enabled() and any(
        t.requires_grad for t in (*state, *weights) if t is not None
    ):
        logits, labels = _UnrolledSteps.apply(num_steps, pick, sparse_embedding, *state, *weights)
    else:
        steps = _run_steps(state, weights, num_steps, pick)
        logits = torch.stack(steps.logits)
        labels = torch.stack(steps.labels)

    return logits.transpose(0, 1), labels.transpose(0, 1)  # (T, N, ...) -> (N, T, ...)


class _Steps(NamedTuple):
    """Values of all steps; ``h`` and ``c`` have T + 1 entries, the others T."""

    logits: list[Tensor]
    labels: list[Tensor]
    h: list[Tensor]
    c: list[Tensor]
    sigmoids: list[Tensor]
    candidates: list[Tensor]
    tanh_c: list[Tensor]
    hidden: list[Tensor]


def _run_steps(
    state: tuple[Tensor, Tensor],
    weights: LSTMWeights,
    num_steps: int,
    pick: Picker,
) -> _Steps:
    h, c = state
    steps = _Steps([], [], [h], [c], [], [], [], [])
    table = _input_table(weights, h.shape[0] * num_steps)

    for step in range(num_steps):
        rows = steps.labels[-1] + 1 if step else _start_rows(h)
        logits, h, c, *others = _step(rows, h, c, weights, table)
        label = pick(logits.detach(), steps.labels)

        for kept, value in zip(steps, (logits, label, h, c, *others), strict=True):
            kept.append(value)

    return steps


def _start_rows(h: Tensor) -> Tensor:
    """Return the row of START for each image of a state (N, H): (N,)."""
    return torch.full_like(h[:, 0], START, dtype=torch.long)


def step_once(
    labels: Tensor | None, state: tuple[Tensor, Tensor], weights: LSTMWeights
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run a single step, for searches that keep several states per image.

    Args:
        labels: (N,), the input of the step; None for START.
        state: h and c, each (N, H).
        weights: The weights.

    Returns:
        Logits (N, C) and the new state.
    """
    rows = _start_rows(state[0]) if labels is None else labels + 1
    table = _input_table(weights, len(rows))
    logits, h, c, *_ = _step(rows, *state, weights, table)
    return logits, (h, c)


def _step(
    rows: Tensor,
    h: Tensor,
    c: Tensor,
    weights: LSTMWeights,
    table: Tensor | None,
) -> tuple[Tensor, ...]:
    """Run one step.

    Returns:
        Logits, h and c, and values for the backward pass: sigmoids, candidate, tanh_c, hidden.
    """
    gates = _product(h, weights.weight_hh)  # (N, 4H)
    inputs = _input_gates(table, weights, rows)
    with SmallWork(gates.numel()):
        gates.add_(inputs)
        three, last = gates.split([3 * h.shape[1], h.shape[1]], dim=1)
        sigmoids = three.sigmoid()
        candidate = last.tanh()

        # The cell.
        i, f, o = sigmoids.chunk(3, dim=1)
        c = (f * c).addcmul_(i, candidate)
        tanh_c = c.tanh()
        h = hidden = o * tanh_c

    # The output layer.
    if weights.hidden_weight is not None and weights.hidden_bias is not None:
        hidden = _product(h, weights.hidden_weight).add_(weights.hidden_bias).tanh_()
    logits = _product(hidden, weights.output_weight).add_(weights.output_bias)
    return logits, h, c, sigmoids, candidate, tanh_c, hidden


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply in the weight's precision, return in the input's: (N, I), (O, I) -> (N, O)."""
    return linear(x.to(weight.dtype), weight).to(x.dtype)


def _input_table(weights: LSTMWeights, num_lookups: int) -> Tensor | None:
    """Compute the input half of the gates for every label, (C + 1, 4H).

    Return None if that would be more work than the lookups.
    """
    if torch.compiler.is_compiling() or weights.embedding.shape[0] > num_lookups:
        return None
    return _product(weights.embedding, weights.weight_ih) + weights.bias


def _input_gates(
    table: Tensor | None,
    weights: LSTMWeights,
    rows: Tensor,
) -> Tensor:
    if table is not None:
        with SmallWork(rows.shape[0] * table.shape[1]):
            return F.embedding(rows, table)
    return _product(F.embedding(rows, weights.embedding), weights.weight_ih) + weights.bias


class _UnrolledSteps(torch.autograd.Function):
    """Runs the steps and computes their gradient.

    The tests check it with gradcheck and against plain autograd.
    """

    @staticmethod
    def forward(
        ctx: Any,
        num_steps: int,
        pick: Picker,
        sparse_embedding: bool,
        h: Tensor,
        c: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        steps = _run_steps((h, c), LSTMWeights(*weights), num_steps, pick)
        labels = torch.stack(steps.labels)
        ctx.sparse_embedding = sparse_embedding
        _save(
            ctx,
            weights=weights,
            labels=[labels],
            h=steps.h,
            c_before=steps.c[:-1],
            sigmoids=steps.sigmoids,
            candidates=steps.candidates,
            tanh_c=steps.tanh_c,
            hidden=steps.hidden if LSTMWeights(*weights).hidden_weight is not None else (),
        )
        ctx.mark_non_differentiable(labels)
        return torch.stack(steps.logits), labels

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        grad_logits: Tensor,
        _: Tensor,
    ) -> tuple[Tensor | None, ...]:
        saved = _saved(ctx)
        weights = LSTMWeights(*saved['weights'])
        (labels,) = saved['labels']  # (T, N)
        all_h = torch.stack(saved['h'])  # (T + 1, N, H)
        # (TN, H)
        h_before = all_h[:-1].flatten(0, 1)
        h_after = all_h[1:].flatten(0, 1)

        # The output layer, all steps at once.
        grad_h_out, grad_hidden, grad_output = _output_backward(
            grad_logits.flatten(0, 1), h_after, saved['hidden'], weights
        )
        grad_h_out = grad_h_out.unflatten(0, labels.shape)  # (T, N, H)

        # Back through time, step by step.
        grad_gates, grad_h, grad_c = _cells_backward(grad_h_out, saved, weights)

        # The weights of the cell, again all steps at once.
        flat = grad_gates.flatten(0, 1)  # (TN, 4H)
        grad_hh = flat.t().to(weights.weight_hh.dtype) @ h_before.to(weights.weight_hh.dtype)
        rows = torch.cat([torch.full_like(labels[:1], START), labels[:-1] + 1]).flatten()  # (TN,)
        grad_embedding, grad_ih = _input_backward(flat, rows, weights, ctx.sparse_embedding)

        grad_weights = (grad_embedding, grad_ih, grad_hh, flat.sum(0), *grad_hidden, *grad_output)
        return None, None, None, grad_h, grad_c, *grad_weights


def _save(ctx: Any, **groups: Sequence[Tensor | None]) -> None:
    """Save groups of tensors for the backward pass, by name."""
    ctx.group_sizes = {name: len(group) for name, group in groups.items()}
    ctx.save_for_backward(*chain.from_iterable(groups.values()))


def _saved(ctx: Any) -> dict[str, list[Tensor]]:
    """Return the groups of tensors that :func:`_save` saved."""
    tensors = iter(ctx.saved_tensors)
    return {name: list(islice(tensors, size)) for name, size in ctx.group_sizes.items()}


def _output_backward(
    grad_logits: Tensor,
    h_after: Tensor,
    hidden: list[Tensor],
    weights: LSTMWeights,
) -> tuple[Tensor, tuple[Tensor | None, Tensor | None], tuple[Tensor, Tensor]]:
    """Backpropagate through the output layer.

    Args:
        grad_logits: (TN, C).
        h_after: The states after each step (TN, H).
        hidden: The values of the tanh layer, T times (N, K); empty without such a layer.
        weights: The weights.

    Returns:
        The gradients of the states (TN, H), of the tanh layer's weight and bias, and of the output
        layer's weight and bias.
    """
    if weights.hidden_weight is None:
        grad_h, grad_output = _linear_backward(grad_logits, h_after, weights.output_weight)
        return grad_h, (None, None), grad_output

    values = torch.stack(hidden).flatten(0, 1)  # (TN, K)
    grad_values, grad_output = _linear_backward(grad_logits, values, weights.output_weight)
    grad_values = tanh_backward(grad_values, values)
    grad_h, grad_hidden = _linear_backward(grad_values, h_after, weights.hidden_weight)
    return grad_h, grad_hidden, grad_output


def _cells_backward(
    grad_h_out: Tensor, saved: dict[str, list[Tensor]], weights: LSTMWeights
) -> tuple[Tensor, Tensor, Tensor]:
    """Backpropagate through the cells, from the last step to the first.

    Args:
        grad_h_out: The gradients of the states from the output layer (T, N, H).
        saved: Values of the forward pass, by name.
        weights: The weights.

    Returns:
        The gradients of the gates (T, N, 4H), and of the first state, h_0 and c_0 (N, H) each.
    """
    num_steps, num_images, _ = grad_h_out.shape
    grad_gates = grad_h_out.new_empty(num_steps, num_images, weights.bias.shape[0])
    grad_h = grad_h_out[-1]
    grad_c = torch.zeros_like(saved['tanh_c'][0])

    for step in reversed(range(num_steps)):
        with SmallWork(grad_gates[step].numel()):
            _gate_gradients(
                grad_h,
                grad_c,
                saved['sigmoids'][step],
                saved['candidates'][step],
                saved['tanh_c'][step],
                saved['c_before'][step],
                out=grad_gates[step],
            )
        grad_h = _product(grad_gates[step], weights.weight_hh.t())
        if step:
            grad_h += grad_h_out[step - 1]

    return grad_gates, grad_h, grad_c


def _gate_gradients(
    grad_h: Tensor,
    grad_c: Tensor,
    sigmoids: Tensor,
    candidate: Tensor,
    tanh_c: Tensor,
    c_before: Tensor,
    out: Tensor,
) -> None:
    """Backpropagate through one cell, in place.

    ``out`` (N, 4H) receives the gradients of the gates; ``grad_c`` becomes that of the previous
    step.
    """
    i, f, o = sigmoids.chunk(3, dim=1)
    grad_i, grad_f, grad_o, grad_candidate = out.chunk(4, dim=1)
    grad_c += tanh_backward(grad_h * o, tanh_c)

    torch.mul(grad_c, candidate, out=grad_i)
    torch.mul(grad_c, c_before, out=grad_f)
    torch.mul(grad_h, tanh_c, out=grad_o)
    torch.mul(grad_c, i, out=grad_candidate)
    grad_c *= f

    # through sigmoid and tanh
    three = out[:, : sigmoids.shape[1]]
    sigmoid_backward.grad_input(three, sigmoids, grad_input=three)
    tanh_backward.grad_input(grad_candidate, candidate, grad_input=grad_candidate)


def _linear_backward(
    grad: Tensor, x: Tensor, weight: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the gradients of x (B, I), weight (O, I) and bias (O,) from the output's (B, O)."""
    grad_x, grad_weight = _product_backward(grad, x, weight)
    return grad_x, (grad_weight, grad.sum(0))


def _product_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x (B, I) and weight (O, I) from the product's (B, O)."""
    grad_weight = grad.t().to(weight.dtype) @ x.to(weight.dtype)
    return _product(grad, weight.t()), grad_weight


def _input_backward(
    grad_gates: Tensor, rows: Tensor, weights: LSTMWeights, sparse: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of embedding (C + 1, M) and weight_ih (4H, M) from the gates'."""
    embedding = weights.embedding
    weight = weights.weight_ih
    num_rows = embedding.shape[0]
    if num_rows <= rows.shape[0] and not sparse:
        # sum over equal labels first: fewer rows to multiply
        grad_table = _sum_rows(grad_gates, rows, num_rows)
        return _product_backward(grad_table, embedding, weight)

    grad_rows, grad_weight = _product_backward(grad_gates, embedding[rows], weight)  # (TN, M)
    if sparse:
        grad_embedding = torch.sparse_coo_tensor(
            rows[None], grad_rows, embedding.shape, check_invariants=False
        )
        return grad_embedding, grad_weight

    return _sum_rows(grad_rows, rows, num_rows), grad_weight


def _sum_rows(values: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """Add up the values (B, I) that belong to the same row: (num_rows, I)."""
    return torch.ops.aten.embedding_dense_backward(values, rows, num_rows, -1, False)
