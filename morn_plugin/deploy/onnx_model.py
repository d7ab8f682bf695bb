"""Runs a model written by ``tools/export.py``."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.checks import check_positive, check_thr_topk, plain_numbers
from ..utils.extras import require_extra
from ..utils.fields import CHOSEN, CNN_SCORES, SCORES, STEP_LABELS, STEP_SCORES
from .images import prepare_image, read_image
from .labels import Thr, choose_labels, make_record, rank_labels
from .onnx_check import INPUT, read_onnx
from .running import count_readers, read_ahead, run_batches
from .sources import Source, is_path, iter_sources, name_record, read_memory

MAX_MEMORY = 4_000_000_000  # bytes
MAX_SECONDS = 600.0
MAX_PIXELS_OPTION = 'max_pixels of OnnxModel (predict.py: --max-pixels)'
MAX_MEMORY_OPTION = 'max_memory of OnnxModel (predict.py: --max-memory)'
MAX_SECONDS_OPTION = 'max_seconds of OnnxModel (predict.py: --max-seconds)'
STEPPED = (STEP_SCORES.array, STEP_LABELS.array)
# Of onnxruntime.
FATAL = 4
AS_REQUESTED = 1


class OnnxModel:
    """An exported multi-label model.

    N images, C labels, T steps.

    Args:
        path: The .onnx file.
        num_threads: Threads of onnxruntime; 0 lets it choose.
        max_pixels: Refuse larger images before they are decoded. Defaults to None, the limit of the
            export.
        max_memory: Maximum number of bytes that onnxruntime may allocate on the CPU.
        max_seconds: Maximum time of a batch.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be loaded, or was not written by ``tools/export.py``.
        ImportError: If onnx or onnxruntime is missing; gives the pip command.
    """

    def __init__(
        self,
        path: str | Path,
        num_threads: int = 0,
        max_pixels: int | None = None,
        max_memory: int = MAX_MEMORY,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        require_extra('onnxruntime', 'export')
        if not Path(path).is_file():
            raise FileNotFoundError(f'Model {path} does not exist.')

        self.path = str(path)
        content = Path(path).read_bytes()
        model, metadata = read_onnx(content, self.path)
        self.metadata: dict[str, Any] = metadata.model_dump()
        self.classes: list[str] = self.metadata['classes']
        self.preprocessing: dict[str, Any] = self.metadata['preprocessing']
        self.max_pixels = max_pixels or self.preprocessing['max_pixels']
        self.max_memory = max_memory
        self.max_seconds = max_seconds
        self.outputs = [output.name for output in model.graph.output]
        self.session = self._start_session(content, num_threads)

    def _start_session(self, content: bytes, num_threads: int) -> Any:
        runtime = require_extra('onnxruntime', 'export')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = FATAL  # the error names the problem
        self._limit_memory(runtime, options)

        try:
            return runtime.InferenceSession(
                content,
                options,
                providers=runtime.get_available_providers(),
                # Constants are computed when the model runs, where time has a limit; the export
                # has folded its own.
                disabled_optimizers=['ConstantFolding'],
            )
        except (
            Exception
        ) as error:  # onnxruntime's own kinds, which differ from one release to the next
            raise ValueError(
                f'{self.path} cannot be loaded as an ONNX model: {str(error).splitlines()[0]}'
            ) from error

    def _limit_memory(self, runtime: Any, options: Any) -> None:
        """Limit the memory that the session may allocate."""
        info = runtime.OrtMemoryInfo(
            'Cpu', runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
        )
        settings = dict(max_mem=self.max_memory, arena_extend_strategy=AS_REQUESTED)
        runtime.create_and_register_allocator(info, runtime.OrtArenaCfg(settings))
        options.add_session_config_entry('session.use_env_allocators', '1')

    def prepare(self, source: Any) -> tuple[str | None, np.ndarray]:
        """Read and prepare one image.

        Args:
            source: An item of :func:`~morn_plugin.deploy.sources.list_sources`.

        Returns:
            Its path or None, and the image (3, h, w) float32.
        """
        image = prepare_image(self.read(source), self.preprocessing)
        return name_record(source), image

    def read(self, source: Any) -> np.ndarray:
        """Read one image unchanged, as (H, W, 3) uint8 RGB; arrays must be that already."""
        read = read_image if is_path(source) else read_memory
        background = self.preprocessing['background']
        return read(source, background, self.max_pixels, MAX_PIXELS_OPTION)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Map prepared images (N, 3, h, w) to ``scores`` (N, C) and the model's other outputs.

        Raises:
            ValueError: If it cannot be run, exceeds the time or memory limit, or returns wrong
                shapes; names the file.
        """
        options = require_extra('onnxruntime', 'export').RunOptions()
        options.log_severity_level = FATAL
        stop = threading.Timer(self.max_seconds, setattr, (options, 'terminate', True))
        stop.daemon = True
        stop.start()

        try:
            arrays = self.session.run(self.outputs, {INPUT: images}, options)
        except Exception as error:  # onnxruntime's own kinds
            raise ValueError(f'{self.path} cannot predict: {self._explain(error)}') from error
        finally:
            stop.cancel()

        outputs = dict(zip(self.outputs, arrays, strict=True))
        self._check_outputs(outputs, len(images))
        return outputs

    def _explain(self, error: Exception) -> str:
        text = str(error).splitlines()[0]
        if 'terminate flag' in text:
            return f'it took more than {self.max_seconds} seconds. Raise {MAX_SECONDS_OPTION}.'
        if 'vailable memory' in text or 'allocate memory' in text:
            megabytes = self.max_memory // 1_000_000
            return (
                f'it needs more than {megabytes:,} MB. Take fewer images at once, or raise '
                f'{MAX_MEMORY_OPTION}.'
            )

        return text

    def _check_outputs(self, outputs: dict[str, np.ndarray], num_images: int) -> None:
        """Require the shapes (N, C), (N, T, C) and (N, T), and labels that there are."""
        num_classes = len(self.classes)
        stepped = [array for name, array in outputs.items() if name in STEPPED and array.ndim > 1]
        steps = stepped[0].shape[1] if stepped else 0
        shapes = {
            SCORES.array: (num_images, num_classes),
            CNN_SCORES.array: (num_images, num_classes),
            STEP_SCORES.array: (num_images, steps, num_classes),
            STEP_LABELS.array: (num_images, steps),
            CHOSEN: (num_images, num_classes),
        }
        for name, array in outputs.items():
            if array.shape != shapes[name]:
                expected = f'expected `{name}` of shape {shapes[name]}'
                raise ValueError(f'{self.path}: {expected}, but got {array.shape}.')

        labels = outputs.get(STEP_LABELS.array, np.zeros(1))
        if not ((labels >= -1) & (labels < num_classes)).all():
            raise ValueError(
                f'{self.path}: expected `{STEP_LABELS.array}` in -1..{num_classes - 1}, but got '
                f'{labels.min()}..{labels.max()}.'
            )

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
            topk: Return this many best labels instead.
            num_workers: Threads that read ahead; None for 2 with a GPU and none on a CPU.

        Yields:
            One record per image (:func:`~morn_plugin.deploy.labels.make_record`), or
            ``dict(img_path, error)``.
        """
        check_positive(batch_size=batch_size)
        thr = plain_numbers(thr)
        topk = plain_numbers(topk)
        check_thr_topk(thr, topk)

        on_cpu = self.session.get_providers()[0] == 'CPUExecutionProvider'
        readers = count_readers(num_workers, on_cpu)
        loaded = read_ahead(self.prepare, iter_sources(inputs), readers, 2 * batch_size)
        predict = partial(self._predict_batch, thr=thr, topk=topk)
        yield from run_batches(predict, loaded, batch_size)

    def _predict_batch(
        self,
        batch: Sequence[tuple[str | None, np.ndarray]],
        thr: Thr,
        topk: int | None,
    ) -> list[dict[str, Any]]:
        if thr is None and topk is None:
            thr = self.metadata['thr']
            topk = self.metadata['topk']

        outputs = self.run(np.stack([image for _, image in batch]))
        own = outputs.pop(CHOSEN, None)  # by the model's rule, unless another one is asked for
        if thr is not None or topk is not None:
            own = None
        names = {
            'scores': 'scores',
            'cnn_scores': 'cnn_scores',
            'step_scores': 'step_scores',
            'step_labels': 'path',
        }
        records = []
        for row, (path, _) in enumerate(batch):
            values = {names[name]: array[row] for name, array in outputs.items()}
            scores = values['scores']
            labels = (
                choose_labels(scores, thr, topk) if own is None else rank_labels(scores, own[row])
            )
            records.append(make_record(path, self.classes, labels=labels, **values))

        return records
