"""Selects the messages for the screen; the log file has everything.

MMEngine prints some hundred lines before the first iteration: environment, config, the order of all
hooks. They are useful later, and stay in the log file.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

# By the logging module and function: environment and config; the hooks; SyncBatchNorm.
LONG = {('runner', '_log_env'), ('runner', '__init__'), ('runner', 'wrap_model')}
# By their beginnings: warnings that no user can act on.
MINOR = (
    'Exp name:',
    'backbone feature_info',
    'paramwise_options -- ',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    '`save_param_scheduler` is True but',
)
#: Marks a record that the file does not need: ``logger.info(text, extra=SCREEN_ONLY)``.
SCREEN_ONLY = dict(shown_on='screen')


class ScreenFilter(logging.Filter):
    """Passes the records that matter to a person during a run."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a record; warnings and errors are shown, except minor ones."""
        if getattr(record, 'shown_on', None) == 'file':
            return False
        is_long = (record.module, record.funcName) in LONG and record.levelno <= logging.INFO
        return not is_long and not str(record.msg).startswith(MINOR)


def shorten_screen(logger: logging.Logger) -> None:
    """Let a logger show on the screen only what matters to a person.

    A logger with the level ``DEBUG`` shows everything. A second call changes nothing.
    """
    for handler in logger.handlers:
        is_file = isinstance(handler, logging.FileHandler)
        is_short = any(isinstance(found, ScreenFilter) for found in handler.filters)
        if not is_file and not is_short and handler.level > logging.DEBUG:
            handler.addFilter(ScreenFilter())


@contextmanager
def kept_from_screen(logger: logging.Logger, condition: bool = True) -> Iterator[None]:
    """Log only to the file inside this context.

    Args:
        logger: The logger.
        condition: Whether to do so.
    """

    def mark(record: logging.LogRecord) -> bool:
        record.shown_on = 'file'
        return True

    if condition:
        logger.addFilter(mark)

    try:
        yield
    finally:
        logger.removeFilter(mark)


def name_log_file(logger: MMLogger) -> None:
    """Print where the full log is, once it is certain to stay."""
    if logger.log_file is not None:
        logger.info(f'Config, environment and all else: {logger.log_file}', extra=SCREEN_ONLY)


class FileFilter(logging.Filter):
    """Drops records that repeat, for the screen, what the file has in full."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        return getattr(record, 'shown_on', None) != 'screen'


class ScreenRunner(Runner):
    """MMEngine's runner, with a short log on the screen.

    With ``log_level='DEBUG'`` everything is shown.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, and filter what it shows."""
        logger = super().build_logger(*args, **kwargs)
        shorten_screen(logger)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.addFilter(FileFilter())

        return logger
