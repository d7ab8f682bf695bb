"""Write one HTML page about a trained model.

Figures, curves, labels, and the best and worst images.
"""

import argparse
import io
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

from morn_plugin.apis import MultiLabelInferencer, add_model_arguments
from morn_plugin.apis.collecting import SPLITS, PredictionSet, collect_predictions
from morn_plugin.datasets.transforms.loading import decode_image
from morn_plugin.deploy.labels import load_thresholds
from morn_plugin.deploy.running import show_progress
from morn_plugin.engine.hooks.paper_table_hook import method_title
from morn_plugin.evaluation.analysis import confused_labels, image_f1, label_figures
from morn_plugin.evaluation.functional import paper_figures, top_one
from morn_plugin.utils.checks import at_least
from morn_plugin.visualization import Prediction, draw_predictions
from morn_plugin.visualization.report import (
    draw_curves,
    draw_supports,
    embed_figure,
    embed_png,
    make_note,
    make_page,
    make_table,
)

TOP = 15  # lines of the lists of errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        '--split', choices=SPLITS, default='test', help='images to report on (default: test)'
    )
    parser.add_argument(
        '--thresholds', metavar='FILE', help='what tools/analysis/calibrate.py chose'
    )
    parser.add_argument(
        '--log-dir', type=Path, help='where the curves are (default: the folder of the checkpoint)'
    )
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='default: report.html beside the checkpoint'
    )
    parser.add_argument(
        '--images',
        type=at_least(0),
        default=4,
        help='best and worst images shown (default: 4 each)',
    )
    return parser.parse_args()


def paper_row(predicted: np.ndarray, first: np.ndarray, data: PredictionSet) -> list[float]:
    """Give P_L, R_L, F1_L, P_I, R_I, F1_I and top-1 in percent.

    ``first`` are the scores of one step.
    """
    return [*paper_figures(predicted, data.targets), top_one(first, data.targets)]


def model_title(inferencer: MultiLabelInferencer) -> str:
    """Return the name under which the config's own table shows the model, as test.py prints it."""
    rows = inferencer.cfg.get('default_hooks', {}).get('paper_table', {}).get('rows')
    return method_title(inferencer.model, rows)


def paper_table(data: PredictionSet, predicted: np.ndarray, name: str) -> str:
    rows: list[list] = []
    cnn = data.cnn_scores
    if cnn is not None and not np.array_equal(cnn, data.scores):  # else the model is the CNN
        rows.append(['CNN', *paper_row(cnn > 0.5, cnn, data)])
    rows.append([name, *paper_row(predicted, data.first_scores, data)])
    return make_table(
        ('', 'P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I', 'top-1'),
        rows,
        note='Percent. L: means over labels, I: over images, F1 their harmonic mean; '
        'an undefined ratio counts as 0. top-1: the best label after one step is a true one.',
    )


def find_log(folder: Path) -> list[dict]:
    """Read the curves of the runs in a folder, oldest first."""
    lines = []
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    return [line for line in lines if 'step' in line]


def error_lists(data: PredictionSet, predicted: np.ndarray) -> str:
    figures = label_figures(data.scores, predicted, data.targets)
    order = np.argsort(-figures.missed, kind='stable')[:TOP]
    missed = make_table(
        ('label', 'missed', 'of', 'percent'),
        [
            (
                data.classes[c],
                figures.missed[c],
                figures.support[c],
                100 * figures.missed[c] / figures.support[c],
            )
            for c in order
            if figures.missed[c]
        ],
        note='True, but not predicted.',
    )
    table = confused_labels(predicted, data.targets)
    pairs = np.dstack(
        np.unravel_index(np.argsort(-table, axis=None, kind='stable')[:TOP], table.shape)
    )[0]
    confused = make_table(
        ('missed, and in its place', 'wrongly predicted', 'images'),
        [(data.classes[a], data.classes[b], table[a, b]) for a, b in pairs if table[a, b]],
        note='In one image, the one was missed and the other predicted for nothing.',
    )
    return f'<div class="two"><div>{missed}</div><div>{confused}</div></div>'


def draw_rows(data: PredictionSet, predicted: np.ndarray, rows: np.ndarray) -> bytes:
    buffer, drawn = io.BytesIO(), []
    for row in rows:
        path = Path(data.img_paths[row])
        steps, labels = (
            None if part is None else part[row] for part in (data.step_scores, data.step_labels)
        )
        true, given = (
            np.flatnonzero(data.targets[row] > 0).tolist(),
            np.flatnonzero(predicted[row]).tolist(),
        )
        drawn.append(
            Prediction(
                decode_image(path.read_bytes(), str(path)),
                path.name,
                true,
                given,
                data.scores[row],
                steps,
                labels,
            )
        )
    draw_predictions(drawn, data.classes, buffer)
    return buffer.getvalue()


def image_sections(
    data: PredictionSet, predicted: np.ndarray, number: int
) -> list[tuple[str, str]]:
    """Show the images with the best and the worst F1.

    Of equal ones, those with the clearest scores or the most labels.
    """
    f1, true = image_f1(predicted, data.targets), (data.targets > 0).sum(1)
    distance = np.abs(data.scores - (data.targets > 0)).mean(1)
    best, worst = np.lexsort((distance, -true, -f1))[:number], np.lexsort((-distance, f1))[:number]
    return [
        (
            f'{name} images',
            embed_png(draw_rows(data, predicted, rows), f'{name} images with labels and steps'),
        )
        for name, rows in (('Best', best), ('Worst', worst))
        if number
    ]


def build_page(
    data: PredictionSet,
    predicted: np.ndarray,
    thr: float | list[float] | None,
    log: list[dict],
    title: str,
    number: int,
    name: str,
) -> str:
    figures = label_figures(data.scores, predicted, data.targets)
    limits = [
        None if limit is None else 100 * limit
        for limit in (thr if isinstance(thr, list) else [thr] * len(data.classes))
    ]
    labels = make_table(
        ('label', 'images', 'P', 'R', 'F1', 'AP', 'threshold'),
        zip(
            data.classes,
            figures.support,
            figures.precision,
            figures.recall,
            figures.f1,
            figures.average_precision,
            limits,
            strict=True,
        ),
        sortable=True,
        note='Percent; a dash where undefined. Click a heading to sort. '
        f'mAP {np.nanmean(figures.average_precision):.1f} over the labels with an image.',
    )
    curves = (
        embed_figure(draw_curves(log), 'Curves of losses and validation figures')
        if log
        else make_note('No log of a training run was found beside the checkpoint.')
    )
    note = f'{len(data.scores)} images of {Path(data.ann_file).name}, {len(data.classes)} labels.'
    return make_page(
        title,
        note,
        [
            ("The paper's table", paper_table(data, predicted, name)),
            ('Curves', curves),
            ('Most missed and most confused labels', error_lists(data, predicted)),
            *image_sections(data, predicted, number),
            (
                'Labels',
                embed_figure(draw_supports(figures.support, figures.f1), 'F1 over number of images')
                + labels,
            ),
        ],
    )


def main() -> None:
    args = parse_args()
    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, args.device, trust_config=args.trust_config
        )
        if args.thresholds:
            inferencer.require_threshold('for --thresholds')
        data = collect_predictions(
            inferencer, SPLITS[args.split], partial(show_progress, unit='batches')
        )
        head = inferencer.model.head
        thr, predicted = getattr(head, 'thr', None), data.predicted
        if thr is None and getattr(head, 'topk', None) is None and inferencer.has_threshold:
            thr = 0.5
        if args.thresholds:
            thr = load_thresholds(args.thresholds, data.classes).thr
            predicted = data.scores > np.asarray(thr, dtype=np.float32)
        folder = Path(inferencer.checkpoint_path).parent
        page = build_page(
            data,
            predicted,
            thr,
            find_log(args.log_dir or folder),
            f'Report on {Path(inferencer.checkpoint_path).resolve().parent.name}',
            args.images,
            model_title(inferencer),
        )
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))
    out = args.out or folder / 'report.html'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding='utf-8')
    print(f'Wrote {out} ({len(page) / 1e6:.1f} MB).')


if __name__ == '__main__':
    main()
