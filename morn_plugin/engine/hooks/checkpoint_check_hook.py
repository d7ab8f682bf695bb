"""A model must not be used on other classes than it was trained for.

Nor frozen before it was trained at all.
"""

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...datasets.annotations import compare_classes


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Checks what was loaded.

    When a checkpoint is loaded, its class list must be that of the data set, in names and in order.
    Before training, a frozen classifier (``frozen`` with ``'head.fc'``) must have come from a
    checkpoint.

    Raises:
        AnnotationError: If the class lists differ.
        ValueError: If the frozen classifier was never trained.
    """

    def __init__(self) -> None:
        self._loaded = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the class lists, where both sides have one."""
        self._loaded = True
        found = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        expected = dataset_classes(runner)
        if found.get('classes') and expected:
            compare_classes(
                found['classes'], expected, 'The classes of the checkpoint', 'the data set'
            )

    def before_train(self, runner: Runner) -> None:
        """Refuse to train a decoder on a classifier with random weights."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if 'head.fc' in getattr(model, 'frozen', ()) and not self._loaded:
            raise ValueError(
                "The CNN's classifier is frozen (`frozen` of the model has 'head.fc'), but no "
                'checkpoint was loaded, so that it is random. Train the first stage and name its '
                'checkpoint: --cfg-options load_from=work_dirs/<first stage>/<checkpoint>.pth'
            )


def dataset_classes(runner: Runner) -> list[str] | None:
    """Give the class names of the data set that the runner is about to use, or None."""
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        if dataset is not None:
            return list(dataset.metainfo.get('classes') or []) or None
    return None
