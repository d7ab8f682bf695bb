"""Records finished steps and their settings: each step runs once, an interrupted one resumes.

The folder of a step holds ``settings.json``, written first, and ``record.json``, written last. The
settings are everything that determines the outcome, except the code.
"""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ...utils.layout import find_root
from ...utils.strict_json import dump_json, parse_json, read_json, write_json
from ...version import __version__

SETTINGS, RECORD = 'settings.json', 'record.json'


def begin(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Return whether a step must still run; write the settings of a new step.

    Raises:
        ValueError: If the step was begun with other settings or with unknown ones.
    """
    path = folder / SETTINGS
    expected = parse_json(dump_json(settings), str(path))  # as JSON returns it
    if path.is_file():
        _compare(path, read_json(path), expected)
        return not (folder / RECORD).is_file()

    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f'{folder}: has files but no {SETTINGS}, so it is unknown how they were made. '
            'Remove the folder to make it anew.'
        )
    write_json(path, expected, indent=1)
    return True


def _compare(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise unless a step was begun with its present settings; name those that differ."""
    if found == expected:
        return
    keys = sorted(found.keys() | expected.keys())
    changed = ', '.join(
        f'expected {key}={expected.get(key)!r}, but got {found.get(key)!r}'
        for key in keys
        if found.get(key) != expected.get(key)
    )
    raise ValueError(
        f'{path}: this step was begun with other settings: {changed}. '
        'Remove the folder to make it anew, or choose another --out.'
    )


def finish(folder: Path, seconds: float, **more: Any) -> None:
    """Write the record of a step, which marks it as done."""
    record = dict(seconds=round(seconds, 1), **describe_code(), **more)
    write_json(folder / RECORD, record, indent=1)


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a finished step.

    Raises:
        FileNotFoundError: If the step is not finished.
    """
    path = folder / RECORD
    if not path.is_file():
        raise FileNotFoundError(f'{folder}: expected {RECORD}, but this step is not done.')
    return read_json(path)


def describe_code() -> dict[str, str]:
    """Return the versions of the code and its libraries, and the processor."""
    return dict(
        commit=_commit(), version=__version__, torch=torch.__version__, machine=platform.machine()
    )


def _commit() -> str:
    """Return the commit of the code, with a plus if files differ from it."""
    git = ['git', '-C', str(find_root())]
    try:
        name = subprocess.check_output([*git, 'rev-parse', '--short=9', 'HEAD'], text=True)
        changed = subprocess.check_output([*git, 'status', '--porcelain', '-uno'], text=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return name.strip() + '+' * bool(changed.strip())


def hash_config(cfg: Config) -> str:
    """Return the SHA-256 of a config's text without the paths of the machine.

    The config's search settings are left out: they decide which runs exist, not their outcome.
    """
    settings = {key: value for key, value in cfg.to_dict().items() if key != 'benchmark'}
    text = Config(settings).dump().replace(str(find_root()), '')
    return hashlib.sha256(text.encode()).hexdigest()
