"""Reads the tags from a table, a folder of tables, or one folder for each tag."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.deploy.images import SUFFIXES

from .guessing import (
    Given,
    explain_wrong_separator,
    find_value_column,
    guess_layout,
    plain_texts,
)
from .image_names import ImageIndex
from .layouts import SIDE_OF, SIGNS, Layout, Tagged, read_rows
from .records import FORMATS, Table, read_table

# Tables that tools put beside the images of a side.
SIDE_TABLES = (
    '_classes.csv',
    '_annotations.coco.json',
    '_annotations.csv',
    'metadata.csv',
    'metadata.jsonl',
    'labels.csv',
    'labels.json',
    'tags.csv',
)
DEFAULTS = Given(image='image', tags='tags', tag='tag', split='split')


@dataclass(frozen=True)
class Reading:
    """The user's options for reading a table.

    Attributes:
        given: Columns, separator and names of images.
        guess: Whether to guess missing options; otherwise they have their defaults.
        form: See :func:`~.records.read_table`.
        encoding: See :func:`~.records.read_table`.
        delimiter: See :func:`~.records.read_table`.
        min_confidence: See :func:`~.layouts.read_rows`.
    """

    given: Given = field(default_factory=Given)
    guess: bool = False
    form: str = 'auto'
    encoding: str | None = None
    delimiter: str | None = None
    min_confidence: float | None = None


@dataclass(frozen=True)
class Source:
    """The tags that were read.

    Attributes:
        rows: One or several for each image.
        image_names: How the rows name images.
        repeats: Whether an image may have several rows, whose tags are merged.
        united_copies: Whether copies of a picture in several places share all their tags.
        notes: Lines on guesses and on content that was left out.
        sides_by: What says the sides if anything does, in words.
    """

    rows: list[Tagged]
    image_names: str
    repeats: bool
    notes: list[str]
    united_copies: bool = False
    sides_by: str = "the column 'split'"


def read_source(path: Path, index: ImageIndex, reading: Reading) -> Source:
    """Read all tags.

    Args:
        path: A table or, if guessing is allowed, a folder with a table for each side or with a
            folder for each tag.
        index: The images.
        reading: The options.

    Raises:
        FileNotFoundError: If the path does not exist.
        AnnotationError: If it cannot be read; names file and line.
    """
    if not path.is_dir():
        return _read_file(path, index, reading)
    if not reading.guess:
        raise AnnotationError(
            f'{path}: expected a table, but it is a folder. Pass --guess if it contains a table '
            'for each side (train, val, test), or a folder for each tag.'
        )

    tables = find_side_tables(path)
    return _read_tables(tables, index, reading) if tables else read_tag_folders(path, index)


def _read_file(path: Path, index: ImageIndex, reading: Reading) -> Source:
    given = reading.given
    pairs = zip(_names(given), _names(DEFAULTS), strict=True)
    wanted = [name or default for name, default in pairs]
    read = partial(
        read_table, path, reading.form, reading.encoding, reading.delimiter, wanted, reading.guess
    )
    table = read()

    if not reading.guess:
        layout = choose_layout(table, index, given)
        rows = read_rows(table, layout, reading.min_confidence)
        if layout.kind == 'tags':
            _refuse_wrong_separator(table, layout, given)
        way = given.image_names or 'listed'
        return Source(rows, way, layout.kind == 'pairs', table.notes, sides_by=_say_column(layout))

    notes = []
    if names_image(table, index):
        table = read(header=False)
        notes.append(f'{path}: no header, since its first row names an image.')

    guess = guess_layout(table, index, given)
    rows = read_rows(table, guess.layout, reading.min_confidence)
    notes += [*table.notes, *guess.sentences]
    return Source(
        rows,
        guess.image_names,
        guess.layout.kind == 'pairs',
        notes,
        sides_by=_say_column(guess.layout),
    )


def _say_column(layout: Layout) -> str:
    return f'the column {layout.split!r}'


def names_image(table: Table, index: ImageIndex) -> bool:
    """Return whether the header of a table is a data row: one of its cells names an image."""
    files = [column for column in table.columns if Path(column).suffix.lower() in SUFFIXES]
    return bool(table.delimiter) and index.count(files, 'name') > 0


def _names(given: Given) -> tuple[str, ...]:
    return given.image, given.tags, given.tag, given.split


def choose_layout(table: Table, index: ImageIndex, given: Given) -> Layout:
    """Choose the given columns, or those with the default names.

    Raises:
        AnnotationError: If they are missing; says what to pass.
    """
    image, tags, tag, split = (
        name or default for name, default in zip(_names(given), _names(DEFAULTS), strict=True)
    )
    layout = Layout(image, 'tags', (tags,), split=split if split in table.columns else '')
    first = table.records[0][0]
    if given.flags and image in first:
        return guess_layout(table, index, replace(given, image=image, split=layout.split)).layout

    forms = [column in first for column in (tags, tag)]
    if image not in first or sum(forms) != 1:
        where = table.records[0][1]
        raise AnnotationError(
            f'{where}: expected the columns {image!r} and either {tags!r} or {tag!r}, '
            f'but got {list(first)}.{_suggest(table, index, given)}'
        )
    if forms[1]:
        value = given.value or find_value_column(table, table.columns)
        return replace(layout, kind='pairs', columns=(tag,), value=value)

    return replace(layout, separator=SIGNS[0] if given.separator is None else given.separator)


def _suggest(table: Table, index: ImageIndex, given: Given) -> str:
    """Return the guessed options as a sentence."""
    if names_image(table, index):
        return ' The first row names an image: put a header above it, or pass --guess.'

    try:
        layout = guess_layout(table, index, replace(given, image_names='')).layout
    except AnnotationError:
        return ' Name them with --image-column and --tags-column or --tag-column.'

    options = []
    if layout.image != DEFAULTS.image:
        options.append(f'--image-column {_quote(layout.image)}')

    if layout.kind == 'flags':
        options.append('--flags')
    elif layout.columns[0] not in (DEFAULTS.tags, DEFAULTS.tag):
        name = 'tag' if layout.kind == 'pairs' else 'tags'
        options.append(f'--{name}-column {_quote(layout.columns[0])}')

    if layout.kind == 'tags' and layout.separator not in ('', SIGNS[0]):
        options.append(f'--separator {_quote(layout.separator)}')
    if layout.split not in ('', DEFAULTS.split):
        options.append(f'--split-column {_quote(layout.split)}')
    return f' Pass {" ".join(options)}, or --guess.' if options else ' Pass --guess.'


def _quote(text: str) -> str:
    return text if text.replace('_', '').isalnum() else f"'{text}'"


def _refuse_wrong_separator(table: Table, layout: Layout, given: Given) -> None:
    """Reject the default separator if another one is likelier, and a given one that is wrong.

    Raises:
        AnnotationError: If it is rejected; says which one is likelier, and why.
    """
    if given.separator is None:
        _refuse_default_separator(table, layout)
        return

    texts = [text for column in layout.columns for text in plain_texts(table.records, column)]
    reason = explain_wrong_separator(texts, given.separator) if given.separator else ''
    if reason:
        raise AnnotationError(
            f'{table.path}: {reason}. Pass --separator with the one that is meant; tags that '
            'contain such signs can be written as JSON lines with lists.'
        )


def _refuse_default_separator(table: Table, layout: Layout) -> None:
    """Reject the default separator if no cell contains it but some contain another one."""
    cells = [
        (text, record[1])
        for column in layout.columns
        for record in table.records
        for text in plain_texts([record], column)
    ]
    if any(layout.separator in text for text, _ in cells):
        return

    for other in SIGNS:
        where = next((where for text, where in cells if other in text), None)
        if where is not None:
            raise AnnotationError(
                f'{where}: no row separates tags by {layout.separator!r} , but this one contains '
                f'{other!r}. Pass --separator with the one that is meant.'
            )


def find_side_tables(folder: Path) -> dict[str, list[Path]]:
    """Find the tables of the sides: ``train.csv``, or ``train/_classes.csv``, ...

    Returns:
        Tables by side; empty if none is found.
    """
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        side = SIDE_OF.get(entry.stem.lower())
        if side is None:
            continue
        if entry.is_file() and entry.suffix.lower() in FORMATS:
            found.setdefault(side, []).append(entry)

        if entry.is_dir():
            known = [entry / name for name in SIDE_TABLES if (entry / name).is_file()]
            found.setdefault(side, []).extend(known[:1])

    return {side: paths for side, paths in found.items() if paths}


def _read_tables(
    tables: dict[str, list[Path]],
    index: ImageIndex,
    reading: Reading,
) -> Source:
    """Read the tables of all sides, each with its own layout."""
    rows: list[Tagged] = []
    notes: list[str] = []
    ways: list[str] = []
    repeats = False
    for side, paths in tables.items():
        for path in paths:
            source = _read_file(path, index, reading)
            below = path.parent != index.root and path.parent.is_relative_to(index.root)
            prefix = path.parent.relative_to(index.root).as_posix() if below else ''
            for row in source.rows:
                rows.append(replace(row, img_path=_below(prefix, row.img_path, index), side=side))

            notes += source.notes
            ways.append(source.image_names)
            repeats = repeats or source.repeats

    notes.append(f'Sides: {", ".join(tables)}, by the names of the tables.')
    texts = [row.img_path for row in rows]
    way = reading.given.image_names or index.choose_way(texts)
    return Source(rows, way, repeats, notes, sides_by='the names of the tables')


def _below(prefix: str, text: str, index: ImageIndex) -> str:
    """Prepend the folder of a table to an image name if the result is a file."""
    joined = (PurePosixPath(prefix) / text).as_posix()
    return joined if index.count([joined], 'listed') else text


def read_tag_folders(folder: Path, index: ImageIndex) -> Source:
    """Read the tags from the folders of images, one for each tag or for each side and tag.

    An image in a nested folder has the tags of both folders; a picture in several folders has the
    tags of all.

    Args:
        folder: The folder with the tag folders: the image folder or one below it.
        index: The images.

    Raises:
        AnnotationError: If there are no such folders, or images lie outside of them.
    """
    if not folder.resolve().is_relative_to(index.root.resolve()):
        raise AnnotationError(
            f'{folder}: expected a folder for each tag below the image folder {index.root}.'
        )

    parts = _parts_below(folder, index)
    has_sides = _has_side_folders(parts.values())
    depth = 2 if has_sides else 1  # of the folders of tags

    loose = [str(path) for path, names in parts.items() if len(names) <= depth]
    if loose or not parts:
        found = f'{len(loose):,} images are beside them, such as {loose[0]}' if loose else 'none'
        raise AnnotationError(
            f'{folder}: expected a table, or images in a folder for each tag, but got {found}.'
        )

    rows = []
    for path, names in parts.items():
        tags = frozenset(names[depth - 1 : -1])
        side = SIDE_OF[names[0].lower()] if has_sides else ''
        rows.append(Tagged(str(path), tags, side, str(index.root / path)))

    tags = frozenset().union(*(row.tags for row in rows))
    listed = ', '.join(sorted(tags)[:5]) + (', ...' if len(tags) > 5 else '')
    notes = [f'{folder}: no table, so each of {len(tags):,} folders is a tag: {listed}.']
    if has_sides:
        sides = sorted({names[0] for names in parts.values()})
        notes.append(f'Sides: the folders {", ".join(sides)}.')

    return Source(rows, 'listed', True, notes, united_copies=True, sides_by='the folders')


def _parts_below(folder: Path, index: ImageIndex) -> dict[PurePosixPath, tuple[str, ...]]:
    """Return the images of a folder, with the parts of their paths from there on."""
    prefix = folder.resolve().relative_to(index.root.resolve()).parts
    parts = {}
    for file in index.files:
        path = PurePosixPath(file)
        if path.parts[: len(prefix)] == prefix:
            parts[path] = path.parts[len(prefix) :]

    return parts


def _has_side_folders(parts: Collection[tuple[str, ...]]) -> bool:
    """Whether every image lies in a folder of a tag, inside of one of a side."""
    return bool(parts) and all(len(names) > 2 and names[0].lower() in SIDE_OF for names in parts)
