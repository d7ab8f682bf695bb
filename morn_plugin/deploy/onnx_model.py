"""Runs a model that ``tools/export.py`` wrote."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.checks import check_positive, check_thr_topk, plain_numbers
from ..utils.extras import require_extra
from .images import prepare_image, read_image
from .labels import Thr, choose_labels, make_record
from .running import count_readers, read_ahead, run_batches
from .sources import Source, is_path, list_sources, read_memory

KEY = 'morn_plugin'
MAX_PIXELS_OPTION = 'max_pixels of OnnxModel (predict.py: --max-pixels)'


class OnnxModel:
    """An exported multi-label model.

    N images, C labels, T steps.

    Args:
        path: The .onnx file.
        num_threads: Threads of onnxruntime; 0 as it likes.
        max_pixels: Refuse larger images before they are decoded. Defaults to None, the limit of the
            export.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be loaded, or was not written by ``tools/export.py``.
        ImportError: If onnxruntime is missing; gives the pip command.
    """

    def __init__(
        self, path: str | Path, num_threads: int = 0, max_pixels: int | None = None
    ) -> None:
        runtime = require_extra('onnxruntime', 'export')
        if not Path(path).is_file():
            raise FileNotFoundError(f'Model {path} does not exist.')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=runtime.get_available_providers()
            )
        except (
            Exception
        ) as error:  # onnxruntime's own kinds, which differ from one release to the next
            raise ValueError(
                f'{path} cannot be loaded as an ONNX model: {str(error).splitlines()[0]}'
            ) from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        if KEY not in metadata:
            raise ValueError(
                f'{path}: expected metadata under {KEY!r}, as tools/export.py writes, but got '
                f'{sorted(metadata)}.'
            )
        self.metadata: dict[str, Any] = json.loads(metadata[KEY])
        self.classes: list[str] = self.metadata['classes']
        self.preprocessing: dict[str, Any] = self.metadata['preprocessing']
        self.max_pixels = max_pixels or self.preprocessing['max_pixels']
        self.outputs = [output.name for output in self.session.get_outputs()]

    def prepare(self, source: Any) -> tuple[str | None, np.ndarray]:
        """Read and prepare one image.

        Args:
            source: One of what :func:`~morn_plugin.deploy.sources.list_sources` gives.

        Returns:
            Its path or None, and the image (3, h, w) float32.
        """
        image = prepare_image(self.read(source), self.preprocessing)
        return (str(source) if is_path(source) else None), image

    def read(self, source: Any) -> np.ndarray:
        """Read one image as it is, to (H, W, 3) uint8 RGB; an array must be that already."""
        read = read_image if is_path(source) else read_memory
        background = self.preprocessing['background']
        return read(source, background, self.max_pixels, MAX_PIXELS_OPTION)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Map prepared images (N, 3, h, w) to ``scores`` (N, C) and what else the model gives."""
        return dict(zip(self.outputs, self.session.run(None, {'images': images}), strict=True))

    def predict(
        self,
        inputs: Source | Iterable[Source],
        batch_size: int = 32,
        thr: Thr = None,
        topk: int | None = None,
        num_workers: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Predict images.

        Args:
            inputs: Files, folders, patterns, URLs, and pictures in memory, see
                :func:`~morn_plugin.deploy.sources.list_sources`; arrays are RGB.
            batch_size: Images at once.
            thr: Overrides the thresholds of the export.
            topk: Give this many best labels instead.
            num_workers: Threads that read ahead; None for 2 beside a GPU and none on a CPU.

        Yields:
            A record an image (:func:`~morn_plugin.deploy.labels.make_record`), or ``dict(img_path,
            error)``.
        """
        check_positive(batch_size=batch_size)
        thr, topk = plain_numbers(thr), plain_numbers(topk)
        check_thr_topk(thr, topk)
        on_cpu = self.session.get_providers()[0] == 'CPUExecutionProvider'
        loaded = read_ahead(
            self.prepare, list_sources(inputs), count_readers(num_workers, on_cpu), 2 * batch_size
        )
        yield from run_batches(partial(self._predict_batch, thr=thr, topk=topk), loaded, batch_size)

    def _predict_batch(
        self, batch: Sequence[tuple[str | None, np.ndarray]], thr: Thr, topk: int | None
    ) -> list[dict[str, Any]]:
        if thr is None and topk is None:
            thr, topk = self.metadata['thr'], self.metadata['topk']
        outputs = self.run(np.stack([image for _, image in batch]))
        names = {
            'scores': 'scores',
            'cnn_scores': 'cnn_scores',
            'step_scores': 'step_scores',
            'step_labels': 'path',
        }
        records = []
        for row, (path, _) in enumerate(batch):
            values = {names[name]: array[row] for name, array in outputs.items()}
            labels = choose_labels(values['scores'], thr, topk)
            records.append(make_record(path, self.classes, labels=labels, **values))
        return records
