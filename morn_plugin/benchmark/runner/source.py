"""Reads the data set of a benchmark: a folder that a converter wrote, or a config."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from ...datasets.annotations import Annotations, load_annotations
from ...datasets.wrapping import innermost
from ...utils.checks import describe_missing

SIDES = ('train', 'val', 'test')
#: The files of a converter; the last is the training side if there is no validation side.
FILES = dict(train='train_fit.json', val='val.json', test='test.json')


@dataclass(frozen=True)
class Source:
    """The images and labels of the three sides.

    Attributes:
        title: Name of the data on the page.
        annotations: Side to its annotations.
        datasets: Side to the config of its data set: ``data_root``, ``ann_file`` and more.
    """

    title: str
    annotations: dict[str, Annotations]
    datasets: dict[str, dict[str, Any]]

    @property
    def classes(self) -> list[str]:
        """Names of the C labels."""
        return self.annotations['train'].classes

    @property
    def num_training(self) -> int:
        """Number of training images."""
        return len(self.annotations['train'])

    def mean_labels(self) -> int:
        """Return the mean number of labels per training image, rounded: k of exactly k labels."""
        counts = self.annotations['train'].label_counts()
        return max(1, round(float(np.sum(counts)) / max(1, self.num_training)))


def read_source(dataset: str, title: str | None = None) -> Source:
    """Read the annotations of a data set.

    Args:
        dataset: A folder with ``train_fit.json``, ``val.json`` and ``test.json``, or a config with
            the three data loaders.
        title: Name of the data on the page. Defaults to the name of the folder or the config.

    Raises:
        FileNotFoundError: If the folder or a file is missing; names the tool that writes it.
        ValueError: If a config lacks a loader, or the sides have different classes.
        AnnotationError: If a file is damaged.
    """
    path = Path(dataset)
    title = title or path.stem
    if path.suffix == '.py':
        return _read(title, _datasets_of(path))
    if not path.is_dir():
        raise FileNotFoundError(
            f'Data set {describe_missing(path)} tools/dataset_converters/ has a converter for Open '
            'Clip Art, Corel5K, MS-COCO, NUS-WIDE, PASCAL VOC and a table of tags of your own.'
        )

    missing = [name for name in FILES.values() if not (path / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{path}: expected {", ".join(FILES.values())}, but {", ".join(missing)} is missing. '
            'The converters of tools/dataset_converters/ write them; settings are chosen on '
            'val.json, so that a data set without one needs it cut from its training side.'
        )
    root = f'{path.resolve()}/'
    return _read(title, {side: dict(data_root=root, ann_file=name) for side, name in FILES.items()})


def _datasets_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return the data set configs of a config's three loaders."""
    cfg = Config.fromfile(path)
    missing = [f'{side}_dataloader' for side in SIDES if not cfg.get(f'{side}_dataloader')]
    if missing:
        raise ValueError(
            f'{path}: expected the loaders of all three sides, but it lacks {", ".join(missing)}.'
        )
    parts = {side: next(innermost(cfg[f'{side}_dataloader'].dataset)) for side in SIDES}
    return {side: _plain(part) for side, part in parts.items()}


def _plain(part: ConfigDict) -> dict[str, Any]:
    """Return the paths of a data set's config; the CNN's config sets the transforms."""
    kept = ('data_root', 'data_prefix', 'ann_file', 'indices')
    return {key: part[key] for key in kept if part.get(key) is not None}


def _read(title: str, datasets: dict[str, dict[str, Any]]) -> Source:
    annotations: dict[str, Annotations] = {}
    classes: list[str] | None = None
    for side, dataset in datasets.items():
        file = Path(dataset.get('data_root') or '') / dataset['ann_file']
        whole = load_annotations(file, classes)
        classes = whole.classes
        annotations[side] = _take(whole, dataset.get('indices'))
    return Source(title, annotations, datasets)


def _take(whole: Annotations, indices: int | Sequence[int] | None) -> Annotations:
    """Keep the images that ``indices`` keeps: the first n, the last n, or those in a list."""
    if indices is None:
        return whole
    if isinstance(indices, int):
        kept = whole.data_list[:indices] if indices >= 0 else whole.data_list[indices:]
    else:
        kept = [whole.data_list[index] for index in indices]
    return replace(whole, data_list=kept)
