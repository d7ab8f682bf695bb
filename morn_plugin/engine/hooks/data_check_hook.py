"""What is wrong with the data sets of a run, said at its beginning and at its end."""

import os.path as osp
from collections.abc import Iterator
from typing import Any

from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...datasets.annotations import load_annotations
from ...utils.checks import check_choice
from ...utils.text import escape_surrogates


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Refuses to train on images that are also tested on.

    And reports skipped images at the end of a run.

    Args:
        overlap: What to do when an image file is in the training set and in the validation or test
            set too: ``'error'``, ``'warn'`` or ``'ignore'``. Files are compared by their real
                paths; copies and near-duplicates under other
            names are the converters' matter.

    Raises:
        ValueError: If there is such an image, for ``'error'``.
    """

    def __init__(self, overlap: str = 'error') -> None:
        check_choice('overlap', overlap, ('error', 'warn', 'ignore'))
        self.overlap = overlap

    def before_train(self, runner: Runner) -> None:
        """Compare the splits."""
        trained = _image_files(runner.cfg.get('train_dataloader'))
        if self.overlap == 'ignore' or not trained:
            return
        for name in ('val_dataloader', 'test_dataloader'):
            shared = sorted(trained & _image_files(runner.cfg.get(name)))
            if shared:
                message = (
                    f'{len(shared)} images of train_dataloader are in {name} too, which makes its '
                    'figures worthless: '
                    f'{", ".join(shared[:5])}{", ..." if len(shared) > 5 else ""}. '
                    "(default_hooks.data_check.overlap is 'error'; 'warn' goes on.)"
                )
                if self.overlap == 'error':
                    raise ValueError(message)
                runner.logger.warning(escape_surrogates(message))

    def after_run(self, runner: Runner) -> None:
        """List the images that were skipped."""
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
            skipped = getattr(dataset, 'skipped', ())
            if dataset is not None and skipped:
                lines = ''.join(f'\n  {escape_surrogates(reason)}' for reason in skipped)
                runner.logger.warning(
                    f'{len(skipped)} images of {dataset.ann_file} were skipped:{lines}'
                )


def _image_files(loader: ConfigDict | None) -> set[str]:
    return {osp.realpath(path) for dataset in _datasets(loader) for path in _paths(dataset)}


def _datasets(node: Any) -> Iterator[ConfigDict]:
    """Find the checked data sets in a loader's config, wrapped ones too."""
    if isinstance(node, dict):
        if node.get('type') == 'CheckedMultiLabelDataset' and isinstance(
            node.get('data_prefix', ''), str
        ):
            yield node
        for value in node.values():
            yield from _datasets(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _datasets(value)


def _paths(dataset: ConfigDict) -> Iterator[str]:
    root = dataset.get('data_root', '')
    for item in load_annotations(osp.join(root, dataset.ann_file)).data_list:
        yield osp.join(root, dataset.get('data_prefix', ''), item['img_path'])
