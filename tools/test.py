"""Test a checkpoint from a config, and print the paper's table."""

import argparse
import sys

import mmengine
import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmpretrain.registry import HOOKS, METRICS, MODELS

import morn_plugin  # noqa: F401  registers everything
from morn_plugin.apis import add_common_arguments, load_config
from morn_plugin.apis.agreement import TESTING, find_class, is_type
from morn_plugin.apis.config_check import find_parameters
from morn_plugin.apis.finishing import say_what_was_tested
from morn_plugin.apis.starting import build_runner, tidy_start
from morn_plugin.datasets.wrapping import innermost
from morn_plugin.deploy.labels import load_thresholds
from morn_plugin.engine.hooks import PredictionVisualizationHook
from morn_plugin.evaluation.metrics.label_sets import LabelSetMetric
from morn_plugin.models.heads.label_decoder_head import LabelDecoderHead
from morn_plugin.utils.files import atomic_write
from morn_plugin.utils.strict_json import dump_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', metavar='FILE', help='write the figures here (.json), or the predictions (.pkl)'
    )
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], help='what --out gets (default: by its ending)'
    )
    parser.add_argument(
        '--show-dir', metavar='DIR', help='draw tested images with labels and steps here'
    )
    parser.add_argument(
        '--interval', type=int, default=1, help='draw every N-th image (default: 1)'
    )
    parser.add_argument(
        '--thresholds',
        metavar='FILE',
        help='what tools/analysis/calibrate.py chose; for the decoder, the CNN alone keeps its own',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation by tta_model and tta_pipeline of the config (default: flip)',
    )
    return parser.parse_args()


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.show_dir:
        cfg.setdefault('default_hooks', {})
        cfg.default_hooks.visualization = dict(
            type='PredictionVisualizationHook', out_dir=args.show_dir, interval=args.interval
        )
        cfg.custom_hooks = [
            hook
            for hook in cfg.get('custom_hooks', [])
            if not is_type(hook, HOOKS, PredictionVisualizationHook)
        ]
    if args.thresholds:
        use_thresholds(cfg, args.thresholds)
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.tta:
        use_flip_tta(cfg)


def use_thresholds(cfg: Config, path: str) -> None:
    """Let the model and every metric of its final scores decide by the thresholds of a file.

    Raises:
        ValueError: If there is one a label, and the head or a metric takes one number alone.
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
    for registry, ours, node in [(MODELS, LabelDecoderHead, cfg.model.head), *deciding]:
        kind = find_class(registry, node['type'])
        if kind is None or 'thr' not in find_parameters(kind)[0]:
            continue  # an unknown name is for check_config
        if isinstance(thr, list) and not issubclass(kind, ours):
            raise ValueError(
                f'{path}: holds a threshold for each label, but {kind.__name__} takes one for all: '
                f'calibrate with --scope global, or use a {ours.__name__}.'
            )
        node.update(thr=thr)
        if node.get('topk') is not None:
            node.update(topk=None)


def flip_pipeline(pipeline: list) -> list:
    """Return a test pipeline that shows each image twice, the second time mirrored."""
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
    """Write the figures, in JSON with ``null`` for one that is no number."""
    if not path.endswith('.json'):
        mmengine.dump(metrics, path, indent=2)
        return
    figures = {name: value if np.isfinite(value) else None for name, value in metrics.items()}
    with atomic_write(path) as file:  # makes the folder, too
        file.write((dump_json(figures, indent=2, default=float) + '\n').encode())


def main() -> None:
    args = parse_args()
    out_item = args.out_item or (
        'pred' if str(args.out).endswith(('.pkl', '.pickle')) else 'metrics'
    )
    if args.out and out_item == 'pred' and not args.out.endswith(('.pkl', '.pickle')):
        sys.exit(f'--out {args.out}: predictions are written as .pkl or .pickle.')
    cfg = load_config(args)
    try:
        apply_flags(cfg, args)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    with tidy_start(cfg) as watch:
        named = [args.thresholds] if args.thresholds else []
        others = {path: load_thresholds(path).classes for path in named}
        runner = build_runner(cfg, args.config, watch, TESTING, others)
        if args.out and out_item == 'pred':
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
        metrics = runner.test()
    if args.out and out_item == 'metrics' and is_main_process():
        write_figures(metrics, args.out)
    say_what_was_tested(runner, args.checkpoint, args.out)


if __name__ == '__main__':
    main()
