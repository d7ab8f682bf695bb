"""A Gradio page to try a model: drop images, see labels, scores, steps and path."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ..deploy.image_files import SUFFIXES
from ..deploy.limits import Limits
from ..utils.extras import require_extra
from ..visualization.cards import CARD_STYLE
from .collecting import list_tested_images
from .inferencer import MultiLabelInferencer
from .own_decisions import own_threshold
from .visits import Shelf, Shown, Uploads, Visits

PREFIX = 'morn_page_'  # of the folder of a page's files
DEAD_AFTER = 3600  # seconds without being touched
# Without these, Gradio checks for new versions and counts visits.
QUIET = dict(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_OFFLINE='1')
STYLE = f"""
footer {{ display: none !important; }}
#complaints {{ overflow-wrap: anywhere; }}
#examples .grid-wrap {{ min-height: 0 !important; height: auto !important; }}
#examples .grid-container {{ min-height: 0;
  grid-template-columns: repeat(auto-fill, minmax(92px, 140px)) !important; }}
#examples .thumbnail-item {{ aspect-ratio: 4 / 3; min-height: 0; }}
{CARD_STYLE}
#pictures table, #pictures tr {{ border: 0; margin: 0; }}
"""


def find_examples(inferencer: MultiLabelInferencer, number: int = 6) -> list[str]:
    """Return evenly spaced test images of the config, if they exist."""
    try:
        paths = list_tested_images(inferencer.cfg, number)
    except (OSError, ValueError):
        return []
    return [path for path in paths if Path(path).is_file()]


def build_page(visits: Visits, thresholds: list[float] | float | None) -> Any:
    """Build the page.

    Args:
        visits: The logic of the page.
        thresholds: From ``tools/analysis/calibrate.py``; None for the model's own.

    Returns:
        The ``gradio.Blocks``.

    Raises:
        ImportError: If Gradio is missing; gives the pip command.
    """
    gradio = require_extra('gradio', 'serve')
    inferencer = visits.inferencer
    limits = visits.limits
    start = threshold_at_first(inferencer, thresholds)

    with gradio.Blocks(title='Multi-label annotation', analytics_enabled=False) as page:
        # What a visit remembers: its images, and its threshold.
        key = gradio.State(None, time_to_live=limits.lifetime, delete_callback=visits.shelf.discard)
        thr = gradio.State(start)

        # From top to bottom.
        gradio.Markdown(_describe(inferencer, limits))
        files = _make_upload(gradio)
        gallery = _make_gallery(gradio, visits.examples)
        slider = _make_slider(gradio, start, inferencer.has_threshold)
        complaints = gradio.Markdown(elem_id='complaints')
        table = _make_table(gradio)
        pictures = gradio.HTML(elem_id='pictures')

        def upload(dropped: Any) -> tuple[None, str, str]:
            return None, *visits.upload(dropped)

        def choose(event: Any) -> tuple[str, str]:
            return visits.choose_example(event.index), ''

        choose.__annotations__['event'] = gradio.SelectData  # Gradio passes the index by this type

        # What happens on an upload, a new threshold, and a click on an example.
        private = dict(api_visibility='private')
        one_at_a_time = dict(concurrency_id='model', concurrency_limit=1, **private)
        show = dict(fn=visits.show, inputs=[thr, key], outputs=[table, pictures], **private)
        files.upload(upload, files, [files, key, complaints], **one_at_a_time).then(**show)
        slider.release(lambda value: value, slider, thr, **private).then(**show)
        if gallery is not None:
            gallery.select(choose, None, [key, complaints], **private).then(**show)

    return page


def _make_upload(gradio: Any) -> Any:
    return gradio.File(
        label='Drop images here',
        file_count='multiple',
        file_types=['image', *SUFFIXES],
        elem_id='files',
        height=140,
    )


def _make_table(gradio: Any) -> Any:
    return gradio.Dataframe(
        headers=['image', 'labels', 'path'],
        interactive=False,
        wrap=True,
        elem_id='labels',
        column_widths=['25%', '50%', '25%'],
    )


def threshold_at_first(inferencer: MultiLabelInferencer, thresholds: Any) -> Any:
    """Return the threshold that the page begins with; None for labels that the model chooses."""
    return own_threshold(inferencer.model.head) if thresholds is None else thresholds


def _describe(inferencer: MultiLabelInferencer, limits: Limits) -> str:
    return (
        f'# Labels of images\nUp to {limits.max_images} images of {limits.max_megabytes} MB at '
        f'once; {len(inferencer.classes)} labels. Images stay on the machine that runs this page: '
        'files are deleted when they have been read, and what is shown is kept, shrunk, for '
        f'{limits.lifetime / 60:.0f} minutes.'
    )


def _make_slider(gradio: Any, start: Any, visible: bool) -> Any:
    replaced = "the model's own choice" if start is None else 'a threshold for each label'
    more = '' if isinstance(start, float) else f' (moving it replaces {replaced})'
    return gradio.Slider(
        0,
        1,
        value=start if isinstance(start, float) else 0.5,
        step=0.01,
        elem_id='threshold',
        visible=visible,
        label=f'Threshold: labels with a higher score are given{more}',
    )


def _make_gallery(gradio: Any, examples: list[Shown]) -> Any:
    if not examples:
        return None

    return gradio.Gallery(
        [(Image.fromarray(item.image), item.name) for item in examples],
        label='Examples',
        elem_id='examples',
        columns=6,
        height='auto',
        object_fit='contain',
        allow_preview=False,
        buttons=[],
        interactive=False,
        format='png',
    )


@contextmanager
def open_page(
    inferencer: MultiLabelInferencer,
    examples: Iterable[str],
    thresholds: list[float] | float | None = None,
    limits: Limits | None = None,
) -> Iterator[tuple[Any, Visits]]:
    """Prepare the page and a folder for its files, and clean up at the end.

    Args:
        inferencer: The model.
        examples: Images to offer.
        thresholds: From ``tools/analysis/calibrate.py``; None for the model's own.
        limits: Limits per visitor.

    Yields:
        The page and its logic.
    """
    limits = limits or Limits()
    os.environ.update(QUIET)
    remove_left_folders(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    ended = threading.Event()

    try:
        os.environ['GRADIO_TEMP_DIR'] = str(folder)
        visits = Visits(inferencer, limits, Uploads(folder, limits.lifetime), Shelf(limits))
        for complaint in visits.offer(examples):
            print(f'No example: {complaint}', flush=True)

        page = build_page(visits, thresholds)
        visits.uploads.keep()
        threading.Thread(target=_tidy, args=(visits, ended), daemon=True).start()
        yield page, visits
    finally:
        ended.set()
        shutil.rmtree(folder, ignore_errors=True)


def _tidy(visits: Visits, ended: threading.Event) -> None:
    while not ended.wait(min(30, visits.limits.lifetime)):
        visits.shelf.expire()
        visits.uploads.sweep()
        os.utime(visits.uploads.folder)  # shows that the page is running, see remove_left_folders


def remove_left_folders(parent: Path) -> None:
    """Remove the folders of killed pages, whose time stamps are old."""
    oldest = time.time() - DEAD_AFTER
    for folder in parent.glob(f'{PREFIX}*'):
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def launch(
    page: Any,
    host: str,
    port: int,
    limits: Limits,
) -> None:
    """Start serving, and return.

    Args:
        page: The page from :func:`open_page`.
        host: Address to listen on.
        port: Port to listen on.
        limits: Limits per visitor.
    """
    gradio = require_extra('gradio', 'serve')
    font = ('system-ui', 'sans-serif')  # the theme's own font would be downloaded
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        inbrowser=False,
        max_file_size=limits.max_megabytes * 1_000_000,
        css=STYLE,
        theme=gradio.themes.Default(font=font, font_mono=('monospace',)),
        prevent_thread_lock=True,
    )
