"""Choose thresholds on the validation images, and report their effect on the test images."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morn_plugin.evaluation.calibration import MEASURES
from morn_plugin.utils.arguments import add_model_arguments
from morn_plugin.utils.next_steps import next_step

if TYPE_CHECKING:
    from morn_plugin.evaluation.calibration import Reliability

SCOPES = ('auto', 'global', 'label')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        '--measure', choices=MEASURES, default='per-label-f1', help='what to make best'
    )
    parser.add_argument(
        '--floor',
        type=float,
        help='minimum precision, for --measure precision (default: 0.9)',
    )
    parser.add_argument(
        '--scope',
        choices=SCOPES,
        default='auto',
        help='one threshold for all labels, one per label, or what cross-validation on the '
        'validation images prefers (default: auto)',
    )
    parser.add_argument(
        '--map',
        action='store_true',
        help='also fit the map from scores to probabilities; always done for a method whose '
        'scores are not probabilities',
    )
    parser.add_argument(
        '--out',
        default='thresholds.json',
        metavar='FILE',
        help='thresholds (default: thresholds.json)',
    )
    parser.add_argument(
        '--save-model',
        metavar='FILE.pth',
        help='also write a copy of the checkpoint with the map and the thresholds, and its '
        'config as FILE.py: whatever reads it shows probabilities (fits the map)',
    )
    parser.add_argument('--plot', metavar='FILE', help='draw the reliability curves here')
    args = parser.parse_args()

    if args.floor is None:
        args.floor = 0.9
    elif args.measure != 'precision':
        parser.error(f'--floor belongs to --measure precision, but got --measure {args.measure}')

    return args


def draw_reliability(curves: dict[str, 'Reliability'], path: str) -> None:
    """Draw one curve per set, above the number of scores per bin."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 6), dpi=110, layout='constrained')
    curve, number = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 1], [0, 1], color='grey', linestyle=':', label='perfect')

    for place, (name, found) in enumerate(curves.items()):
        style = dict(color=f'C{place}', marker='os^v'[place])
        title = f'{name} (mean distance {100 * found.error:.1f} %)'
        curve.plot(found.score, found.share, label=title, **style)
        number.semilogy(found.score, found.number, **style)

    title = 'How far scores are probabilities\n(distance weighted by the scores in a bin, below)'
    curve.set(ylabel='share of true labels')
    curve.set_title(title, fontsize=10)
    number.set(xlabel='score', ylabel='scores', xlim=(0, 1))
    curve.legend(fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def collect_sides(inferencer: Any) -> tuple[Any, Any]:
    """Predict the validation and the test images; warn if they are the same."""
    from morn_plugin.apis.collecting import collect_predictions
    from morn_plugin.deploy.running import show_progress

    track = partial(show_progress, unit='batches')
    val = collect_predictions(inferencer, 'val_dataloader', track)
    test = collect_predictions(inferencer, 'test_dataloader', track)
    if Path(val.ann_file).resolve() == Path(test.ann_file).resolve():
        print(
            f'Warning: the config validates and tests on the same images, {val.ann_file}: the '
            'figures below are those of the images that the thresholds were chosen on.',
            file=sys.stderr,
        )
    return val, test


def list_curves(sets: dict[str, Any], score_map: Any) -> dict[str, 'Reliability']:
    """Compute the curve of each side, and that of the test side after the map."""
    from morn_plugin.evaluation.calibration import reliability_curve

    curves = {name: reliability_curve(data.scores, data.targets) for name, data in sets.items()}
    if score_map is not None:
        test = sets['test']
        mapped = score_map.probabilities(test.scores)
        curves['test, mapped'] = reliability_curve(mapped, test.targets)
    return curves


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import MultiLabelInferencer
    from morn_plugin.apis.calibrating import calibrate, compare_decisions
    from morn_plugin.apis.saving_maps import save_with_map

    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, args.device, trust_config=args.trust_config
        )
        inferencer.require_threshold('to calibrate')
        val, test = collect_sides(inferencer)

        is_probability = getattr(inferencer.model.head, 'has_probability', True)
        with_map = args.map or bool(args.save_model) or not is_probability
        found = calibrate(val, args.measure, args.scope, args.floor, with_map)
        if args.save_model:
            beside = save_with_map(inferencer, found.thresholds, args.save_model)
    except (OSError, ValueError) as error:
        sys.exit(str(error))

    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    found.thresholds.save(args.out)
    sets = dict(validation=val, test=test)
    print(*compare_decisions(found, sets), sep='\n')
    if found.reason:
        print(found.reason)
    print(f'Chosen on {val.ann_file} for {args.measure}; wrote {args.out}.')

    if args.plot:
        draw_reliability(list_curves(sets, found.thresholds.score_map), args.plot)

    if args.save_model:
        print(f'Wrote {args.save_model}, which decides by these, and its config {beside}.')
        print(next_step('test', beside, args.save_model, to='test it'))
        return

    given = (args.model, 'IMAGES', '--thresholds', args.out)
    print(next_step('predict', *given, to='label images by them'))


if __name__ == '__main__':
    main()
