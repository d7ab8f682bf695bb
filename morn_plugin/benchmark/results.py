"""Stores the results of one run: predictions on both sides, settings, provenance and cost.

The folder of a run holds ``predictions.npz`` and ``result.json``, which is written last. The folder
of a whole benchmark holds ``benchmark.json``, and runs at any depth.
"""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.checks import check_choice
from ..utils.files import atomic_write
from ..utils.strict_json import parse_json, write_json

RESULT, PREDICTIONS = 'result.json', 'predictions.npz'
BENCHMARK, FACTS = 'benchmark.json', 'facts.json'
FORMAT = 'morn-benchmark-1'
#: The input of a method: the CNN's label probabilities; cached pooled features or maps of the
#: frozen CNN; or the image itself, if CNN and method are trained together.
TIERS = ('scores', 'features', 'maps', 'joint')
SIDES = ('val', 'test')


@dataclass(frozen=True)
class Side:
    """A method's predictions on the validation or the test images.

    Attributes:
        targets: (N, C) int8; 1 true, 0 false, -1 ignored.
        labels: (N, C) bool, the method's own decision.
        scores: (N, C) float32, 0-1; None for a method without scores.
        first_scores: (N, C), the scores after one step; None: the same as ``scores``.
        paths: (N, T), the labels picked step by step, -1 after the end; None without steps.
    """

    targets: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    first_scores: np.ndarray | None = None
    paths: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.targets.shape
        for name in ('labels', 'scores', 'first_scores'):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(
                    f'Expected `{name}` of shape {shape}, as the targets, but got {array.shape}.'
                )
        for name in ('scores', 'first_scores'):
            array = getattr(self, name)
            if array is not None and not ((array >= 0) & (array <= 1)).all():
                raise ValueError(f'Expected `{name}` to be numbers in 0-1, but some are not.')
        if self.paths is not None and len(self.paths) != len(self.targets):
            raise ValueError(
                f'Expected `paths` of {len(self.targets)} images, but got {len(self.paths)}.'
            )

    @property
    def top_scores(self) -> np.ndarray | None:
        """The scores that top-1 is computed from: those after one step."""
        return self.scores if self.first_scores is None else self.first_scores


@dataclass(frozen=True)
class RunResult:
    """One run of one method, with the settings that were chosen on the validation side.

    Attributes:
        method: Its name, the same for all seeds; a reference is given by this name.
        title: Its name in tables.
        tier: The kind of its input, one of ``TIERS``.
        group: The table it belongs to.
        seed: The seed of CNN and method.
        val: Predictions on the images that settings, epoch and threshold are chosen on.
        test: Predictions on the images of the reported figures.
        has_probability: Whether a score is a probability, so that the threshold 0.5 makes sense.
        views: Number of views of an image in a training step; methods with several are compared
            with a control that has as many.
        settings: The chosen settings, such as ``dict(lr=0.001)``.
        trials: The tried settings, a dict each, with ``F1_I`` on validation.
        seconds: Seconds of training and prediction, without searches.
        provenance: Commit, versions and whatever else tells how the run was made.
    """

    method: str
    title: str
    tier: str
    group: str
    seed: int
    val: Side
    test: Side
    has_probability: bool = True
    views: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice('tier', self.tier, TIERS)
        if not self.method or not self.title:
            raise ValueError('Expected a run to have a method and a title, but one is empty.')

    def sides(self) -> dict[str, Side]:
        """Return both sides by name."""
        return dict(val=self.val, test=self.test)


@dataclass(frozen=True)
class Group:
    """A table of methods.

    Attributes:
        name: As ``RunResult.group``.
        title: Its heading.
        reference: Name of the method that the others are compared with.
        members: Methods of other groups that this table also contains.
        note: A text for the reader before the figures.
    """

    name: str
    title: str
    reference: str
    members: list[str] = field(default_factory=list)
    note: str = ''


@dataclass(frozen=True)
class BenchmarkInfo:
    """The information that all runs share.

    Attributes:
        title: Name of the data, such as ``'Open Clip Art'``.
        classes: The names of the C labels.
        training_counts: (C,), number of training images with each label.
        num_training: Number of training images.
        groups: The tables, in order; the first is the comparison of methods.
        topk: k of the table of exactly k labels per image.
        order: Methods in the order of the tables; others come last, by name.
        command: The command that makes the benchmark.
        minutes: The minutes that it took.
    """

    title: str
    classes: list[str]
    training_counts: list[int]
    num_training: int
    groups: list[Group]
    topk: int = 3
    order: list[str] = field(default_factory=list)
    command: str = ''
    minutes: float = 0.0


@dataclass(frozen=True)
class Facts:
    """Facts from the runs in addition to their predictions, kept in the folder of the page.

    Attributes:
        num_val: Number of validation images.
        num_test: Number of test images.
        bound: Column to the highest possible figure with exactly k labels per image, percent.
        trials: Method to its tried settings, see :class:`RunResult`.
    """

    num_val: int
    num_test: int
    bound: dict[str, float]
    trials: dict[str, list[dict[str, Any]]]


def save_result(folder: str | Path, result: RunResult) -> None:
    """Write a run's files; ``result.json``, which marks the run as done, comes last."""
    folder = Path(folder)
    arrays = {
        f'{name}_{part.name}': getattr(side, part.name)
        for name, side in result.sides().items()
        for part in fields(side)
        if getattr(side, part.name) is not None
    }
    with atomic_write(folder / PREDICTIONS) as file:
        np.savez_compressed(file, **arrays)

    content = {
        part.name: getattr(result, part.name) for part in fields(result) if part.name not in SIDES
    }
    _write_json(folder / RESULT, content)


def load_result(folder: str | Path) -> RunResult:
    """Read what :func:`save_result` wrote.

    Raises:
        ValueError: If a file or a field is missing or damaged; names it.
    """
    folder = Path(folder)
    content = _read_json(folder / RESULT, RunResult, SIDES)
    arrays = _read_arrays(folder / PREDICTIONS)
    try:
        sides: dict[str, Any] = {name: _take_side(arrays, f'{name}_') for name in SIDES}
        return RunResult(**content, **sides)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{folder}: expected the files of one run, but {error}') from error


def _take_side(arrays: Mapping[str, np.ndarray], prefix: str) -> Side:
    """Build a side from the arrays whose names start with its own."""
    own = {
        key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)
    }
    return Side(**own)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz file without pickle.

    Raises:
        ValueError: If it is missing or damaged; names it.
    """
    try:
        with open(path, 'rb') as file, zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f'{damaged} in it is damaged')
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f'{path}: expected predictions, but {error}') from error


def load_results(folder: str | Path) -> list[RunResult]:
    """Read all runs below a folder, sorted by method and seed.

    Raises:
        ValueError: If there is no run, one is damaged, two have the same method and seed, or they
            have different images or labels; names the folders.
    """
    places = sorted(path.parent for path in Path(folder).rglob(RESULT))
    if not places:
        raise ValueError(f'{folder}: expected folders with {RESULT}, but there is none.')

    found: dict[tuple[str, int], tuple[Path, RunResult]] = {}
    for place in places:
        result = load_result(place)
        key = (result.method, result.seed)
        if key in found:
            raise ValueError(
                f'{place}: {result.method} with seed {result.seed} is there twice, also in '
                f'{found[key][0]}.'
            )
        found[key] = place, result
    _check_same_images(found.values())
    return [found[key][1] for key in sorted(found)]


def _check_same_images(found: Iterable[tuple[Path, RunResult]]) -> None:
    (first_place, first), *others = found
    for place, result in others:
        for name, side in result.sides().items():
            if not np.array_equal(side.targets, first.sides()[name].targets):
                raise ValueError(
                    f'{place}: its {name} images or true labels are others than those of '
                    f'{first_place}: runs on different data cannot be compared.'
                )


def save_info(folder: str | Path, info: BenchmarkInfo) -> None:
    """Write ``benchmark.json`` into the folder of a benchmark."""
    _write_json(Path(folder) / BENCHMARK, asdict(info))


def load_info(folder: str | Path) -> BenchmarkInfo:
    """Read what :func:`save_info` wrote.

    Raises:
        ValueError: If it is missing or damaged.
    """
    path = Path(folder) / BENCHMARK
    content = _read_json(path, BenchmarkInfo)
    try:
        groups = [Group(**group) for group in content.pop('groups')]
        return BenchmarkInfo(**content, groups=groups)
    except (TypeError, KeyError) as error:
        raise ValueError(f'{path}: expected what all runs share, but {error}') from error


def save_facts(folder: str | Path, facts: Facts) -> None:
    """Write ``facts.json`` into the folder of a page."""
    _write_json(Path(folder) / FACTS, asdict(facts))


def load_facts(folder: str | Path) -> Facts:
    """Read what :func:`save_facts` wrote.

    Raises:
        ValueError: If it is missing or damaged.
    """
    path = Path(folder) / FACTS
    try:
        return Facts(**_read_json(path, Facts))
    except TypeError as error:
        raise ValueError(f'{path}: expected facts of a benchmark, but {error}') from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_json(path, dict(format=FORMAT, **content), indent=1)


def _read_json(path: Path, kind: type, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a JSON object with the fields of a dataclass.

    Raises:
        ValueError: If the file is missing or holds something else; names it.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: cannot be read: {error}') from error
    content = parse_json(text, str(path))
    if not isinstance(content, dict) or content.pop('format', None) != FORMAT:
        raise ValueError(f'{path}: expected an object of the format {FORMAT!r}.')

    known = {part.name for part in fields(kind)} - set(without)
    unknown = sorted(content.keys() - known)
    if unknown:
        raise ValueError(f'{path}: expected fields of {sorted(known)}, but got {unknown}.')
    return content
