"""The screen has what a person reads, the log file all of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from morn_plugin.engine.screen import (
    SCREEN_ONLY,
    ScreenRunner,
    kept_from_screen,
    name_log_file,
    shorten_screen,
)


@contextmanager
def open_logger(level: str, folder: Path) -> Iterator[MMLogger]:
    runner = ScreenRunner.__new__(ScreenRunner)
    runner._experiment_name = f'screen_{folder.name}'
    runner._log_dir = str(folder)
    runner._timestamp = 'run'
    logger = runner.build_logger(log_level=level)

    try:
        yield logger
    finally:
        for handler in logger.handlers:
            handler.close()
        MMLogger._instance_dict.pop(logger.instance_name, None)


def log(logger: logging.Logger, text: str, module: str = 'x', function: str = 'f') -> None:
    record = logger.makeRecord('n', logging.INFO, f'{module}.py', 1, text, (), None, function)
    logger.handle(record)


def log_all(logger: MMLogger) -> None:
    log(logger, 'System environment: ...', 'runner', '_log_env')
    log(logger, 'Hooks will be executed in the following order: ...', 'runner', '__init__')
    log(logger, 'Exp name: a')
    log(logger, 'Epoch(train) [1]')
    logger.warning('something is wrong')
    logger.warning('`save_param_scheduler` is True but there are none')
    with kept_from_screen(logger):
        logger.info('a very long line')
    with kept_from_screen(logger, False):
        logger.info('a line of the usual length')
    logger.info('in short', extra=SCREEN_ONLY)


@pytest.mark.parametrize('level', ['INFO', 'DEBUG'])
def test_what_is_shown_and_what_is_written(
    level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_logger(level, tmp_path) as logger:
        log_all(logger)

    shown = capsys.readouterr().out
    written = (tmp_path / 'run.log').read_text()
    for text in ('System environment', 'Hooks will', 'Exp name', 'very long', '`save_param'):
        assert text in written
        assert (text in shown) == (level == 'DEBUG')

    for text in ('Epoch(train)', 'something is wrong', 'usual length'):
        assert text in written
        assert text in shown

    assert 'in short' in shown
    assert 'in short' not in written


def test_the_log_is_named_on_the_screen_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_logger('INFO', tmp_path) as logger:
        assert 'all else' not in capsys.readouterr().out
        name_log_file(logger)

    assert f'Config, environment and all else: {tmp_path}/run.log' in capsys.readouterr().out
    assert 'all else' not in (tmp_path / 'run.log').read_text()


def test_a_logger_without_a_run_is_shortened_once(capsys: pytest.CaptureFixture[str]) -> None:
    logger = MMLogger.get_instance('screen_alone', log_level='INFO')
    try:
        shorten_screen(logger)
        filters = [list(handler.filters) for handler in logger.handlers]
        shorten_screen(logger)
        assert [list(handler.filters) for handler in logger.handlers] == filters

        logger.info('backbone feature_info[0]: stage 1')
        logger.info('something to read')
    finally:
        MMLogger._instance_dict.pop('screen_alone')

    shown = capsys.readouterr().out
    assert 'something to read' in shown
    assert 'feature_info' not in shown
