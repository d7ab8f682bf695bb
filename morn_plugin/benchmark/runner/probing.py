"""Times a few batches of each method, and a few images through the CNN."""

import copy
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor

from ...apis.finding import read_own_config
from ...datasets.annotations import Annotations
from ...engine.hooks.prepare_decoder_hook import asks_for_training_labels
from .cell import Shapes, fit_config
from .joint import JointRun, make_joint_config
from .methods import Method
from .stages import open_pool

BATCHES, WARM = 3, 1
#: Batches of images through a network that trains; each takes about a second.
IMAGE_BATCHES = 2
#: A training step of a network costs about three times its forward pass.
TRAINING = 3
IMAGES = 8
#: Number of training images for timing a method that is fitted at once. The cost of learning grows
#: with their number. Distances grow with its square, but are cheap in comparison.
FITTED = 512
#: Seconds of a run apart from its batches: building, predicting, writing.
START = 3.0
BYTES = dict(scores=4, logits=4, features=4, feature_map=2, stage_maps=2)


@dataclass(frozen=True)
class SeenImage:
    """The time and the output sizes of a CNN for one image.

    Attributes:
        seconds: Seconds of a forward pass, including reading.
        stages: Shapes (D, H, W) of its maps, in the order of the stages.
    """

    seconds: float
    stages: tuple[tuple[int, int, int], ...]

    def count_numbers(self, name: str, num_classes: int) -> int:
        """Count the numbers in an input."""
        if name in ('scores', 'logits'):
            return num_classes
        if name == 'features':
            return self.stages[-1][0]
        maps = self.stages if name == 'stage_maps' else self.stages[-1:]
        return int(sum(np.prod(shape) for shape in maps))

    def count_bytes(self, inputs: tuple[str, ...], num_classes: int) -> int:
        """Count the bytes per image in a cached file."""
        return sum(BYTES[name] * self.count_numbers(name, num_classes) for name in inputs)

    def shapes(self, num_classes: int) -> Shapes:
        """Return the sizes of the arrays in the cached files."""
        return Shapes(num_classes, self.stages[-1][0], tuple(shape[0] for shape in self.stages))


@torch.no_grad()
def probe_cnn(cfg: Config) -> SeenImage:
    """Time the CNN on a few test images.

    Args:
        cfg: Its completed config.
    """
    cfg = copy.deepcopy(cfg)  # building changes its argument
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        model = MODELS.build(cfg.model).eval().to(get_device())
        for _ in range(2):  # the first time includes starting the device
            start = time.monotonic()
            rows = [dataset[index % len(dataset)] for index in range(IMAGES)]
            batch = model.data_preprocessor(
                dict(inputs=default_collate([row['inputs'] for row in rows]), data_samples=None)
            )
            maps = model.extract_feat(batch['inputs'], stage='backbone')
            maps = [part.cpu() for part in maps]  # waits for the device
            seconds = (time.monotonic() - start) / IMAGES
    return SeenImage(seconds, tuple(tuple(part.shape[1:]) for part in maps))


def estimate_training(image: SeenImage, sizes: Mapping[str, int], epochs: int) -> float:
    """Estimate the seconds of training the CNN, with one validation per epoch.

    Args:
        image: The measured forward pass.
        sizes: Side to its number of images.
        epochs: Number of epochs.
    """
    passes = epochs * (TRAINING * sizes['train'] + sizes['val'])
    return passes * image.seconds


def probe_all(probes: Sequence[Callable[[], float]], workers: int) -> list[float]:
    """Probe as runs compute: as many at a time, with one thread each.

    Processes that compute side by side share the memory and the largest cache.

    Args:
        probes: Importable functions with their arguments.
        workers: Number of processes; 0 for none, with all threads.
    """
    if not probes or workers == 0:
        return [probe() for probe in probes]
    with open_pool(min(workers, len(probes)), 1, Path(os.devnull)) as pool:
        return list(pool.map(_call, probes))


def _call(probe: Callable[[], float]) -> float:
    return probe()


def probe_joint(run: JointRun, image: SeenImage, train: Annotations, num_val: int) -> float:
    """Estimate the seconds of a run that trains the CNN, from a few batches of training images.

    Args:
        run: The run.
        image: The CNN's forward pass.
        train: The training annotations.
        num_val: Number of validation images.
    """
    cfg = make_joint_config(run)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        model = MODELS.build(cfg.model).to(get_device())
    seconds = sum(
        _prepare(part, image, train) for part in (model.head.decoder, model.head.loss_cnn)
    )

    batch_size, epochs = cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-4))
    model.train()
    start = 0.0
    for batch in range(WARM + IMAGE_BATCHES):
        if batch == WARM:
            start = time.monotonic()
        first = batch * batch_size
        rows = [dataset[index % len(dataset)] for index in range(first, first + batch_size)]
        found = model.train_step(default_collate(rows), wrapper)
        found['loss'].item()  # waits for the device
    step = (time.monotonic() - start) / IMAGE_BATCHES

    of_an_epoch = math.ceil(len(train) / batch_size) * step + num_val * image.seconds
    return START + seconds + epochs * of_an_epoch


def _prepare(part: Any, image: SeenImage, train: Annotations) -> float:
    """Prepare a decoder or a loss (or None) as a run does, and return the seconds of it."""
    if not asks_for_training_labels(part):
        return 0.0
    needed = getattr(part, 'prepares_from', ())
    number = min(FITTED, len(train)) if needed else len(train)
    arrays = {
        name: value.numpy() for name, value in make_noise(needed, number, image, train).items()
    }
    start = time.monotonic()
    part.prepare(train.classes, train.targets()[:number], **arrays)
    return (time.monotonic() - start) * len(train) / number


def probe_method(method: Method, image: SeenImage, train: Annotations, max_epochs: int) -> float:
    """Estimate the seconds of one run of a method from a few batches of noise.

    They run where training would, on the GPU if there is one.

    Args:
        method: The method.
        image: The sizes of its inputs.
        train: The training annotations.
        max_epochs: Maximum number of epochs of any method.
    """
    cfg = read_own_config(str(method.config), None)
    fit_config(cfg, image.shapes(len(train.classes)), topk=1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model).to(get_device())

    seconds = _prepare(model.head.decoder, image, train)
    if cfg.train_cfg.get('type') is not None:  # no iterations
        return START + seconds

    batch_size = cfg.train_dataloader.batch_size
    epochs = min(cfg.train_cfg.max_epochs, max_epochs)
    batches = epochs * math.ceil(len(train) / batch_size)
    return START + seconds + batches * _time_batch(model, image, train, batch_size)


def _time_batch(model: Any, image: SeenImage, train: Annotations, batch_size: int) -> float:
    """Time a training step on noise: forward, backward, optimiser."""
    device = get_device()
    with torch.device(device):
        inputs = make_noise(model.head.inputs, batch_size, image, train)
    rows = [index % len(train) for index in range(batch_size)]
    target = torch.from_numpy(train.targets()[rows]).float().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model.train()

    start = 0.0
    for batch in range(WARM + BATCHES):
        if batch == WARM:
            start = time.monotonic()
        optimizer.zero_grad()
        losses: dict[str, Tensor] = model.head.loss_from(inputs, target)
        total = torch.stack([loss.sum() for loss in losses.values()]).sum()
        total.backward()
        optimizer.step()
        total.item()  # waits for the device
    return (time.monotonic() - start) / BATCHES


def make_noise(
    names: tuple[str, ...], number: int, image: SeenImage, train: Annotations
) -> dict[str, Any]:
    """Draw random inputs for a number of images."""
    num_classes = len(train.classes)
    flat = dict(scores=(num_classes,), logits=(num_classes,), features=image.stages[-1][:1])
    found: dict[str, Any] = {}
    for name in names:
        if name == 'stage_maps':
            found[name] = tuple(torch.rand(number, *shape) for shape in image.stages)
        else:
            found[name] = torch.rand(number, *flat.get(name, image.stages[-1]))
    return found
