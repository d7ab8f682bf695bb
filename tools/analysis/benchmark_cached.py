"""Measure training from cached features against the bare step of the same method.

Prints the processor, the threads and the load, then a Markdown table. On a busy machine it prints
none, unless --busy is given.
"""

import argparse
import os
from pathlib import Path

from morn_plugin.utils.arguments import add_busy_argument
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.layout import find_config_file

CONFIG = 'morn_plugin::retdm_style/retdm-style_features_1xb32-20e_openclipart.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--config',
        type=find_config_file,
        default=CONFIG,
        help='of a method on cached features (default: the RETDM-style one)',
    )
    parser.add_argument('--images', type=at_least(64), default=6400, help='of an epoch')
    parser.add_argument('--rounds', type=at_least(1), default=5, help='epochs (default: 5)')
    parser.add_argument('--threads', type=at_least(1), default=1, help='of torch (default: 1)')
    add_busy_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ['CUDA_VISIBLE_DEVICES'] = ''  # the Runner would take a GPU
    from morn_plugin.speed.cached_loop import loop_table
    from morn_plugin.speed.machine import start_measuring

    start_measuring(args.busy, args.threads, f' Medians of {args.rounds} rounds.')
    print(loop_table(Path(args.config), args.rounds, args.images).to_markdown())


if __name__ == '__main__':
    main()
