"""Chooses image size, batch size and epochs by the data and the hardware."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from PIL import Image

from ...utils.spacing import evenly_spaced

GRID = 32  # pixels; what the backbone's strides divide
BATCH = 32
SAMPLE = 50  # images that are looked at for their size

# Optimiser steps that a stage is given, and the bounds of its epochs.
CNN_STEPS, CNN_EPOCHS = 500, (6, 20)
DECODER_STEPS, DECODER_EPOCHS = 1500, (10, 60)
QUICK_CNN_STEPS, QUICK_CNN_EPOCHS = 150, (3, 8)
QUICK_DECODER_STEPS, QUICK_DECODER_EPOCHS = 600, (5, 30)

LARGEST = dict(quick=64, cpu=128, cuda=224)  # pixels


@dataclass(frozen=True)
class Plan:
    """The settings of both stages.

    Attributes:
        backbone: ``'lite0'``, ``'lite1'`` or ``'lite2'`` of EfficientNet.
        image_size: Edge in pixels.
        batch_size: Images a step.
        cnn_epochs: Passes over the training images.
        decoder_epochs: Passes over the cached scores.
        num_workers: Processes that read images.
    """

    backbone: str
    image_size: int
    batch_size: int
    cnn_epochs: int
    decoder_epochs: int
    num_workers: int

    def describe(self) -> str:
        """Return the settings as a sentence."""
        return (
            f'EfficientNet-{self.backbone}, images of {self.image_size} px, batches of '
            f'{self.batch_size}, {self.cnn_epochs} epochs of the CNN and {self.decoder_epochs} of '
            'the decoder'
        )


def make_plan(
    num_train: int,
    typical_edge: int,
    device: str,
    quick: bool = False,
    image_size: int | None = None,
    cnn_epochs: int | None = None,
) -> Plan:
    """Choose the settings.

    A stage gets a number of optimiser steps, so fewer images mean more epochs. Images are not
    enlarged.

    Args:
        num_train: Training images.
        typical_edge: Shorter edge of a typical image, in pixels.
        device: ``'cpu'`` or ``'cuda'``.
        quick: Whether a first model in a few minutes is wanted.
        image_size: Taken as it is.
        cnn_epochs: Taken as it is.

    Examples:
        >>> plan = make_plan(763, 128, 'cpu')
        >>> plan.image_size, plan.cnn_epochs, plan.decoder_epochs
        (128, 20, 60)
        >>> make_plan(20_000, 500, 'cpu', quick=True).image_size
        64
    """
    batch = min(BATCH, max(num_train // 4, 2))
    steps = max(num_train // batch, 1)
    largest = LARGEST['quick' if quick else device]
    natural = -(-typical_edge // GRID) * GRID

    cnn = (QUICK_CNN_STEPS, QUICK_CNN_EPOCHS) if quick else (CNN_STEPS, CNN_EPOCHS)
    decoder = (
        (QUICK_DECODER_STEPS, QUICK_DECODER_EPOCHS) if quick else (DECODER_STEPS, DECODER_EPOCHS)
    )
    processors = os.cpu_count() or 1
    return Plan(
        backbone='lite0',
        image_size=image_size or min(max(natural, 2 * GRID), largest),
        batch_size=batch,
        cnn_epochs=cnn_epochs or _epochs(steps, *cnn),
        decoder_epochs=_epochs(steps, *decoder),
        num_workers=min(processors, 8) if device == 'cuda' else min(processors, 2),
    )


def _epochs(steps_an_epoch: int, wanted_steps: int, bounds: tuple[int, int]) -> int:
    return int(np.clip(round(wanted_steps / steps_an_epoch), *bounds))


def find_device() -> str:
    """Return ``'cuda'`` where there is a GPU, else ``'cpu'``."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def typical_edge(root: Path, files: list[str]) -> int:
    """Return the median of the shorter edges of some images, in pixels.

    Args:
        root: The image folder.
        files: Image files relative to it; those that cannot be opened are skipped.
    """
    edges = []
    for name in evenly_spaced(files, SAMPLE):
        try:
            with Image.open(root / name) as image:
                edges.append(min(image.size))
        except OSError:
            continue
    return int(np.median(edges)) if edges else LARGEST['cpu']


@dataclass(frozen=True)
class Estimate:
    """Expected times, in seconds.

    Attributes:
        cnn: Of fine-tuning the CNN.
        scores: Of running it once over the training and the validation images, and the test.
        decoder: Of training the decoder.
    """

    cnn: float
    scores: float
    decoder: float

    def describe(self) -> str:
        """Return the times as a sentence."""
        parts = [('CNN', self.cnn), ('its scores', self.scores), ('decoder', self.decoder)]
        listed = ', '.join(f'{name} {format_time(seconds)}' for name, seconds in parts)
        total = format_time(self.cnn + self.scores + self.decoder)
        return f'about {total} ({listed}), and some seconds to start each step'


def format_time(seconds: float) -> str:
    """Return a length of time for people.

    Examples:
        >>> format_time(42.4), format_time(300), format_time(9000)
        ('42 s', '5 min', '2.5 h')
    """
    if seconds < 120:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'


def estimate(plan: Plan, cnn: Config, decoder: Config, sizes: Mapping[str, int]) -> Estimate:
    """Estimate the time by one measured batch of each stage.

    Args:
        plan: The settings.
        cnn: Config of the first stage.
        decoder: Config of the second stage.
        sizes: Number of images of ``train``, ``val`` and ``test``.
    """
    device = find_device()
    batch, train, val = plan.batch_size, sizes['train'], sizes['val']

    training, forward = time_cnn(cnn, plan, device)
    cnn_time = plan.cnn_epochs * (train / batch * training + val / batch * forward)
    scores_time = sum(sizes.values()) / batch * forward
    decoder_time = plan.decoder_epochs * train / batch * time_decoder(decoder, batch, device)
    return Estimate(cnn_time, scores_time, decoder_time)


def time_cnn(cfg: Config, plan: Plan, device: str) -> tuple[float, float]:
    """Measure a batch of forward and backward, and one of forward alone, in seconds."""
    settings = cfg.model.to_dict()
    settings['backbone'].pop('init_cfg', None)
    model = MODELS.build(settings).to(device).train()
    num_classes = settings['head']['num_classes']
    images = torch.zeros(plan.batch_size, 3, plan.image_size, plan.image_size, device=device)
    samples = [DataSample().set_gt_label([index % num_classes]) for index in range(plan.batch_size)]

    def train() -> None:
        loss, _ = model.parse_losses(model(images, samples, mode='loss'))
        loss.backward()

    @torch.no_grad()
    def forward() -> None:
        model(images, samples, mode='tensor')

    return _time(train, device), _time(forward, device)


def time_decoder(cfg: Config, batch_size: int, device: str) -> float:
    """Measure a batch of forward and backward of the decoder, in seconds."""
    model = MODELS.build(cfg.model.to_dict()).to(device).train()
    num_classes = cfg.model.head.num_classes
    scores = torch.rand(batch_size, num_classes, device=device)
    target = torch.zeros_like(scores)
    target[:, 0] = 1

    def train() -> None:
        loss, _ = model.parse_losses(model(scores, target, mode='loss'))
        loss.backward()

    return _time(train, device)


def _time(work: Any, device: str) -> float:
    """Time the second call: the first one also sets things up."""
    work()
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()
