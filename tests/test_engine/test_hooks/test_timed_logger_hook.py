"""Lines come after the first iteration and by the clock, figures of a validation in short."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.hooks import LoggerHook
from mmengine.logging import HistoryBuffer
from mmpretrain.registry import HOOKS

from morn_plugin.engine.hooks import timed_logger_hook
from morn_plugin.engine.hooks.paper_table_hook import PaperTableHook
from morn_plugin.engine.hooks.timed_logger_hook import TimedLoggerHook, summarise

METRICS = {
    'per-image/f1-score': 60.0,
    'cnn/per-label/f1-score': 50.123,
    'cnn/multi-label/mAP': 40.0,
    'per-label/recall': 1.0,
}


class Lines(list):
    """Stands for a logger."""

    def info(self, text: str, **kwargs: Any) -> None:
        self.append(text)

    def addFilter(self, function: Any) -> None:  # noqa: N802
        self.append('(file only')

    def removeFilter(self, function: Any) -> None:  # noqa: N802
        if self.count('(file only') > self.count(')'):
            self.append(')')


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_runner(length: int, **more: Any) -> Any:
    scalars: list[int] = []
    log_processor = SimpleNamespace(
        get_log_after_iter=lambda runner, batch, mode: ({}, f'{mode} {batch + 1}'),
        get_log_after_epoch=lambda runner, batch, mode, **kwargs: ({}, f'{mode}: many figures'),
    )
    visualizer = SimpleNamespace(add_scalars=lambda tag, step, file_path: scalars.append(step))
    loader = range(length)
    return SimpleNamespace(
        logger=Lines(),
        scalars=scalars,
        log_processor=log_processor,
        visualizer=visualizer,
        experiment_name='name',
        timestamp='now',
        iter=0,
        epoch=3,
        _train_loop=None,
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        hooks=[],
        message_hub=SimpleNamespace(log_scalars={'train/loss': HistoryBuffer([0.0], [1])}),
        **more,
    )


def iterate(hook: TimedLoggerHook, mode: str, durations: list[float]) -> Any:
    """Run iterations that take so many seconds each; return the runner."""
    clock = Clock()
    hook._clock = clock
    runner = make_runner(len(durations))

    if mode == 'train':
        hook.before_train(runner)
    else:
        getattr(hook, f'before_{mode}_epoch')(runner)

    for batch, seconds in enumerate(durations):
        clock.now += seconds
        runner.iter = batch
        getattr(hook, f'after_{mode}_iter')(runner, batch)

    return runner


def build(**options: Any) -> TimedLoggerHook:
    return HOOKS.build(dict(type='TimedLoggerHook', **options))


def lines(runner: Any) -> list[str]:
    return [line for line in runner.logger if not line.startswith('Exp name')]


def test_the_first_iteration_is_logged_however_long_it_took() -> None:
    for seconds in (0.1, 30.0):
        runner = iterate(build(interval=50), 'train', [seconds] * 3 + [0.0] * 100)
        assert lines(runner)[0] == 'train 1'


def test_a_slow_run_has_a_line_every_ten_seconds_then_every_minute() -> None:
    runner = iterate(build(interval=50), 'train', [4.0] * 48)
    # 4, 16, 28, 40, 52 s; after the first minute 60 s later each; and the end of the epoch.
    assert lines(runner) == [f'train {n}' for n in (1, 4, 7, 10, 13, 28, 43, 48)]
    assert runner.scalars == [48]  # not those by the clock


def test_a_fast_run_has_the_lines_of_the_iterations() -> None:
    runner = iterate(build(interval=50), 'train', [0.01] * 120)
    assert lines(runner) == ['train 1', 'train 50', 'train 100']
    assert runner.scalars == [50, 100]


def test_every_iteration_once() -> None:
    runner = iterate(build(interval=1), 'train', [20.0] * 3)
    assert lines(runner) == ['train 1', 'train 2', 'train 3']


def test_a_short_epoch_has_its_last_line_once() -> None:
    runner = iterate(build(interval=50), 'train', [20.0] * 3)
    assert lines(runner) == ['train 1', 'train 2', 'train 3']


def test_a_long_run_keeps_the_last_numbers_alone(monkeypatch) -> None:
    monkeypatch.setattr(timed_logger_hook, 'KEPT_NUMBERS', 3)
    history = iterate(build(), 'train', [0.1] * 2).message_hub.log_scalars['train/loss']
    for number in range(1, 6):
        history.update(float(number))
    assert history.data[0].tolist() == [3.0, 4.0, 5.0]
    assert history.mean(2) == 4.5


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_long_validations_and_tests_say_where_they_are(mode: str) -> None:
    assert iterate(build(), mode, [0.1] * 20).logger == []
    runner = iterate(build(), mode, [6.0] * 5)
    assert runner.logger == [f'{mode} 2', f'{mode} 4']


@pytest.mark.parametrize('seconds', [0, -1.0, float('nan')])
def test_no_time_is_an_error(seconds: float) -> None:
    with pytest.raises(ValueError, match='`seconds` to be positive'):
        build(seconds=seconds)


def test_it_is_a_logger_hook() -> None:
    assert issubclass(TimedLoggerHook, LoggerHook)


def test_a_validation_is_shown_in_short() -> None:
    runner = make_runner(1)
    build().after_val_epoch(runner, METRICS)
    short = 'Validation alone: F1_I 60.00; CNN: F1_L 50.12, mAP 40.00'
    assert runner.logger == ['(file only', 'val: many figures', ')', short]


def end_test(folder: Path, *hooks: Any) -> list[str]:
    runner = make_runner(1, log_dir=str(folder))
    hook = build()
    runner.hooks = list(hooks)
    hook.before_run(runner)
    hook.after_test_epoch(runner, METRICS)
    return runner.logger


def test_figures_that_are_none_of_ours_are_shown_as_they_are() -> None:
    runner = make_runner(1)
    build().after_val_epoch(runner, {'accuracy/top1': 1.0})
    assert runner.logger == ['val: many figures']


def test_a_table_takes_the_place_of_the_figures_of_a_test(tmp_path: Path) -> None:
    assert end_test(tmp_path) == ['test: many figures']
    assert end_test(tmp_path, PaperTableHook()) == ['(file only', 'test: many figures', ')']


def test_what_is_not_computed_is_left_out() -> None:
    assert summarise({}) is None
    assert summarise({'one-step/top-1': 12.345}) == 'top-1 12.35'
