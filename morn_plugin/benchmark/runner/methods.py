"""Which methods there are: every config on cached inputs is one.

A config ``configs/<folder>/<name>_{scores,features,maps}_*_openclipart.py`` is the method
``<name>``. It may say more of itself in a variable ``benchmark``, see :class:`Method`; schedules in
``configs/_base_`` say there which learning rates are searched.
"""

import difflib
import os.path as osp
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...utils.layout import find_root

#: What the second part of a config's name says the method sees, to the tier of its results.
TIER_OF = dict(scores='scores', features='features', maps='maps')
GROUPS_ALSO = dict(map='maps')
FIELDS = ('title', 'groups', 'search')
MAX_OWN, MAX_VALUES = 2, 3
LEARNING_RATE = 'optim_wrapper.optimizer.lr'
#: The method that gives the scores where the CNN is frozen: a linear classifier, trained by BCE.
LINEAR = 'cnn-linear'


@dataclass(frozen=True)
class Method:
    """A method of the benchmark.

    Attributes:
        name: By which it is chosen, and its folder is named.
        config: Its config on cached inputs.
        tier: What it sees: ``'scores'``, ``'features'`` or ``'maps'``.
        title: What tables call it. Defaults to the name.
        groups: More names that choose it, such as ``'losses'``.
        search: Settings of the config to the values that are tried: the learning rate, and at most
            two of its own with three values each.
    """

    name: str
    config: Path
    tier: str
    title: str
    groups: tuple[str, ...] = ()
    search: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """All that chooses it."""
        return {self.name, self.tier, *self.groups}


def find_methods(folder: Path | None = None) -> list[Method]:
    """Return every method of the configs folder, by tier and name.

    Args:
        folder: Defaults to the configs of this package.
    """
    folder = folder or find_root() / 'configs'
    methods = []
    for tier in TIER_OF:
        paths = sorted(folder.glob(f'*/*_{tier}_*_openclipart.py'))
        methods += [read_method(path, tier) for path in paths]
    return methods


def read_method(path: Path, tier: str | None = None) -> Method:
    """Read what a config says of its method.

    Args:
        path: The config.
        tier: What it sees. Defaults to None: the second part of the file's name says it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it says what nothing reads, searches too much, or the tier is not known.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: expected a config of a method, but there is no such file.'
        )
    name, *parts = path.stem.split('_')
    tier = tier or next((part for part in parts if part in TIER_OF), None)
    if tier is None:
        raise ValueError(
            f'{path}: expected a name such as {name}_features_1xb32-20e_mine.py, whose second part '
            f'says what the method sees ({", ".join(TIER_OF)}).'
        )
    said = Config.fromfile(path).get('benchmark') or {}
    unknown = sorted(set(said) - set(FIELDS))
    if unknown:
        raise ValueError(f'{path}: expected `benchmark` to hold {FIELDS}, but got {unknown}.')

    search = {key: tuple(values) for key, values in (said.get('search') or {}).items()}
    _check_search(path, search)
    return Method(
        name=name,
        config=path,
        tier=TIER_OF[tier],
        title=said.get('title') or name,
        groups=tuple(said.get('groups') or ()),
        search=search,
    )


def _check_search(path: Path, search: dict[str, tuple[Any, ...]]) -> None:
    own = [key for key in search if key != LEARNING_RATE]
    longest = max((len(search[key]) for key in own), default=0)
    if len(own) > MAX_OWN or longest > MAX_VALUES:
        raise ValueError(
            f'{path}: expected at most {MAX_OWN} settings of its own with {MAX_VALUES} values each '
            f'in `benchmark.search`, so that every method is searched alike, but got {search}.'
        )


def choose_methods(methods: Sequence[Method], wanted: Iterable[str]) -> list[Method]:
    """Choose methods by name, by group, or by the path of a config outside.

    Args:
        methods: Those that there are.
        wanted: Names, groups and paths; none: all methods.

    Returns:
        The chosen ones, in the order of ``methods``, those from outside last.

    Raises:
        ValueError: If a name chooses nothing; lists names and groups.
    """
    wanted = [GROUPS_ALSO.get(name, name) for name in wanted]
    outside = [read_method(Path(name)) for name in wanted if name.endswith('.py')]
    names = {name for name in wanted if not name.endswith('.py')}
    known = {name for method in methods for name in method.names}
    for name in sorted(names - known):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f' Did you mean {close[0]!r}?' if close else ''
        raise ValueError(
            f'Expected a method, a group or a config, but got {name!r}.{hint} '
            f'{describe_methods(methods)}'
        )

    chosen = [method for method in methods if not wanted or method.names & names]
    clashes = {method.name for method in chosen} & {method.name for method in outside}
    if clashes:
        listed = ', '.join(osp.basename(method.config) for method in outside)
        raise ValueError(
            f'Expected names that no other method has, but got {sorted(clashes)} of {listed}: '
            'rename the files.'
        )
    return chosen + outside


def describe_methods(methods: Sequence[Method]) -> str:
    """List the methods and groups that there are."""
    names = [method.name for method in methods]
    groups = sorted({name for method in methods for name in method.names} - set(names))
    return f'Methods: {", ".join(names)}. Groups: {", ".join(groups)}.'


def list_searches(method: Method) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the settings to search, one after the other, and their values; the rate is first.

    Examples:
        >>> search = {'k': (1, 2), LEARNING_RATE: (0.1, 0.01)}
        >>> method = Method('m', Path('m.py'), 'scores', 'M', search=search)
        >>> list_searches(method)
        [('optim_wrapper.optimizer.lr', (0.1, 0.01)), ('k', (1, 2))]
    """
    return sorted(method.search.items(), key=lambda item: item[0] != LEARNING_RATE)
