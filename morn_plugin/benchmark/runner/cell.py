"""Trains one method on cached inputs, and keeps its predictions on both sides.

Methods that train the CNN itself run in ``joint``.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from ...apis import check_config
from ...apis.finding import read_own_config
from ...datasets.cached import load_scores
from ...datasets.cached.file import read_layout
from ...evaluation.functional import count_sets, mean_precision_recall_f1
from ..results import RunResult, Side, save_result
from .cnn import best_checkpoint
from .methods import Method
from .records import SETTINGS, begin, describe_code, finish, hash_config, read_record

BATCH = 256
#: Number of validations while a method trains, to keep its best epoch.
LOOKS = 5
WEIGHTS = 'weights.pth'


@dataclass(frozen=True)
class Shapes:
    """The sizes of the arrays in the cached files of a seed.

    Attributes:
        num_classes: C.
        features: Width D of features and maps; None without.
        stages: Widths of the maps of several stages.
    """

    num_classes: int
    features: int | None = None
    stages: tuple[int, ...] = ()

    @classmethod
    def of(cls, path: Path) -> 'Shapes':
        """Read the sizes from a cached file without loading its arrays."""
        layout = {name: shape for name, (_, shape, _) in read_layout(path).items()}
        wide = layout.get('features') or layout.get('feature_map')
        stages = sorted(name for name in layout if name.startswith('stage_maps.'))
        return cls(
            layout['scores'][1],
            wide[1] if wide else None,
            tuple(layout[name][1] for name in stages),
        )


@dataclass(frozen=True)
class Run:
    """A method with settings and a seed.

    Attributes:
        method: The method.
        seed: The seed of its weights and of the order of images.
        settings: The searched settings.
        folder: Folder of the run.
    """

    method: Method
    seed: int
    settings: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Cell(Run):
    """A run on cached inputs.

    Attributes:
        inputs: Folder of the seed's cached files.
        topk: k of methods that predict exactly k labels.
        max_epochs: Maximum number of epochs of any method.
        keep_weights: Whether to keep the weights with the predictions.
    """

    inputs: Path
    topk: int = 3
    max_epochs: int = 15
    keep_weights: bool = False


def fit_config(cfg: Config, shapes: Shapes, topk: int) -> None:
    """Set the sizes of a data set in a method's config.

    Args:
        cfg: A config on cached inputs.
        shapes: The sizes of the cached arrays.
        topk: k of methods that predict exactly k labels.
    """
    head = cfg.model.head
    head.num_classes = shapes.num_classes
    for part in (head.get('decoder'), head.get('decision')):
        if not part:
            continue
        if part.get('in_channels') is not None and shapes.features is not None:
            part.in_channels = shapes.features
        if part.get('stage_channels') is not None and shapes.stages:
            part.stage_channels = shapes.stages
        if part.get('type') == 'TopLabels':
            part.number = topk


def make_config(cell: Cell) -> Config:
    """Return the config of a run, complete except for its output folder."""
    cfg = read_own_config(str(cell.method.config), None)
    shapes = Shapes.of(cell.inputs / 'scores_train.safetensors')
    fit_config(cfg, shapes, cell.topk)

    cfg.train_cfg.max_epochs = min(cfg.train_cfg.max_epochs, cell.max_epochs)
    cfg.merge_from_dict({**cell.settings, 'randomness.seed': cell.seed})
    if cfg.train_cfg.get('type') is None:
        cfg.train_cfg.val_interval = max(1, cfg.train_cfg.max_epochs // LOOKS)
    return cfg


def run_cell(cell: Cell) -> float:
    """Run unless already done; keep the predictions.

    Returns:
        F1_I on validation, percent, by the method's own decision.

    Raises:
        ValueError: If the run was begun with other settings.
    """
    cfg = make_config(cell)
    cnn = read_record(cell.inputs)['cnn_sha256']
    settings = dict(cell.settings, seed=cell.seed, config_sha256=hash_config(cfg), cnn_sha256=cnn)
    if not begin(cell.folder, settings):
        return float(read_record(cell.folder)['f1_image'])

    start = time.monotonic()
    _clear(cell.folder)
    model = train(cfg, cell)
    settle_decision(model.head, cell.topk)
    result = RunResult(
        method=cell.method.name,
        title=cell.method.title,
        tier=cell.method.tier,
        group='methods',
        seed=cell.seed,
        has_probability=model.head.has_probability,
        settings=dict(cell.settings),
        provenance={**describe_code(), 'cnn_sha256': cnn},
        val=predict(model.head, cell.inputs / 'scores_val.safetensors'),
        test=predict(model.head, cell.inputs / 'scores_test.safetensors'),
        seconds=time.monotonic() - start,
    )
    if cell.keep_weights:
        torch.save(model.state_dict(), cell.folder / WEIGHTS)
    save_result(cell.folder, result)
    found = image_f1(result.val)
    finish(cell.folder, result.seconds, f1_image=found)
    return found


def train(cfg: Config, cell: Cell) -> Any:
    """Train a method, and return the model of its best epoch in evaluation mode."""
    work_dir = cell.folder / 'work'
    for side in ('train', 'val', 'test'):
        cfg[f'{side}_dataloader'].dataset.data_root = str(cell.inputs) + os.sep
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{cell.method.name}_{cell.seed}_{os.getpid()}_{time.time_ns()}'
    cfg.log_level = 'WARNING'
    cfg.default_hooks.checkpoint.update(
        interval=-1, save_last=False, save_optimizer=False, save_param_scheduler=False
    )
    cfg.default_hooks.data_check.overlap = 'ignore'  # same for all; converters check it
    check_config(cfg, str(cell.method.config))

    runner = Runner.from_cfg(cfg)
    model = runner.train()
    best = best_checkpoint(work_dir)
    if best is not None:
        content = torch.load(best, map_location='cpu', weights_only=True)
        model.load_state_dict(content['state_dict'])
    shutil.rmtree(work_dir)
    return model.eval()


def settle_decision(head: Any, topk: int) -> None:
    """Let a method predict its k best labels if its scores only rank and it has no other decision.

    The papers of TagProp and 2PKNN do so; a threshold of 0.5 would be meaningless.

    Args:
        head: A :class:`DecisionHead`.
        topk: k.
    """
    has_decision = head.decision is not None or head.thr is not None or head.topk is not None
    if head.has_threshold and not head.has_probability and not has_decision:
        head.topk = topk


@torch.inference_mode()
def predict(head: Any, path: Path) -> Side:
    """Predict a side from its cached file, on the GPU if there is one.

    Args:
        head: A :class:`DecisionHead`, in evaluation mode, where :func:`train` left it.
        path: The file.
    """
    file = load_scores(path)
    targets = file.annotations.targets()
    parts = [
        predict_batch(head, _read_rows(file, head.inputs, slice(start, start + BATCH)))
        for start in range(0, len(targets), BATCH)
    ]
    return Side(targets, **join(parts))


def join(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Concatenate the arrays of batches, by name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _read_rows(file: Any, names: tuple[str, ...], rows: slice) -> dict[str, Any]:
    """Return some rows of a head's inputs, as float32 tensors."""
    values = {name: file.scores if name == 'scores' else file.inputs[name] for name in names}
    return {
        name: tuple(_to_tensor(part, rows) for part in value)
        if isinstance(value, tuple)
        else _to_tensor(value, rows)
        for name, value in values.items()
    }


def _to_tensor(array: np.ndarray, rows: slice) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array[rows], dtype=np.float32)).to(get_device())


def predict_batch(head: Any, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Predict a batch: the fields of a :class:`Side` except its targets.

    Args:
        head: A :class:`DecisionHead`, in evaluation mode.
        inputs: Its inputs.
    """
    found = head.run_decoder(inputs)
    scores, chosen = found['pred_score'], found.get('pred_label')
    if chosen is None:
        chosen = head.decide(scores, inputs)
    arrays = dict(labels=chosen)
    if head.has_threshold:
        if head.decision is not None:
            scores = head.decision.map_scores(scores)
        arrays['scores'] = scores
    if head.has_steps:
        arrays['first_scores'] = found['step_scores'][:, 0]
        arrays['paths'] = found['step_labels'].short()
    return {name: array.cpu().numpy() for name, array in arrays.items()}


def image_f1(side: Side) -> float:
    """Compute F1_I of a side by the method's own decision, percent."""
    return float(mean_precision_recall_f1(count_sets(side.labels, side.targets, axis=1))[2])


@torch.inference_mode()
def linear_logits(cell: Cell) -> dict[str, np.ndarray]:
    """Return the logits (N, C) of a finished run's linear classifier for each side."""
    from mmpretrain.registry import MODELS

    model = MODELS.build(make_config(cell).model)
    weights = torch.load(cell.folder / WEIGHTS, map_location='cpu', weights_only=True)
    model.load_state_dict(weights)
    model.eval()
    logits = {}
    for side in ('train', 'val', 'test'):
        features = load_scores(cell.inputs / f'scores_{side}.safetensors').inputs['features']
        logits[side] = model.head.decoder.logits(features=torch.from_numpy(features[:])).numpy()
    return logits


def _clear(folder: Path) -> None:
    """Remove the files of an interrupted attempt."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != SETTINGS:
            path.unlink()
