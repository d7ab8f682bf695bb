"""Data sets inside others: MMEngine's and MMPretrain's wrappers, and one of our own.

``ConcatDataset`` holds several under ``datasets``; ``RepeatDataset``, ``ClassBalancedDataset`` and
``KFoldDataset`` hold one under ``dataset``.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmpretrain.registry import DATASETS
from torch.utils.data import Dataset, Subset

from ..deploy.shards import Shard

REPEATING = ('RepeatDataset', 'ClassBalancedDataset')


def innermost(config: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the configs of the data sets that read files, inside whatever wraps them."""
    if 'datasets' in config:
        for part in config['datasets']:
            yield from innermost(part)
    elif 'dataset' in config:
        yield from innermost(config['dataset'])
    else:
        yield config


def with_pipeline(
    config: Mapping[str, Any],
    pipeline: Sequence[Any],
    **options: Any,
) -> Any:
    """Return a copy of a data set's config whose innermost data sets have this pipeline.

    Args:
        config: Of a data set or of wrappers around it.
        pipeline: Transforms.
        **options: Other arguments of the innermost data sets, such as ``test_mode=True``.
    """
    changed = copy.deepcopy(config)
    for part in innermost(changed):
        part.update(pipeline=copy.deepcopy(list(pipeline)), **options)
    return changed


def without_repeats(config: Mapping[str, Any]) -> Any:
    """Return a copy of a data set's config that holds each image once, for figures and lists.

    ``RepeatDataset`` and ``ClassBalancedDataset`` show images several times in an epoch: that is a
    matter of training. Folds and concatenated data sets stay as they are.

    Args:
        config: Of a data set or of wrappers around it.
    """
    kind = config.get('type')
    name = getattr(kind, '__name__', str(kind)).rsplit('.', 1)[-1]
    if name in REPEATING:
        return without_repeats(config['dataset'])

    changed: Any = copy.deepcopy(config)
    if 'datasets' in changed:
        changed['datasets'] = [without_repeats(part) for part in config['datasets']]
    elif 'dataset' in changed:
        changed['dataset'] = without_repeats(config['dataset'])

    return changed


def innermost_built(dataset: Any) -> Iterator[Any]:
    """Yield the data sets that read files, inside whatever wraps them, once they are built.

    A torch ``Subset`` counts as one of them: images that it leaves out do not count.
    """
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from innermost_built(part)
    elif hasattr(dataset, 'dataset') and not isinstance(dataset, Subset):
        yield from innermost_built(dataset.dataset)
    else:
        yield dataset


def annotation_files(dataset: Any) -> str:
    """Return the annotation files of a data set that is built, for messages and titles."""
    files = [str(getattr(part, 'ann_file', '')) for part in innermost_built(dataset)]
    return ', '.join(dict.fromkeys(files))


def image_path(dataset: Any, index: int) -> str:
    """Return the path of an image of a data set that is built, as its sample has it."""
    return str(dataset.get_data_info(index)['img_path'])


@DATASETS.register_module()
class NumberedDataset(Dataset):
    """A data set whose samples know their place in it, also inside wrappers that do not count.

    Args:
        dataset: The data set, or its config.
        shard: Which share of its images to take, ``(1, 1)`` for all; see
            :class:`~morn_plugin.deploy.shards.Shard`.
    """

    def __init__(self, dataset: Any, shard: Sequence[int] = (1, 1)) -> None:
        is_config = isinstance(dataset, Mapping)
        self.dataset = DATASETS.build(dict(dataset)) if is_config else dataset
        self.metainfo = self.dataset.metainfo
        self.shard = Shard(*shard)

    def __len__(self) -> int:
        return self.shard.count(len(self.dataset))

    def __getitem__(self, index: int) -> Any:
        """Return the sample, its ``sample_idx`` being ``index``."""
        data = self.dataset[self.shard.place(index)]
        data['data_samples'].set_field(index, 'sample_idx', field_type='metainfo', dtype=int)
        return data

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return what the annotations say of an image."""
        return self.dataset.get_data_info(self.shard.place(index))

    def full_init(self) -> None:
        """Load the annotations if that was deferred."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()
