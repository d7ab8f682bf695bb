"""Estimate the time of the second stage on cached scores, and confirm it with one epoch.

By default the size of MS-COCO: 82,783 images by 80 labels, 50 epochs at batch 32. The rate of the
first iterations gives the time of an epoch and of the whole run; then one full epoch is run. The
data are random; there is no validation. The same commands train on real scores:
tools/extract_scores.py, then tools/train.py with configs/morn/morn_scores_1xb32-50e_coco-448px.py.
"""

import argparse
import tempfile
import time
from pathlib import Path

from morn_plugin.utils.arguments import add_busy_argument
from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    positive = at_least(1)
    parser.add_argument('--images', type=positive, default=82_783, help='default: %(default)s')
    parser.add_argument('--labels', type=positive, default=80, help='default: %(default)s')
    parser.add_argument('--batch', type=positive, default=32, help='default: %(default)s')
    parser.add_argument('--epochs', type=positive, default=50, help='default: %(default)s')
    parser.add_argument(
        '--first', type=at_least(2), default=300, help='iterations of the rate (default: 300)'
    )
    parser.add_argument('--threads', type=positive, help='of torch (default: all cores)')
    add_busy_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmengine.runner import Runner

    from morn_plugin.speed.machine import start_measuring
    from morn_plugin.speed.score_runs import ClockHook, make_score_config, write_scores
    from morn_plugin.speed.steps import Sizes

    start_measuring(args.busy, args.threads)

    clock = ClockHook()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'scores.safetensors')
        write_scores(path, args.images, args.labels)
        cfg = make_score_config(path, Path(folder, 'run'), Sizes(args.batch, args.labels), 1)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(clock)
        start = time.perf_counter()
        runner.train()
        epoch = time.perf_counter() - start

    first = clock.ends[: args.first]
    rate = (first[-1] - first[0]) / (len(first) - 1)
    length = len(clock.ends)
    print(
        f'{length} iterations an epoch. By the first {len(first)}: {1e3 * rate:.2f} ms an '
        f'iteration, {rate * length:.0f} s an epoch, {rate * length * args.epochs / 60:.1f} min '
        f'for {args.epochs} epochs. The epoch took {epoch:.0f} s: '
        f'{epoch * args.epochs / 60:.1f} min for {args.epochs}.'
    )


if __name__ == '__main__':
    main()
