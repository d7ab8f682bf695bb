"""Training steps of all methods on cached inputs, each against its own matrix products.

N images, C labels, D features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import Tensor

from .. import registration  # noqa: F401  registers everything
from ..engine.hooks.prepare_decoder_hook import asks_for_training_labels
from ..models.losses.sequence_alignment import ALIGNMENTS, align_sequences
from ..utils.layout import find_root
from .products import record_products
from .steps import Run
from .timing import Table, ratio_range, time_in_turn

CACHED = ('scores', 'features', 'maps')
WIDTH = 1280  # of the cached features of Open Clip Art
SIZE = 4  # of their map, a side
MEMORY = 256  # images of the random training set


class MethodStep(NamedTuple):
    """A training step of a method, on one random batch.

    Attributes:
        name: Name of the config, without the common part.
        step: Forward, backward and optimiser.
    """

    name: str
    step: Run


def list_configs() -> list[Path]:
    """List the configs of methods on cached inputs of Open Clip Art that train by steps."""
    found = sorted((find_root() / 'configs').glob('*/*_openclipart.py'))
    return [
        path
        for path in found
        if path.stem.split('_')[1] in CACHED
        and Config.fromfile(path).train_cfg.get('type') != 'PrepareLoop'
    ]


def make_step(path: Path, images: int = 32) -> MethodStep:
    """Build the training step of a config.

    Args:
        path: The config file.
        images: N.
    """
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model).train()
    head = model.head
    target = torch.zeros(MEMORY, head.num_classes)
    target.scatter_(1, torch.rand_like(target).topk(3).indices, 1)
    if asks_for_training_labels(head.decoder):
        names = [f'label {index}' for index in range(head.num_classes)]
        drawn = draw_inputs(head.decoder, head.decoder.prepares_from, MEMORY)
        arrays = {name: value.numpy() for name, value in drawn.items()}
        head.decoder.prepare(names, target.numpy().astype(np.int8), **arrays)

    inputs, truth = draw_inputs(head.decoder, head.inputs, images), target[:images]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)

    def step() -> None:
        losses = model(inputs, target=truth, mode='loss')
        wrapper.update_params(model.parse_losses(losses)[0])

    algorithm, seen = path.stem.split('_')[:2]
    return MethodStep(f'{algorithm}, {seen}', step)


def draw_inputs(decoder: Any, names: Sequence[str], images: int) -> dict[str, Any]:
    """Create random inputs of a decoder or its head, by name."""
    logits = torch.randn(images, decoder.num_classes)
    channels = getattr(decoder, 'stage_channels', (WIDTH,))
    sizes = [SIZE * 2**place for place in reversed(range(len(channels)))]
    maps = lambda width, size: torch.rand(images, width, size, size)
    drawn: dict[str, Any] = dict(
        scores=logits.sigmoid(),
        logits=logits,
        features=torch.rand(images, WIDTH),
        feature_map=maps(WIDTH, SIZE),
        stage_maps=tuple(map(maps, channels, sizes)),
    )
    return {name: drawn[name] for name in names}


def method_table(paths: Sequence[Path], rounds: int, seconds: float = 0.3) -> Table:
    """Compare the step of each method with its own products, in alternating rounds.

    Args:
        paths: Their configs.
        rounds: Rounds of which medians are reported.
        seconds: Length of a round.
    """
    rows = []
    for path in paths:
        name, step = make_step(path)
        step()  # the optimiser creates its state
        products = record_products(step)
        times = time_in_turn(dict(step=step, products=products.replay), rounds, seconds)
        low, middle, high = ratio_range(times['step'], times['products'])
        rows.append(
            [
                name,
                f'{np.median(times["step"]):.2f}',
                f'{np.median(times["products"]):.2f}',
                f'{middle:.2f}',
                f'{low:.2f}-{high:.2f}',
                f'{products.flops / 1e9:.2f}',
            ]
        )
    return Table(
        'One training step with optimiser, 32 images of Open Clip Art, 72 labels, cached inputs',
        ['', 'ms', 'its products, ms', 'against the products', 'from-to', 'GFLOP'],
        rows,
    )


def matching_table(rounds: int, seconds: float = 0.3) -> Table:
    """Time the choice of a label order for 32 images, which needs SciPy for each."""
    runs = {
        f'{how}, {labels} labels an image': matching(how, labels)
        for how in ALIGNMENTS
        for labels in (3, 10)
    }
    times = time_in_turn(runs, rounds, seconds)
    rows = [[name, f'{np.median(values):.2f}'] for name, values in times.items()]
    return Table('Order of the labels of 32 images, 80 labels', ['', 'ms'], rows)


def matching(how: str, labels: int, images: int = 32, num_classes: int = 80) -> Run:
    """Return the choice of an order, by ``how``, for images with as many labels each."""
    torch.manual_seed(0)
    step_logits = torch.randn(images, labels + 1, num_classes + 1)
    picked: Tensor = torch.rand(images, num_classes).topk(labels).indices
    ends = torch.full((images, 1), num_classes)
    sequences, lengths = torch.cat([picked, ends], dim=1), torch.full((images,), labels + 1)
    return lambda: align_sequences(step_logits, sequences, lengths, how)
