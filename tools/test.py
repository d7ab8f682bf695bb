"""Test a checkpoint from a config, and print the paper's table."""

import argparse
import sys
from typing import TYPE_CHECKING

from morn_plugin.utils.arguments import add_common_arguments

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', metavar='FILE', help='write the figures here (.json), or the predictions (.pkl)'
    )
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='kind of content of --out (default: by its ending)',
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
        help='thresholds from tools/analysis/calibrate.py for the decoder; the CNN keeps its own',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation by tta_model and tta_pipeline of the config (default: flip)',
    )
    return parser.parse_args()


def apply_flags(cfg: 'Config', args: argparse.Namespace) -> None:
    """Change the config as the flags say."""
    from morn_plugin.apis.testing import draw_tested, use_flip_tta, use_thresholds

    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.show_dir:
        draw_tested(cfg, args.show_dir, args.interval)
    if args.thresholds:
        use_thresholds(cfg, args.thresholds)
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.tta:
        use_flip_tta(cfg)


def main() -> None:
    args = parse_args()
    out_item = args.out_item or (
        'pred' if str(args.out).endswith(('.pkl', '.pickle')) else 'metrics'
    )
    if args.out and out_item == 'pred' and not args.out.endswith(('.pkl', '.pickle')):
        sys.exit(f'--out {args.out}: predictions are written as .pkl or .pickle.')
    from mmengine.dist import is_main_process
    from mmengine.evaluator import DumpResults

    from morn_plugin.apis import load_config
    from morn_plugin.apis.agreement import TESTING
    from morn_plugin.apis.finishing import say_what_was_tested
    from morn_plugin.apis.starting import build_runner, tidy_start
    from morn_plugin.apis.testing import replace_decision, write_figures
    from morn_plugin.deploy.labels import load_thresholds

    cfg = load_config(args)
    try:
        apply_flags(cfg, args)
    except (OSError, ValueError) as error:
        sys.exit(str(error))

    with tidy_start(cfg) as watch:
        named = [args.thresholds] if args.thresholds else []
        others = {path: load_thresholds(path).classes for path in named}
        runner = build_runner(cfg, args.config, watch, TESTING, others)
        if args.thresholds:
            replace_decision(runner.model, args.thresholds)
        if args.out and out_item == 'pred':
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
        metrics = runner.test()

    if args.out and out_item == 'metrics' and is_main_process():
        write_figures(metrics, args.out)
    say_what_was_tested(runner, args.checkpoint, args.out)


if __name__ == '__main__':
    main()
