"""Compare the speed of prediction from files with the model's own, on the same images in memory.

Both are measured in alternating rounds.

On a shared machine look at the ratios, which the load hardly changes, not at the rates.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

from morn_plugin.utils.arguments import add_model_arguments
from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument('images', nargs='+', help='files, folders or patterns')
    parser.add_argument('--batch-size', type=at_least(1), default=32)
    parser.add_argument(
        '--num-workers', type=at_least(0), help='threads that read ahead, as of tools/predict.py'
    )
    parser.add_argument('--rounds', type=at_least(1), default=5)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch
    from torch.utils.benchmark import Timer

    from morn_plugin.apis import MultiLabelInferencer
    from morn_plugin.deploy.images import list_images

    try:
        inferencer = MultiLabelInferencer(
            args.model,
            args.config,
            args.device,
            args.num_workers,
            trust_config=args.trust_config,
        )
        paths = list_images(args.images)
        batches = list(inferencer.preprocess(paths, args.batch_size))
    except (OSError, ValueError) as error:
        sys.exit(str(error))

    sides = list_sides(inferencer, paths, batches, args.batch_size)
    timers = {
        name: Timer('run()', globals=dict(run=run), num_threads=torch.get_num_threads())
        for name, run in sides.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name, timer in timers.items():
            seconds[name].append(timer.timeit(1).median)  # after two runs to warm up

    alone = seconds['model alone']
    for name, values in seconds.items():
        rate = len(paths) / statistics.median(values)
        ratio = statistics.median(value / own for value, own in zip(values, alone, strict=True))
        print(f'{name:32}{rate:10.1f} images/s{ratio:8.2f} of the time of the model alone')


def list_sides(
    inferencer: Any,
    paths: list[str],
    batches: list[Any],
    batch_size: int,
) -> dict[str, Callable[[], Any]]:
    """Return what is timed: the model, and the steps around it."""

    def predict_batches() -> list[Any]:
        return [inferencer.forward(batch) for batch in batches]

    def make_records() -> list[Any]:
        return [
            inferencer._make_record(sample)
            for batch in batches
            for sample in inferencer.forward(batch)
        ]

    return {
        'model alone': predict_batches,
        'with records': make_records,
        'reading and transforming alone': lambda: list(inferencer.preprocess(paths, batch_size)),
        'from files': lambda: list(inferencer.predict(paths, batch_size)),
    }


if __name__ == '__main__':
    main()
