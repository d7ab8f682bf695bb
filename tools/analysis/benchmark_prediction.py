"""Measure prediction on a CPU by a checkpoint and by its exported .onnx file.

With the same images and threads, in alternating rounds, start-up left out; the extraction of scores
and features against the network alone; and the start of tools/predict.py from the shell to the
first image. Prints the processor, the threads and the load,
then Markdown tables. On a busy machine it prints no table, unless --busy is given.
"""

import argparse
import statistics
import sys
from pathlib import Path

from morn_plugin.utils.arguments import add_busy_argument, add_config_arguments
from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help='work folder or checkpoint')
    parser.add_argument('exported', help='the .onnx file exported from it')
    parser.add_argument('images', nargs='+', help='files, folders or patterns')
    add_config_arguments(parser)
    parser.add_argument('--batch-size', type=at_least(1), default=32)
    parser.add_argument(
        '--threads', type=at_least(1), default=2, help='of torch and onnxruntime (default: 2)'
    )
    parser.add_argument(
        '--rounds', type=at_least(1), default=7, help='rounds of each measurement (default: 7)'
    )
    add_busy_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import MultiLabelInferencer
    from morn_plugin.deploy.images import list_images
    from morn_plugin.deploy.onnx_model import OnnxModel
    from morn_plugin.speed.machine import start_measuring
    from morn_plugin.speed.prediction import compare_extraction, compare_prediction, time_start
    from morn_plugin.utils.markdown import markdown_table

    start_measuring(args.busy, args.threads, f' Medians of {args.rounds} rounds.')
    try:
        paths = list_images(args.images)
        inferencer = MultiLabelInferencer(
            args.model, args.config, 'cpu', trust_config=args.trust_config
        )
        exported = OnnxModel(args.exported, num_threads=args.threads)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))

    timings = compare_prediction(inferencer, exported, paths, args.batch_size, args.rounds)
    rows = []
    for timing in timings:
        other = timings[1] if timing.name.startswith('from files') else timings[-1]
        rate = len(paths) / timing.median
        rows.append([timing.name, f'{rate:.1f}', f'{timing.ratio(other):.2f}'])

    print(markdown_table([f'{len(paths)} images', 'images/s', 'time / exported'], rows), flush=True)

    timings = compare_extraction(inferencer, paths, args.batch_size, args.rounds)
    rows = []
    for timing in timings:
        rate = len(paths) / timing.median
        ratios = [f'{timing.ratio(other):.2f}' for other in timings[-2:]]
        rows.append([timing.name, f'{rate:.1f}', *ratios])
    print()
    head = ['scores and features', 'images/s', 'time / network', 'time / forward']
    print(markdown_table(head, rows), flush=True)

    tool = str(Path(__file__).resolve().parents[1] / 'predict.py')
    programs = {
        Path(args.model).name: [tool, args.model, paths[0]],
        Path(args.exported).name: [tool, args.exported, paths[0]],
        '`import torch` alone': ['-c', 'import torch; print()'],
    }
    rows = []
    for name, arguments in programs.items():
        seconds = time_start(arguments, args.rounds)
        low, high = min(seconds), max(seconds)
        rows.append([name, f'{statistics.median(seconds):.2f}', f'{low:.2f}-{high:.2f}'])

    print()
    print(markdown_table(['from the shell to the first image', 'seconds', 'from-to'], rows))


if __name__ == '__main__':
    main()
