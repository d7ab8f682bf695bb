"""The report on a trained model: figures, curves, labels, and the best and worst images."""

import os.path as osp
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..datasets.near_duplicates import fingerprint, near_duplicates
from ..deploy.labels import Thr
from ..engine.hooks.paper_table_hook import method_title
from ..evaluation.analysis import LabelFigures, confused_labels, image_f1, label_figures
from ..evaluation.columns import PAPER_COLUMNS
from ..evaluation.functional import paper_figures, top_one
from ..utils.strict_json import parse_json
from ..visualization.cards import LEGEND, STEP_LEGEND, make_card
from ..visualization.panels import Prediction, shrink
from ..visualization.report import (
    draw_losses,
    draw_supports,
    draw_validations,
    embed_figure,
    make_note,
    make_page,
    make_table,
    place_beside,
)
from .collecting import PredictionSet
from .inferencer import MultiLabelInferencer

TOP = 15  # lines in the lists of errors
MAX_COPIES = 200  # near-copies to skip in search of a different image
Read = Callable[[str], np.ndarray]


def find_log(folder: Path) -> list[dict[str, Any]]:
    """Read the curves of the runs in a folder, oldest first.

    Raises:
        ValueError: If a line of a log is not MMEngine's JSON; names file and line.
    """
    lines: list[Any] = []
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        text = path.read_text(encoding='utf-8', errors='replace')
        for number, line in enumerate(text.splitlines(), 1):
            lines.append(parse_json(line, f'{path}:{number}', by_field=True))  # a loss may be NaN
    return [_keep_numbers(line) for line in lines if isinstance(line, dict) and 'step' in line]


def _keep_numbers(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if isinstance(value, (int, float))}


def build_report(
    data: PredictionSet,
    predicted: np.ndarray,
    thr: Thr,
    inferencer: MultiLabelInferencer,
    log: list[dict[str, Any]],
    number: int,
) -> str:
    """Build the page.

    Args:
        data: The predictions, N images and C labels.
        predicted: Boolean (N, C), the labels predicted at ``thr``.
        thr: One, or C of them, or None, for the table of labels.
        inferencer: The model, which also reads the images.
        log: The curves, see :func:`find_log`.
        number: Number of best and of worst images to show.
    """
    figures = label_figures(data.scores, predicted, data.targets)
    title = f'Report on {Path(inferencer.checkpoint_path).resolve().parent.name}'
    note = f'{len(data.scores)} images of {Path(data.ann_file).name}, {len(data.classes)} labels.'
    table = paper_table(data, predicted, model_title(inferencer), inferencer.cnn_thr)
    supports = embed_figure(draw_supports(figures.support, figures.f1), 'F1 over number of images')
    return make_page(
        title,
        note,
        [
            ("The paper's table", table),
            ('Curves', _make_curves(log)),
            ('Most missed and most confused labels', error_lists(data, predicted, figures)),
            *image_sections(data, predicted, number, inferencer.read),
            ('Labels', supports + label_table(data, figures, thr)),
        ],
    )


def model_title(inferencer: MultiLabelInferencer) -> str:
    """Return the model's name in the config's own table, as test.py prints it."""
    rows = inferencer.cfg.get('default_hooks', {}).get('paper_table', {}).get('rows')
    return method_title(inferencer.model, rows)


def paper_table(
    data: PredictionSet,
    predicted: np.ndarray,
    name: str,
    cnn_thr: float | None = None,
) -> str:
    """Lay out the paper's figures, also for the CNN alone if it is not the model.

    Args:
        data: The predictions.
        predicted: Boolean (N, C).
        name: Name of the model.
        cnn_thr: The threshold chosen on validation for the CNN alone, 0-1, if any.
    """
    rows: list[list] = [[name, *_paper_row(predicted, data.first_scores, data)]]
    cnn = data.cnn_scores

    if cnn is not None and not np.array_equal(cnn, data.scores):
        rows.insert(0, ['CNN', *_paper_row(cnn > 0.5, cnn, data)])
        if cnn_thr is not None:
            rows.append(['CNN, calibrated', *_paper_row(cnn > cnn_thr, cnn, data)])

    note = (
        'Percent. L: means over labels, I: over images, F1 their harmonic mean; an undefined ratio '
        'counts as 0. top-1: the best label after one step is a true one.'
    )
    if len(rows) > 1:
        note += ' The CNN decides at a threshold of 0.5, and the model by its own decision.'
    if len(rows) > 2:
        note += f' The calibrated threshold of the CNN is {cnn_thr:.3g}.'
    return make_table(('', *PAPER_COLUMNS, 'top-1'), rows, note=note)


def _paper_row(
    predicted: np.ndarray,
    first: np.ndarray,
    data: PredictionSet,
) -> list[float]:
    """Compute P_L, R_L, F1_L, P_I, R_I, F1_I and top-1 (of the scores ``first``) in percent."""
    return [*paper_figures(predicted, data.targets), top_one(first, data.targets)]


def _make_curves(log: list[dict[str, Any]]) -> str:
    if not log:
        return make_note('No log of a training run was found next to the checkpoint.')
    losses = embed_figure(draw_losses(log), 'Losses by iteration')
    validations = embed_figure(draw_validations(log), 'Validation figures by epoch')
    return place_beside([losses, validations])


def error_lists(
    data: PredictionSet,
    predicted: np.ndarray,
    figures: LabelFigures,
) -> str:
    """Lay out the most missed labels and the most confused pairs."""
    missed = make_table(
        ('label', 'missed', 'of', 'percent'),
        _missed_rows(data.classes, figures),
        note='True, but not predicted.',
    )
    confused = make_table(
        ('missed, and in its place', 'wrongly predicted', 'images'),
        _confused_rows(data.classes, confused_labels(predicted, data.targets)),
        note='In one image, the first label was missed and the second wrongly predicted.',
    )
    return place_beside([missed, confused])


def _missed_rows(classes: list[str], figures: LabelFigures) -> list[tuple]:
    order = np.argsort(-figures.missed, kind='stable')[:TOP]
    share = 100 * figures.missed / np.maximum(figures.support, 1)

    rows = []
    for label in order:
        missed = figures.missed[label]
        if missed:
            rows.append((classes[label], missed, figures.support[label], share[label]))

    return rows


def _confused_rows(classes: list[str], counts: np.ndarray) -> list[tuple]:
    order = np.argsort(-counts, axis=None, kind='stable')[:TOP]

    rows = []
    for missed, extra in zip(*np.unravel_index(order, counts.shape), strict=True):
        number = counts[missed, extra]
        if number:
            rows.append((classes[missed], classes[extra], number))

    return rows


def image_sections(
    data: PredictionSet, predicted: np.ndarray, number: int, read: Read
) -> list[tuple[str, str]]:
    """Show the images with the best and the worst F1.

    Ties are broken by the clearest scores or the most labels. Images with the labels of a shown one
    come last, and its near-copies are skipped.
    """
    if not number:
        return []

    true = data.targets > 0
    f1 = image_f1(predicted, data.targets)
    num_true = true.sum(1)
    distance = np.abs(data.scores - true).mean(1)
    best_first = np.lexsort((distance, -num_true, -f1))
    worst_first = np.lexsort((-distance, f1))

    sections = []
    for name, order in (('Best', best_first), ('Worst', worst_first)):
        varied = vary_labels(order, true).tolist()
        chosen, copies = choose_different(varied, data.img_paths, read, number)
        cards = [
            make_card(_make_prediction(data, predicted, *pair), data.classes) for pair in chosen
        ]
        legend = LEGEND if data.step_scores is None else LEGEND + STEP_LEGEND
        passed = f'. {copies} near-copies of these were skipped.' if copies else ''
        sections.append((f'{name} images', make_note(legend + passed) + ''.join(cards)))

    return sections


def vary_labels(order: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Move images to the end whose true labels are those of an earlier image.

    Args:
        order: Indices of images.
        true: Boolean (N, C).
    """
    _, first = np.unique(true[order], axis=0, return_index=True)
    is_new = np.isin(np.arange(len(order)), first)
    return np.concatenate([order[is_new], order[~is_new]])


def choose_different(
    order: Iterable[int],
    img_paths: list[str],
    read: Read,
    number: int,
) -> tuple[list[tuple[int, np.ndarray]], int]:
    """Return the first images of an order that are not near-copies of each other.

    Args:
        order: Indices of images, the best first.
        img_paths: The files of all images.
        read: Reads an image as (H, W, 3) uint8 RGB.
        number: Number of images.

    Returns:
        Index and shrunk image of each; and the number of skipped near-copies.
    """
    chosen: list[tuple[int, np.ndarray]] = []
    hashes: list[np.ndarray] = []
    copies = 0
    for place in order:
        if len(chosen) == number or copies > MAX_COPIES:
            break

        image = read(img_paths[place])
        bits = fingerprint(Image.fromarray(image))
        pairs = near_duplicates(np.stack([bits, *hashes]))
        if (pairs == 0).any():
            copies += 1
            continue

        hashes.append(bits)
        chosen.append((place, shrink(image)))

    return chosen, copies


def _make_prediction(
    data: PredictionSet, predicted: np.ndarray, place: int, image: np.ndarray
) -> Prediction:
    return Prediction(
        image,
        osp.basename(data.img_paths[place]),
        np.flatnonzero(data.targets[place] > 0).tolist(),
        np.flatnonzero(predicted[place]).tolist(),
        data.scores[place],
        None if data.step_scores is None else data.step_scores[place],
        None if data.step_labels is None else data.step_labels[place],
    )


def label_table(data: PredictionSet, figures: LabelFigures, thr: Any) -> str:
    """Lay out the figures of each label; a click on a heading sorts."""
    limits = thr if isinstance(thr, list) else [thr] * len(data.classes)
    rows = zip(
        data.classes,
        figures.support,
        figures.precision,
        figures.recall,
        figures.f1,
        figures.average_precision,
        [None if limit is None else 100 * limit for limit in limits],
        strict=True,
    )
    return make_table(
        ('label', 'images', 'P', 'R', 'F1', 'AP', 'threshold'),
        rows,
        sortable=True,
        note='Percent; a dash where undefined. Click a heading to sort. '
        f'mAP {np.nanmean(figures.average_precision):.1f} over the labels with an image.',
    )
