"""Converts a folder of images and a table of their tags."""

import argparse
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.near_duplicates import NEAR_DISTANCE
from morn_plugin.utils.checks import at_least, check_probability, fraction
from morn_plugin.utils.safe_csv import safe_cell

from .base import Converter, Image, Parsed, Split
from .cli import convert, parse_args
from .images import find_images
from .path_separators import relative_path
from .reading import several
from .sides import TEST_FRACTION, VAL_FRACTION, Copies, Plan, choose_sides
from .tables.guessing import Given
from .tables.image_names import WAYS, ImageIndex
from .tables.layouts import Tagged
from .tables.sources import Reading, Source, read_source
from .tag_names import choose_classes, clean_rows, find_aliases, read_aliases

DESCRIPTION = """A folder of images and a table of tags to MultiLabelDataset JSON.

TAGS is a table with a header (CSV, TSV, or with semicolons as spreadsheets write
it), or JSON lines, in one of these forms:
  image,tags         one row per image: a.jpg,cat;dog
                     (JSON: {"image": "a.jpg", "tags": ["cat", "dog"]})
  image,tag          one row an (image, tag) pair: a.jpg,cat
  image,cat,dog,...  a column a tag, 1 or 0 (--flags)
and may have a column `split` that says train, val or test. Image paths are
relative to the image folder. Other columns are left alone, but for `Confidence`
beside single tags: 0 says that the tag is not there, as in Open Images. Cells may
hold lists as pandas, NumPy and Label Studio write them. JSON of COCO, Label
Studio and FiftyOne and XML of CVAT are read as they are.

With --guess, all that is not said is guessed, and what was guessed is said: the
encoding, the columns, the separator, and how images are named; TAGS may then be a
folder, of a table for each side (as Roboflow exports) or of a folder for each tag.

Tags are stripped and lower-cased, then renamed by the aliases; tags that look the
same are one; those on fewer than --min-count of the images found are dropped.
Classes are in alphabetical order. Images left without a tag are dropped unless
--keep-unlabelled: a missing tag does not say that nothing is there.

Writes train.json, val.json and test.json. Without a column `split`, the side of an
image follows from its bytes and --seed alone: the same on every machine, and
copies and near-copies are never parted. With --allow-repeats, tags of an image
listed twice are united. tag_counts.csv lists all tags, image_copies.csv the copies."""

SIDES = ('train', 'val', 'test')


def parse(args: argparse.Namespace) -> Parsed:
    """Read the tags, and choose the classes and the sides."""
    notes: list[str] = []
    index = ImageIndex(args.root)
    source = read_source(args.tags_file, index, _reading(args))
    notes += source.notes
    named = args.aliases or find_aliases(args.tags_file, source.rows, notes)
    aliases = read_aliases(named, args.keep_case) if named else {}
    rows = clean_rows(source.rows, aliases, args.keep_case, notes)

    rows, there = _find(rows, source, index, args)
    if source.united_copies:
        rows = _unite_copies(rows, args.root, notes)
    images = _unite(rows, source.repeats or args.allow_repeats)
    if len(images) < len(rows) and not source.repeats:
        notes.append(f'{len(rows) - len(images):,} rows repeat an image; tags united.')

    found = [image for image in images if image.img_path in there]
    classes, counts = choose_classes(found, args.min_count, notes)
    plan = Plan(
        args.test_fraction,
        args.val_fraction,
        args.seed,
        args.near_distance,
        source.sides_by,
        args.complete_sides,
    )
    images, copies = choose_sides(images, args.root, plan, args.workers, args.allow_repeats, notes)
    return Parsed(
        _split(images, classes),
        notes,
        files={
            'tag_counts.csv': _list_tags(classes, counts),
            'image_copies.csv': _list_copies(copies, images),
        },
    )


def _reading(args: argparse.Namespace) -> Reading:
    given = Given(
        args.image_column,
        args.tags_column,
        args.tag_column,
        args.flags,
        args.separator,
        args.value_column,
        args.split_column,
        args.image_names or '',
    )
    return Reading(
        given, args.guess, args.format, args.encoding, args.delimiter, args.min_confidence
    )


def _find(
    rows: Sequence[Tagged],
    source: Source,
    index: ImageIndex,
    args: argparse.Namespace,
) -> tuple[list[Tagged], set[str]]:
    """Find the image of every row.

    Returns:
        The rows with their names on disk, and the existing images.

    Raises:
        AnnotationError: If a path leaves the image folder, or no image is there.
    """
    if source.image_names == 'listed':
        rows = _check_paths(rows)
        listed = [(row.img_path, row.where) for row in rows]
        found = find_images(
            args.root, listed, 'Looking for the images', args.workers, args.follow_links
        )
    else:
        found = [index.find(row.img_path, row.where, source.image_names) for row in rows]

    if not any(found):
        raise AnnotationError(_explain_no_image(rows, source.image_names, index))

    named = [
        replace(row, img_path=path or _plain_name(row.img_path))
        for row, path in zip(rows, found, strict=True)
    ]
    return named, {path for path in found if path is not None}


def _check_paths(rows: Sequence[Tagged]) -> list[Tagged]:
    checked, problems = [], []
    for row in rows:
        try:
            checked.append(replace(row, img_path=relative_path(row.img_path, row.where)))
        except AnnotationError as error:
            problems.append(str(error))

    if problems:
        raise AnnotationError(several(problems))

    return checked


def _plain_name(text: str) -> str:
    """Return a name below the image folder for a missing image."""
    try:
        return relative_path(text, '')
    except AnnotationError:
        return PurePosixPath(text.replace('\\', '/')).name or 'unnamed'


def _explain_no_image(
    rows: Sequence[Tagged],
    way: str,
    index: ImageIndex,
) -> str:
    """Explain that no image was found, which files exist, and which option would find them."""
    first = rows[0]
    number = len(index.files)
    content = f'{number:,} image files, such as {index.files[0]}' if number else 'no image file'
    message = (
        f'{first.where}: {first.img_path!r} is missing, and so are all other images that are '
        f'listed. {index.root} contains {content}.'
    )
    texts = [row.img_path for row in rows]
    other = index.choose_way(texts)
    found = index.count(texts, other)
    if found and other != way:
        example = next(text for text in texts if index.count([text], other))
        return (
            f'{message} {found:,} of {len(texts):,} would be found with --image-names {other} '
            f'({example!r} is {index.candidates(example, other)[0]}).'
        )

    return f'{message} Is it the right folder, and the right --image-column?'


def _unite_copies(
    rows: Sequence[Tagged],
    root: Path,
    notes: list[str],
) -> list[Tagged]:
    """Merge copies of a picture in several folders into the first one."""
    first: dict[tuple[str, bytes], str] = {}
    united = []
    for row in rows:
        digest = hashlib.sha256((root / row.img_path).read_bytes()).digest()
        united.append(replace(row, img_path=first.setdefault((row.side, digest), row.img_path)))

    copies = len(rows) - len(first)
    if copies:
        notes.append(f'{copies:,} images are copies of one in another folder; tags united.')
    return united


def _unite(rows: Sequence[Tagged], allow: bool) -> list[Tagged]:
    """Merge the rows of each image, in order of first appearance."""
    images: dict[str, Tagged] = {}
    problems = []
    for row in rows:
        kept = images.setdefault(row.img_path, row)
        if kept is row:
            continue

        if not allow:
            problems.append(f'{row.where}: {row.img_path!r} is listed already at {kept.where}.')
        elif kept.side != row.side:
            problems.append(
                f'{row.where}: {row.img_path!r} is {row.side}, but {kept.side} at {kept.where}.'
            )

        images[row.img_path] = replace(
            kept, tags=kept.tags | row.tags, unsure=kept.unsure | row.unsure
        )

    if problems:
        advice = '' if allow else ' Pass --allow-repeats to unite the tags.'
        raise AnnotationError(several(problems) + advice)

    return list(images.values())


def _split(images: Sequence[Tagged], classes: list[str]) -> dict[str, Split]:
    """Collect the images of each side, with labels instead of tags."""
    index_of = {name: index for index, name in enumerate(classes)}
    sides: dict[str, list[Image]] = {side: [] for side in SIDES}
    for image in images:
        labels = _labels(image.tags, index_of)
        unsure = _labels(image.unsure - image.tags, index_of)
        sides[image.side].append(Image(image.img_path, labels, image.where, unsure))
    return {side: Split(classes, listed) for side, listed in sides.items() if listed}


def _labels(tags: Iterable[str], index_of: dict[str, int]) -> tuple[int, ...]:
    return tuple(sorted(index_of[tag] for tag in tags if tag in index_of))


def _list_tags(classes: Sequence[str], counts: Counter[str]) -> str:
    kept = set(classes)
    ordered = sorted(counts, key=lambda tag: (-counts[tag], tag))
    rows = [(tag, counts[tag], 'yes' if tag in kept else 'no') for tag in ordered]
    return _as_csv(('tag', 'images', 'kept'), rows)


def _list_copies(copies: Copies, images: Sequence[Tagged]) -> str:
    """List the copies, or return '' if there are none."""
    rows = [
        (images[second].img_path, images[first].img_path, kind)
        for kind, pairs in (('bytes', copies.exact), ('nearly', copies.near))
        for first, second in pairs.tolist()
    ]
    return _as_csv(('image', 'copy_of', 'how'), rows) if rows else ''


def _as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(map(safe_cell, map(str, row)) for row in rows)
    return text.getvalue()


def convert_own_data(
    images: Path,
    tags: Path | None,
    out_dir: Path,
    guess: bool = True,
    **options: Any,
) -> Parsed:
    """Convert a folder of images and its tags like the tool.

    Args:
        images: The image folder.
        tags: The table, or a folder; see the tool. Defaults to None: the image folder has one
            folder for each tag.
        out_dir: Folder for the annotation files.
        guess: Whether to guess missing options.
        **options: The tool's options by name, such as ``val_fraction=0.2`` or ``overwrite=True``.

    Returns:
        The written sides, and all notes on guesses and on kept and left-out content.

    Raises:
        AnnotationError: If the tags are unusable; says what to do.
        OSError: If a file cannot be read or written.
        TypeError: If an option is unknown.
    """
    args = parse_args(CONVERTER, [str(images), str(tags or images), str(out_dir)])
    unknown = sorted(options.keys() - vars(args).keys())
    if unknown:
        raise TypeError(f'Expected options of {sorted(vars(args))}, but got {unknown}.')
    vars(args).update(options, guess=guess)
    return convert(CONVERTER, args)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this data set."""
    parser.add_argument('tags_file', metavar='TAGS', type=Path, help='table of tags')
    parser.add_argument(
        '--guess',
        action='store_true',
        help='guess the options that are not given, and print the guesses',
    )
    parser.add_argument(
        '--min-count',
        type=at_least(1),
        default=1,
        help='images that a tag must be on (default: 1)',
    )
    parser.add_argument(
        '--complete-sides',
        action='store_true',
        help='cut from train the sides that the column `split` lacks',
    )
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to read the table, the tags and the sides."""
    _add_table_arguments(parser.add_argument_group('the table'))
    _add_tag_arguments(parser.add_argument_group('the tags'))
    _add_side_arguments(parser.add_argument_group('the sides'))


def _add_table_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--format',
        choices=['auto', 'csv', 'tsv', 'jsonl', 'json', 'xml'],
        default='auto',
        help='of the table (default: by the end of its name)',
    )
    group.add_argument(
        '--encoding', help='of the table, such as cp1252 (default: UTF-8, or UTF-16 with its mark)'
    )
    group.add_argument(
        '--delimiter',
        type=_one_character,
        metavar='CHAR',
        help='between its columns (default: detected)',
    )
    group.add_argument(
        '--separator', metavar='CHAR', help='between the tags of a cell (default: ;)'
    )

    for name, meaning in (
        ('image', 'the path (default: image)'),
        ('tags', 'all tags of the image (default: tags)'),
        ('tag', 'a single tag (default: tag)'),
        ('split', 'train, val or test (default: split)'),
        (
            'value',
            'whether a single tag is there, 1 or 0 (default: Confidence, where there is one)',
        ),
    ):
        group.add_argument(f'--{name}-column', default='', metavar='NAME', help=meaning)

    group.add_argument('--flags', action='store_true', help='one column per tag, with 1 or 0')
    group.add_argument(
        '--min-confidence',
        type=_probability,
        metavar='P',
        help='minimum value of a present tag, if values are not only 0 and 1',
    )
    group.add_argument(
        '--image-names',
        choices=list(WAYS),
        help='how images are named: as listed below the image folder, by the stem (without the '
        'ending), or by the name of a file in any folder (default: listed)',
    )


def _add_tag_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--aliases',
        type=Path,
        metavar='FILE',
        help='tags to rename: JSON {"icons": "icon"}, or CSV with the columns alias,tag '
        "(or Open Images' LabelName,DisplayName); an empty tag drops the alias",
    )
    group.add_argument('--keep-case', action='store_true', help='take Dog and dog for two tags')


def _add_side_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--test-fraction',
        type=fraction,
        help=f'expected share of the test side (default: {TEST_FRACTION}, 0 for none)',
    )
    group.add_argument(
        '--val-fraction',
        type=fraction,
        help='expected share of the validation side among what is not test '
        f'(default: {VAL_FRACTION}, 0 for none)',
    )
    group.add_argument('--seed', type=int, default=0, help='of the split (default: 0)')
    group.add_argument(
        '--near-distance',
        type=_probability,
        default=NEAR_DISTANCE,
        metavar='D',
        help='pictures whose perceptual hashes differ by no more stay on one side; 0 for copies '
        f'of bytes alone (default: {NEAR_DISTANCE})',
    )


def _one_character(text: str) -> str:
    named = {'tab': '\t', '\\t': '\t', 'comma': ',', 'semicolon': ';'}
    character = named.get(text, text)
    if len(character) != 1:
        raise argparse.ArgumentTypeError(f'expected one character, or tab, but got {text!r}')
    return character


def _probability(text: str) -> float:
    try:
        value = float(text)
        check_probability('it', value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'expected a number in 0..1, but got {text!r}') from error
    return value


CONVERTER = Converter(DESCRIPTION, parse, add_arguments, drop_unlabelled=True, out_required=True)
