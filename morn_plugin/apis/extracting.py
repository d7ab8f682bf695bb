"""Prepares the config for ``tools/extract_scores.py`` and writes the file."""

import os.path as osp
from dataclasses import astuple
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..datasets.wrapping import innermost, with_pipeline
from ..deploy.run_notes import RunNote
from ..deploy.shards import Shard
from ..engine.distributed import unwrap
from ..utils.files import sha256
from ..utils.strict_json import dump_json
from ..version import __version__
from .faster import find_faster


def use_split(
    cfg: Config,
    split: str,
    shard: Shard | None = None,
) -> ConfigDict:
    """Test on the data of a split with the test pipeline: no augmentation, in order.

    Args:
        cfg: The config, which is changed.
        split: ``'train'``, ``'val'`` or ``'test'``.
        shard: The shard of the images. Defaults to all.

    Returns:
        The config of its innermost data set, the first if there are several.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise SystemExit(
            f'{cfg.filename}: expected `{split}_dataloader`, since --split {split} was asked for, '
            'but the config has none.'
        )

    pipeline = next(innermost(cfg.test_dataloader.dataset)).pipeline
    dataset = with_pipeline(loader.dataset, pipeline, test_mode=True)
    cfg.test_dataloader.dataset = ConfigDict(
        type='NumberedDataset', dataset=dataset, shard=astuple(shard or Shard())
    )
    return next(innermost(dataset))


def provenance(
    cfg: Config, config: str, split: str, checkpoint: str, dataset: ConfigDict
) -> dict[str, str]:
    """Return the origin of the file.

    Args:
        cfg: The config.
        config: Its path.
        split: ``'train'``, ``'val'`` or ``'test'``.
        checkpoint: Path of the CNN's checkpoint.
        dataset: Config of the innermost data set.
    """
    as_json = lambda value: dump_json(value, default=str)
    return dict(
        config=osp.basename(config),
        model=as_json(cfg.model.to_dict()),
        split=split,
        checkpoint=osp.basename(checkpoint),
        checkpoint_sha256=sha256(checkpoint),
        transforms=as_json(list(map(dict, dataset.pipeline))),
        ann_file=osp.basename(dataset.get('ann_file', '')),
        version=__version__,
    )


def image_folder(dataset: ConfigDict) -> str:
    """Return the folder that image paths are written relative to."""
    prefix: Any = dataset.get('data_prefix', '')
    prefix = prefix if isinstance(prefix, str) else prefix.get('img_path', '')
    return osp.join(dataset.get('data_root', ''), prefix)


def note_shard(
    shard: Shard,
    out: str,
    origin: dict[str, str],
    images: float,
) -> None:
    """Write a note next to the file of a shard on how it was made."""
    if shard.total > 1 and is_main_process():
        RunNote(origin, str(shard), int(images)).save(out)


def score_item(model: Any) -> str:
    """Return the name of the CNN's scores in a model's predictions."""
    return 'cnn_score' if getattr(model.head, 'has_cnn', False) else 'pred_score'


class FasterHook(Hook):
    """Runs a test with the faster network, once the checkpoint is loaded."""

    def before_test(self, runner: Runner) -> None:
        """Replace the backbone."""
        model, loader = unwrap(runner.model), runner.test_dataloader
        if len(loader.dataset):
            example = loader.collate_fn([loader.dataset[0]])
            model.backbone = find_faster(model.eval(), example).backbone


def extract(
    runner: Runner,
    inputs: tuple[str, ...],
    origin: dict[str, str],
) -> float:
    """Write the file, and return the number of images in it."""
    model = unwrap(runner.model)
    if inputs:
        model.keep_inputs(inputs)
    (metric,) = runner.test_evaluator.metrics
    metric.provenance = origin
    metric.item = score_item(model)
    metric.read_dataset(runner.test_dataloader.dataset)
    runner.register_hook(FasterHook())

    try:
        return runner.test()['scores/images']
    except BaseException:
        metric.writer.discard()
        raise
