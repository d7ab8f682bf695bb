"""Train a model from a config."""

import argparse
import sys
from typing import TYPE_CHECKING

from morn_plugin.utils.arguments import add_common_arguments

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint, or from the newest intact one of the work folder if '
        'none is named; start from the beginning if it has none',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not validate while training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size, from auto_scale_lr.base_batch_size',
    )
    return parser.parse_args()


def apply_flags(cfg: 'Config', args: argparse.Namespace) -> None:
    """Change the config as the flags say."""
    from morn_plugin.apis.starting import resume_safely

    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
        checkpoint.pop('save_best', None)

    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')

    if args.resume:
        resume_safely(cfg, args.resume)

    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            sys.exit(
                f'{args.config}: --auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in '
                'the config.'
            )

        cfg.auto_scale_lr.enable = True


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import load_config
    from morn_plugin.apis.agreement import TRAINING
    from morn_plugin.apis.finishing import say_what_was_trained
    from morn_plugin.apis.starting import build_runner, tidy_start

    cfg = load_config(args)
    apply_flags(cfg, args)
    with tidy_start(cfg) as watch:
        runner = build_runner(cfg, args.config, watch, TRAINING)
        runner.train()

    say_what_was_trained(runner, args.config)


if __name__ == '__main__':
    main()
