"""Choose thresholds on the validation images, and say on the test images what they bring."""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.collecting import PredictionSet, collect_predictions
from morn_plugin.deploy.labels import Thresholds
from morn_plugin.deploy.running import show_progress
from morn_plugin.evaluation.calibration import MEASURES, global_threshold, label_thresholds, reliability_curve
from morn_plugin.evaluation.functional import count_images, count_labels, mean_precision_recall_f1, pack_labels
from morn_plugin.visualization.panels import EXTRA, RIGHT


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='work folder or checkpoint')
    parser.add_argument('--config', help='config, where the checkpoint has none in it or beside it')
    parser.add_argument('--measure', choices=MEASURES, default='per-label-f1', help='what to make best')
    parser.add_argument('--floor', type=float, default=0.9, help='of --measure precision: least share of right labels')
    parser.add_argument('--scope', choices=['label', 'global'], default='label', help='a threshold a label, or one for all')
    parser.add_argument('--out', default='thresholds.json', metavar='FILE', help='thresholds (default: thresholds.json)')
    parser.add_argument('--plot', metavar='FILE', help='draw the reliability curves here')
    parser.add_argument('--device')
    return parser.parse_args()


def figures(data: PredictionSet, predicted: np.ndarray) -> list[float]:
    """Give P_L, R_L, F1_L, P_I, R_I, F1_I in percent."""
    packed, number = pack_labels(predicted, data.targets), len(data.classes)
    return [value for counts in (count_labels(packed, number), count_images(packed, number))
            for value in mean_precision_recall_f1(counts)]


def draw_reliability(sets: dict[str, PredictionSet], path: str) -> None:
    """Draw one curve a set, over bars of how many scores there are."""
    figure = Figure(figsize=(5, 6), dpi=110, layout='constrained')
    curve, number = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 1], [0, 1], color='grey', linestyle=':', label='perfect')
    for (name, data), colour, mark in zip(sets.items(), (RIGHT, EXTRA), 'os', strict=True):
        found = reliability_curve(data.scores, data.targets)
        curve.plot(found.score, found.share, color=colour, marker=mark, label=f'{name} (error {100 * found.error:.1f} %)')
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
        val, test = (collect_predictions(inferencer, loader, partial(show_progress, unit='batches'))
                     for loader in ('val_dataloader', 'test_dataloader'))
        choose = label_thresholds if args.scope == 'label' else global_threshold
        thr = choose(val.scores, val.targets, args.measure, args.floor)
        if Path(val.ann_file).resolve() == Path(test.ann_file).resolve():
            print(f'Warning: the config validates and tests on the same images, {val.ann_file}: the figures below are those '
                  'of the images that the thresholds were chosen on.', file=sys.stderr)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Thresholds(thr, val.classes, args.measure, Path(val.ann_file).name).save(args.out)
    print(f'{"":22}' + ''.join(f'{name:>8}' for name in ('P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I')))
    for name, data in (('validation', val), ('test', test)):
        for title, predicted in (('before', data.predicted), ('calibrated', data.scores > np.float32(thr))):
            print(f'{name + ", " + title:22}' + ''.join(f'{value:8.2f}' for value in figures(data, predicted)))
    print(f'Chosen on {val.ann_file} for {args.measure}; wrote {args.out}.')
    if args.plot:
        draw_reliability({'validation': val, 'test': test}, args.plot)


if __name__ == '__main__':
    main()
