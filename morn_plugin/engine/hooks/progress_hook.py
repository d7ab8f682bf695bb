"""A progress bar for long tests."""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from tqdm import tqdm


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the progress of a test, in the main process.

    Args:
        title: Text before the bar.
    """

    def __init__(self, title: str = 'Testing') -> None:
        self.title = title
        self._bar: tqdm | None = None

    def before_test_epoch(self, runner: Runner) -> None:
        """Start the bar."""
        if is_main_process():
            self._bar = tqdm(
                total=len(runner.test_dataloader.dataset), desc=self.title, unit='image'
            )

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Advance by one batch per process."""
        if self._bar is not None:
            step = len(outputs or ()) * get_world_size()
            self._bar.update(min(step, self._bar.total - self._bar.n))

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
