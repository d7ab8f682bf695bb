"""MS-COCO, and any other data set in its format; or the authors' lists of MS-COCO 2014."""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from morn_plugin.datasets.annotations import AnnotationError, compare_classes

from .base import Converter, Image, Parsed, Published, Split
from .path_separators import relative_path
from .reading import (
    check_row_count,
    only_file,
    read_classes,
    read_json,
    read_lines,
    split_counted,
)

DESCRIPTION = """MS-COCO, or other data in its format, to MultiLabelDataset JSON.

Of MS-COCO, expects ROOT/annotations/instances_{train,val}2014.json and the
images in ROOT/train2014 and ROOT/val2014, or the same of 2017; writes train.json
and test.json (val). With ROOT/{train,valid,test}/_annotations.coco.json, as
Roboflow exports, writes train.json, val.json and test.json. For files of other
names (CVAT's instances_default.json, your own):
  --train FILE --val FILE --test FILE       relative to ROOT
  --train-images DIR --val-images DIR ...   where the folder cannot be guessed
An image has a label if any object of that category is in it, crowds included.
Classes are in the order of the category id. Images without a label are kept.
One file that holds everything has no sides: tools/dataset_converters/tags.py
reads it and draws them.

With --authors-lists DIR the labels are read from coco_{train,test}_list.txt
(`train2014/COCO_train2014_000000559221.jpg 1`, the integer being the number of
labels) and the one file coco*{train,test}*_annot.txt of each side (rows of 0
and 1). These files do not say which column is which class: --classes FILE must
name the classes, one per line, in the order of the columns."""

SIDES = ('train', 'val', 'test')
YEARS = {
    '2014': {
        'train': Published(images=82_783, classes=80, unlabelled=702, mean=2.91, most=18),
        'test': Published(images=40_504, classes=80, unlabelled=367, mean=2.88, most=18),
    },
    '2017': {
        'train': Published(images=118_287, classes=80, unlabelled=1_021, most=18),
        'test': Published(images=5_000, classes=80, unlabelled=48, most=18),
    },
}
PUBLISHED = YEARS['2014']  # of the authors' lists
ROBOFLOW = {'train': 'train', 'val': 'valid', 'test': 'test'}
LOOKED_UP = 20  # images to look up before a folder is chosen

# An image as a file lists it: its name, its labels, and where it is listed.
Listed = tuple[str, tuple[int, ...], str]


def parse(args: argparse.Namespace) -> Parsed:
    """Read all sides, from the files that the options name."""
    if args.authors_lists is not None:
        return _parse_authors_lists(args)
    if args.classes is not None:
        raise AnnotationError(
            '--classes goes with --authors-lists: the official files name their classes.'
        )

    notes: list[str] = []
    files, published = find_files(args.root, vars(args))
    folders = {side: vars(args)[f'{side}_images'] for side in files}
    splits = {
        side: read_side(args.root, path, folders[side], notes) for side, path in files.items()
    }
    first, *others = splits

    for side in others:
        compare_classes(
            splits[side].classes,
            splits[first].classes,
            f'{files[side]}: categories',
            f'those of {files[first]}',
        )

    known = {
        side: replace(split, published=published.get(side, Published()))
        for side, split in splits.items()
    }
    return Parsed(known, notes)


def _parse_authors_lists(args: argparse.Namespace) -> Parsed:
    if args.classes is None:
        raise AnnotationError(
            f"{args.authors_lists}: the authors' files do not say which column is which class: "
            'expected --classes FILE with the names, one per line, in the order of the columns.'
        )

    classes = read_classes(args.classes)
    return Parsed(
        {side: read_authors_lists(args.authors_lists, side, classes) for side in PUBLISHED}
    )


def find_files(
    root: Path, options: Mapping[str, Any]
) -> tuple[dict[str, Path], Mapping[str, Published]]:
    """Find the file of each side.

    Args:
        root: Root of the data set.
        options: ``train``, ``val``, ``test`` (paths, or None) and ``year`` (or None).

    Returns:
        Files by side, and the counts to compare with.

    Raises:
        AnnotationError: If the options contradict each other, or several layouts are found.
    """
    named = {side: options[side] for side in SIDES if options[side] is not None}
    if named and options['year'] is not None:
        raise AnnotationError(
            '--year selects the official files: leave out --train, --val and --test.'
        )
    if named:
        return {side: root / path for side, path in named.items()}, {}

    years = [options['year']] if options['year'] else _years_there(root)
    if len(years) > 1:
        raise AnnotationError(
            f'{root / "annotations"}: expected the files of one year, but those of '
            f'{" and ".join(years)} are there. Pass --year.'
        )
    if not years and (root / 'train' / '_annotations.coco.json').is_file():
        parts = {side: root / name / '_annotations.coco.json' for side, name in ROBOFLOW.items()}
        return {side: path for side, path in parts.items() if path.is_file()}, {}

    year = years[0] if years else '2014'
    files = {
        'train': root / 'annotations' / f'instances_train{year}.json',
        'test': root / 'annotations' / f'instances_val{year}.json',
    }
    if not years:
        _explain_nothing_found(root, files['train'])
    return files, YEARS[year]


def _years_there(root: Path) -> list[str]:
    folder = root / 'annotations'
    found = []
    for year in YEARS:
        paths = [folder / f'instances_{name}{year}.json' for name in ('train', 'val')]
        if any(path.is_file() for path in paths):
            found.append(year)

    return found


def _explain_nothing_found(root: Path, expected: Path) -> NoReturn:
    others = sorted(path.relative_to(root) for path in root.glob('annotations/*.json'))
    others += sorted(path.relative_to(root) for path in root.glob('*.json'))
    there = f' There is {", ".join(map(str, others[:5]))}.' if others else ''
    raise FileNotFoundError(
        f'{expected} does not exist.{there} Name the files with --train, --val and --test.'
    )


def read_side(
    root: Path,
    path: Path,
    folder: Path | None,
    notes: list[str],
) -> Split:
    """Read the file of one side.

    Args:
        root: Folder that image paths are relative to.
        path: The JSON file.
        folder: Folder of its images, relative to the root. Defaults to None: the folder that has
            the first images.
        notes: Gets a line for a category that is left out.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If it has another format; names file and field.
    """
    classes, listed = read_categories_and_images(read_json(path), path, notes)
    names = [relative_path(name, where) for name, _, where in listed]
    prefix = folder or _find_folder(root, path, names)
    images = [
        Image((PurePosixPath(prefix.as_posix()) / name).as_posix(), labels, where)
        for name, (_, labels, where) in zip(names, listed, strict=True)
    ]
    return Split(classes, images)


def _find_folder(
    root: Path,
    path: Path,
    names: Sequence[str],
) -> Path:
    """Find the folder of the images, relative to the root."""
    stem = path.stem.removeprefix('instances_')
    folders = [Path(stem), Path('images') / stem, Path('images'), Path('.')]
    if path.parent.is_relative_to(root):
        folders.append(path.parent.relative_to(root))  # beside the file, as Roboflow puts them

    step = max(1, len(names) // LOOKED_UP)
    looked_up = names[::step]

    def count_found(folder: Path) -> int:
        return sum((root / folder / name).is_file() for name in looked_up)

    return max(folders, key=count_found)  # the first one if several have as many


def read_categories_and_images(
    content: Any, path: Path, notes: list[str]
) -> tuple[list[str], list[Listed]]:
    """Read the decoded JSON of a COCO file.

    Args:
        content: The decoded content of the file.
        path: The file, for errors.
        notes: Gets a line for a category that is left out.

    Returns:
        Class names in the order of the category ids, and the images in the order of the file.

    Raises:
        AnnotationError: If it has another format; names file and field.
    """
    names = _read_ids(content, 'categories', 'name', path)
    files = _read_ids(content, 'images', 'file_name', path)
    found: dict[int, set[int]] = defaultdict(set)  # categories of each image

    for number, annotation in enumerate(_table(content, 'annotations', path)):
        where = f'{path}: `annotations[{number}]'
        image = _known(annotation, 'image_id', files, 'images', where)
        found[image].add(_known(annotation, 'category_id', names, 'categories', where))

    heading = _find_heading(content, {category for image in found.values() for category in image})
    if heading is not None:
        notes.append(
            f'{path}: category {names.pop(heading)!r} is the parent of the others and is left out.'
        )
    index_of = {category: index for index, category in enumerate(sorted(names))}
    classes = [names[category] for category in index_of]
    if len(set(classes)) != len(classes):
        raise AnnotationError(f'{path}: `categories` repeats a name: {sorted(classes)}.')

    listed = []
    for number, (image, file_name) in enumerate(files.items()):
        labels = tuple(sorted(index_of[category] for category in found[image]))
        listed.append((file_name, labels, f'{path}: `images[{number}].file_name`'))

    return classes, listed


def _find_heading(content: Any, used: set[int]) -> int | None:
    """Find the category without objects that Roboflow adds as the heading of all others."""
    categories = content['categories']
    names = [category['name'] for category in categories]
    above = {category.get('supercategory') for category in categories}
    headings = [
        category['id']
        for category in categories
        if category['id'] not in used
        and category.get('supercategory') == 'none'
        and category['name'] in above
        and names.count(category['name']) == 1
    ]
    return headings[0] if len(headings) == 1 else None


def _table(
    content: Any,
    key: str,
    path: Path,
) -> list[dict]:
    table = content.get(key) if isinstance(content, dict) else None
    if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
        raise AnnotationError(f'{path}: expected a JSON object with `{key}`, a list of objects.')
    return table


def _read_ids(
    content: Any,
    key: str,
    value: str,
    path: Path,
) -> dict[int, str]:
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


def _known(
    entry: dict,
    key: str,
    ids: dict[int, str],
    table: str,
    where: str,
) -> int:
    value = _integer(entry, key, where)
    if value not in ids:
        raise AnnotationError(f'{where}.{key}` is {value}, an id that `{table}` does not contain.')
    return value


def read_authors_lists(
    folder: Path,
    side: str,
    classes: list[str],
) -> Split:
    """Read the list and the annotation file of one side.

    Args:
        folder: Holds ``coco_{side}_list.txt`` and ``coco*{side}*_annot.txt``.
        side: ``train`` or ``test``.
        classes: Names of the columns.

    Raises:
        FileNotFoundError: If there is no such file, or several.
        AnnotationError: If a line is invalid; names the file and the line.
    """
    list_path = folder / f'coco_{side}_list.txt'
    rows_path = only_file(folder, f'coco*{side}*_annot.txt')
    lines = read_lines(list_path)
    rows = read_lines(rows_path)
    check_row_count(rows_path, len(rows), len(lines), list_path)

    images = []
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        where = f'{list_path}:{number}'
        img_path, count = split_counted(line, where, 'the number of labels')
        labels = _read_row(row, len(classes), f'{rows_path}:{number}')
        if len(labels) != count:
            raise AnnotationError(
                f'{where}: expected {count} labels, but {rows_path}:{number} has {len(labels)}.'
            )

        images.append(Image(img_path, labels, where))

    return Split(classes, images, PUBLISHED[side])


def _read_row(
    row: str,
    num_classes: int,
    where: str,
) -> tuple[int, ...]:
    cells = row.split()
    if len(cells) != num_classes:
        raise AnnotationError(
            f'{where}: expected {num_classes} numbers, one per class, but got {len(cells)}.'
        )

    wrong = next((cell for cell in cells if cell not in ('0', '1')), None)
    if wrong is not None:
        raise AnnotationError(f'{where}: expected 0 or 1, but got {wrong!r}.')

    return tuple(index for index, cell in enumerate(cells) if cell == '1')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this data set."""
    for side in SIDES:
        parser.add_argument(
            f'--{side}', type=Path, metavar='FILE', help=f'annotations of the {side} side'
        )

    for side in SIDES:
        parser.add_argument(
            f'--{side}-images',
            type=Path,
            metavar='DIR',
            help=f'images of the {side} side (default: the folder they are found in)',
        )

    parser.add_argument(
        '--year', choices=list(YEARS), help='of MS-COCO (default: that of the files)'
    )
    parser.add_argument(
        '--authors-lists', type=Path, metavar='DIR', help="folder of the authors' own files"
    )
    parser.add_argument(
        '--classes', type=Path, metavar='FILE', help="class names of the authors' columns"
    )


CONVERTER = Converter(DESCRIPTION, parse, add_arguments)
