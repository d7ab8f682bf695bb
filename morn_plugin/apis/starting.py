"""Starts a run: finds mistakes before the data are read, and leaves no files behind."""

import logging
import os
import os.path as osp
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..datasets.annotations import AnnotationError
from ..datasets.cached import ScoreFileError
from ..engine.checkpoints import CheckpointError, load_checkpoint
from ..engine.hooks import CheckpointCheckHook, DataCheckHook, ResumableCheckpointHook
from ..engine.hooks.checkpoint_check_hook import require_weights
from ..engine.screen import ScreenRunner, name_log_file
from ..engine.training_state import TrainingStateError, require_own_weights
from .agreement import Disagreements, find_class, find_disagreements, find_head, is_type
from .config_check import ConfigError, build_early, check_config

# The user's mistakes: the message is enough, and a traceback would hide it.
MISTAKES = (
    AnnotationError,
    CheckpointError,
    ConfigError,
    FileNotFoundError,
    ScoreFileError,
    TrainingStateError,
)
LOG_FOLDER = re.compile(r'\d{8}_\d{6}')
CHECKS = dict(checkpoint_check=CheckpointCheckHook, data_check=DataCheckHook)


def build_runner(
    cfg: Config,
    source: str,
    watch: Hook,
    loaders: Sequence[str],
    others: Mapping[str, Sequence[str]] | None = None,
) -> Runner:
    """Check a config and its files, and build a run without its data.

    Args:
        cfg: The config; loading checks and the number of classes are added.
        source: Its file, for messages.
        watch: The hook from :func:`tidy_start`.
        loaders: The data loaders that the run uses.
        others: Classes that must equal those of the data, by their source.

    Raises:
        ConfigError: Lists all mistakes in the settings.
        CheckpointError: If the initial checkpoint cannot be read.
        ValueError: If it does not fit the model.
    """
    add_checks(cfg)
    checkpoint = read_checkpoint(cfg.get('load_from'))
    named = dict(others or {}) | _classes_of(checkpoint, cfg.get('load_from'))
    wrong = _find_problems(cfg, source, loaders, named)

    try:
        runner = ScreenRunner.from_cfg(cfg)
        runner.register_hook(watch)
        build_early(runner)
    except Exception as error:
        if wrong.files and _lacks_classes(cfg):
            raise ConfigError(_list_problems(source, wrong.files)) from error
        if not wrong.settings:
            raise

        problems = [*wrong.settings, f'{type(error).__name__}: {error}']
        raise ConfigError(_list_problems(source, problems)) from error

    if wrong.settings or wrong.files:
        raise ConfigError(_list_problems(source, [*wrong.settings, *wrong.files]))

    check_checkpoint(runner, checkpoint, is_training='train_dataloader' in loaders)
    return runner


def _find_problems(
    cfg: Config,
    source: str,
    loaders: Sequence[str],
    named: Mapping[str, Sequence[str]],
) -> Disagreements:
    """Find contradictions in an otherwise correct config.

    Raises:
        ConfigError: If it is not correct; also names contradictions, as far as they can be found.
    """
    try:
        check_config(cfg, source)
    except ConfigError as error:
        with suppress(AttributeError, KeyError, TypeError):
            found = find_disagreements(cfg, loaders, named).settings
            more = ''.join(f'\n- {line}' for line in found)
            raise ConfigError(f'{error}{more}') from error

        raise

    return find_disagreements(cfg, loaders, named)


def _lacks_classes(cfg: Config) -> bool:
    """Return whether a model needs the number of classes of data that cannot be read."""
    head = find_head(cfg)
    return head is not None and head.get('num_classes') is None


def _list_problems(source: str, problems: Sequence[str]) -> str:
    return f'{source}:' + ''.join(f'\n- {problem}' for problem in problems)


def _classes_of(checkpoint: dict[str, Any] | None, path: Any) -> dict[str, Sequence[str]]:
    meta = (checkpoint or {}).get('meta')
    dataset_meta = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    classes = dataset_meta.get('classes') if isinstance(dataset_meta, Mapping) else None
    is_list = isinstance(classes, list | tuple) and len(classes) > 0
    return {f'the checkpoint {path}': list(classes or ())} if is_list else {}


def add_checks(cfg: Config) -> None:
    """Add the hooks that check loaded files, if the config lacks them."""
    hooks = _hooks_of(cfg)
    custom = cfg.get('custom_hooks') or []
    for name, kind in CHECKS.items():
        if name not in hooks and not any(is_type(hook, HOOKS, kind) for hook in custom):
            hooks[name] = dict(type=kind.__name__)


def _hooks_of(cfg: Config) -> Any:
    """Return the default hooks of a config for changes, adding them if missing."""
    if not cfg.get('default_hooks'):
        cfg.default_hooks = {}
    return cfg.default_hooks


def read_checkpoint(path: str | None) -> dict[str, Any] | None:
    """Read a checkpoint, if it is a local file.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is damaged, refused or not a checkpoint.
    """
    if not path or '://' in path:
        return None

    content = load_checkpoint(path)
    if not isinstance(content, dict):
        raise CheckpointError(
            f'Checkpoint {path} contains a {type(content).__name__}: expected a dict with the '
            '`state_dict` of a model.'
        )

    return content


def resume_safely(cfg: Config, checkpoint: str) -> None:
    """Let a run resume through the hook that accepts no path from a checkpoint.

    Args:
        cfg: The config.
        checkpoint: The checkpoint, or ``'auto'`` for the newest intact one of the work folder.
    """
    hooks = _hooks_of(cfg)
    if not hooks.get('checkpoint'):
        hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    hook = hooks.checkpoint
    if find_class(HOOKS, hook.get('type')) is CheckpointHook:
        hook['type'] = ResumableCheckpointHook.__name__

    if checkpoint != 'auto':
        cfg.resume = True
        cfg.load_from = checkpoint
    elif is_type(hook, HOOKS, ResumableCheckpointHook):
        hook['auto_resume'] = True
    else:
        cfg.resume = True
        cfg.load_from = None


def check_checkpoint(
    runner: Runner,
    checkpoint: dict[str, Any] | None,
    is_training: bool,
) -> None:
    """Compare a run's initial checkpoint with its model, before the data are read.

    Args:
        runner: The run, with its model built.
        checkpoint: The content of ``load_from``, if available.
        is_training: Whether the run trains.

    Raises:
        ValueError: If tensors are missing that the run needs.
        TrainingStateError: If the run resumes and cannot continue from it.
    """
    for hook in runner.hooks if is_training else ():
        if isinstance(hook, ResumableCheckpointHook):
            hook.choose_checkpoint(runner)

    if runner._resume and is_training:
        content = read_checkpoint(runner._load_from)
        if content is not None:
            require_own_weights(runner, content)
    elif checkpoint is not None:
        require_weights(runner, checkpoint, is_training, log=False)


class _Watch(Hook):
    """Records that a run has reached its first batch, and then names its log.

    A run that fails earlier removes its log.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.has_begun = False

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self._begin(runner)

    def before_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self._begin(runner)

    def before_test_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self._begin(runner)

    def _begin(self, runner: Runner) -> None:
        if not self.has_begun:
            self.has_begun = True
            name_log_file(runner.logger)


@contextmanager
def tidy_start(cfg: Config) -> Iterator[Hook]:
    """Remove a run's files if it fails before its first batch.

    These are the folder of its log, the copy of its config, and the work folder if the run created
    it. A user's mistake ends the run with only its message.

    Args:
        cfg: The config, with its ``work_dir``.

    Yields:
        A hook to register with the run, which records the first batch.
    """
    folder = osp.abspath(cfg.work_dir)
    made = list(_missing_folders(folder))
    copy = osp.join(folder, osp.basename(cfg.filename or ''))
    before = _read(copy)
    watch = _Watch()

    try:
        yield watch
    except BaseException as error:
        if not watch.has_begun and is_main_process():
            _remove_log(folder)
            _put_back(copy, before)
            for parent in made:
                with suppress(OSError):
                    os.rmdir(parent)

        if isinstance(error, MISTAKES) and not watch.has_begun:
            sys.exit(str(error))
        raise


def _missing_folders(folder: str) -> Iterator[str]:
    """Yield the folders to be created for this one, itself first."""
    while not osp.isdir(folder):
        yield folder
        folder = osp.dirname(folder)


def _remove_log(work_dir: str) -> None:
    """Remove the log folder of this process's run, which is named by the time."""
    for handler in list(MMLogger.get_current_instance().handlers):
        if isinstance(handler, logging.FileHandler):
            folder = osp.dirname(handler.baseFilename)
            is_own = osp.dirname(folder) == work_dir and LOG_FOLDER.fullmatch(osp.basename(folder))
            if is_own:
                handler.close()
                MMLogger.get_current_instance().removeHandler(handler)
                shutil.rmtree(folder, ignore_errors=True)


def _read(path: str) -> bytes | None:
    if not osp.isfile(path):
        return None
    with open(path, 'rb') as file:
        return file.read()


def _put_back(path: str, content: bytes | None) -> None:
    if _read(path) == content:
        return
    if content is None:
        os.remove(path)
        return
    with open(path, 'wb') as file:
        file.write(content)
