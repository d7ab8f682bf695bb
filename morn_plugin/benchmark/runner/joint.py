"""Runs a method that trains the CNN itself: on images, with as many passes as the CNN alone.

All such methods share with the benchmark's CNN: data, augmentation, backbone and its ImageNet
weights, optimiser, schedule and passes per image. The method's config sets the head, the classifier
that makes several views of an image, losses, metrics, and the parts that learn at another rate.
"""

import copy
import hashlib
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from mmpretrain.registry import MODELS

from ...apis.finding import read_own_config
from ...datasets.wrapping import innermost
from ...models.targets import stack_targets
from ...utils.files import sha256
from ..results import RunResult, Side, save_result
from . import cnn as cnn_module
from .cell import Run, Shapes, fit_config, image_f1, join, predict_batch, settle_decision
from .records import begin, describe_code, finish, hash_config, read_record
from .source import SIDES

#: The settings that always come from the config of the benchmark's CNN.
OF_THE_CNN = (*(f'{side}_dataloader' for side in SIDES), 'param_scheduler', 'train_cfg')
OF_ITS_MODEL = ('data_preprocessor', 'backbone')
PLAIN_NECK = dict(type='GlobalAveragePooling')


@dataclass(frozen=True)
class JointRun(Run):
    """A run that trains the CNN.

    Attributes:
        cnn: The completed config of the benchmark's CNN.
        shapes: The sizes of that CNN's outputs.
        topk: k of methods that predict exactly k labels.
    """

    cnn: Config
    shapes: Shapes
    topk: int = 3


def fit_joint(cfg: Config, cnn: Config, shapes: Shapes, topk: int) -> None:
    """Set the data, the backbone and the schedule of a CNN in a method's config.

    Args:
        cfg: A config on images.
        cnn: The completed config of the CNN.
        shapes: The sizes of the CNN's outputs.
        topk: k of methods that predict exactly k labels.
    """
    for key in OF_THE_CNN:
        cfg[key] = copy.deepcopy(cnn.get(key))
    for key in OF_ITS_MODEL:
        cfg.model[key] = copy.deepcopy(cnn.model.get(key))
    if cfg.model.get('neck') == PLAIN_NECK:
        cfg.model.neck = copy.deepcopy(cnn.model.get('neck'))
    cfg.model.channels_last = cnn.model.get('channels_last', False)
    _take_optimizer(cfg, cnn)
    _add_imports(cfg, cnn)

    head = cfg.model.head
    if head.get('in_channels') is not None:
        head.in_channels = shapes.features
    fit_config(cfg, shapes, topk)
    _set_num_classes(head, shapes.num_classes)


def _take_optimizer(cfg: Config, cnn: Config) -> None:
    """Use the CNN's optimiser; parts that it does not mention may learn at the method's rate."""
    own = _rates_of(cfg)
    cfg.optim_wrapper = copy.deepcopy(cnn.optim_wrapper)
    rates = {**own, **_rates_of(cnn)}
    if rates:
        cfg.merge_from_dict(dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys=rates))))


def _add_imports(cfg: Config, cnn: Config) -> None:
    """Add the imports of the CNN's config: its backbone may be in a separate file."""
    parts = [*cfg.custom_imports.imports, *cnn.custom_imports.imports]
    cfg.custom_imports.imports = list(dict.fromkeys(parts))


def _rates_of(cfg: Config) -> dict[str, Any]:
    options = cfg.optim_wrapper.get('paramwise_cfg') or {}
    return dict(options.get('custom_keys') or {})


def _set_num_classes(part: Any, num_classes: int) -> None:
    """Set the number of classes everywhere in a head's config, for example in its losses."""
    if not isinstance(part, Mapping):
        return
    for key, value in part.items():
        if key == 'num_classes':
            part[key] = num_classes  # type: ignore[index]
        else:
            _set_num_classes(value, num_classes)


def make_joint_config(run: JointRun) -> Config:
    """Return the config of a run, complete except for its output folder.

    What it imports is imported: a process of a pool has read no other config.
    """
    cfg = read_own_config(str(run.method.config), None)
    fit_joint(cfg, run.cnn, run.shapes, run.topk)
    import_modules_from_strings(**cfg.custom_imports)
    cfg.train_cfg.max_epochs = share_epochs(cfg.train_cfg.max_epochs, run.method.views)
    cfg.merge_from_dict({**run.settings, 'randomness.seed': run.seed})
    return cfg


def run_joint(run: JointRun) -> float:
    """Run unless already done, or resume; keep the predictions.

    Returns:
        F1_I on validation, percent, by the method's own decision.

    Raises:
        ValueError: If the run was begun with other settings.
    """
    cfg = make_joint_config(run)
    if not begin(run.folder, describe_run(run, cfg)):
        return float(read_record(run.folder)['f1_image'])

    start, work = time.monotonic(), run.folder / 'work'
    checkpoint = cnn_module.train_to_best(cfg, work, run.folder / 'log.txt')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = load_model(cfg, checkpoint)
        settle_decision(model.head, run.topk)
        val = predict_images(model, cfg.val_dataloader)
        test = predict_images(model, cfg.test_dataloader)
    passes = run.method.views * cfg.train_cfg.max_epochs
    result = RunResult(
        method=run.method.name,
        title=run.method.title,
        tier=run.method.tier,
        group=name_table(run.method.views),
        seed=run.seed,
        val=val,
        test=test,
        has_probability=model.head.has_probability,
        views=run.method.views,
        settings=dict(run.settings),
        provenance={**describe_code(), 'cnn_passes': str(passes)},
        seconds=time.monotonic() - start,
    )
    save_result(run.folder, result)
    found = image_f1(result.val)
    finish(run.folder, result.seconds, f1_image=found)
    shutil.rmtree(work)
    return found


def share_epochs(epochs: int, views: int) -> int:
    """Return the epochs that make as many passes of the CNN with several views of an image.

    Args:
        epochs: Those of one view.
        views: Number of views of an image in a step.

    Returns:
        Whole epochs, rounded up.

    >>> share_epochs(6, 1), share_epochs(6, 4)
    (6, 2)
    """
    return math.ceil(epochs / views)


def name_table(views: int) -> str:
    """Return the name of the table for a number of views; those of one view are in the main one."""
    return 'methods' if views == 1 else f'{views} views'


def describe_run(run: JointRun, cfg: Config) -> dict[str, Any]:
    """Return the settings that determine a run's outcome, without the paths of data and weights.

    Args:
        run: The run.
        cfg: Its config.
    """
    cfg, digest = copy.deepcopy(cfg), hashlib.sha256()
    for side in SIDES:
        part = next(innermost(cfg[f'{side}_dataloader'].dataset))
        folder, name = Path(part.pop('data_root', '')), part.pop('ann_file')
        digest.update(sha256(folder / name).encode())
    pretrained = cfg.model.backbone.get('init_cfg') or {}
    if isinstance(pretrained, Mapping) and 'checkpoint' in pretrained:
        pretrained['checkpoint'] = Path(pretrained['checkpoint']).name  # type: ignore[index]
    return dict(
        run.settings,
        seed=run.seed,
        config_sha256=hash_config(cfg),
        data_sha256=digest.hexdigest(),
    )


def load_model(cfg: Config, checkpoint: Path) -> Any:
    """Return the model of a checkpoint in evaluation mode, on the GPU if there is one."""
    model = MODELS.build(copy.deepcopy(cfg.model))  # building changes its argument
    content = torch.load(checkpoint, map_location='cpu', weights_only=True)
    model.load_state_dict(content['state_dict'])
    return model.eval().to(get_device())


@torch.inference_mode()
def predict_images(model: Any, loader: Mapping[str, Any]) -> Side:
    """Predict the images of a side.

    Args:
        model: A :class:`MultiLabelClassifier`, in evaluation mode.
        loader: Config of the side's data loader.
    """
    head, parts = model.head, []
    for batch in Runner.build_dataloader(dict(loader)):
        seen = model.data_preprocessor(batch, training=False)
        inputs = head.decoder_inputs(model.extract_feat(seen['inputs']))
        target = stack_targets(seen['data_samples'], head.num_classes, torch.device('cpu'))
        parts.append(dict(predict_batch(head, inputs), targets=target.numpy().astype('int8')))
    return Side(**join(parts))
