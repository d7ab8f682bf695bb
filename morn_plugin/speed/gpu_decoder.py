"""Checks the label decoder on a GPU: waits of the host, the time of a step, half precision."""

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
from mmengine.optim import AmpOptimWrapper
from torch import Tensor

from ..engine import FusedRMSprop
from ..models import MaskedStepwiseBCELoss
from .checks import Found, Settings
from .steps import (
    WARM_UP,
    Run,
    Sizes,
    Trained,
    capture,
    make_batch,
    make_decoder,
    make_given,
    make_ours,
    make_plain,
    make_products,
)
from .timing import Table, medians

#: Tolerance of weights after the same steps, eager and replayed: sums of gradients of equal labels
#: have no fixed order on a GPU.
REPLAY_TOLERANCE = 1e-5
#: Training must reach this share of the first loss, within the steps of the settings.
LEARNT = 0.95
#: Steps by name: ours, ``LSTMCell`` in a loop, and ``nn.LSTM`` over labels that are given.
MAKERS = dict(ours=make_ours, plain=make_plain, given=make_given)


def sizes_of(settings: Settings, images: int, labels: int) -> Sizes:
    """Return the sizes of a step at a batch size and a number of labels."""
    return Sizes(images, labels, settings.cells, settings.width)


def check_waits(settings: Settings) -> Found:
    """Find waits for the GPU in the step (forward, backward, optimiser) and in prediction.

    As a control, an operation that is known to wait must be found.
    """
    settings.need_cuda()
    rows, most = [], 0
    for images, labels in product(settings.batches, settings.labels):
        sizes = sizes_of(settings, images, labels)
        for name, run in _runs_without_waits(sizes, settings.device).items():
            places = find_waits(run)
            most = max(most, len(places))
            rows.append([f'{name}, N = {images}, C = {labels:,}', str(len(places)), _say(places)])

    known = find_waits(lambda: torch.ones(1, device=settings.device).item())
    rows.append(['reading a number, which waits', str(len(known)), _say(known)])
    table = Table('Waits of the host for the GPU', ['', 'waits', 'where'], rows)
    return Found(
        most == 0 and len(known) > 0,
        f'At most {most} waits in a step; expected none. A wait that is known was '
        f'{"found" if known else "NOT found"}.',
        [table],
    )


def _runs_without_waits(sizes: Sizes, device: str) -> dict[str, Run]:
    ours = make_ours(sizes, device)
    decoder = make_decoder(sizes, device)
    scores, target = make_batch(sizes, device)
    runs: dict[str, Run] = {'step': ours.step}

    for options in (dict(mask='cumulative'), dict(steps='num_labels')):
        (name,) = options.values()
        loss = MaskedStepwiseBCELoss(**options).to(device)  # type: ignore[arg-type]
        runs[f'loss and gradient, {name}'] = partial(_differentiate, decoder, loss, scores, target)
    with_inference = torch.inference_mode()(decoder.predict)
    runs['prediction'] = partial(with_inference, scores)
    return runs


def _differentiate(
    decoder: Callable[[Tensor], tuple[Tensor, Tensor]],
    loss: MaskedStepwiseBCELoss,
    scores: Tensor,
    target: Tensor,
) -> None:
    loss(*decoder(scores), target).backward()


def find_waits(run: Run) -> Counter[str]:
    """Run a function under torch's sync debug mode, warm, and return where it waits for the GPU."""
    run()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            run()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    return Counter(
        f'{Path(item.filename).name}:{item.lineno}'
        for item in caught
        if 'synchroniz' in str(item.message)
    )


def _say(places: Counter[str]) -> str:
    return ', '.join(f'{place} ({number})' for place, number in places.items()) or '-'


def check_steps(settings: Settings) -> Found:
    """Measure the step, the products alone, plain PyTorch, and cuDNN's LSTM.

    On a GPU each is also measured as a CUDA graph, without the host's time. Steps that cannot be
    recorded as one are named.
    """
    rows, problems = [], []
    for labels, images in product(settings.labels, settings.batches):
        sizes = sizes_of(settings, images, labels)
        functions = {'products': make_products(sizes, settings.device)}
        functions |= {name: make(sizes, settings.device).step for name, make in MAKERS.items()}
        if settings.is_cuda:
            graphs, errors = _capture_all(sizes, settings.device)
            functions |= graphs
            problems += errors

        times = medians(settings.rounds, settings.seconds, **functions)
        for name, value in times.items():
            against = [f'{value / times[base]:.2f}' for base in ('products', 'plain')]
            rows.append([f'{labels:,}', str(images), name, f'{value:.3f}', *against])

    head = ['labels C', 'batch N', 'step', 'ms', 'against the products', 'against plain, eager']
    text = ' '.join(['Measured, with optimiser.', *problems])
    return Found(None, text, [Table('One training step', head, rows)])


def _capture_all(sizes: Sizes, device: str) -> tuple[dict[str, Run], list[str]]:
    """Record each step as a CUDA graph, and name those that cannot be."""
    graphs: dict[str, Run] = {}
    problems = []
    for name, make in MAKERS.items():
        try:
            graphs[f'{name}, graph'] = capture(make(sizes, device))
        except RuntimeError as error:
            problems.append(f'{name} at {sizes} makes no graph: {_first_line(error)}.')
    return graphs, problems


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ['no message']
    return f'{type(error).__name__}: {lines[0]}'


def check_graph(settings: Settings) -> Found:
    """Compare weights after the same steps, eager and replayed from a CUDA graph."""
    settings.need_cuda()
    sizes = sizes_of(settings, settings.batches[0], settings.labels[0])
    trained = [_make_seeded(sizes, settings.device) for _ in range(3)]

    eager, again, replayed = trained
    replay = capture(replayed)
    for _ in range(settings.updates):
        replay()
    for other in (eager, again):
        for _ in range(WARM_UP + settings.updates):
            other.step()

    apart, noise = _difference(eager, replayed), _difference(eager, again)
    start = _difference(eager, _make_seeded(sizes, settings.device))
    return Found(
        apart <= max(REPLAY_TOLERANCE, 10 * noise) and start > apart,
        f'After {WARM_UP + settings.updates} steps weights differ by at most {apart:.2g}; two '
        f'eager runs by {noise:.2g}; training moved them by {start:.2g}.',
    )


def _make_seeded(sizes: Sizes, device: str) -> Trained:
    torch.manual_seed(0)
    return make_ours(sizes, device)


def _difference(one: Trained, other: Trained) -> float:
    pairs = zip(one.module.parameters(), other.module.parameters(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def check_compile(settings: Settings) -> Found:
    """Measure the step under ``torch.compile``, ours and plain PyTorch's."""
    images, labels = settings.batches[0], settings.labels[0]
    sizes = sizes_of(settings, images, labels)
    makers = dict(ours=make_ours, plain=make_plain)
    functions: dict[str, Run] = {}
    problems = []
    for name, make in makers.items():
        functions[name] = make(sizes, settings.device).step
        compiled = make(sizes, settings.device)
        compiled.module.compile()
        try:
            compiled.step()
            functions[f'{name}, compiled'] = compiled.step
        except Exception as error:
            problems.append(f'{name} does not compile: {_first_line(error)}.')

    times = medians(settings.rounds, settings.seconds, **functions)
    rows = [
        [name, f'{value:.3f}', f'{value / times["plain"]:.2f}'] for name, value in times.items()
    ]
    title = f'One training step, N = {images}, C = {labels}'
    table = Table(title, ['', 'ms', 'against plain, eager'], rows)
    return Found(not problems, ' '.join(problems) or 'Both compile.', [table])


def check_half_precision(settings: Settings) -> Found:
    """Train the decoder in float16 and bfloat16; losses and weights must stay finite and fall."""
    sizes = sizes_of(settings, settings.batches[0], settings.labels[0])
    rows, is_sound = [], True
    for dtype in ('float32', 'float16', 'bfloat16'):
        losses, is_finite = train_in(dtype, sizes, settings)
        falls = losses[-1] < LEARNT * losses[0]
        is_sound = is_sound and is_finite and falls
        values = [f'{losses[0]:.3f}', f'{losses[-1]:.3f}']
        rows.append([dtype, *values, 'yes' if is_finite else 'NO', 'yes' if falls else 'NO'])

    head = ['precision', 'first loss', 'last loss', 'all finite', 'falls']
    table = Table(f'{settings.updates} steps on one batch', head, rows)
    return Found(is_sound, 'float16 with a dynamic loss scale, as train.py --amp.', [table])


def train_in(dtype: str, sizes: Sizes, settings: Settings) -> tuple[list[float], bool]:
    """Train the decoder under autocast.

    Returns:
        The loss of each step, and whether these and the weights are finite.
    """
    torch.manual_seed(0)
    decoder = make_decoder(sizes, settings.device)
    optimizer = FusedRMSprop(decoder.parameters(), lr=1e-3)
    scores, target = make_batch(sizes, settings.device)
    enabled = dtype != 'float32'
    scale = 'dynamic' if dtype == 'float16' and settings.is_cuda else 1.0
    wrapper = None
    if enabled and settings.is_cuda:
        wrapper = AmpOptimWrapper(loss_scale=scale, dtype=dtype, optimizer=optimizer)

    losses = []
    for _ in range(settings.updates):
        precision = getattr(torch, dtype)
        with torch.autocast(settings.device, dtype=precision, enabled=enabled):
            loss = decoder.loss(scores, target)['loss_multi_order']
        _update(loss, optimizer, wrapper)
        losses.append(loss.detach())

    weights = [parameter.detach().isfinite().all() for parameter in decoder.parameters()]
    values = torch.stack(losses)
    is_finite = bool(values.isfinite().all()) and all(map(bool, weights))
    return values.tolist(), is_finite


def _update(loss: Tensor, optimizer: FusedRMSprop, wrapper: AmpOptimWrapper | None) -> None:
    if wrapper is not None:
        wrapper.update_params(loss)
        return
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
