"""MS-COCO 2014, from the official JSON or from the authors' lists."""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError, compare_classes

from .base import Converter, Image, Parsed, Published, Split
from .reading import (
    check_row_count,
    only_file,
    read_classes,
    read_json,
    read_lines,
    relative_path,
    split_counted,
)

DESCRIPTION = """MS-COCO 2014 to MultiLabelDataset JSON.

Expects ROOT/annotations/instances_{train,val}2014.json and the images in
ROOT/train2014 and ROOT/val2014; writes train.json and test.json (val2014).
An image has a label if any object of that category is in it, crowds included.
Classes are in the order of the category id. Images without a label are kept.

With --authors-lists DIR the labels are read from coco_{train,test}_list.txt
(`train2014/COCO_train2014_000000559221.jpg 1`, the integer being the number of
labels) and the one file coco*{train,test}*_annot.txt of each side (rows of 0
and 1). These files do not say which column is which class: --classes FILE must
name the classes, one a line, in the order of the columns."""

FOLDERS = {'train': 'train2014', 'test': 'val2014'}
PUBLISHED = {
    'train': Published(images=82_783, classes=80, unlabelled=702, mean=2.91, most=18),
    'test': Published(images=40_504, classes=80, unlabelled=367, mean=2.88, most=18),
}


def parse(args: argparse.Namespace) -> Parsed:
    """Read both sides, from the files that the options name."""
    if args.authors_lists is None:
        if args.classes is not None:
            raise AnnotationError(
                '--classes goes with --authors-lists: the official files name their classes.'
            )
        return Parsed(_parse_official(args.root))
    if args.classes is None:
        raise AnnotationError(
            f"{args.authors_lists}: the authors' files do not say which column is which class: "
            'expected --classes FILE with the names, one a line, in the order of the columns.'
        )
    classes = read_classes(args.classes)
    return Parsed({side: read_authors_lists(args.authors_lists, side, classes) for side in FOLDERS})


def _parse_official(root: Path) -> dict[str, Split]:
    files = {
        side: root / 'annotations' / f'instances_{folder}.json' for side, folder in FOLDERS.items()
    }
    splits = {
        side: read_instances(path, FOLDERS[side], PUBLISHED[side]) for side, path in files.items()
    }
    compare_classes(
        splits['test'].classes,
        splits['train'].classes,
        f'{files["test"]}: categories',
        f'those of {files["train"]}',
    )
    return splits


def read_instances(path: Path, folder: str, published: Published) -> Split:
    """Read an ``instances_*.json``.

    Args:
        path: The file.
        folder: Of the images, relative to the root.
        published: The counts to compare with.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If it is not of this format; names file and field.
    """
    content = read_json(path)
    names = _read_ids(content, 'categories', 'name', path)
    files = _read_ids(content, 'images', 'file_name', path)
    index_of = {category: index for index, category in enumerate(sorted(names))}
    classes = [names[category] for category in index_of]
    if len(set(classes)) != len(classes):
        raise AnnotationError(f'{path}: `categories` repeats a name: {sorted(classes)}.')
    labels: dict[int, set[int]] = defaultdict(set)
    for number, annotation in enumerate(_table(content, 'annotations', path)):
        where = f'{path}: `annotations[{number}]'
        image = _known(annotation, 'image_id', files, 'images', where)
        labels[image].add(index_of[_known(annotation, 'category_id', names, 'categories', where)])
    images = []
    for number, (image, file_name) in enumerate(files.items()):
        where = f'{path}: `images[{number}].file_name`'
        img_path = f'{folder}/{relative_path(file_name, where)}'
        images.append(Image(img_path, tuple(sorted(labels[image])), where))
    return Split(classes, images, published)


def _table(content: Any, key: str, path: Path) -> list[dict]:
    table = content.get(key) if isinstance(content, dict) else None
    if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
        raise AnnotationError(f'{path}: expected a JSON object with `{key}`, a list of objects.')
    return table


def _read_ids(content: Any, key: str, value: str, path: Path) -> dict[int, str]:
    """Map the ids of a table to a text of each entry."""
    texts: dict[int, str] = {}
    for number, entry in enumerate(_table(content, key, path)):
        where = f'{path}: `{key}[{number}]'
        identity = _integer(entry, 'id', where)
        if identity in texts:
            raise AnnotationError(f'{where}.id` repeats the id {identity} of {texts[identity]!r}.')
        text = entry.get(value)
        if not isinstance(text, str) or not text:
            raise AnnotationError(
                f'{where}.{value}` should be a non-empty string, but got {text!r}.'
            )
        texts[identity] = text
    return texts


def _integer(entry: dict, key: str, where: str) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise AnnotationError(f'{where}.{key}` should be an integer, but got {value!r}.')
    return value


def _known(entry: dict, key: str, ids: dict[int, str], table: str, where: str) -> int:
    value = _integer(entry, key, where)
    if value not in ids:
        raise AnnotationError(f'{where}.{key}` is {value}, an id that `{table}` does not hold.')
    return value


def read_authors_lists(folder: Path, side: str, classes: list[str]) -> Split:
    """Read the list and the annotation file of one side.

    Args:
        folder: Holds ``coco_{side}_list.txt`` and ``coco*{side}*_annot.txt``.
        side: ``train`` or ``test``.
        classes: Names of the columns.

    Raises:
        FileNotFoundError: If there is no such file, or several.
        AnnotationError: If a line is not as it should be; names file and line.
    """
    list_path = folder / f'coco_{side}_list.txt'
    rows_path = only_file(folder, f'coco*{side}*_annot.txt')
    lines, rows = read_lines(list_path), read_lines(rows_path)
    check_row_count(rows_path, len(rows), len(lines), list_path)
    images = []
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        where = f'{list_path}:{number}'
        img_path, count = split_counted(line, where, 'the number of labels')
        labels = _read_row(row, len(classes), f'{rows_path}:{number}')
        if len(labels) != count:
            raise AnnotationError(
                f'{where}: expected {count} labels, but {rows_path}:{number} holds {len(labels)}.'
            )
        images.append(Image(img_path, labels, where))
    return Split(classes, images, PUBLISHED[side])


def _read_row(row: str, num_classes: int, where: str) -> tuple[int, ...]:
    cells = row.split()
    if len(cells) != num_classes:
        raise AnnotationError(
            f'{where}: expected {num_classes} numbers, one a class, but got {len(cells)}.'
        )
    wrong = next((cell for cell in cells if cell not in ('0', '1')), None)
    if wrong is not None:
        raise AnnotationError(f'{where}: expected 0 or 1, but got {wrong!r}.')
    return tuple(index for index, cell in enumerate(cells) if cell == '1')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this data set."""
    parser.add_argument(
        '--authors-lists', type=Path, metavar='DIR', help="folder of the authors' own files"
    )
    parser.add_argument(
        '--classes', type=Path, metavar='FILE', help="class names of the authors' columns"
    )


CONVERTER = Converter(DESCRIPTION, parse, add_arguments)
