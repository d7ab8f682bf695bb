"""Prepares the config for ``tools/test.py``, and writes its figures."""

import mmengine
import numpy as np
from mmengine.config import Config
from mmpretrain.registry import HOOKS, METRICS, MODELS
from torch import nn

from ..datasets.wrapping import innermost
from ..deploy.labels import load_thresholds
from ..engine.hooks import PredictionVisualizationHook
from ..engine.weights import bare_model
from ..evaluation.metrics.label_sets import LabelSetMetric
from ..models.heads.label_decoder_head import LabelDecoderHead
from ..utils.strict_json import write_json
from .agreement import find_class, is_type
from .config_check import find_parameters


def draw_tested(cfg: Config, folder: str, interval: int) -> None:
    """Draw tested images into a folder.

    Args:
        cfg: Changed in place.
        folder: Output folder.
        interval: Draw every N-th image.
    """
    cfg.setdefault('default_hooks', {})
    cfg.default_hooks.visualization = dict(
        type='PredictionVisualizationHook', out_dir=folder, interval=interval
    )
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks', [])
        if not is_type(hook, HOOKS, PredictionVisualizationHook)
    ]


def use_thresholds(cfg: Config, path: str) -> None:
    """Make the model and every metric of its final scores use the thresholds of a file.

    A head with a ``decision`` of its own keeps it until :func:`replace_decision`, since its weights
    belong to the checkpoint.

    Raises:
        ValueError: If there is one per label, but the head or a metric accepts only a single
            number.
    """
    thr = load_thresholds(path).thr
    evaluators = (
        cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    )
    deciding = [
        (METRICS, LabelSetMetric, metric)
        for metric in evaluators
        if not metric.get('use_pred_label') and metric.get('item', 'pred_score') == 'pred_score'
    ]

    heads = [] if cfg.model.head.get('decision') else [(MODELS, LabelDecoderHead, cfg.model.head)]

    for registry, ours, node in [*heads, *deciding]:
        kind = find_class(registry, node['type'])
        if kind is None or 'thr' not in find_parameters(kind)[0]:
            continue  # check_config reports an unknown name
        if isinstance(thr, list) and not issubclass(kind, ours):
            raise ValueError(
                f'{path}: contains a threshold for each label, but {kind.__name__} takes one for '
                f'all: calibrate with --scope global, or use a {ours.__name__}.'
            )

        node.update(thr=thr)
        if node.get('topk') is not None:
            node.update(topk=None)


def replace_decision(model: nn.Module, path: str) -> None:
    """Let a model with a decision of its own decide by the thresholds of a file.

    They apply to the scores that it shows, as in ``tools/predict.py``.

    Args:
        model: Of the test; another model stays as it is.
        path: The file.
    """
    head = bare_model(model).head
    if getattr(head, 'decision', None) is not None:
        head.use_threshold(load_thresholds(path).thr)


def flip_pipeline(pipeline: list) -> list:
    """Return a test pipeline with each image and its mirror image."""
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    views = dict(type='TestTimeAug', transforms=[flips, [pipeline[-1]]])
    return [*pipeline[:-1], views]


def use_flip_tta(cfg: Config) -> None:
    """Average over the image and its mirror image, unless the config says otherwise."""
    pipeline = cfg.get('tta_pipeline')
    for dataset in innermost(cfg.test_dataloader.dataset):
        dataset.pipeline = pipeline or flip_pipeline(dataset.pipeline)
    cfg.model = dict(cfg.get('tta_model') or dict(type='AverageScoresTTA'), module=cfg.model)


def write_figures(metrics: dict[str, float], path: str) -> None:
    """Write the figures as JSON, with ``null`` for NaN."""
    if not path.endswith('.json'):
        mmengine.dump(metrics, path, indent=2)
        return
    figures = {name: value if np.isfinite(value) else None for name, value in metrics.items()}
    write_json(path, figures, indent=2, default=float)
