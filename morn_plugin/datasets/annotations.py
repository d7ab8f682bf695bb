"""Reads, checks, counts and writes annotation files of ``MultiLabelDataset``.

The one place that knows the JSON layout, shared by the data sets, the metrics
and every converter under ``tools/dataset_converters``::

    {"metainfo": {"classes": ["cat", "dog"]},
     "data_list": [{"img_path": "a.jpg", "gt_label": [0, 1]},
                   {"img_path": "b.jpg", "gt_label": [],
                    "gt_label_difficult": [1]}]}

``gt_label`` holds the indices of the true classes. The optional
``gt_label_difficult`` holds classes that are neither right nor wrong in that
image (PASCAL VOC's difficult objects); they become -1 in the target vector and
are left out of losses and metrics.
"""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.checks import describe_missing
from ..utils.class_names import find_faults
from ..utils.describing import describe, list_problems
from ..utils.files import PathLike, atomic_write
from ..utils.strict_json import dump_json, parse_json

LONGEST_METAINFO = 4_000_000
METAINFO_FIRST = re.compile(r'\s*\{\s*"metainfo"\s*:\s*')


class AnnotationError(ValueError):
    """An unusable annotation file; the message names the field."""


@dataclass
class Annotations:
    """The checked content of one annotation file.

    Attributes:
        classes: Names of the C classes; the index in the list is the label.
        data_list: One dict per image: ``img_path`` (str), ``gt_label`` (list of int, 0..C-1, no
            repeats) and optionally ``gt_label_difficult`` (the same, disjoint from ``gt_label``).
        metainfo: Everything else in the file's ``metainfo``.
    """

    classes: list[str]
    data_list: list[dict[str, Any]]
    metainfo: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.data_list)

    def label_counts(self) -> np.ndarray:
        """Count the images of every class.

        Returns:
            Integer array (C,).

        Examples:
            >>> data = [dict(img_path='a', gt_label=[0, 2]), dict(img_path='b', gt_label=[2])]
            >>> Annotations(['x', 'y', 'z'], data).label_counts().tolist()
            [1, 0, 2]
        """
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for item in self.data_list:
            counts[item['gt_label']] += 1
        return counts

    def targets(self) -> np.ndarray:
        """Return the target vectors of all images.

        Returns:
            int8 array (N, C) in {0, 1, -1}; -1 marks a difficult class.
        """
        targets = np.zeros((len(self), len(self.classes)), dtype=np.int8)
        for row, item in zip(targets, self.data_list, strict=True):
            row[item['gt_label']] = 1
            row[item.get('gt_label_difficult', [])] = -1
        return targets


def check_classes(classes: Any, source: str) -> list[str]:
    """Check a list of class names.

    Args:
        classes: Should be a non-empty sequence of distinct, non-empty strings. Two that look the
            same are not distinct, see :func:`~morn_plugin.utils.class_names.find_faults`.
        source: Its source, for the error.

    Returns:
        The names as a list.

    Raises:
        AnnotationError: If it is not.
    """
    problems = [f'{source}: {fault}.' for fault in find_faults(classes, 'metainfo.classes')]
    if problems:
        raise AnnotationError(list_problems(problems))
    return list(classes)


def check_annotations(
    content: Any, source: str, classes: Sequence[str] | None = None
) -> Annotations:
    """Check the decoded JSON of an annotation file.

    Args:
        content: The result of ``json.load``.
        source: The file's name, for the error.
        classes: Class names that the file must have, in this order. They are used if the file has
            none. Defaults to None, any.

    Returns:
        The checked annotations, labels as plain lists of int.

    Raises:
        AnnotationError: If any field is missing, of a wrong type, out of
            range or repeated; names file, image and field.
    """
    if not isinstance(content, dict):
        raise AnnotationError(
            f'{source}: expected a JSON object with `metainfo` and `data_list`, but got '
            f'{describe(content)}.'
        )

    metainfo = content.get('metainfo', {} if classes is not None else None)
    if not isinstance(metainfo, dict):
        raise AnnotationError(
            f'{source}: expected `metainfo` to be an object, but got {describe(metainfo)}.'
        )

    data_list = content.get('data_list')
    if not isinstance(data_list, list):
        raise AnnotationError(
            f'{source}: expected `data_list` to be a list, but got {describe(data_list)}.'
        )
    if not data_list:
        raise AnnotationError(f'{source}: `data_list` is empty: expected at least one image.')

    own = check_classes(metainfo.get('classes', classes), source)
    if classes is not None:
        compare_classes(own, classes, f'{source}: `metainfo.classes`', 'the classes of the config')
    problems = [
        problem
        for index, item in enumerate(data_list)
        for problem in _find_item_problems(item, f'{source}: `data_list[{index}]', len(own))
    ]
    if not problems:
        problems = list(_find_contradictions(data_list, source))
    if problems:
        raise AnnotationError(list_problems(problems))

    items = [dict(item) for item in data_list]
    others = {key: value for key, value in metainfo.items() if key != 'classes'}
    return Annotations(own, items, others)


def compare_classes(
    found: Sequence[str],
    expected: Sequence[str],
    found_in: str,
    expected_by: str,
) -> None:
    """Require two class lists to be equal, in names and in order.

    Raises:
        AnnotationError: Names the first difference and its kind.
    """
    found = list(found)
    expected = list(expected)
    if found == expected:
        return

    if sorted(found) == sorted(expected):
        kind = 'the same names in another order'
    else:
        kind = f'{len(found)} classes against {len(expected)}'

    pairs = enumerate(zip_longest(found, expected))  # None behind the end of the shorter list
    where, different = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
    name, wanted = ('nothing' if one is None else one for one in different)
    raise AnnotationError(
        f'{found_in} differ from {expected_by} ({kind}): at index {where} {name!r} was found '
        f'and {wanted!r} expected. A label is an index into this list, so both must agree.'
    )


def load_annotations(path: PathLike, classes: Sequence[str] | None = None) -> Annotations:
    """Read and check an annotation file.

    Args:
        path: A JSON file, UTF-8.
        classes: Class names that it must have. Defaults to None, any.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If the content is not valid; names file and field.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'Annotation file {describe_missing(path)}')

    try:
        text = path.read_bytes().decode('utf-8')
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f'{path}: expected UTF-8 text, but byte {error.start} is not.'
        ) from error

    content = parse_json(text, str(path), AnnotationError, by_field=True)
    return check_annotations(content, str(path), classes)


def load_classes(path: PathLike) -> list[str] | None:
    """Read the class names of an annotation file, if possible without its images.

    If ``metainfo`` comes first, as :func:`save_annotations` writes it, the beginning of the file is
    enough. :func:`load_annotations` checks the whole file.

    Returns:
        The names, or None if the file has none.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If the names, or a file that must be read completely, are not valid.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'Annotation file {describe_missing(path)}')

    with open(path, 'rb') as file:
        start = file.read(LONGEST_METAINFO).decode('utf-8', errors='replace')

    found = METAINFO_FIRST.match(start)
    try:
        metainfo, _ = json.JSONDecoder().raw_decode(start, found.end() if found else 0)
    except (ValueError, RecursionError):
        metainfo = None

    if found is None or not isinstance(metainfo, dict):
        text = path.read_bytes().decode('utf-8', errors='replace')
        content = parse_json(text, str(path), AnnotationError, by_field=True)
        metainfo = content.get('metainfo') if isinstance(content, dict) else None

    classes = metainfo.get('classes') if isinstance(metainfo, dict) else None
    return None if classes is None else check_classes(classes, str(path))


def training_targets(dataset: Any) -> tuple[list[str], np.ndarray]:
    """Collect the labels of a built data set.

    Args:
        dataset: Has ``metainfo``, and ``get_cat_ids`` (MMPretrain's data sets,
            :class:`ScoreDataset`) or ``get_data_info`` (MMEngine's wrappers). Images repeated by a
            wrapper count repeatedly.

    Returns:
        Class names, and int8 targets (N, C) in {0, 1, -1}, -1 for labels that are neither true nor
        false.
    """
    classes = list(dataset.metainfo['classes'])
    targets = np.zeros((len(dataset), len(classes)), dtype=np.int8)
    info_of: Any = getattr(dataset, 'get_data_info', lambda index: {})
    for index, row in enumerate(targets):
        row[list(info_of(index).get('gt_label_difficult', ()))] = -1
        row[labels_of(dataset, index)] = 1
    return classes, targets


def labels_of(dataset: Any, index: int) -> list[int]:
    """Return the true labels of an image of a built data set; see ``training_targets``."""
    if hasattr(dataset, 'get_cat_ids'):
        return list(dataset.get_cat_ids(index))
    return list(dataset.get_data_info(index)['gt_label'])


def save_annotations(path: PathLike, annotations: Annotations) -> None:
    """Check annotations and write them atomically, one image per line.

    Raises:
        AnnotationError: If the content could not be read back.
    """
    content = dump_annotations(annotations, str(path))
    with atomic_write(path) as file:
        file.write(content)


def dump_annotations(annotations: Annotations, source: str) -> bytes:
    """Check annotations and return the bytes of their file, one image per line.

    The bytes depend only on the content, so the same data gives the same file everywhere.

    Args:
        annotations: The content.
        source: The file's name, for the error.

    Raises:
        AnnotationError: If the content could not be read back.
    """
    content = dict(
        metainfo=dict(annotations.metainfo, classes=annotations.classes),
        data_list=annotations.data_list,
    )
    check_annotations(content, source)
    lines = ',\n'.join(dump_json(item) for item in annotations.data_list)
    metainfo = dump_json(content['metainfo'])
    return f'{{"metainfo": {metainfo},\n"data_list": [\n{lines}\n]}}\n'.encode()


def _find_item_problems(
    item: Any,
    where: str,
    num_classes: int,
) -> Iterator[str]:
    """Name the problems of one entry of ``data_list``."""
    if not isinstance(item, dict):
        yield (
            f'{where}` should be an object with `img_path` and `gt_label`, but got '
            f'{describe(item)}.'
        )
        return

    img_path = item.get('img_path')
    if not isinstance(img_path, str) or not img_path or '\0' in img_path:
        yield f'{where}.img_path` should be a non-empty string, but got {describe(img_path)}.'
        img_path = 'an image without a path'

    difficult = item.get('gt_label_difficult', [])
    wrong = [
        *_find_label_problems(item.get('gt_label'), f'{where}.gt_label`', img_path, num_classes),
        *_find_label_problems(difficult, f'{where}.gt_label_difficult`', img_path, num_classes),
    ]
    yield from wrong
    both = [] if wrong else sorted(set(difficult) & set(item['gt_label']))
    if both:
        yield f'{where}` ({img_path}): {both} are in both `gt_label` and `gt_label_difficult`.'


def _find_label_problems(
    labels: Any,
    where: str,
    img_path: str,
    num_classes: int,
) -> Iterator[str]:
    if not isinstance(labels, list):
        yield f'{where} ({img_path}) should be a list of class indices, but got {describe(labels)}.'
        return

    for label in labels:
        if isinstance(label, bool) or not isinstance(label, int):
            yield f'{where} ({img_path}) should contain integers, but got {describe(label)}.'
            return
        if not 0 <= label < num_classes:
            yield (
                f'{where} ({img_path}) should contain class indices in 0..{num_classes - 1}, but '
                f'got {label}.'
            )
            return

    if len(set(labels)) != len(labels):
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        yield f'{where} ({img_path}) repeats the labels {repeated}: expected each at most once.'


def _find_contradictions(data_list: list[dict[str, Any]], source: str) -> Iterator[str]:
    """Name the images listed twice with different labels; one of the two must be wrong."""
    first: dict[str, int] = {}
    for index, item in enumerate(data_list):
        before = first.setdefault(posixpath.normpath(item['img_path']), index)
        labels = [label_sets(data_list[place]) for place in (before, index)]
        if labels[0] != labels[1]:
            shown = ' and '.join(map(describe_labels, labels))
            yield (
                f'{source}: `data_list[{index}].img_path` ({item["img_path"]}) is the image of '
                f'`data_list[{before}]` too, with other labels: expected the same, but got {shown}.'
            )


def label_sets(item: Mapping[str, Any]) -> tuple[frozenset[int], frozenset[int]]:
    """Return the true and the difficult labels of an image as comparable sets."""
    return frozenset(item['gt_label']), frozenset(item.get('gt_label_difficult') or ())


def describe_labels(labels: tuple[frozenset[int], frozenset[int]]) -> str:
    """Write label sets for a message."""
    true, difficult = map(sorted, labels)
    return f'{true} (difficult: {difficult})' if difficult else f'{true}'
