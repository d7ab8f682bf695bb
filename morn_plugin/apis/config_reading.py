"""Reads a config so that a user's own settings take effect.

MMEngine inserts the value of a variable when it reads the file that uses it. A derived config that
overrides such a variable (``image_size = 64``) then silently changes only the variable. Here
``image_size`` is a setting that applies everywhere, and any other such override is an error.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .config_check import SETTINGS, ConfigError

IMAGE_SIZE = 'image_size'
# Arguments that set the image size: in a transform, and in a backbone of fixed size.
SIZE_KEYS = ('scale', 'crop_size', 'size', 'img_size', 'input_size')
SIZED = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'tta_pipeline', 'model')
FROM_BASE = re.compile(r'_base_\.(\w+)')
MAX_PLACES = 4  # that an error lists


@dataclass(frozen=True)
class Overridden:
    """A variable of a base that is overridden too late: the base has used its own value.

    Attributes:
        name: Name of the variable.
        before: The base's value.
        where: The file or flag that overrides it.
    """

    name: str
    before: Any
    where: str


@dataclass(frozen=True)
class Source:
    """Names in the text of a config, before it is run.

    Attributes:
        bases: The files it derives from.
        assigned: Names that it sets at its top level.
        read: Names that it reads itself.
        from_base: Names that it reads of its bases, as ``_base_.name``.
    """

    bases: tuple[str, ...]
    assigned: frozenset[str]
    read: frozenset[str]
    from_base: frozenset[str]


def read_config(path: str, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config, and apply the settings of the command line to it.

    Args:
        path: The file, or ``package::file`` of an installed package.
        options: Settings by dotted name, as in ``--cfg-options``.

    Returns:
        The config. If it overrides ``image_size`` of a base, transforms and backbone have the new
        size.

    Raises:
        ConfigError: If a variable is overridden that nothing reads afterwards, or ``image_size``
            has no effect; names all.
    """
    options = dict(options or {})
    cfg = Config.fromfile(path)
    overridden = [*find_overridden(cfg.filename), *_overridden_by(options, cfg)]
    cfg.merge_from_dict(options)

    dead = [item for item in overridden if item.name != IMAGE_SIZE]
    problems = [_explain(item, cfg) for item in dead]
    before = [item.before for item in overridden if item.name == IMAGE_SIZE]
    if before:
        problems += _apply_image_size(cfg, before)
    if problems:
        raise ConfigError(f'{path}:\n' + '\n'.join(f'- {problem}' for problem in problems))

    return cfg


def find_overridden(path: str, read_above: frozenset[str] = frozenset()) -> list[Overridden]:
    """Find the variables that a config or its bases override too late.

    Args:
        path: The config's file.
        read_above: Names that derived files read from their bases.

    Returns:
        One entry per variable and file, the config's own first. Pure-Python configs, whose names
        MMEngine resolves by import, and installed packages have no entries.
    """
    source = read_source(path)
    if source is None or '.mim' in Path(path).parts:
        return []

    found = []
    unread = source.assigned - source.read - read_above - SETTINGS
    for base in source.bases:
        doubtful = sorted(unread & names_below(base))
        if doubtful:
            cfg = Config.fromfile(path)
            values = Config.fromfile(base)
            found += [
                Overridden(name, values[name], path)
                for name in doubtful
                if name in values and name in cfg and values[name] != cfg[name]
            ]

        found += find_overridden(base, read_above | source.from_base)

    return found


def names_below(path: str) -> frozenset[str]:
    """Return the names that a config and all of its bases set at the top level."""
    source = read_source(path)
    if source is None:
        return frozenset()
    return source.assigned.union(*map(names_below, source.bases))


def read_source(path: str) -> Source | None:
    """Read the names in a config's text; None if it is no Python file, or a pure-Python one."""
    if not path.endswith('.py') or Config._is_lazy_import(path):
        return None

    tree = ast.parse(Path(path).read_text(encoding='utf-8'))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return Source(
        bases=tuple(_find_bases(tree, path)),
        assigned=frozenset(_assigned_names(tree)),
        read=frozenset(node.id for node in names if not isinstance(node.ctx, ast.Store)),
        from_base=frozenset(FROM_BASE.findall(ast.unparse(tree))),
    )


def _find_bases(tree: ast.Module, path: str) -> Iterator[str]:
    for node in tree.body:
        if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != '_base_':
            continue
        listed = ast.literal_eval(node.value)
        for base in [listed] if isinstance(listed, str) else listed:
            yield Config._get_cfg_path(base, path)[0]


def _assigned_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        for target in targets:
            if isinstance(target, ast.Name) and not target.id.startswith('_'):
                yield target.id


def _overridden_by(options: Mapping[str, Any], cfg: Config) -> Iterator[Overridden]:
    """Find the variables of a config that the command line overrides too late."""
    for name, value in options.items():
        if name in cfg and name not in SETTINGS and cfg[name] != value:
            yield Overridden(name, cfg[name], f'--cfg-options {name}')


def _explain(item: Overridden, cfg: Config) -> str:
    places = list(_find_value(cfg.to_dict(), item.before))[:MAX_PLACES]
    instead = ', '.join(f'`{place}`' for place in places) or 'the settings that it is meant for'
    return (
        f'`{item.name}` in {item.where} changes nothing: the base used its own value of it, '
        f'{_shorten(item.before)}, when it was read. Set {instead} instead.'
    )


def _find_value(
    node: Any,
    value: Any,
    path: str = '',
) -> Iterator[str]:
    """Name the settings with a value; none for numbers, many of which are equal by chance."""
    if isinstance(value, int | float | None):
        return

    children: Any = ()
    if isinstance(node, Mapping):
        children = node.items()
    elif isinstance(node, Sequence) and not isinstance(node, str):
        children = enumerate(node)

    for key, child in children:
        place = f'{path}.{key}' if path else str(key)
        if not path and key not in SETTINGS:
            continue

        if child == value:
            yield place
        else:
            yield from _find_value(child, value, place)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _apply_image_size(cfg: Config, before: Sequence[Any]) -> list[str]:
    """Replace every old size by the new one; return a problem if there is none."""
    size = cfg[IMAGE_SIZE]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return [f'`image_size` should be a positive number of pixels, but got {size!r}.']

    # Nothing reads pipelines that are variables, but they are printed with the config.
    for variable in (name for name in cfg if name.endswith('_pipeline') and name not in SIZED):
        _replace_sizes(cfg[variable], before, size)

    if sum(_replace_sizes(cfg.get(name), before, size) for name in SIZED):
        return []

    return [
        f'`image_size` = {size} reaches nothing: no transform and no backbone has the size '
        f'{before[0]} of the base any more. Set the sizes of the pipelines.'
    ]


def _replace_sizes(
    node: Any,
    before: Sequence[Any],
    size: int,
) -> int:
    """Replace the sizes in a setting and everything inside it; return how many."""
    if isinstance(node, Mapping):
        count = 0
        for key, value in node.items():
            new = _resize(value, before, size) if key in SIZE_KEYS else None
            if new is not None:
                node[key] = new  # type: ignore[index]
                count += 1
            else:
                count += _replace_sizes(value, before, size)

        return count

    if isinstance(node, Sequence) and not isinstance(node, str):
        return sum(_replace_sizes(item, before, size) for item in node)

    return 0


def _resize(
    value: Any,
    before: Sequence[Any],
    size: int,
) -> Any:
    """Return the new value of a size, or None if it is not an old one."""
    if value in before:
        return size
    is_pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    if is_pair and value[0] == value[1] and value[0] in before:
        return (size, size)
    return None
