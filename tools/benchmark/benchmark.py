"""Compare the Multi-order RNN with the paper's baselines on the whole of Open Clip Art.

And write the page.

Goes on where it was stopped. plan.py says what is trained, stages.py in which order, runs.py how,
page.py what is written.
"""

import argparse
import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from plan import CNN_CONFIG, EPOCHS, HOME, ROOT

from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--out',
        type=Path,
        default=HOME / 'work_dirs' / 'benchmark',
        help='folder of all runs (default: work_dirs/benchmark)',
    )
    parser.add_argument(
        '--page',
        type=Path,
        default=HOME / 'configs' / 'benchmark',
        help='folder of the page (default: configs/benchmark)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='decoders trained at a time, each on one core (default: the number of cores)',
    )
    parser.add_argument(
        '--page-only', action='store_true', help='train nothing, write the page from what there is'
    )
    parser.add_argument(
        '--seeds',
        type=at_least(1),
        metavar='N',
        help='only the first N seeds of everything, and no page: results.csv goes to --out',
    )
    args = parser.parse_args()
    args.out, args.page = args.out.resolve(), args.page.resolve()
    return args


def main() -> None:
    args = parse_args()
    import page
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from runs import Bench, count_seconds, read_seconds
    from stages import Stages, best_cnn_rate, final_run, run_all

    from morn_plugin.engine.safe_loading import force_weights_only

    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit('Stopped; the runs under way come to their end.')
    )
    force_weights_only()
    bench = Bench(args.out, str(ROOT / 'configs' / CNN_CONFIG), epochs=EPOCHS, max_seeds=args.seeds)
    if not args.page_only:
        args.out.mkdir(parents=True, exist_ok=True)
        columns = (
            TextColumn('{task.description:32}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with count_seconds(bench.clock), Progress(*columns) as progress:
            run_all(bench, Stages(progress, args.out / 'decoders.log', args.workers))
        print(f'Done in {read_seconds(bench.clock) / 60:.0f} min, earlier attempts included.')
    bench = replace(bench, cnn_lr=best_cnn_rate(bench))
    rows = page.collect(bench, final_run)
    if args.seeds is not None:
        page.write_csv(rows, args.out / 'results.csv')
        print(f'The figures: {args.out / "results.csv"}')
        return
    page.write(bench, rows, args.page)
    print(f'The page: {args.page / "README.md"}')


if __name__ == '__main__':
    with contextlib.suppress(BrokenPipeError):
        main()
