"""Times step and loop of the checkout that it is started in; any commit since the first release.

compare_commits.py calls its ``main``, whose last line is JSON, in milliseconds.
"""

import importlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.benchmark import Timer

import morn_plugin  # noqa: F401  registers everything
from morn_plugin.datasets.annotations import Annotations
from morn_plugin.engine import FusedRMSprop
from morn_plugin.models import MultiOrderLSTM, masked_stepwise_bce

# the paper's sizes on MS-COCO
N = 32
C = 80
H = 512
M = 256
T = 5
NUM_IMAGES, EPOCHS = 3200, 4
CONFIG = 'configs/morn/morn_scores_1xb32-50e_openclipart.py'


def draw(num_images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw scores (N, C), and targets (N, C) with 2.9 labels an image."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(num_images, C, generator=generator)
    return scores, (torch.rand(num_images, C, generator=generator) < 2.9 / C).float()


def time_step() -> float:
    """Return the median of a step, in milliseconds."""
    decoder = MultiOrderLSTM(C, masked_stepwise_bce, M, H, T)
    optimizer = FusedRMSprop(decoder.parameters(), lr=1e-4)
    scores, target = draw(N)

    def step() -> None:
        optimizer.zero_grad()
        total: Any = sum(decoder.loss(scores, target).values())
        total.backward()
        optimizer.step()

    timer = Timer('step()', globals=dict(step=step), num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=2).median * 1e3


class Clock(Hook):
    """Notes when each iteration has ended."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, *_: object, **__: object) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def find_score_file() -> Any:
    """Return the module that writes score files, wherever this commit has it."""
    try:
        return importlib.import_module('morn_plugin.datasets.cached')
    except ModuleNotFoundError:
        return importlib.import_module('morn_plugin.datasets.score_file')


def time_loop(folder: Path) -> float:
    """Return the median over epochs of an iteration of ``Runner.train``, in milliseconds."""
    scores, target = draw(NUM_IMAGES)
    data = [
        dict(img_path=f'{i}.jpg', gt_label=row.nonzero()[:, 0].tolist())
        for i, row in enumerate(target)
    ]
    path = str(folder / 'scores.safetensors')
    module = find_score_file()
    annotations = Annotations([f'class {k}' for k in range(C)], data)
    module.save_scores(path, module.ScoreFile(scores.numpy(), annotations))

    cfg = Config.fromfile(CONFIG)
    sides = ('val', 'test')
    unused = {
        f'{side}_{part}': None for side in sides for part in ('cfg', 'dataloader', 'evaluator')
    }
    cfg.merge_from_dict(
        dict(
            unused,
            model=dict(head=dict(num_classes=C)),
            work_dir=str(folder),
            log_level='WARNING',
            train_dataloader=dict(dataset=dict(data_root='', ann_file=path)),
            train_cfg=dict(max_epochs=EPOCHS),
            experiment_name='timing',
        )
    )
    cfg.default_hooks.checkpoint = None
    clock = Clock()
    runner = Runner.from_cfg(cfg)
    runner.register_hook(clock)
    runner.train()

    length = len(clock.ends) // EPOCHS
    epochs = [clock.ends[i * length : (i + 1) * length] for i in range(EPOCHS)]
    return 1e3 * statistics.median((ends[-1] - ends[0]) / (length - 1) for ends in epochs)


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(dict(step=time_step(), loop=time_loop(Path(folder)))))
