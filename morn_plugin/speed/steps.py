"""Training steps of the decoder and of its peers, each as one function without arguments."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ..engine import FusedRMSprop
from ..models import MultiOrderLSTM, masked_stepwise_bce
from .plain_decoder import PlainDecoder, plain_loss
from .timing import Table

Run = Callable[[], object]
LR = 1e-4
WARM_UP = 3  # steps required before capturing a CUDA graph


class Sizes(NamedTuple):
    """Sizes of a step; by default the paper's on MS-COCO."""

    images: int = 32
    labels: int = 80
    cells: int = 512
    width: int = 256
    steps: int = 5


def step_ratios(
    sizes: Sizes,
    times: Mapping[str, Sequence[float]],
    ratios: Mapping[str, tuple[float, float, float]],
    head: str,
) -> Table:
    """Lay out the times of steps beside their ratios to one of them.

    Args:
        sizes: Of the step.
        times: Name to milliseconds.
        ratios: Name to the lowest, median and highest ratio.
        head: Of the ratios' column.
    """
    rows = []
    for name, values in times.items():
        low, middle, high = ratios[name]
        rows.append([name, f'{np.median(values):.2f}', f'{middle:.2f}', f'{low:.2f}-{high:.2f}'])
    N, C, H, M, T = sizes
    title = f'One training step with optimiser, N = {N}, C = {C:,}, H = {H}, M = {M}, T = {T}'
    return Table(title, ['', 'ms', head, 'from-to'], rows)


def make_batch(sizes: Sizes, device: str = 'cpu') -> tuple[Tensor, Tensor]:
    """Create random scores (N, C), 0-1, and targets (N, C) with 2.9 labels per image."""
    shape = (sizes.images, sizes.labels)
    target = torch.rand(shape, device=device) < 2.9 / sizes.labels
    return torch.rand(shape, device=device), target.float()


def make_decoder(sizes: Sizes, device: str = 'cpu') -> MultiOrderLSTM:
    """Build the decoder with the paper's loss."""
    decoder = MultiOrderLSTM(
        sizes.labels, masked_stepwise_bce, sizes.width, sizes.cells, sizes.steps
    )
    return decoder.to(device)


class Trained(NamedTuple):
    """A trained model: its parts, and a step of forward, backward and optimiser."""

    module: nn.Module
    optimizer: Optimizer
    step: Callable[[], Tensor]


def make_ours(sizes: Sizes, device: str = 'cpu') -> Trained:
    """Build our step."""
    decoder = make_decoder(sizes, device)

    def loss(scores: Tensor, target: Tensor) -> Tensor:
        return decoder.loss(scores, target)['loss_multi_order']

    return _train(decoder, loss, FusedRMSprop(decoder.parameters(), lr=LR), sizes, device)


def make_plain(sizes: Sizes, device: str = 'cpu') -> Trained:
    """Build the same in plain PyTorch: LSTMCell, autograd, one mask per step, torch's RMSprop."""
    plain = PlainDecoder(make_decoder(sizes, device)).to(device)

    def loss(scores: Tensor, target: Tensor) -> Tensor:
        step_logits, step_labels = plain(scores)
        return plain_loss(step_logits, step_labels, target)

    return _train(plain, loss, _make_rmsprop(plain, device), sizes, device)


def make_given(sizes: Sizes, device: str = 'cpu') -> Trained:
    """Build ``nn.LSTM`` over given labels: cuDNN's on a GPU.

    It neither feeds labels back nor masks them, so it is a lower bound, not an equivalent.
    """
    given = GivenLabelsLSTM(sizes).to(device)
    labels = torch.randint(sizes.labels, (sizes.images, sizes.steps), device=device)

    def loss(scores: Tensor, target: Tensor) -> Tensor:
        logits = given(scores, labels)  # (N, T, C)
        targets = target.unsqueeze(1).expand_as(logits)
        total = F.binary_cross_entropy_with_logits(logits, targets, reduction='sum')
        return total / len(scores)

    return _train(given, loss, _make_rmsprop(given, device), sizes, device)


class GivenLabelsLSTM(nn.Module):
    """The network with ``nn.LSTM``, all steps in one call, over labels known in advance."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.init_h = nn.Linear(sizes.labels, sizes.cells)
        self.init_c = nn.Linear(sizes.labels, sizes.cells)
        self.embedding = nn.Embedding(sizes.labels + 1, sizes.width)
        self.lstm = nn.LSTM(sizes.width, sizes.cells, batch_first=True)
        self.output = nn.Linear(sizes.cells, sizes.labels)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Map scores (N, C) and labels (N, T) to logits (N, T, C)."""
        state = self.init_h(scores).tanh()[None], self.init_c(scores).tanh()[None]
        return self.output(self.lstm(self.embedding(labels + 1), state)[0])


def _make_rmsprop(module: nn.Module, device: str) -> Optimizer:
    is_cuda = torch.device(device).type == 'cuda'
    return torch.optim.RMSprop(module.parameters(), lr=LR, capturable=is_cuda)


def _train(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: Optimizer,
    sizes: Sizes,
    device: str,
) -> Trained:
    batch = make_batch(sizes, device)
    return Trained(module, optimizer, partial(train_step, loss, optimizer, *batch))


def train_step(
    loss: Callable[[Tensor, Tensor], Tensor], optimizer: Optimizer, scores: Tensor, target: Tensor
) -> Tensor:
    """Take one step on scores and target (N, C), and return the loss."""
    optimizer.zero_grad()
    value = loss(scores, target)
    value.backward()
    optimizer.step()
    return value.detach()


def make_products(sizes: Sizes, device: str = 'cpu') -> Run:
    """Build only the matrix products of a step, forward and backward.

    No formulation can avoid them. Operands have the memory layout of the step: weights are
    (outputs, inputs), weight gradients use transposed ones. The input half of the gates is one
    product for every label, or for every lookup if there are fewer.
    """
    N, C, H, M, T = sizes
    state = (H, C, N)  # outputs, inputs, rows
    table = (4 * H, M, min(C + 1, N * T))
    recurrence, output = (4 * H, H, N), (C, H, N)
    rand = partial(torch.rand, device=device)

    # Forward, step by step.
    forward = [state, state, table] + T * [recurrence, output]
    pairs = [(rand(rows, inputs), rand(outputs, inputs).t()) for outputs, inputs, rows in forward]

    # Backward to the inputs: the cell step by step, the output layer all steps at once.
    to_inputs = [table, (C, H, N * T)] + T * [recurrence]
    pairs += [(rand(rows, outputs), rand(outputs, inputs)) for outputs, inputs, rows in to_inputs]

    # Backward to the weights, all steps at once.
    of_weights = [state, state, table, (C, H, N * T), (4 * H, H, N * T)]
    pairs += [(rand(rows, outputs).t(), rand(rows, inputs)) for outputs, inputs, rows in of_weights]

    def products() -> None:
        for a, b in pairs:
            torch.mm(a, b)

    return products


def capture(trained: Trained) -> Run:
    """Record a step as a CUDA graph.

    Runs :data:`WARM_UP` steps first, as capturing requires; recording itself runs none.

    Returns:
        A function that replays the step.
    """
    for group in trained.optimizer.param_groups:
        group['capturable'] = True

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            trained.step()
    torch.cuda.current_stream().wait_stream(stream)

    graph: Any = torch.cuda.CUDAGraph()
    trained.optimizer.zero_grad()  # so that the gradients belong to the graph
    with torch.cuda.graph(graph):
        trained.step()

    # The graph uses the memory of the tensors it was recorded with, so these must stay alive.
    return partial(_replay, graph, trained)


def _replay(graph: Any, kept: Trained) -> None:
    graph.replay()
