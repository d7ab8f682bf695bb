"""The network of the paper in plain PyTorch: ``LSTMCell``, autograd, one step at a time.

It shares no code with the decoder and serves as its reference: for the numbers in tests, and for
the time in benchmarks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models import MultiOrderLSTM


class PlainDecoder(nn.Module):
    """A copy of a decoder, weights included, made of ``nn.LSTMCell`` and ``nn.Linear``.

    Args:
        decoder: The decoder to copy. Its embedding is trained as a dense one.
    """

    def __init__(self, decoder: MultiOrderLSTM) -> None:
        super().__init__()
        self.num_steps = decoder.num_steps
        self.tanh_state = decoder.init_state == 'tanh'
        state = {name: tensor.detach().clone() for name, tensor in decoder.state_dict().items()}

        self.init_h, self.init_c = _copy_linear(state, 'init_h'), _copy_linear(state, 'init_c')
        self.output = _copy_linear(state, 'output')
        self.hidden = _copy_linear(state, 'hidden') if 'hidden.weight' in state else None
        self.embedding = nn.Embedding.from_pretrained(state['embedding.weight'], freeze=False)

        offset = decoder.gate_offset.to(state['bias'])
        self.cell = nn.LSTMCell(decoder.embed_dims, decoder.hidden_dims).to(state['bias'])
        with torch.no_grad():
            self.cell.weight_ih.copy_(to_torch_gates(state['weight_ih']))
            self.cell.weight_hh.copy_(to_torch_gates(state['weight_hh']))
            self.cell.bias_ih.copy_(to_torch_gates(state['bias'] + offset))
            self.cell.bias_hh.zero_()

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores (N, C) to step_logits (N, T, C) and the labels picked (N, T)."""
        h, c = self.init_h(scores), self.init_c(scores)
        if self.tanh_state:
            h, c = h.tanh(), c.tanh()

        rows = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        step_logits, step_labels = [], []
        for _ in range(self.num_steps):
            h, c = self.cell(self.embedding(rows), (h, c))
            logits = self.output(h if self.hidden is None else self.hidden(h).tanh())
            step_logits.append(logits)
            step_labels.append(logits.argmax(1))
            rows = step_labels[-1] + 1
        return torch.stack(step_logits, 1), torch.stack(step_labels, 1)

    def gradients(self) -> dict[str, Tensor | None]:
        """Return the gradients under the names of the decoder's parameters."""
        cell = self.cell
        named = {
            'embedding.weight': self.embedding.weight.grad,
            'weight_ih': to_our_gates(cell.weight_ih.grad),
            'weight_hh': to_our_gates(cell.weight_hh.grad),
            'bias': to_our_gates(cell.bias_ih.grad),
        }
        for name in ('init_h', 'init_c', 'output', 'hidden'):
            layer = getattr(self, name)
            if layer is not None:
                named[f'{name}.weight'] = layer.weight.grad
                named[f'{name}.bias'] = layer.bias.grad
        return named


def plain_loss(step_logits: Tensor, step_labels: Tensor, target: Tensor) -> Tensor:
    """Compute Eq. 5-7 with one mask per step.

    Args:
        step_logits: (N, T, C).
        step_labels: (N, T).
        target: (N, C), 0 or 1.

    Returns:
        Scalar, summed over labels and steps, averaged over images.
    """
    total = step_logits.new_zeros(())
    mask = torch.ones_like(target)
    for logits, labels in zip(step_logits.unbind(1), step_labels.unbind(1), strict=True):
        total = total + F.binary_cross_entropy_with_logits(logits, target * mask, reduction='sum')
        mask = 1 - F.one_hot(labels, target.shape[1])
    return total / len(target)


def to_torch_gates(tensor: Tensor) -> Tensor:
    """Reorder rows from input, forget, output, candidate to torch's: the last two swapped."""
    i, f, o, g = tensor.chunk(4, 0)
    return torch.cat([i, f, g, o])


def to_our_gates(tensor: Tensor | None) -> Tensor | None:
    """Undo :func:`to_torch_gates`."""
    if tensor is None:
        return None
    i, f, g, o = tensor.chunk(4, 0)
    return torch.cat([i, f, o, g])


def _copy_linear(state: dict[str, Tensor], name: str) -> nn.Linear:
    weight, bias = state[f'{name}.weight'], state[f'{name}.bias']
    layer = nn.Linear(weight.shape[1], weight.shape[0]).to(weight)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
