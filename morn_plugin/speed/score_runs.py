"""Training runs on random cached files, to measure the loop around the step."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .. import registration  # noqa: F401  registers everything
from ..datasets.annotations import Annotations
from ..datasets.cached import ScoreFile, save_scores
from ..utils.layout import find_root
from .steps import WARM_UP, Sizes, make_batch
from .timing import Table, ratio_range

CONFIG = 'configs/morn/morn_scores_1xb32-50e_openclipart.py'


def write_scores(path: Path, num_images: int, num_labels: int) -> None:
    """Write a file of random scores, with 2.9 labels per image."""
    scores, target = make_batch(Sizes(images=num_images, labels=num_labels))
    labels = [row.nonzero()[:, 0].tolist() for row in target]
    data = [dict(img_path=f'{k}.jpg', gt_label=row) for k, row in enumerate(labels)]
    classes = [f'class {k}' for k in range(num_labels)]
    save_scores(path, ScoreFile(scores.numpy(), Annotations(classes, data)))


def make_score_config(path: Path, work_dir: Path, sizes: Sizes, epochs: int) -> Config:
    """Return the shipped config of the paper's second stage on scores, without checkpoints.

    Args:
        path: The file, of :func:`write_scores`.
        work_dir: Folder of the run.
        sizes: Sizes of the batch and the decoder.
        epochs: Of the run.
    """
    cfg = Config.fromfile(find_root() / CONFIG)
    head = dict(
        num_classes=sizes.labels,
        embed_dims=sizes.width,
        hidden_dims=sizes.cells,
        num_steps=sizes.steps,
    )
    loader = dict(batch_size=sizes.images, dataset=dict(data_root='', ann_file=str(path)))
    cfg.merge_from_dict(dict(model=dict(head=head), train_dataloader=loader))
    train_only(cfg, work_dir, epochs)
    cfg.default_hooks.checkpoint = None
    return cfg


def train_only(cfg: Config, work_dir: Path, epochs: int) -> None:
    """Remove validation, testing and screen output from a config."""
    for side in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{side}_{part}'] = None
    cfg.train_cfg = dict(by_epoch=True, max_epochs=epochs)
    cfg.work_dir, cfg.log_level = str(work_dir), 'ERROR'
    cfg.experiment_name = f'{work_dir.parent.name}-{work_dir.name}'


class ClockHook(Hook):
    """Records when each training iteration ended.

    Attributes:
        ends: Seconds of a clock, one per iteration.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Record the time."""
        self.ends.append(time.perf_counter())


class TurnsHook(Hook):
    """Times a run and another step in turn, so that both see the same machine.

    Args:
        bare: The other step.
        length: Iterations of a turn, and steps.

    Attributes:
        times: Milliseconds of an iteration and of a step, one number per turn.
    """

    priority = 'LOWEST'

    def __init__(self, bare: Callable[[], object], length: int = 20) -> None:
        self.bare = bare
        self.length = length
        self.times: dict[str, list[float]] = dict(loop=[], bare=[])
        self._passed = 0
        self._begin = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin anew: what an epoch needs to start belongs to no iteration."""
        self._passed = -1

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """End a turn, and take one of the other step."""
        self._passed += 1
        if self._passed == self.length:
            self._keep('loop')
            for _ in range(self.length):
                self.bare()
            self._keep('bare')
            self._passed = 0
        if self._passed == 0:
            self._begin = time.perf_counter()

    def _keep(self, name: str) -> None:
        now = time.perf_counter()
        self.times[name].append(1e3 * (now - self._begin) / self.length)
        self._begin = now


def compare_loop(runner: Runner, bare: Callable[[], object], title: str) -> Table:
    """Compare an iteration of a run with the bare step, in turn.

    Args:
        runner: A run of one or more epochs, each longer than a turn.
        bare: The step.
        title: Of the table.
    """
    for _ in range(WARM_UP):
        bare()
    turns = TurnsHook(bare)
    runner.register_hook(turns)
    runner.train()

    low, middle, high = ratio_range(turns.times['bare'], turns.times['loop'])
    step, whole = (float(np.median(turns.times[name])) for name in ('bare', 'loop'))
    rate = f'{100 * middle:.0f} % ({100 * low:.0f}-{100 * high:.0f})'
    rows = [
        ['bare step', f'{step:.2f}', '100 %'],
        ['Runner.train with our default hooks', f'{whole:.2f}', rate],
    ]
    return Table(title, ['', 'ms an iteration', 'rate against the bare step'], rows)
