"""The log of a run: the first line comes soon, and there are no long gaps."""

import time
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import LoggerHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ...evaluation.columns import METRIC_KEYS
from ..screen import SCREEN_ONLY, kept_from_screen
from .paper_table_hook import PaperTableHook

MINUTE = 60.0  # seconds
#: Values that the log keeps of each quantity of a training run, for its means. MMEngine keeps a
#: million and copies all of them for each new one: a millisecond per iteration after 100,000.
KEPT_NUMBERS = 10_000
# Figures of a validation shown on the screen, for the model and its CNN; the log file has all.
SHOWN = {name: METRIC_KEYS[name] for name in ('F1_L', 'F1_I', 'mAP', 'top-1')}
OWN, CNN = '', 'cnn/'  # prefixes of metrics


@HOOKS.register_module()
class TimedLoggerHook(LoggerHook):
    """MMEngine's ``LoggerHook``, which also logs by the clock.

    Besides every ``interval``-th iteration, a line with the remaining time follows the first
    iteration, then any gap of ``seconds``, and after the first minute any gap of a minute. Lines by
    the clock are for the reader only. TensorBoard and the JSON file get only the lines by
    iteration, so they are the same on any machine.

    Args:
        interval: Iterations between lines.
        seconds: Seconds without a line, in the first minute.
        **kwargs: Those of ``LoggerHook``.

    Raises:
        ValueError: If ``seconds`` is not positive.
    """

    def __init__(
        self,
        interval: int = 50,
        seconds: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(interval=interval, **kwargs)
        if not seconds > 0:
            raise ValueError(f'Expected `seconds` to be positive, but got {seconds}.')
        self.seconds = seconds
        self._clock = time.monotonic
        self._begin = self._last = self._clock()
        self._is_first = False

    def before_train(self, runner: Runner) -> None:
        """Wait for the first iteration of this run, resumed or not."""
        self._begin = self._last = self._clock()
        self._is_first = True

    def before_val_epoch(self, runner: Runner) -> None:
        """Start the clock of a validation."""
        self._last = self._clock()

    def before_test_epoch(self, runner: Runner) -> None:
        """Start the clock of a test."""
        self._begin = self._last = self._clock()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Log the iteration, if it is due."""
        super().after_train_iter(runner, batch_idx, *args, **kwargs)
        self._log_by_clock(runner, batch_idx, 'train', len(runner.train_dataloader))
        if self._is_first:
            for history in runner.message_hub.log_scalars.values():
                history.max_length = min(history.max_length, KEPT_NUMBERS)
        self._is_first = False

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Log the iteration, if it is due."""
        super().after_val_iter(runner, batch_idx, *args, **kwargs)
        self._log_by_clock(runner, batch_idx, 'val', len(runner.val_dataloader))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Log the iteration, if it is due."""
        super().after_test_iter(runner, batch_idx, *args, **kwargs)
        self._log_by_clock(runner, batch_idx, 'test', len(runner.test_dataloader))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the figures; the screen shows the main ones."""
        shown = summarise(metrics or {})
        with kept_from_screen(runner.logger, shown is not None):
            super().after_val_epoch(runner, metrics)
        if shown is not None:
            runner.logger.info(f'Validation {_count(runner)}: {shown}', extra=SCREEN_ONLY)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the figures; on the screen only if no table follows."""
        has_table = any(isinstance(hook, PaperTableHook) for hook in runner.hooks)
        with kept_from_screen(runner.logger, has_table and summarise(metrics or {}) is not None):
            super().after_test_epoch(runner, metrics)

    def _log_by_clock(
        self,
        runner: Runner,
        batch_idx: int,
        mode: str,
        length: int,
    ) -> None:
        now = self._clock()
        is_short = length <= self.interval and batch_idx + 1 == length
        if self.every_n_inner_iters(batch_idx, self.interval) or (mode == 'train' and is_short):
            self._last = now
            return

        silence = self.seconds if now - self._begin <= MINUTE else max(self.seconds, MINUTE)
        if (mode == 'train' and self._is_first) or now - self._last >= silence:
            runner.logger.info(runner.log_processor.get_log_after_iter(runner, batch_idx, mode)[1])
            self._last = now


def summarise(metrics: Mapping[str, float]) -> str | None:
    """Write the main figures in one line.

    Args:
        metrics: An evaluator's figures, in percent.

    Returns:
        The line; None without main figures.

    Examples:
        >>> summarise({'per-image/f1-score': 64.912, 'cnn/per-image/f1-score': 60.0})
        'F1_I 64.91; CNN: F1_I 60.00'
        >>> summarise({'accuracy/top1': 90.0})
    """
    parts = []
    for prefix, title in ((OWN, ''), (CNN, 'CNN: ')):
        figures = [
            f'{name} {metrics[prefix + key]:.2f}'
            for name, key in SHOWN.items()
            if prefix + key in metrics
        ]
        if figures:
            parts.append(title + ', '.join(figures))

    return '; '.join(parts) or None


def _count(runner: Runner) -> str:
    """Return the epoch or iteration of a validation, in words."""
    if runner._train_loop is None or isinstance(runner._train_loop, dict):
        return 'alone'
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return f'after epoch {runner.epoch}'
    return f'after iteration {runner.iter}'
