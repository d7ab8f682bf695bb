"""The configs that are written for training on the user's own images."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from . import recipe
from .bases import resolve
from .planning import Plan

SIDES = ('train', 'val', 'test')
CNN_BEST = 'cnn/multi-label/mAP'
# The decoder's epoch is chosen by what chooses between CNN and decoder afterwards.
DECODER_BEST = 'calibrated/mean-f1'


def make_cnn_config(
    plan: Plan, images: Path, data: Path, weights: Path, num_classes: int, num_train: int
) -> Config:
    """Return the config of the first stage.

    Args:
        plan: The settings.
        images: The image folder.
        data: The folder of the annotation files.
        weights: ImageNet weights of the backbone.
        num_classes: Number of labels.
        num_train: Number of training images.
    """
    cfg = resolve(
        [
            f'models/efficientnet-{plan.backbone}_cnn.py',
            'datasets/openclipart_128px.py',
            'evaluation/cnn.py',
            'schedules/cnn_adamw_8e.py',
            'default_runtime.py',
        ],
        plan.image_size,
    )
    cfg.merge_from_dict(
        {
            'model.channels_last': True,
            'model.backbone.init_cfg.checkpoint': str(weights.resolve()),
            'model.head.num_classes': num_classes,
            'optim_wrapper.optimizer.lr': recipe.CNN_RATE,
            'train_cfg.max_epochs': plan.cnn_epochs,
        }
    )
    _use_images(cfg, plan, images, data)
    _keep_best(cfg, CNN_BEST, num_train // plan.batch_size)
    return cfg


def make_decoder_config(plan: Plan, scores: Path, num_classes: int, num_train: int) -> Config:
    """Return the config of the second stage, on cached scores.

    Args:
        plan: The settings.
        scores: The folder of the cached scores.
        num_classes: Number of labels.
        num_train: Number of training images.
    """
    cfg = resolve(
        [
            'models/scores_morn.py',
            'datasets/openclipart_cached.py',
            'evaluation/decoder.py',
            'schedules/decoder_rmsprop_50e.py',
            'default_runtime.py',
        ]
    )
    cfg.merge_from_dict(
        {
            'model.head.num_classes': num_classes,
            'model.head.state_norm': recipe.STATE_NORM,
            'optim_wrapper.optimizer.lr': recipe.DECODER_RATE,
            'train_cfg.max_epochs': plan.decoder_epochs,
            'train_cfg.val_interval': max(plan.decoder_epochs // 10, 1),
            'train_dataloader.batch_size': plan.batch_size,
        }
    )
    for side in SIDES:
        cfg[f'{side}_dataloader'].dataset.data_root = str(scores.resolve())
    cfg.val_evaluator = _validate_calibrated(cfg.val_evaluator)
    _keep_best(cfg, DECODER_BEST, num_train // plan.batch_size)
    cfg.default_hooks.checkpoint.interval = cfg.train_cfg.val_interval
    return cfg


def make_image_config(cnn: Config, decoder: Config | None, thr: float) -> Config:
    """Return the config of the chosen model, on images.

    Args:
        cnn: Config of the first stage.
        decoder: Config of the second stage, or None: the CNN was chosen.
        thr: The model's threshold.
    """
    cfg = Config(cnn.to_dict())
    if decoder is not None:
        frozen = resolve(['models/efficientnet-lite0_morn.py']).model.frozen
        head = decoder.model.head.to_dict() | dict(in_channels=cnn.model.head.in_channels)
        cfg.merge_from_dict(dict(model=dict(frozen=frozen, head=dict(_delete_=True, **head))))
    cfg.model.backbone.pop('init_cfg', None)
    cfg.model.head.thr = thr

    for name in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr'):
        source = cnn if decoder is None else decoder
        cfg[name] = source.get(name)
    evaluator = resolve(['evaluation/decoder.py']).to_dict()['test_evaluator']
    cfg.val_evaluator = evaluator if decoder is None else _validate_calibrated(evaluator)
    cfg.test_evaluator = evaluator
    cfg.default_hooks.checkpoint.save_best = CNN_BEST if decoder is None else DECODER_BEST
    return cfg


def _validate_calibrated(evaluator: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the figures of the whole model with one calibrated threshold."""
    return [*evaluator, dict(type='CalibratedF1', prefix='calibrated')]


def _use_images(cfg: Config, plan: Plan, images: Path, data: Path) -> None:
    """Read the images of every side, with the plan's batch size and workers."""
    for side in SIDES:
        loader = cfg[f'{side}_dataloader']
        loader.num_workers = plan.num_workers
        loader.persistent_workers = plan.num_workers > 0
        if side == 'train':
            loader.batch_size = plan.batch_size
        loader.dataset.data_root = str(data.resolve())
        loader.dataset.data_prefix = str(images.resolve())
        loader.dataset.ann_file = f'{side}.json'


def _keep_best(cfg: Config, measure: str, steps: int) -> None:
    cfg.default_hooks.checkpoint.save_best = measure
    cfg.default_hooks.logger.interval = max(min(steps // 2, 50), 1)
