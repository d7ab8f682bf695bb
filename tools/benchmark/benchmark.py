"""Compare annotation methods on a data set, and write a page with the results.

DATASET is a folder that a tool of tools/dataset_converters wrote, or a config with the data loaders
of three sides. A method is a config on cached inputs; see docs/benchmark.md. The plan is printed
first, with minutes estimated by a timed probe. Finished steps are skipped, so the same command
resumes an interrupted benchmark.
"""

import argparse
import contextlib
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from morn_plugin.utils.checks import at_least
from morn_plugin.utils.layout import find_config_file

if TYPE_CHECKING:
    from morn_plugin.benchmark.runner.bench import Bench

CNN = 'morn_plugin::cnn/cnn_efficientnet-lite0_1xb32-6e_openclipart-128px.py'


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dataset', nargs='?', metavar='DATASET', help='folder or config')
    parser.add_argument(
        '--methods',
        nargs='+',
        default=[],
        metavar='NAME',
        help='methods, groups of them, and configs of your own (default: all; --list shows them)',
    )
    parser.add_argument('--list', action='store_true', help='list methods and groups, and exit')
    parser.add_argument('--plan-only', action='store_true', help='print the plan, and exit')
    parser.add_argument(
        '--page-only', action='store_true', help='write the page from the finished runs'
    )
    parser.add_argument(
        '--seeds', type=at_least(1), default=5, metavar='N', help='of every method (default: 5)'
    )
    parser.add_argument(
        '--hours',
        type=float,
        metavar='H',
        help='cut the plan to this many hours, in this order: seeds down to 3, own settings, the '
        'most expensive methods, seeds down to 1; no run starts after them',
    )
    parser.add_argument(
        '--epochs', type=at_least(1), default=15, help='most of any method (default: 15)'
    )
    parser.add_argument(
        '--topk', type=at_least(1), help='k of exactly k labels (default: what images have)'
    )
    parser.add_argument(
        '--cnn', type=find_config_file, default=CNN, help='config of the CNN (default: %(default)s)'
    )
    parser.add_argument(
        '--cnn-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the CNN',
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        '--frozen',
        action='store_true',
        help='keep the ImageNet weights; train a linear classifier per seed',
    )
    kinds.add_argument(
        '--checkpoint',
        nargs='+',
        type=Path,
        default=[],
        metavar='FILE',
        help='of the CNN, one for all seeds or one a seed, in place of fine-tuning',
    )
    parser.add_argument(
        '--out', type=Path, help='folder of all runs (default: work_dirs/benchmark/<data set>)'
    )
    parser.add_argument('--page', type=Path, help='folder of the page (default: page, in --out)')
    parser.add_argument(
        '--resamples',
        type=at_least(20),
        default=1000,
        help='number of bootstrap resamples for the intervals (default: 1000)',
    )
    parser.add_argument('--title', help='of the data, on the page (default: their name)')
    parser.add_argument(
        '--workers', type=at_least(1), help='runs at a time (default: the number of cores)'
    )
    args = parser.parse_args()
    if args.dataset is None and not args.list:
        parser.error('expected DATASET, a folder or a config')
    if args.checkpoint and len(args.checkpoint) not in (1, args.seeds):
        parser.error(
            f'expected one --checkpoint, or one for each of {args.seeds} seeds, but got '
            f'{len(args.checkpoint)}'
        )

    return args


def make_bench(args: argparse.Namespace) -> 'Bench':
    """Build the benchmark from the arguments."""
    import os

    from morn_plugin.benchmark.runner.bench import Bench, Options
    from morn_plugin.benchmark.runner.cnn import FINETUNED, FROZEN, GIVEN, Cnn
    from morn_plugin.benchmark.runner.methods import choose_methods, find_methods
    from morn_plugin.benchmark.runner.source import read_source

    given = GIVEN if args.checkpoint else FINETUNED
    config = Path(find_config_file(args.cnn))
    cnn = Cnn(config, FROZEN if args.frozen else given, args.cnn_options, tuple(args.checkpoint))
    name = Path(args.dataset).resolve().stem
    out = args.out or Path('work_dirs') / 'benchmark' / name
    options = Options(
        out=out.resolve(),
        cnn=cnn,
        seeds=args.seeds,
        hours=args.hours,
        max_epochs=args.epochs,
        workers=args.workers or os.cpu_count() or 1,
        topk=args.topk,
        command=describe_command(sys.argv),
        page=args.page,
        resamples=args.resamples,
    )
    methods = choose_methods(find_methods(), args.methods)
    return Bench(read_source(args.dataset, args.title), methods, options)


def describe_command(argv: Sequence[str]) -> str:
    """Return the command line of this benchmark, ready to be typed again."""
    arguments = [word for word in argv[1:] if word != '--page-only']
    return 'python tools/benchmark/benchmark.py ' + shlex.join(arguments)


def stop(*_: object) -> None:
    """End the program at a signal, with the way to go on."""
    sys.exit('Stopped. The same command goes on from here.')


def main() -> None:
    args = parse_args()
    from morn_plugin.benchmark.runner.methods import describe_methods, find_methods
    from morn_plugin.engine.safe_loading import force_weights_only

    if args.list:
        print(describe_methods(find_methods()))
        return

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    force_weights_only()
    try:
        bench = make_bench(args)
        if args.plan_only:
            print(bench.describe_plan())
            return

        page = bench.write_page() if args.page_only else bench.run()
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))

    print(f'The page: {page}')


if __name__ == '__main__':
    with contextlib.suppress(BrokenPipeError):
        main()
