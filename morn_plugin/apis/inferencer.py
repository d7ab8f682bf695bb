"""Prediction with any multi-label model of MMPretrain."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mmpretrain.datasets
import mmpretrain.models  # noqa: F401  registers the models
import numpy as np
import torch
from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.infer import BaseInferencer
from mmengine.logging import MMLogger
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmpretrain.datasets.transforms import ResizeEdge
from mmpretrain.models import ClsHead
from mmpretrain.registry import MODELS, TRANSFORMS
from mmpretrain.structures import DataSample
from torch import nn

from .. import visualization
from ..datasets.annotations import check_classes
from ..datasets.transforms.loading import LoadCheckedImage, read_content
from ..datasets.wrapping import innermost
from ..deploy.images import MAX_PIXELS, SUFFIXES, check_image, decode_image, scale_edge
from ..deploy.labels import Thr, load_thresholds, make_record
from ..deploy.running import batched, count_readers, read_ahead, run_batches
from ..deploy.sources import (
    Source,
    is_path,
    iter_sources,
    name_record,
    name_source,
    read_memory,
)
from ..deploy.urls import is_web_url
from ..engine.checkpoint_content import check_kinds
from ..engine.kept_thresholds import CNN, read_thresholds
from ..engine.screen import shorten_screen
from ..models.decisions import select_labels
from ..utils.checks import check_positive, check_thr_topk, plain_numbers
from ..utils.fields import PREDICTION_FIELDS, SCORES
from .agreement import fill_num_classes, find_head
from .building import build_part, first_line, limited_modules
from .checkpoint_config import CheckpointConfig
from .faster import find_faster
from .finding import find_model

MAX_PIXELS_OPTION = 'max_pixels of MultiLabelInferencer (--max-pixels of a tool)'
# Additional memory of a model besides its weights: activations, dropout, and unsaved buffers.
SPARE_MODULES = 2000
SPARE_ELEMENTS = 50_000_000


class MultiLabelInferencer(BaseInferencer):
    """MMEngine's inferencer for any multi-label model of MMPretrain.

    Args:
        model: A work folder or a checkpoint.
        config: The config. Defaults to None: found by :func:`~morn_plugin.apis.finding.find_model`.
        device: Device, such as ``'cuda:0'``. Defaults to None, the best available.
        num_workers: Threads that read and transform the next two batches while the model runs; 0
            for none. Defaults to None, 2 with a GPU and none on a CPU.
        show_progress: Show MMEngine's progress bar in calls.
        max_pixels: Refuse larger images before decoding. Defaults to None, the limit of
            ``LoadCheckedImage`` in the config.
        trust_config: Trust the config in the checkpoint, whatever it imports. Defaults to False: it
            may use only registered names.

    Raises:
        FileNotFoundError: If there is no checkpoint or config.
        ValueError: If the model is not a multi-label classifier of images.

    Example: ``MultiLabelInferencer('work_dirs/morn')(['a.jpg', 'photos/'], batch_size=64,
        thr=0.3)['predictions']`` returns a list of dicts with ``img_path``, ``labels``, ``names``,
        ``scores`` (C,), and for a model that has them ``cnn_scores`` (C,), ``step_scores`` (T, C),
        ``path`` (T,), the labels picked at each step, and ``path_names``.
    """

    forward_kwargs = {'thr', 'topk'}
    visualize_kwargs = {'out_dir'}

    def __init__(
        self,
        model: str | Path,
        config: str | Path | None = None,
        device: str | None = None,
        num_workers: int | None = None,
        show_progress: bool = False,
        max_pixels: int | None = None,
        trust_config: bool = False,
    ) -> None:
        cfg, self._checkpoint, self.checkpoint_path = find_model(model, config, trust_config)
        if not cfg.get('model'):
            raise ValueError(
                f'{cfg.filename or self.checkpoint_path}: expected a config with `model`, but got '
                f'{sorted(cfg)}.'
            )

        shorten_screen(MMLogger.get_current_instance())
        self._max_pixels = max_pixels
        self._network: tuple[tuple[Any, ...], nn.Module] | None = None
        try:
            super().__init__(cfg, self.checkpoint_path, device, 'mmpretrain', show_progress)
        except ValueError as error:
            is_named = self.checkpoint_path in str(error)
            raise error if is_named else ValueError(f'{self.checkpoint_path}: {error}') from error

        self.num_workers = count_readers(
            num_workers, next(self.model.parameters()).device.type == 'cpu'
        )
        self.classes = self._find_classes(cfg)
        #: The threshold that validation chose for the CNN alone, 0-1, or None.
        self.cnn_thr = read_thresholds(self._checkpoint).get(CNN)
        del self._checkpoint

    def __call__(
        self,
        inputs: Source | Sequence[Source],
        return_datasamples: bool = False,
        batch_size: int = 32,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Predict.

        Args:
            inputs: One or several paths, folders, glob patterns and URLs; or pictures in memory: of
                Pillow, the bytes of an image file, a file opened for reading bytes, and arrays,
                (H, W, 3) uint8 BGR as OpenCV reads.
            return_datasamples: Return MMPretrain's data samples instead of dicts.
            batch_size: Images at once.
            **kwargs: ``thr`` (one number, or one per label, Python's or NumPy's, or a file from
                ``tools/analysis/calibrate.py``; for models with a threshold) or ``topk``; by
                default the model's own labels are used.
                ``out_dir``: draw every image into this folder.

        Returns:
            ``predictions``, one per image in the order of the inputs, and ``visualization``, the
            drawn files.

        Raises:
            ImageError: If an image cannot be decoded. :meth:`predict` continues instead.
            TypeError: If an input has an unsupported type.
        """
        check_positive(batch_size=batch_size)
        if 'thr' in kwargs:
            kwargs['thr'] = self._read_thr(kwargs['thr'])
        return super().__call__(inputs, return_datasamples, batch_size, **kwargs)

    @property
    def has_threshold(self) -> bool:
        """Whether a threshold decides the labels.

        Otherwise the decoder decides itself.
        """
        return getattr(self.model.head, 'has_threshold', True)  # MMPretrain's heads have one

    def require_threshold(self, purpose: str) -> None:
        """Raise if a threshold would have no meaning.

        Args:
            purpose: The requested operation, for the error.

        Raises:
            ValueError: If the decoder decides itself; names it.
        """
        if not self.has_threshold:
            raise ValueError(
                f'{self.checkpoint_path}: {self.model.head.method} decides itself '
                f'which labels an image has, so that there is no threshold {purpose}.'
            )

    def predict(
        self,
        inputs: Source | Sequence[Source],
        batch_size: int = 32,
        thr: Thr | str | Path = None,
        topk: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Predict one after the other, and continue after images that cannot be read.

        Yields:
            One dict per image as in a call, or ``dict(img_path, error)``.
        """
        check_positive(batch_size=batch_size)
        thr = self._read_thr(thr)
        loaded = read_ahead(
            self.prepare, self._iter_inputs(inputs), self.num_workers, 2 * batch_size
        )
        yield from run_batches(partial(self._predict_batch, thr=thr, topk=topk), loaded, batch_size)

    def prepare(self, source: Any) -> dict[str, Any]:
        """Read and transform one image by the config's test pipeline.

        Args:
            source: An item of :func:`~morn_plugin.deploy.sources.list_sources`.

        Returns:
            The ``inputs`` and ``data_samples`` of a batch.
        """
        if is_path(source) and '://' not in str(source):
            results = self._load_file(str(source))
        else:
            image = np.ascontiguousarray(self.read(source)[..., ::-1])  # BGR
            shape = image.shape[:2]
            results = dict(img=image, img_shape=shape, ori_shape=shape)
            name = name_record(source)
            if name is not None:
                results['img_path'] = name

        self._check_resize(*results['img_shape'])
        return self.pipeline(results)

    def _check_resize(self, height: int, width: int) -> None:
        """Refuse a very thin image that the pipeline would enlarge to a huge one."""
        resize = self._resize
        if isinstance(resize, ResizeEdge) and resize.edge == 'short':
            scale_edge(width, height, resize.scale)

    def read(self, source: Any) -> np.ndarray:
        """Read one image unchanged, for :meth:`prepare` or for drawing.

        Args:
            source: As for :meth:`prepare`.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        background = getattr(self._load, 'background', 255)
        limit = self.max_pixels
        if is_path(source):
            args = getattr(self._load, 'backend_args', None)
            content = read_content(str(source), limit, args)
            return decode_image(content, str(source), background, limit, MAX_PIXELS_OPTION)

        image = read_memory(source, background, limit, MAX_PIXELS_OPTION)
        return image[..., ::-1] if isinstance(source, np.ndarray) else image

    @property
    def max_pixels(self) -> int:
        """The largest image that is decoded."""
        own = getattr(self._load, 'max_pixels', MAX_PIXELS)
        return own if self._max_pixels is None else self._max_pixels

    def _load_file(self, path: str) -> dict[str, Any]:
        """Load a file by the pipeline's own first transform.

        Other loaders may pass it to any decoder of OpenCV or Pillow, so our checks come first.
        """
        if not isinstance(self._load, LoadCheckedImage):
            content = read_content(path, self.max_pixels)
            check_image(content, path, self.max_pixels, MAX_PIXELS_OPTION)
        return self._load(dict(img_path=path))

    def preprocess(
        self, inputs: Iterable[Any], batch_size: int = 1, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield collated batches."""
        for batch in batched(
            read_ahead(self.prepare, inputs, self.num_workers, 2 * batch_size), batch_size
        ):
            for _, item in batch:
                if isinstance(item, Exception):
                    raise item
            yield self.collate_fn([item for _, item in batch])

    @torch.inference_mode()
    def forward(
        self,
        inputs: dict[str, Any],
        thr: Thr = None,
        topk: int | None = None,
    ) -> list[DataSample]:
        """Run the model on a batch, and set the labels if ``thr`` or ``topk`` is given.

        Raises:
            ValueError: If ``thr`` is given for a decoder without threshold, or the model raises
            anything.
        """
        thr = plain_numbers(thr)
        topk = plain_numbers(topk)
        check_thr_topk(thr, topk)
        if thr is not None:
            self.require_threshold('to replace')

        with self._naming_the_model():
            samples = self._find_network(inputs).test_step(inputs)
        if thr is not None or topk is not None:
            for sample in samples:
                chosen = select_labels(sample.pred_score[None], thr, topk)[0]
                sample.set_pred_label(chosen.nonzero()[:, 0])

        return samples

    def _find_network(self, inputs: dict[str, Any]) -> Any:
        """Return the model or a faster equivalent, rebuilt if the model changed."""
        tensors = list(_iter_tensors(self.model))
        state = (self.model, *map(id, tensors), *map(_version, tensors))
        if self._network is None or self._network[0] != state:
            with torch.inference_mode(False):
                self._network = state, find_faster(self.model, inputs)
        return self._network[1]

    @contextmanager
    def _naming_the_model(self) -> Iterator[None]:
        """Turn any error of a model into one that names the model."""
        try:
            yield
        except Exception as error:
            raise ValueError(
                f'{self.checkpoint_path} cannot predict: {type(error).__name__}: '
                f'{first_line(error)}'
            ) from error

    def visualize(
        self,
        inputs: list,
        preds: list[DataSample],
        out_dir: str | None = None,
        show: bool = False,
    ) -> list[str]:
        """Draw every image into ``out_dir``."""
        if not out_dir:
            return []

        return [
            visualization.draw_record(
                self._make_record(sample),
                self.read(source),
                self.classes,
                out_dir,
                index,
                name_source(source),
            )
            for index, (source, sample) in enumerate(zip(inputs, preds, strict=True))
        ]

    def postprocess(
        self,
        preds: list[DataSample],
        visualization: list[str],
        return_datasamples: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Turn data samples into dicts of plain values."""
        records = [self._make_record(sample) for sample in preds]
        error = next((record['error'] for record in records if 'error' in record), None)
        if error:
            raise ValueError(f'{self.checkpoint_path}: {error}')
        predictions = preds if return_datasamples else records
        return dict(predictions=predictions, visualization=visualization)

    def _read_thr(self, thr: Thr | str | Path) -> Thr:
        if isinstance(thr, (str, Path)):
            return load_thresholds(thr, self.classes).thr
        return plain_numbers(thr)

    def _predict_batch(
        self,
        batch: list[dict[str, Any]],
        thr: Thr,
        topk: int | None,
    ) -> list[dict[str, Any]]:
        with self._naming_the_model():
            inputs = self.collate_fn(batch)
        return [self._make_record(sample) for sample in self.forward(inputs, thr, topk)]

    def _make_record(self, sample: DataSample) -> dict[str, Any]:
        scores = sample.pred_score.float().cpu().numpy()
        labels = sample.pred_label.cpu().numpy()
        extra = {
            field.record: sample.get(field.sample).cpu().numpy()
            for field in PREDICTION_FIELDS
            if field is not SCORES and field.sample in sample
        }
        return make_record(
            sample.get('img_path', None),
            self.classes,
            scores,
            labels[np.argsort(-scores[labels], kind='stable')],
            **extra,
        )

    def _inputs_to_list(self, inputs: Source | Iterable[Source]) -> list[Any]:
        return list(self._iter_inputs(inputs))

    def _iter_inputs(self, inputs: Source | Iterable[Source]) -> Iterator[Any]:
        """Find the images of the inputs; items of an iterator one by one."""
        for item in iter_sources(inputs):
            if isinstance(item, str) and '://' in item:
                yield from list_remote(item)
            else:
                yield item

    def _init_model(
        self,
        cfg: Config,
        weights: str,
        device: str,
    ) -> nn.Module:
        backbone = cfg.model.get('backbone')
        if isinstance(backbone, Mapping) and backbone.get('pretrained'):
            cfg.model.backbone.pretrained = False  # all weights come from the checkpoint
        trained = (self._checkpoint['meta'].get('dataset_meta') or {}).get('classes')
        settings = find_head(cfg)
        if trained and settings is not None:
            fill_num_classes(settings, len(trained))
        model = self._build_model(cfg, weights)
        head = getattr(model, 'head', None)
        if head is None or isinstance(head, ClsHead):
            raise ValueError(
                f'{weights}: expected a multi-label classifier, but got {type(model).__name__} '
                f'with the head {type(head).__name__}, which gives no set of labels.'
            )
        check_kinds(model, self._checkpoint['state_dict'], weights)
        try:
            _load_checkpoint_to_model(model, self._checkpoint, strict=True)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f'{weights} does not fit its config: {error}') from error

        try:
            return model.to(device).eval()
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f'Device {device!r} cannot be used: {str(error).splitlines()[0]}'
            ) from error

    def _build_model(self, cfg: Config, weights: str) -> Any:
        if not isinstance(cfg, CheckpointConfig):
            return build_part(MODELS, cfg.model, cfg)

        state = self._checkpoint['state_dict'].values()
        max_elements = 2 * sum(tensor.numel() for tensor in state) + SPARE_ELEMENTS
        try:
            with limited_modules(20 * len(state) + SPARE_MODULES, max_elements):
                return build_part(MODELS, cfg.model, cfg)
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(f'{weights}: {error}') from error

    def _init_pipeline(self, cfg: Config) -> Compose:
        built = [build_part(TRANSFORMS, item, cfg) for item in find_pipeline(cfg)]
        if not built:
            raise ValueError('Expected a test pipeline that loads an image, but it is empty.')

        first, *rest = built
        if not type(first).__name__.startswith('Load'):
            raise ValueError(
                'Expected the test pipeline to start with a transform that loads an image, but '
                f'got {first}.'
            )

        if isinstance(first, LoadCheckedImage):
            first.option = MAX_PIXELS_OPTION
            first.max_pixels = self._max_pixels or first.max_pixels

        self._load = first
        self._resize = rest[0] if rest else None
        return Compose(rest)

    def _init_collate(self, cfg: Config) -> Any:
        return default_collate

    def _init_visualizer(self, cfg: Config) -> None:
        return None

    def _find_classes(self, cfg: Config) -> list[str]:
        meta = self._checkpoint['meta'].get('dataset_meta') or {}
        classes = meta.get('classes')
        if classes is None:
            classes = (find_dataset(cfg).get('metainfo') or {}).get('classes')
        number = getattr(self.model.head, 'num_classes', None)
        if classes and number not in (None, len(classes)):
            raise ValueError(
                f'{self.checkpoint_path}: the model has {number} labels, but its class list '
                f'{len(classes)}.'
            )

        if not classes:
            if number is None:
                raise ValueError(
                    f'{self.checkpoint_path} has no class list, and neither has its config.'
                )

            warnings.warn(
                f'{self.checkpoint_path} contains no class list: labels are called by number.',
                stacklevel=2,
            )
            classes = [f'label {index}' for index in range(number)]

        return check_classes(classes, self.checkpoint_path)


def _iter_tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield parameters and buffers, as the model does itself but without their names: faster."""
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                yield tensor


def _version(tensor: torch.Tensor) -> int:
    """Return the version of a tensor, which grows with each write; inference tensors have none."""
    return 0 if tensor.is_inference() else tensor._version


def loader_dataset(cfg: Config, loader: str = 'test_dataloader') -> Any:
    """Return the config of a loader's data set, with its wrappers.

    Raises:
        ValueError: If the config has no such loader.
    """
    dataset = (cfg.get(loader) or {}).get('dataset')
    if dataset is None:
        raise ValueError(f'Expected the config to have `{loader}.dataset`, but it has none.')
    return dataset


def find_dataset(cfg: Config, loader: str = 'test_dataloader') -> Any:
    """Return the config of a loader's innermost data set, the first if there are several.

    Raises:
        ValueError: If the config has no such loader.
    """
    return next(innermost(loader_dataset(cfg, loader)))


def find_pipeline(cfg: Config) -> list[dict[str, Any]]:
    """Return the test pipeline of a config.

    Raises:
        ValueError: If it tests scores, not images.
    """
    dataset = find_dataset(cfg)
    if 'pipeline' not in dataset:
        raise ValueError(
            f'Expected a model of images, but it is tested on a {dataset.get("type")}. A decoder '
            'trained on cached scores is put behind its CNN by '
            'tools/model_converters/merge_decoder.py.'
        )
    return list(dataset.pipeline)


def list_remote(item: str) -> list[str]:
    """Return the images of a remote folder, listed by MMEngine's file backends; else the item."""
    if is_web_url(item):
        return [item]

    try:
        backend = fileio.get_file_backend(item)
    except (KeyError, ImportError):
        return [item]  # the error comes when it is read, so that the others continue

    if hasattr(backend, 'isdir') and backend.isdir(item):
        names: Iterable[str] = backend.list_dir_or_file(
            item, list_dir=False, suffix=SUFFIXES, recursive=True
        )
        return [backend.join_path(item, name) for name in sorted(names)]

    return [item]
