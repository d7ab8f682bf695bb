"""Choose thresholds on the validation images, and say on the test images what they bring."""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from morn_plugin.apis import MultiLabelInferencer, add_model_arguments
from morn_plugin.apis.collecting import PredictionSet, collect_predictions
from morn_plugin.deploy.labels import Thresholds
from morn_plugin.deploy.running import show_progress
from morn_plugin.evaluation.calibration import (
    MEASURES,
    global_threshold,
    label_thresholds,
    reliability_curve,
)
from morn_plugin.evaluation.functional import paper_figures
from morn_plugin.visualization.panels import EXTRA, RIGHT


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        '--measure', choices=MEASURES, default='per-label-f1', help='what to make best'
    )
    parser.add_argument(
        '--floor',
        type=float,
        help='of --measure precision: least share of right labels (default: 0.9)',
    )
    parser.add_argument(
        '--scope',
        choices=['label', 'global'],
        default='label',
        help='a threshold a label, or one for all',
    )
    parser.add_argument(
        '--out',
        default='thresholds.json',
        metavar='FILE',
        help='thresholds (default: thresholds.json)',
    )
    parser.add_argument('--plot', metavar='FILE', help='draw the reliability curves here')
    args = parser.parse_args()
    if args.floor is None:
        args.floor = 0.9
    elif args.measure != 'precision':
        parser.error(f'--floor belongs to --measure precision, but got --measure {args.measure}')
    return args


def draw_reliability(sets: dict[str, PredictionSet], path: str) -> None:
    """Draw one curve a set, over bars of how many scores there are."""
    figure = Figure(figsize=(5, 6), dpi=110, layout='constrained')
    curve, number = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 1], [0, 1], color='grey', linestyle=':', label='perfect')
    for (name, data), colour, mark in zip(sets.items(), (RIGHT, EXTRA), 'os', strict=True):
        found = reliability_curve(data.scores, data.targets)
        curve.plot(
            found.score,
            found.share,
            color=colour,
            marker=mark,
            label=f'{name} (error {100 * found.error:.1f} %)',
        )
        number.semilogy(found.score, found.number, color=colour, marker=mark)
    curve.set(ylabel='share of true labels', title='How far scores are probabilities')
    number.set(xlabel='score', ylabel='scores', xlim=(0, 1))
    curve.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    args = parse_args()
    try:
        inferencer = MultiLabelInferencer(args.model, args.config, args.device)
        inferencer.require_threshold('to calibrate')
        val, test = (
            collect_predictions(inferencer, loader, partial(show_progress, unit='batches'))
            for loader in ('val_dataloader', 'test_dataloader')
        )
        choose = label_thresholds if args.scope == 'label' else global_threshold
        thr = choose(val.scores, val.targets, args.measure, args.floor)
        if Path(val.ann_file).resolve() == Path(test.ann_file).resolve():
            print(
                f'Warning: the config validates and tests on the same images, {val.ann_file}: the '
                'figures below are those of the images that the thresholds were chosen on.',
                file=sys.stderr,
            )
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Thresholds(thr, val.classes, args.measure, Path(val.ann_file).name).save(args.out)
    print(
        f'{"":22}' + ''.join(f'{name:>8}' for name in ('P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I'))
    )
    for name, data in (('validation', val), ('test', test)):
        for title, predicted in (
            ('before', data.predicted),
            ('calibrated', data.scores > np.float32(thr)),
        ):
            print(
                f'{name + ", " + title:22}'
                + ''.join(f'{value:8.2f}' for value in paper_figures(predicted, data.targets))
            )
    print(f'Chosen on {val.ann_file} for {args.measure}; wrote {args.out}.')
    if args.plot:
        draw_reliability({'validation': val, 'test': test}, args.plot)


if __name__ == '__main__':
    main()
