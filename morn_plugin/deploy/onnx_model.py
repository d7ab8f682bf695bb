"""Runs a model that ``tools/export.py`` wrote."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.checks import check_positive, check_thr_topk
from ..utils.extras import require_extra
from .images import list_images, prepare_image, read_image
from .labels import Thr, choose_labels, make_record
from .running import count_readers, read_ahead, run_batches

KEY = 'morn_plugin'


class OnnxModel:
    """An exported multi-label model.

    N images, C labels, T steps.

    Args:
        path: The .onnx file.
        num_threads: Threads of onnxruntime; 0 as it likes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be loaded, or was not written by ``tools/export.py``.
        ImportError: If onnxruntime is missing; gives the pip command.
    """

    def __init__(self, path: str | Path, num_threads: int = 0) -> None:
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
        self.outputs = [output.name for output in self.session.get_outputs()]

    def prepare(self, source: str | np.ndarray) -> tuple[str | None, np.ndarray]:
        """Read and prepare one image, a path, URL or (H, W, 3) uint8 RGB array.

        To (3, h, w) float32.
        """
        if isinstance(source, np.ndarray):
            return None, prepare_image(source, self.preprocessing)
        image = read_image(
            source, self.preprocessing['background'], self.preprocessing['max_pixels']
        )
        return source, prepare_image(image, self.preprocessing)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Map prepared images (N, 3, h, w) to ``scores`` (N, C) and what else the model gives."""
        return dict(zip(self.outputs, self.session.run(None, {'images': images}), strict=True))

    def predict(
        self,
        inputs: Iterable[str | Path],
        batch_size: int = 32,
        thr: Thr = None,
        topk: int | None = None,
        num_workers: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Predict files.

        Args:
            inputs: Files, folders, patterns and URLs, see
                :func:`~morn_plugin.deploy.images.list_images`.
            batch_size: Images at once.
            thr: Overrides the thresholds of the export.
            topk: Give this many best labels instead.
            num_workers: Threads that read ahead; None for 2 beside a GPU and none on a CPU.

        Yields:
            A record an image (:func:`~morn_plugin.deploy.labels.make_record`), or ``dict(img_path,
            error)``.
        """
        check_positive(batch_size=batch_size)
        check_thr_topk(thr, topk)
        on_cpu = self.session.get_providers()[0] == 'CPUExecutionProvider'
        loaded = read_ahead(
            self.prepare, list_images(inputs), count_readers(num_workers, on_cpu), 2 * batch_size
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
