"""Serve a page on this machine: drop images, see labels, scores, steps and path.

Reachable from this machine alone unless --host says otherwise; nothing is sent anywhere, nothing is
kept.
"""

import argparse
import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from morn_plugin.apis import MultiLabelInferencer, add_model_arguments
from morn_plugin.apis.collecting import list_tested_images
from morn_plugin.deploy.images import decode_image, list_images
from morn_plugin.deploy.labels import choose_labels, load_thresholds
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.extras import require_extra
from morn_plugin.visualization import Prediction, draw_predictions
from morn_plugin.visualization.report import embed_png

MAX_MEGABYTES = 10
MAX_IMAGES = 16
MAX_PIXELS = 50_000_000
# Without these Gradio asks its makers for newer versions and counts visits.
QUIET = dict(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_OFFLINE='1')
# A phone cannot show a wide picture: let it scroll in place.
CSS = """
#pictures .wide { overflow-x: auto; margin-bottom: 12px; }
#pictures img { min-width: 720px; max-width: none; width: 100%; background: white; }
footer { display: none !important; }
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument(
        '--examples',
        nargs='+',
        help='images to offer (default: some of the config that are tested)',
    )
    parser.add_argument(
        '--thresholds',
        metavar='FILE',
        help='what tools/analysis/calibrate.py chose; the slider overrides it',
    )
    parser.add_argument(
        '--max-images',
        type=at_least(1),
        default=MAX_IMAGES,
        help=f'images at once (default: {MAX_IMAGES})',
    )
    parser.add_argument(
        '--max-megabytes',
        type=at_least(1),
        default=MAX_MEGABYTES,
        help=f'of a file (default: {MAX_MEGABYTES})',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: 127.0.0.1, this machine alone)',
    )
    parser.add_argument('--port', type=int, default=7860)
    return parser.parse_args()


def find_examples(inferencer: MultiLabelInferencer, number: int = 6) -> list[str]:
    """Take images evenly from those that the config tests, if they are there."""
    try:
        paths = list_tested_images(inferencer.cfg, number)
    except (OSError, ValueError):
        return []
    return [str(Path(path).resolve()) for path in paths if Path(path).is_file()]


def read_uploads(
    files: list[str], max_images: int, max_megabytes: int
) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Read what was dropped.

    Returns:
        Images (H, W, 3) RGB, their names, and what is to be said about the others.
    """
    images, names, complaints = [], [], []
    if len(files) > max_images:
        complaints.append(f'{len(files)} images were dropped; the first {max_images} are shown.')
    for path in files[:max_images]:
        name = Path(path).name
        try:
            if os.path.getsize(path) > max_megabytes * 1e6:
                raise ValueError(f'{name} is larger than {max_megabytes} MB.')
            images.append(decode_image(Path(path).read_bytes(), name, max_pixels=MAX_PIXELS))
            names.append(name)
        except (OSError, ValueError) as error:
            complaints.append(str(error))
    return images, names, complaints


def predict(
    inferencer: MultiLabelInferencer, limits: dict[str, int], files: list[str] | None
) -> tuple[list, str]:
    """Give the images with their records, and the complaints as text."""
    images, names, complaints = read_uploads(files or [], **limits)
    arrays = [image[..., ::-1] for image in images]
    records = inferencer(arrays)['predictions'] if arrays else []
    return list(zip(images, names, records, strict=True)), '\n\n'.join(complaints)


def show(classes: list[str], thr: Any, found: list | None) -> tuple[list[list], str]:
    """Give the table of labels and the pictures, as HTML, at a threshold.

    None leaves the model's own labels.
    """
    rows, pictures = [], []
    for image, name, record in found or []:
        scores = np.asarray(record['scores'], dtype=np.float32)
        labels = record['labels'] if thr is None else choose_labels(scores, thr, None).tolist()
        steps = record.get('step_scores')
        rows.append(
            [
                name,
                ', '.join(f'{classes[label]} {scores[label]:.2f}' for label in labels) or '(none)',
                ' → '.join(record.get('path_names', [])),
            ]
        )
        buffer = io.BytesIO()
        draw_predictions(
            [
                Prediction(
                    image,
                    name,
                    None,
                    labels,
                    scores,
                    None if steps is None else np.asarray(steps),
                    record.get('path'),
                )
            ],
            classes,
            buffer,
        )
        pictures.append(
            embed_png(buffer.getvalue(), f'{name} with its labels, scores at every step and path')
        )
    return rows, ''.join(pictures)


def build_page(
    inferencer: MultiLabelInferencer,
    examples: list[str],
    thresholds: list[float] | float | None,
    limits: dict[str, int],
) -> Any:
    """Lay out the page."""
    gradio = require_extra('gradio', 'serve')
    own = getattr(inferencer.model.head, 'thr', None)
    start = (
        thresholds
        if thresholds is not None
        else (0.5 if own is None else own)
        if inferencer.has_threshold
        else None
    )
    render = partial(show, inferencer.classes)
    with gradio.Blocks(title='Multi-label annotation', analytics_enabled=False) as page:
        gradio.Markdown(
            f'# Labels of images\nUp to {limits["max_images"]} images of {limits["max_megabytes"]} '
            'MB at once; '
            f'{len(inferencer.classes)} labels. Images stay on the machine that runs this page.'
        )
        found, thr = gradio.State([]), gradio.State(start)
        files = gradio.File(
            label='Drop images here',
            file_count='multiple',
            file_types=['image'],
            elem_id='files',
            height=140,
        )
        slider = gradio.Slider(
            0,
            1,
            value=start if isinstance(start, float) else 0.5,
            step=0.01,
            elem_id='threshold',
            visible=inferencer.has_threshold,
            label='Threshold: labels with a higher score are given'
            + (
                ' (moving it replaces a threshold for each label)'
                if isinstance(start, list)
                else ''
            ),
        )
        complaints = gradio.Markdown(elem_id='complaints')
        table = gradio.Dataframe(
            headers=['image', 'labels', 'path'],
            interactive=False,
            wrap=True,
            elem_id='labels',
            column_widths=['25%', '50%', '25%'],
        )
        pictures = gradio.HTML(elem_id='pictures')
        if examples:
            gradio.Examples([[[path]] for path in examples], files, label='Examples')
        files.change(partial(predict, inferencer, limits), files, [found, complaints]).then(
            render, [thr, found], [table, pictures]
        )
        slider.release(lambda value: value, slider, thr).then(
            render, [thr, found], [table, pictures]
        )
    return page


def main() -> None:
    args = parse_args()
    os.environ.update(QUIET)
    try:
        gradio = require_extra('gradio', 'serve')
        inferencer = MultiLabelInferencer(
            args.model, args.config, args.device, trust_config=args.trust_config
        )
        thresholds = None
        if args.thresholds:
            inferencer.require_threshold('for --thresholds')
            thresholds = load_thresholds(args.thresholds, inferencer.classes).thr
        examples = list_images(args.examples) if args.examples else find_examples(inferencer)
        limits = dict(max_images=args.max_images, max_megabytes=args.max_megabytes)
        page = build_page(inferencer, examples, thresholds, limits)
        font = ('system-ui', 'sans-serif')  # the theme's own would be fetched from elsewhere
        page.launch(
            server_name=args.host,
            server_port=args.port,
            share=False,
            quiet=True,
            inbrowser=False,
            max_file_size=args.max_megabytes * 1_000_000,
            allowed_paths=examples,
            css=CSS,
            theme=gradio.themes.Default(font=font, font_mono=('monospace',)),
            prevent_thread_lock=True,
        )
        print(f'Serving on http://{args.host}:{args.port}', flush=True)
        page.block_thread()
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    main()
