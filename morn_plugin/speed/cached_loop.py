"""The loop around a method on cached features, against its bare step.

N images, C labels, D features.
"""

import tempfile
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from ..datasets.annotations import Annotations
from ..datasets.cached.writer import CachedFileWriter
from .methods import WIDTH, make_step
from .score_runs import compare_loop, train_only
from .timing import Table

BATCH = 32
LABELS = 3  # of an image


def write_features(path: Path, num_images: int, num_classes: int) -> None:
    """Write a cached file of random scores (N, C), logits (N, C) and features (N, D)."""
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
        config: The config of a method on cached features.
        rounds: Number of epochs.
        num_images: Images per epoch.
    """
    cfg = Config.fromfile(config)
    method = config.stem.split('_')[0]
    title = f'{method} from {num_images:,} x {WIDTH:,} cached features, batch {BATCH}'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'train.safetensors')
        write_features(path, num_images, cfg.model.head.num_classes)
        cfg.merge_from_dict(
            dict(train_dataloader=dict(dataset=dict(data_root='', ann_file=str(path))))
        )
        train_only(cfg, Path(folder, 'run'), rounds)
        cfg.default_hooks.checkpoint = None
        return compare_loop(Runner.from_cfg(cfg), make_step(config, BATCH).step, title)
