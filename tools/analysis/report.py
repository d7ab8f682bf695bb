"""Write one HTML page about a trained model.

Figures, curves, labels, and the best and worst images.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

from morn_plugin.utils.arguments import add_split_arguments
from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split_arguments(parser, purpose='report on')
    parser.add_argument(
        '--thresholds', metavar='FILE', help='thresholds from tools/analysis/calibrate.py'
    )
    parser.add_argument(
        '--log-dir', type=Path, help='folder of the training logs (default: that of the checkpoint)'
    )
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='default: report.html next to the checkpoint'
    )
    parser.add_argument(
        '--images',
        type=at_least(0),
        default=4,
        help='best and worst images shown (default: 4 each)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import MultiLabelInferencer
    from morn_plugin.apis.collecting import SPLITS, collect_predictions
    from morn_plugin.apis.own_decisions import own_threshold
    from morn_plugin.apis.reporting import build_report, find_log
    from morn_plugin.deploy.labels import load_thresholds
    from morn_plugin.deploy.running import show_progress

    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, args.device, trust_config=args.trust_config
        )
        if args.thresholds:
            inferencer.require_threshold('for --thresholds')
        loader = SPLITS[args.split]
        track = partial(show_progress, unit='batches')
        data = collect_predictions(inferencer, loader, track)

        thr = own_threshold(inferencer.model.head)
        predicted = data.predicted
        if args.thresholds:
            thr = load_thresholds(args.thresholds, data.classes).thr
            predicted = data.scores > np.asarray(thr, dtype=np.float32)

        folder = Path(inferencer.checkpoint_path).parent
        log = find_log(args.log_dir or folder)
        page = build_report(data, predicted, thr, inferencer, log, args.images)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))

    out = args.out or folder / 'report.html'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding='utf-8')
    print(f'Wrote {out} ({len(page) / 1e6:.1f} MB).')


if __name__ == '__main__':
    main()
