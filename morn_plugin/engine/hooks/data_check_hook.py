"""Checks the data sets of a run, and reports at its beginning and end."""

import functools
import os.path as osp
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, HOOKS
from torch.utils.data import Subset

from ...datasets.annotations import describe_labels, label_sets
from ...datasets.cached import ScoreDataset
from ...datasets.wrapping import innermost_built
from ...utils.checks import check_choice
from ...utils.text import escape_surrogates
from ..weights import bare_model

SHOWN = 5
LOOPS = {
    'train_dataloader': '_train_loop',
    'val_dataloader': '_val_loop',
    'test_dataloader': '_test_loop',
}


@dataclass(frozen=True)
class ListedImage:
    """An image of a data set, with its true and its difficult labels."""

    path: str
    labels: tuple[frozenset[int], frozenset[int]]


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Refuses data sets that contradict each other or the model.

    - The model has as many classes as the data.
    - An epoch has at least one batch.
    - No training image is in the validation or test set, or occurs twice with different labels. The
      built data sets are compared, whatever their type: folds of one file, or different ``indices``
      of it, have no common image.

    It also reports skipped images at the end of a run.

    Args:
        overlap: What to do when an image file is in the training set and in the validation or test
            set too: ``'error'``, ``'warn'`` or ``'ignore'``. Files are compared by their real
            paths; the converters look for copies and near-duplicates with different names.

    Raises:
        ValueError: If there is such a mistake; names it.
    """

    def __init__(self, overlap: str = 'error') -> None:
        check_choice('overlap', overlap, ('error', 'warn', 'ignore'))
        self.overlap = overlap

    def before_run(self, runner: Runner) -> None:
        """Compare the data sets with the model and with the batches."""
        for name, loop in LOOPS.items():
            loader = getattr(getattr(runner, loop), 'dataloader', None)
            if loader is not None:
                _require_batches(loader, name)
                _require_classes(runner, loader.dataset, name)

    def before_train(self, runner: Runner) -> None:
        """Compare the splits."""
        trained = list(list_images(runner.train_dataloader.dataset))
        _require_one_answer(trained)
        if self.overlap == 'ignore' or not trained:
            return

        paths = {image.path for image in trained}
        for name in ('val_dataloader', 'test_dataloader'):
            dataset = _find_dataset(runner, name)
            tested = set() if dataset is None else {image.path for image in list_images(dataset)}
            self._report(runner, sorted(paths & tested), name)

    def after_run(self, runner: Runner) -> None:
        """List the images that were skipped."""
        for loop in LOOPS.values():
            dataset = getattr(getattr(getattr(runner, loop), 'dataloader', None), 'dataset', None)
            for part in [] if dataset is None else innermost_built(dataset):
                skipped = getattr(part, 'skipped', ())
                if skipped:
                    lines = ''.join(f'\n  {escape_surrogates(reason)}' for reason in skipped)
                    runner.logger.warning(
                        f'{len(skipped)} images of {part.ann_file} were skipped:{lines}'
                    )

    def _report(
        self,
        runner: Runner,
        shared: list[str],
        name: str,
    ) -> None:
        if not shared:
            return

        message = (
            f'{len(shared)} images of train_dataloader are in {name} too, which makes its '
            f'figures worthless: {_first(shared)}. '
            "(default_hooks.data_check.overlap is 'error'; 'warn' continues.)"
        )
        if self.overlap == 'error':
            raise ValueError(message)

        runner.logger.warning(escape_surrogates(message))


def list_images(dataset: Any) -> Iterator[ListedImage]:
    """Yield the images of a built data set, by their real paths.

    Images that are not files, such as arrays in memory, are left out.
    """
    for part in innermost_built(dataset):
        for info in _list_infos(part):
            path = info.get('img_path')
            labels = info.get('gt_label')
            if isinstance(path, str):
                known = labels if isinstance(labels, list | tuple) else ()
                yield ListedImage(_real_path(path), label_sets(dict(info, gt_label=known)))


def _list_infos(dataset: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(dataset, Subset):
        inner: Any = dataset.dataset
        yield from (inner.get_data_info(index) for index in dataset.indices)
    elif isinstance(dataset, ScoreDataset):
        for item in dataset.data_list:
            yield dict(item, img_path=osp.join(dataset.data_root, item['img_path']))
    elif hasattr(dataset, 'get_data_info'):
        yield from map(dataset.get_data_info, range(len(dataset)))


def _real_path(path: str) -> str:
    if '://' in path:
        return path
    folder, name = osp.split(path)
    joined = osp.join(_real_folder(folder), name)
    return osp.realpath(joined) if osp.islink(joined) else joined


@functools.lru_cache(maxsize=65536)
def _real_folder(folder: str) -> str:
    return osp.realpath(folder)


def _find_dataset(runner: Runner, name: str) -> Any:
    """Return the built data set of a loader; build it if training has not."""
    loop = getattr(runner, LOOPS[name])
    loader = getattr(loop, 'dataloader', None)
    if loader is not None:
        return loader.dataset

    settings = (runner.cfg.get(name) or {}).get('dataset')
    validated = (runner.cfg.get('val_dataloader') or {}).get('dataset')
    if not isinstance(settings, Mapping) or (name != 'val_dataloader' and settings == validated):
        return None

    try:
        dataset = DATASETS.build(_without_images(settings))
    except FileNotFoundError as error:
        runner.logger.warning(
            f'Whether images of train_dataloader are in {name} too cannot be told: {error}'
        )
        return None

    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return dataset


def _without_images(settings: Any) -> Any:
    """Return a data set's settings for reading its annotations only."""
    if isinstance(settings, Mapping):
        kept = {
            key: _without_images(value)
            for key, value in settings.items()
            if key != 'corrupt_images'
        }
        return dict(kept, pipeline=[]) if 'pipeline' in kept else kept
    return settings if not isinstance(settings, list) else [*map(_without_images, settings)]


def _require_batches(loader: Any, name: str) -> None:
    if len(loader) == 0:
        raise ValueError(
            f'{name} gives no batch, so nothing would be done: it has {len(loader.dataset)} '
            f'images for {get_world_size()} processes, batch_size={loader.batch_size} and '
            f'drop_last={loader.drop_last}. Lower the batch size or leave out drop_last.'
        )


def _require_classes(runner: Runner, dataset: Any, name: str) -> None:
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    head = getattr(bare_model(runner.model), 'head', None)
    number = getattr(head, 'num_classes', None)
    if classes and isinstance(number, int) and number != len(classes):
        raise ValueError(
            f'The model has {number} classes (model.head.num_classes), but the data set of {name} '
            f'{len(classes)}: write num_classes={len(classes)}, or None, which takes that of the '
            'data.'
        )


def _require_one_answer(images: list[ListedImage]) -> None:
    first: dict[str, ListedImage] = {}
    wrong = [image for image in images if first.setdefault(image.path, image) != image]
    if wrong:
        image = wrong[0]
        pair = ' and '.join(describe_labels(one.labels) for one in (first[image.path], image))
        raise ValueError(
            f'{len({image.path for image in wrong})} images are in train_dataloader twice, with '
            f'other labels: {_first(sorted({image.path for image in wrong}))}. The first has '
            f'{pair}; only one of them is right.'
        )


def _first(paths: list[str]) -> str:
    return f'{", ".join(paths[:SHOWN])}{", ..." if len(paths) > SHOWN else ""}'
