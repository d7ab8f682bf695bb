"""All predictions on a data set, as arrays."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

from ..datasets.annotations import training_targets
from ..datasets.wrapping import (
    annotation_files,
    image_path,
    with_pipeline,
    without_repeats,
)
from ..deploy.labels import find_not_finite
from ..models.targets import stack_targets
from ..utils.fields import PREDICTION_FIELDS
from ..utils.spacing import evenly_spaced
from .building import build_part
from .inferencer import MultiLabelInferencer, find_pipeline, loader_dataset

SPLITS = {'train': 'train_dataloader', 'val': 'val_dataloader', 'test': 'test_dataloader'}


@dataclass
class PredictionSet:
    """Predictions on N images, C labels, T steps.

    Attributes:
        classes: Names of the C labels.
        ann_file: File of the true labels.
        img_paths: N files.
        targets: (N, C) int8; 1 true, 0 false, -1 ignored.
        scores: (N, C) float32, 0-1.
        predicted: (N, C) bool, by the model's own threshold.
        cnn_scores: (N, C), or None.
        step_scores: (N, T, C), or None.
        step_labels: (N, T), the labels picked at each step, -1 after the end, or None.
    """

    classes: list[str]
    ann_file: str
    img_paths: list[str]
    targets: np.ndarray
    scores: np.ndarray
    predicted: np.ndarray
    cnn_scores: np.ndarray | None = None
    step_scores: np.ndarray | None = None
    step_labels: np.ndarray | None = None

    @property
    def paths(self) -> np.ndarray | None:
        """The same as ``step_labels``."""
        return self.step_labels

    @property
    def first_scores(self) -> np.ndarray:
        """The scores after one step (N, C), or the scores of a model without steps."""
        return self.scores if self.step_scores is None else self.step_scores[:, 0]


def collect_predictions(
    inferencer: MultiLabelInferencer,
    loader: str = 'test_dataloader',
    track: Callable[[Iterable, int], Iterable] | None = None,
) -> PredictionSet:
    """Predict the data set of one of the config's loaders.

    Args:
        inferencer: The model.
        loader: ``'train_dataloader'``, ``'val_dataloader'`` or ``'test_dataloader'``. Training
            images go through the test pipeline; each is predicted once, even if a wrapper repeats
            it.
        track: Shows progress: maps batches and their number to the batches.

    Raises:
        ValueError: If the data set is empty, or its classes differ from the model's.
    """
    cfg = inferencer.cfg
    config = without_repeats(loader_dataset(cfg, loader))
    dataset = build_part(DATASETS, with_pipeline(config, find_pipeline(cfg), test_mode=True), cfg)
    source = annotation_files(dataset)

    classes = list(dataset.metainfo.get('classes') or inferencer.classes)
    if classes != inferencer.classes:
        raise ValueError(
            f'{source}: its classes are not those of the model {inferencer.checkpoint_path}.'
        )

    batches: Any = DataLoader(
        dataset,
        batch_size=cfg[loader].get('batch_size', 32),
        collate_fn=default_collate,
        num_workers=cfg[loader].get('num_workers', 0),
    )
    rows = [
        _as_arrays(sample, len(classes), inferencer.checkpoint_path)
        for batch in (track(batches, len(batches)) if track else batches)
        for sample in inferencer.forward(batch)
    ]
    if not rows:
        raise ValueError(f'{source}: expected at least one image.')

    columns: dict[str, list[Any]] = {}
    for key in rows[0]:
        columns[key] = [row[key] for row in rows]

    img_paths = columns.pop('img_paths')
    arrays = {key: np.stack(values) for key, values in columns.items()}
    return PredictionSet(classes, source, img_paths, **arrays)


def _as_arrays(
    sample: Any,
    num_classes: int,
    model: str,
) -> dict[str, Any]:
    predicted = torch.zeros(num_classes, dtype=torch.bool)
    predicted[sample.pred_label.cpu()] = True
    arrays = {
        field.array: sample.get(field.sample).cpu().numpy()
        for field in PREDICTION_FIELDS
        if field.sample in sample
    }
    error = find_not_finite(**arrays)
    if error:
        image = sample.get('img_path')
        raise ValueError(f'{model}: the prediction for {image} is refused: {error}.')

    return dict(
        arrays,
        img_paths=sample.get('img_path'),
        predicted=predicted.numpy(),
        targets=stack_targets([sample], num_classes)[0].numpy().astype(np.int8),
    )


def list_tested_images(cfg: Any, number: int) -> list[str]:
    """Return evenly spaced test images of a config.

    Raises:
        ValueError: If the config has no test data set, or it is empty; or as raised by the data
            set.
    """
    config = without_repeats(loader_dataset(cfg))
    dataset = build_part(DATASETS, with_pipeline(config, find_pipeline(cfg), test_mode=True), cfg)
    if not len(dataset):
        raise ValueError(f'{annotation_files(dataset)}: expected at least one image.')
    places = evenly_spaced(range(len(dataset)), number)
    return [image_path(dataset, place) for place in places]


def count_training_labels(cfg: Any) -> tuple[list[str], np.ndarray]:
    """Read the training labels of a config, each image once.

    Returns:
        Class names and the targets (N, C).
    """
    config = without_repeats(loader_dataset(cfg, 'train_dataloader'))
    return training_targets(build_part(DATASETS, config, cfg))
