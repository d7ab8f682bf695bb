"""The loop around a method on cached features, against its bare step.

N images, C labels, D features.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..datasets.annotations import Annotations
from ..datasets.cached.writer import CachedFileWriter
from .methods import WIDTH, make_step
from .timing import Table, medians

BATCH = 32
LABELS = 3  # of an image
UNUSED = [
    f'{side}_{part}' for side in ('val', 'test') for part in ('cfg', 'dataloader', 'evaluator')
]


class Clock(Hook):
    """Notes when each iteration has ended."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, *_: object, **__: object) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def iteration(self, epochs: int) -> float:
        """Return the milliseconds of an iteration, the median over epochs."""
        ends = np.array(self.ends).reshape(epochs, -1)
        return 1e3 * float(np.median((ends[:, -1] - ends[:, 0]) / (ends.shape[1] - 1)))


def write_features(path: Path, num_images: int, num_classes: int) -> None:
    """Write a cached file of drawn scores (N, C), logits (N, C) and features (N, D)."""
    generator = np.random.default_rng(0)
    data = [
        dict(
            img_path=f'{i}.jpg',
            gt_label=sorted(generator.choice(num_classes, LABELS, replace=False).tolist()),
        )
        for i in range(num_images)
    ]
    classes = [f'class {k}' for k in range(num_classes)]
    scores = generator.random((num_images, num_classes), dtype=np.float32)
    features = generator.random((num_images, WIDTH), dtype=np.float32)
    arrays = dict(scores=scores, logits=np.zeros_like(scores), features=features)
    with CachedFileWriter(path, Annotations(classes, data), {}) as writer:
        writer.write(np.arange(num_images), arrays)


def loop_table(config: Path, rounds: int, num_images: int) -> Table:
    """Compare an iteration of ``Runner.train`` from cached features with the bare step.

    Args:
        config: Of a method on cached features.
        rounds: Epochs, and rounds of the bare step before them and after.
        num_images: Of an epoch.
    """
    cfg = Config.fromfile(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'train.safetensors'
        write_features(path, num_images, cfg.model.head.num_classes)
        cfg.merge_from_dict(
            dict(
                dict.fromkeys(UNUSED),
                work_dir=folder,
                log_level='WARNING',
                train_dataloader=dict(dataset=dict(data_root='', ann_file=str(path))),
                train_cfg=dict(max_epochs=rounds),
                experiment_name='cached_loop',
            )
        )
        cfg.default_hooks.checkpoint = None
        clock = Clock()
        runner = Runner.from_cfg(cfg)
        runner.register_hook(clock)

        bare = make_step(config, BATCH).step
        before = medians(rounds, bare=bare)['bare']
        runner.train()
        after = medians(rounds, bare=bare)['bare']

    step, whole = (before + after) / 2, clock.iteration(rounds)
    rows = [
        ['bare step (mean of before and after)', f'{step:.2f}', '100 %'],
        ['Runner.train with our default hooks', f'{whole:.2f}', f'{100 * step / whole:.0f} %'],
    ]
    method = config.stem.split('_')[0]
    title = f'{method} from {num_images:,} x {WIDTH:,} cached features, batch {BATCH}'
    return Table(title, ['', 'ms an iteration', 'rate against the bare step'], rows)
