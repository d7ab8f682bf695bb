"""Finds config and weights of a work folder or a checkpoint."""

import os.path as osp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..engine.checkpoint_content import read_model_checkpoint
from ..engine.checkpoints import CheckpointError
from .building import first_line
from .checkpoint_config import MAX_CHARACTERS, read_checkpoint_config
from .config_check import ConfigError
from .config_reading import read_config
from .config_text import parse_config

__all__ = ['find_checkpoint', 'find_config', 'find_model', 'parse_config', 'read_own_config']

MAX_NAME = 10_000  # characters
MAX_BYTES = 4  # of a character
HELP = 'Name the config as well: --config FILE.'
EXPORTED = {
    '.pt2': 'is a torch.export program, and loading one may run code that is in it: load one of '
    'your own with torch.export.load (docs/using/export.md), or export the model to .onnx, which '
    'tools/predict.py runs',
    '.onnx': 'is an exported model, which tools/predict.py alone runs: name the checkpoint or work '
    'folder that it came from',
}


def find_model(
    path: str | Path,
    config: str | Path | None = None,
    trust_config: bool = False,
) -> tuple[Config, dict[str, Any], str]:
    """Find the config and the checkpoint of a model.

    Args:
        path: A work folder, whose best checkpoint is used, else the last; or a checkpoint.
        config: The config, fully trusted. Defaults to None: the text in the checkpoint, else the
            only config file next to it; both may use only registered names, see
            :func:`~morn_plugin.apis.checkpoint_config.read_checkpoint_config`.
        trust_config: Also trust the text in the checkpoint, or the file next to it.

    Returns:
        Config, the checkpoint (``state_dict`` and ``meta``) and its path.

    Raises:
        FileNotFoundError: If there is no checkpoint or no config.
        ValueError: If there are several and none is named, or one cannot be read or used, for
            example an exported model.
    """
    checkpoint_path = find_checkpoint(path)
    try:
        checkpoint = read_model_checkpoint(checkpoint_path)
    except CheckpointError as error:
        raise ValueError(str(error)) from error

    text = checkpoint['meta'].get('cfg')
    if config is not None:
        cfg = read_own_config(config)
    elif text is not None:
        source = f'the config in {checkpoint_path}'
        cfg = read_checkpoint_config(text, source, trust_config)
    else:
        cfg = _read_config_beside(Path(checkpoint_path), trust_config)

    return cfg, checkpoint, checkpoint_path


def read_own_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file given by the user.

    Args:
        path: The file.
        options: Settings by dotted name, as ``--cfg-options`` takes them.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it overrides a variable that nothing reads afterwards.
        ValueError: If it cannot be read.
    """
    try:
        return read_config(str(path), options)
    except (FileNotFoundError, ConfigError):
        raise
    except Exception as error:  # a config is code and can raise anything
        raise ValueError(
            f'The config {path} cannot be read: {type(error).__name__}: {first_line(error)}'
        ) from error


def _read_config_beside(checkpoint: Path, trust: bool) -> Config:
    """Read the config file next to a checkpoint, which is trusted no more than the checkpoint."""
    found = find_config(checkpoint.parent)
    if trust:
        return read_own_config(found)

    size = found.stat().st_size
    largest = MAX_BYTES * MAX_CHARACTERS
    if size > largest:
        raise ValueError(
            f'{found}: expected a config of at most {largest:,} bytes, but got {size:,}. {HELP}'
        )

    try:
        text = found.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{found}: expected a config, but byte {error.start} is not UTF-8.'
        ) from error

    return read_checkpoint_config(text, str(found))


def find_checkpoint(path: str | Path) -> str:
    """Return the checkpoint of a work folder, or the path itself if it is a file.

    MMEngine writes absolute paths into ``last_checkpoint``. Only the name is used, so that a folder
    can be moved.
    """
    path = Path(path)
    if path.suffix in EXPORTED:
        raise ValueError(f'{path} {EXPORTED[path.suffix]}.')
    if path.is_file():
        return str(path)
    if not path.is_dir():
        raise FileNotFoundError(
            f'{path} is neither a checkpoint nor a work folder: it does not exist.'
        )

    best = sorted(path.glob('best_*.pth'))
    if len(best) > 1:
        raise ValueError(
            f'{path} has several best checkpoints: name one of {[item.name for item in best]}.'
        )
    if best:
        return str(best[0])

    last = path / 'last_checkpoint'
    if last.is_file():
        with open(last, encoding='utf-8', errors='replace') as file:
            named = path / osp.basename(file.read(MAX_NAME).strip())
        if named.is_file():
            return str(named)

    others = list(path.glob('*.pth'))
    if not others:
        raise FileNotFoundError(f'{path} contains no checkpoint (*.pth).')
    if len(others) > 1:
        raise ValueError(
            f'{path} contains several checkpoints and none is the best or the last: name one of '
            f'{sorted(item.name for item in others)}.'
        )

    return str(others[0])


def find_config(folder: Path) -> Path:
    """Return the only config file of a folder."""
    found = sorted(path for path in folder.glob('*.py') if path.is_file())
    if not found:
        raise FileNotFoundError(
            f'The checkpoint has no config in it and {folder} contains none (*.py). {HELP}'
        )
    if len(found) > 1:
        raise ValueError(f'{folder} has several configs: {[item.name for item in found]}. {HELP}')
    return found[0]
