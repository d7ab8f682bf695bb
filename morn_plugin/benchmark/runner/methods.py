"""Finds the methods: each config on cached inputs is one, and each config that trains the CNN.

A config ``configs/<folder>/<name>_{scores,features,maps}_*_openclipart.py`` is the method
``<name>``. So is a config on images, ``<name>_*_openclipart-128px.py``, if it states that it trains
the CNN itself: ``benchmark = dict(tier='joint')``. This variable may hold more, see
:class:`Method`; schedules in ``configs/_base_`` list their learning rates for the search there.
"""

import difflib
import os.path as osp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...utils.layout import find_root

#: The second part of a config's name, which is the method's input, to the tier of its results.
TIER_OF = dict(scores='scores', features='features', maps='maps')
#: The tier of methods that train the CNN: their configs state it, their names hold the backbone.
JOINT = 'joint'
CACHED_CONFIGS, IMAGE_CONFIGS = '*/*_{}_*_openclipart.py', '*/*_openclipart-128px.py'
GROUPS_ALSO = dict(map='maps')
FIELDS = ('title', 'groups', 'search', 'tier', 'views', 'control')
MAX_OWN, MAX_VALUES = 2, 3
LEARNING_RATE = 'optim_wrapper.optimizer.lr'
#: Default learning rates to try for the CNN and for methods that train it.
CNN_RATES = (2e-3, 4e-3, 8e-3)
#: The method that supplies the scores if the CNN is frozen: a linear classifier, trained by BCE.
LINEAR = 'cnn-linear'


@dataclass(frozen=True)
class Method:
    """A method of the benchmark.

    Attributes:
        name: The name that chooses it and that its folder has.
        config: Its config, on cached inputs or on images.
        tier: Its input: ``'scores'``, ``'features'``, ``'maps'``, or ``'joint'`` if it trains the
            CNN on images.
        title: Its name in tables. Defaults to ``name``.
        groups: More names that choose it, such as ``'losses'``.
        search: Settings of the config to the values to try: the learning rate, and at most two of
            the method's own with three values each.
        views: Number of views of an image in a training step of the CNN.
        control: With several views, the method with as many views that it is compared with; its own
            name if it is the control.
    """

    name: str
    config: Path
    tier: str
    title: str
    groups: tuple[str, ...] = ()
    search: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    views: int = 1
    control: str = ''

    @property
    def is_joint(self) -> bool:
        """Whether it trains the CNN itself."""
        return self.tier == JOINT

    @property
    def names(self) -> set[str]:
        """All names that choose it."""
        return {self.name, self.tier, *self.groups}


def find_methods(folder: Path | None = None) -> list[Method]:
    """Return every method of the configs folder, by tier and name.

    A folder is read once in a process.

    Args:
        folder: Defaults to the configs of this package.
    """
    return list(_find_methods(folder or find_root() / 'configs'))


@cache
def _find_methods(folder: Path) -> tuple[Method, ...]:
    methods: list[Method] = []
    for tier in TIER_OF:
        paths = sorted(folder.glob(CACHED_CONFIGS.format(tier)))
        methods += [read_method(path, tier) for path in paths]

    on_images = sorted(folder.glob(IMAGE_CONFIGS))
    joint = [path for path in on_images if read_statement(path).get('tier') == JOINT]
    methods += [read_method(path, JOINT) for path in joint]
    return tuple(methods)


def read_statement(path: Path) -> dict[str, Any]:
    """Return the ``benchmark`` variable of a config."""
    return dict(Config.fromfile(path).get('benchmark') or {})


def read_method(path: Path, tier: str | None = None) -> Method:
    """Read a method from its config.

    Args:
        path: The config.
        tier: Its input. Defaults to None: ``'joint'`` by the config, or the second part of the
            config's name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If ``benchmark`` has an unknown field, the search is too large, or the tier is
            unknown.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: expected a config of a method, but there is no such file.'
        )
    said = read_statement(path)
    unknown = sorted(set(said) - set(FIELDS))
    if unknown:
        raise ValueError(f'{path}: expected `benchmark` to hold {FIELDS}, but got {unknown}.')

    name = path.stem.split('_')[0]
    tier = _find_tier(path, said, tier)
    search = {key: tuple(values) for key, values in (said.get('search') or {}).items()}
    _check_search(path, search)
    views, control = said.get('views', 1), said.get('control', '')
    _check_views(path, tier, views, control)
    return Method(
        name=name,
        config=path,
        tier=TIER_OF.get(tier, tier),
        title=said.get('title') or name,
        groups=tuple(said.get('groups') or ()),
        search=search,
        views=views,
        control=control,
    )


def _find_tier(path: Path, said: Mapping[str, Any], tier: str | None) -> str:
    """Return the tier given by the caller, the config or the config's name."""
    name, *parts = path.stem.split('_')
    named = next((part for part in parts if part in TIER_OF), None)
    found = tier or said.get('tier') or named
    if found is None:
        raise ValueError(
            f'{path}: expected a name such as {name}_features_1xb32-20e_mine.py, whose second part '
            f'says what the method sees ({", ".join(TIER_OF)}), or a config on images that says '
            f"benchmark = dict(tier='{JOINT}')."
        )
    if 'tier' in said and (said['tier'], found) != (JOINT, JOINT):
        raise ValueError(
            f"{path}: expected `benchmark.tier` to be '{JOINT}', in a config on images, or left "
            f'out, but got {said["tier"]!r}.'
        )
    return found


def _check_views(path: Path, tier: str, views: Any, control: Any) -> None:
    """Raise unless a method of several views trains the CNN and names its control."""
    is_number = isinstance(views, int) and not isinstance(views, bool) and views > 0
    if not is_number or (views > 1) != bool(control) or (views > 1 and tier != JOINT):
        raise ValueError(
            f'{path}: expected `benchmark.views` to be 1, or of a method that trains the CNN '
            f"(tier='{JOINT}') more, and then `benchmark.control` to name the method of as many "
            f'views that it is compared with, but got views={views!r}, control={control!r}.'
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
    """Choose methods by name, by group, or by the path of an outside config.

    Args:
        methods: The available methods.
        wanted: Names, groups and paths; empty for all methods.

    Returns:
        The chosen methods, in the order of ``methods``, those from outside last.

    Raises:
        ValueError: If a name is unknown; lists names and groups.
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


def add_controls(methods: Sequence[Method]) -> list[Method]:
    """Add the controls of the methods of several views.

    Args:
        methods: The chosen methods; a control may be any other of the configs folder.

    Raises:
        ValueError: If a control does not exist.
    """
    known = {method.name: method for method in (*find_methods(), *methods)}
    found = {method.name: method for method in methods}
    for method in methods:
        if not method.control:
            continue
        if method.control not in known:
            raise ValueError(
                f'{method.config}: expected `benchmark.control` to be a method, but got '
                f'{method.control!r}.'
            )
        found.setdefault(method.control, known[method.control])
    return list(found.values())


def search_as_the_cnn(method: Method, rates: tuple[float, ...]) -> Method:
    """Search the CNN's rates for a method that trains the CNN, unless its config lists its own.

    Args:
        method: A method.
        rates: The CNN's learning rates.
    """
    own = method.search.get(LEARNING_RATE, CNN_RATES)
    if not method.is_joint or own != CNN_RATES:
        return method
    return replace(method, search={**method.search, LEARNING_RATE: rates})


def describe_methods(methods: Sequence[Method]) -> str:
    """List the available methods and groups."""
    names = [method.name for method in methods]
    groups = sorted({name for method in methods for name in method.names} - set(names))
    return f'Methods: {", ".join(names)}. Groups: {", ".join(groups)}.'


def list_searches(method: Method) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the settings to search in turn, with their values; the learning rate comes first.

    Examples:
        >>> search = {'k': (1, 2), LEARNING_RATE: (0.1, 0.01)}
        >>> method = Method('m', Path('m.py'), 'scores', 'M', search=search)
        >>> list_searches(method)
        [('optim_wrapper.optimizer.lr', (0.1, 0.01)), ('k', (1, 2))]
    """
    return sorted(method.search.items(), key=lambda item: item[0] != LEARNING_RATE)
