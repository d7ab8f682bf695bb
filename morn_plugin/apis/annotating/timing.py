"""How long a batch takes here, measured."""

import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from .bases import resolve


def format_time(seconds: float) -> str:
    """Return a length of time for people.

    Examples:
        >>> format_time(42.4), format_time(300), format_time(9000)
        ('42 s', '5 min', '2.5 h')
    """
    if seconds < 120:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'


def time_training(backbone: str, image_size: int, batch_size: int, device: str) -> float:
    """Measure a batch of a CNN, forward and backward, in seconds.

    Args:
        backbone: ``'lite0'``, ``'lite1'`` or ``'lite2'`` of EfficientNet.
        image_size: Edge in pixels.
        batch_size: Images.
        device: ``'cpu'`` or ``'cuda'``.
    """
    cfg = resolve([f'models/efficientnet-{backbone}_cnn.py'])
    cfg.model.channels_last = True
    return time_cnn(cfg, image_size, batch_size, device)[0]


def time_cnn(cfg: Config, image_size: int, batch_size: int, device: str) -> tuple[float, float]:
    """Measure a batch of forward and backward, and one of forward alone, in seconds."""
    settings = cfg.model.to_dict()
    settings['backbone'].pop('init_cfg', None)
    model = MODELS.build(settings).to(device).train()
    num_classes = settings['head']['num_classes']
    images = torch.zeros(batch_size, 3, image_size, image_size, device=device)
    samples = [DataSample().set_gt_label([index % num_classes]) for index in range(batch_size)]

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


def _time(work: Callable[[], Any], device: str) -> float:
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
