"""Checks whole runs on a GPU: a stopped and resumed run must end like an uninterrupted one."""

import gc
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ..apis.starting import resume_safely
from ..engine.checkpoints import load_checkpoint
from ..utils.layout import find_root
from .checks import Found, Settings
from .score_runs import make_score_config, train_only, write_scores
from .steps import Sizes
from .timing import Table

IMAGES = 'configs/morn/morn_efficientnet-lite0_1xb32-50e_openclipart-mini.py'
EPOCHS, LENGTH, SAVE_EVERY = 2, 12, 5  # the last two are iterations


class Stopped(Exception):  # noqa: N818  stops a run on purpose
    """A run was stopped."""


class StopHook(Hook):
    """Stops a run after an iteration, like a kill: nothing is written.

    Args:
        iteration: Counted from 1.
    """

    priority = 'VERY_HIGH'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Stop."""
        if runner.iter + 1 == self.iteration:
            raise Stopped


def check_resume(settings: Settings) -> Found:
    """Compare a stopped and resumed run with an uninterrupted one, to the bit.

    The guarantee is for a CPU; on a GPU it is checked with ``deterministic=True``, and only
    measured without.
    """
    rows, is_exact = [], True
    for kind, deterministic in product(('cached scores', 'images'), (True, False)):
        try:
            with tempfile.TemporaryDirectory() as folder:
                apart, moved = compare_runs(kind, deterministic, Path(folder), settings)
        except RuntimeError as error:  # an operation without a deterministic form
            apart, moved = [f'{error}'.splitlines()[0]], False
        finally:
            _leave_deterministic()
        is_exact = is_exact and moved and (not apart or not deterministic)
        text = ', '.join(apart[:3]) + (' ...' if len(apart) > 3 else '')
        rows.append([f'{kind}, deterministic={deterministic}', str(len(apart)), text or '-'])

    head = ['', 'tensors that differ', 'which']
    return Found(
        is_exact,
        'Stopped in the middle of the second epoch, and resumed from a checkpoint inside of it. '
        'Weights and the state of the optimiser are compared to the bit.',
        [Table('Stopped and resumed against never stopped', head, rows)],
    )


def _leave_deterministic() -> None:
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def compare_runs(
    kind: str, deterministic: bool, folder: Path, settings: Settings
) -> tuple[list[str], bool]:
    """Train with and without a stop.

    Returns:
        The names of tensors that differ at the end, and whether training moved the weights at all.
    """
    make = make_scores_config if kind == 'cached scores' else make_images_config
    whole, stopped = (make(folder, name, settings) for name in ('whole', 'stopped'))
    for cfg in (whole, stopped):
        cfg.randomness = dict(seed=0, deterministic=deterministic)

    run(whole)
    run(stopped, StopHook(LENGTH + LENGTH // 2))
    resume_safely(stopped, 'auto')
    stopped.experiment_name += '-resumed'
    run(stopped)

    first, second = (final_tensors(Path(cfg.work_dir)) for cfg in (whole, stopped))
    start = first_tensors(Path(whole.work_dir))
    moved = any(not torch.equal(value, first[name]) for name, value in start.items())
    return differing(first, second), moved


def run(cfg: Config, stop: StopHook | None = None) -> None:
    """Train, possibly until a stop."""
    runner = Runner.from_cfg(cfg)
    if stop is not None:
        runner.register_hook(stop)
    with suppress(Stopped):
        runner.train()
    del runner
    gc.collect()


def make_scores_config(folder: Path, name: str, settings: Settings) -> Config:
    """Write a file of random scores, and return a config that trains on it."""
    sizes = Sizes(settings.images, cells=settings.cells, width=settings.width)
    path = folder / 'scores.safetensors'
    if not path.exists():
        write_scores(path, LENGTH * settings.images, sizes.labels)
    return _save_inside(make_score_config(path, folder / name, sizes, EPOCHS))


def make_images_config(folder: Path, name: str, settings: Settings) -> Config:
    """Return a config that trains a ResNet-18 and its decoder on the slice of Open Clip Art."""
    cfg = Config.fromfile(find_root() / IMAGES)
    cfg.model = dict(
        type='MultiLabelClassifier',
        data_preprocessor=cfg.model.data_preprocessor,
        backbone=dict(type='ResNet', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='MultiOrderLSTMHead',
            num_classes=41,
            in_channels=512,
            embed_dims=settings.width,
            hidden_dims=settings.cells,
            detach_scores=False,
        ),
    )
    cfg.train_dataloader.update(batch_size=settings.images, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.indices = LENGTH * settings.images
    train_only(cfg, folder / name, EPOCHS)
    return _save_inside(cfg)


def _save_inside(cfg: Config) -> Config:
    """Also save within epochs."""
    cfg.default_hooks.checkpoint = dict(
        type='ResumableCheckpointHook', interval=SAVE_EVERY, by_epoch=False, max_keep_ckpts=-1
    )
    return cfg


def final_tensors(work_dir: Path) -> dict[str, Tensor]:
    """Read all tensors of the last checkpoint, by their path in it."""
    name = (work_dir / 'last_checkpoint').read_text()
    return tensors_of(load_checkpoint(work_dir / name))


def first_tensors(work_dir: Path) -> dict[str, Tensor]:
    """Read the weights of the first checkpoint."""
    content = load_checkpoint(work_dir / f'iter_{SAVE_EVERY}.pth')
    return tensors_of(dict(state_dict=content['state_dict']))


def tensors_of(content: Any, path: str = '') -> dict[str, Tensor]:
    """List tensors in nested dicts and lists, by their path."""
    if isinstance(content, Tensor):
        return {path: content}
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    found: dict[str, Tensor] = {}
    if isinstance(content, Mapping):
        for key, value in content.items():
            found |= tensors_of(value, f'{path}/{key}')
    return found


def differing(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """Name the tensors that differ, or that only one side has."""
    names = sorted(first.keys() | second.keys())
    is_same = {
        name: name in first and name in second and torch.equal(first[name], second[name])
        for name in names
    }
    return [name for name in names if not is_same[name]]
