"""The only entry point for a config from a checkpoint.

A checkpoint comes from whoever trained the model. Its config is read as data, checked before
anything is imported or built. Anything more needs the user's explicit consent.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ..utils.schemas import ConfigContent, check_schema
from .config_gate import ConfigGate
from .config_text import make_config, parse_config, parse_values

HELP = (
    'If you trust its author, --trust-config takes it all the same (trust_config=True in Python); '
    '--config FILE takes a config of yours.'
)
MAX_CHARACTERS = 1_000_000
MAX_VALUES = 100_000
MAX_PROBLEMS = 8  # reported in one message


class CheckpointConfig(Config):
    """A config from inside a checkpoint that passed :func:`read_checkpoint_config`."""


def read_checkpoint_config(
    text: str,
    source: str,
    trust: bool = False,
) -> Config:
    """Read the config text of a checkpoint.

    Args:
        text: The text that MMEngine wrote.
        source: Its source, for the error.
        trust: Treat it like the user's own config: import its modules, and run it as Python if it
            contains more than values. Only with the user's consent.

    Raises:
        ValueError: If it is not a config; or, without ``trust``, if it is larger than allowed, or
            names or does something that is not allowed. Lists the problems.
    """
    if trust:
        return _read_trusted(text, source)
    _check_size(text, source)
    values = parse_values(text, source)
    check_schema(ConfigContent, values, source)
    gate = ConfigGate()
    cleaned = gate.clean_config(values)
    if gate.problems:
        raise ValueError(_list_problems(gate.problems, source))

    _import_modules(cleaned.pop('custom_imports', None), source)
    return make_config(cleaned, source, CheckpointConfig)


def _check_size(text: str, source: str) -> None:
    sizes = {
        'characters': (len(text), MAX_CHARACTERS),
        'values': (sum(map(text.count, ',=([{')), MAX_VALUES),
    }
    for name, (found, largest) in sizes.items():
        if found > largest:
            raise ValueError(
                f'{source}: expected at most {largest:,} {name}, but got {found:,}. {HELP}'
            )


def _read_trusted(text: str, source: str) -> Config:
    try:
        cfg = parse_config(text, source)
    except ValueError as problem:
        try:
            return Config.fromstring(text, '.py')
        except Exception as error:  # the code may raise anything
            raise ValueError(
                f'{problem} As code, it raises {type(error).__name__}: {error}.'
            ) from error

    imports = cfg.get('custom_imports')
    if imports:
        try:
            import_modules_from_strings(**imports)
        except (ImportError, TypeError) as error:
            raise ValueError(f'{source}: `custom_imports`: {error}.') from error

    return cfg


def _import_modules(imports: Any, source: str) -> None:
    """Import the modules of a stranger's ``custom_imports``, which passed the gate."""
    if not imports:
        return
    names = imports['imports']
    for name in [names] if isinstance(names, str) else names:
        try:
            import_module(name)
        except ImportError as error:
            raise ValueError(f'{source}: `custom_imports`: {error}.') from error


def _list_problems(problems: Sequence[str], source: str) -> str:
    more = len(problems) - MAX_PROBLEMS
    lines = [f'- {problem}' for problem in problems[:MAX_PROBLEMS]]
    lines += [f'- ... and {more} more'] if more > 0 else []
    return '\n'.join([f'{source} is refused:', *lines, HELP])
