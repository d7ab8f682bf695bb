"""A folder of images and a table of their tags: how most people's own data looks."""

import argparse
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.utils.checks import at_least, fraction

from .base import Converter, Image, Parsed, Split
from .images import find_images, parallel_map
from .reading import decode_json, read_json, read_lines, read_text, relative_path, several

DESCRIPTION = """A folder of images and a table of tags to MultiLabelDataset JSON.

TAGS_FILE is CSV or TSV with a header, or JSON lines, in one of two forms:
  image,tags         one row an image: a.jpg,cat;dog
                     (JSON: {"image": "a.jpg", "tags": ["cat", "dog"]})
  image,tag          one row an (image, tag) pair: a.jpg,cat
and may have a column `split` that says train or test. Image paths are relative
to the image folder. Other columns are left alone.

Tags are stripped and lower-cased, then renamed by the aliases; those on fewer
than --min-count of the images found are dropped. Classes are in alphabetical
order. Images left without a tag are dropped unless --keep-unlabelled: a missing
tag does not say that nothing is there.

Without a column `split`, the side of an image follows from its bytes and --seed
alone: the same on every machine, and copies of a file are never parted. With
--allow-repeats, tags of an image listed twice are united."""

FORMATS = {'.csv': 'csv', '.tsv': 'tsv', '.tab': 'tsv', '.jsonl': 'jsonl', '.ndjson': 'jsonl'}
SEPARATORS = ';|,'
Record = tuple[dict[str, Any], str]


@dataclass(frozen=True)
class Tagged:
    """The tags of an image; ``side`` is '' where the file has no split."""

    img_path: str
    tags: frozenset[str]
    side: str
    where: str


def parse(args: argparse.Namespace) -> Parsed:
    """Read the tags, choose the classes and the sides."""
    aliases = read_aliases(args.aliases, args.keep_case) if args.aliases else {}
    rows, pairs = read_rows(args.tags_file, args)
    notes: list[str] = []
    rows = [replace(row, tags=_rename(row.tags, aliases, args.keep_case)) for row in rows]
    paths = [(row.img_path, row.where) for row in rows]
    found = find_images(args.root, paths, 'Looking for the images', args.workers, args.follow_links)
    there = {path for path in found if path is not None}
    rows = [
        replace(row, img_path=path or row.img_path) for row, path in zip(rows, found, strict=True)
    ]
    images = _unite(rows, pairs or args.allow_repeats)
    if len(images) < len(rows) and not pairs:
        notes.append(f'{len(rows) - len(images):,} rows repeat an image; tags united.')
    classes = choose_classes(
        [image for image in images if image.img_path in there], args.min_count, notes
    )
    images = _choose_sides(images, there, args, notes)
    index_of = {name: index for index, name in enumerate(classes)}
    sides = [side for side in ('train', 'test') if any(image.side == side for image in images)]
    return Parsed(
        {
            side: Split(
                classes,
                [
                    Image(
                        image.img_path,
                        tuple(sorted(index_of[tag] for tag in image.tags if tag in index_of)),
                        image.where,
                    )
                    for image in images
                    if image.side == side
                ],
            )
            for side in sides
        },
        notes,
    )


def read_rows(path: Path, args: argparse.Namespace) -> tuple[list[Tagged], bool]:
    """Read the table.

    Returns:
        Its rows, and whether each is an (image, tag) pair.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If a row cannot be read; names file and line.
    """
    kind = args.format if args.format != 'auto' else FORMATS.get(path.suffix.lower())
    if kind is None:
        raise AnnotationError(
            f'{path}: expected one of {", ".join(FORMATS)}; pass --format for another name.'
        )
    records = list(
        _read_jsonl(path) if kind == 'jsonl' else _read_table(path, ',' if kind == 'csv' else '\t')
    )
    if not records:
        raise AnnotationError(f'{path}:1: expected at least one row below the header.')
    pairs = _is_pairs(*records[0], args)
    column = args.tag_column if pairs else args.tags_column
    _check_separator(
        [record for record in records if not pairs and isinstance(record[0].get(column), str)],
        column,
        args.separator,
    )
    read_tags = _one_tag if pairs else _tag_list(args.separator or SEPARATORS[0])
    has_sides = args.split_column in records[0][0]
    rows = []
    for record, where in records:
        if (args.split_column in record) != has_sides:
            raise AnnotationError(
                f'{where}: expected {args.split_column!r} in every row or in none.'
            )
        img_path = relative_path(_text(record, args.image_column, where), where)
        rows.append(
            Tagged(
                img_path,
                frozenset(read_tags(_field(record, column, where), column, where)),
                _side(record, args.split_column, where) if has_sides else '',
                where,
            )
        )
    return rows, pairs


def _is_pairs(record: dict[str, Any], where: str, args: argparse.Namespace) -> bool:
    forms = [column in record for column in (args.tags_column, args.tag_column)]
    if args.image_column not in record or sum(forms) != 1:
        raise AnnotationError(
            f'{where}: expected the columns {args.image_column!r} and either {args.tags_column!r} '
            f'or {args.tag_column!r}, but got {list(record)}.'
        )
    return forms[1]


def _read_table(path: Path, delimiter: str) -> Iterator[Record]:
    reader = csv.reader(
        io.StringIO(read_text(path).rstrip('\r\n'), newline=''), delimiter=delimiter, strict=True
    )
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            where, line = f'{path}:{line}', reader.line_num + 1
            if header is None:
                header = _check_header(cells, where)
            elif len(cells) != len(header):
                raise AnnotationError(
                    f'{where}: expected {len(header)} columns ({", ".join(header)}), '
                    f'but got {len(cells)}.'
                )
            else:
                yield dict(zip(header, cells, strict=True)), where
    except csv.Error as error:
        raise AnnotationError(f'{path}:{line}: expected a table, but {error}.') from error


def _check_header(cells: list[str], where: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise AnnotationError(
            f'{where}: expected each column once in the header, but got {repeated} again.'
        )
    return header


def _read_jsonl(path: Path) -> Iterator[Record]:
    for number, line in enumerate(read_lines(path), 1):
        record = decode_json(line, str(path), number)
        if not isinstance(record, dict):
            raise AnnotationError(
                f'{path}:{number}: expected a JSON object, but got {line[:60]!r}.'
            )
        yield record, f'{path}:{number}'


def _field(record: dict[str, Any], column: str, where: str) -> Any:
    if column not in record:
        raise AnnotationError(f'{where}: expected the column {column!r}, but got {sorted(record)}.')
    return record[column]


def _text(record: dict[str, Any], column: str, where: str) -> str:
    value = _field(record, column, where)
    if not isinstance(value, str) or not value.strip():
        raise AnnotationError(f'{where}: expected {column!r} to be text, but got {value!r}.')
    return value.strip()


def _side(record: dict[str, Any], column: str, where: str) -> str:
    side = _text(record, column, where)
    if side not in ('train', 'test'):
        raise AnnotationError(
            f'{where}: expected {column!r} to be train or test, but got {side!r}.'
        )
    return side


def _one_tag(value: Any, column: str, where: str) -> list[str]:
    if not isinstance(value, str) or not value.strip():
        raise AnnotationError(f'{where}: expected {column!r} to be a tag, but got {value!r}.')
    return [value]


def _tag_list(separator: str) -> Callable[[Any, str, str], list[str]]:
    def read(value: Any, column: str, where: str) -> list[str]:
        tags = value.split(separator) if isinstance(value, str) else value
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise AnnotationError(
                f'{where}: expected {column!r} to be a list of tags, but got {value!r}.'
            )
        return [tag for tag in tags if tag.strip()]

    return read


def _check_separator(records: Sequence[Record], column: str, separator: str | None) -> None:
    """Refuse to guess when the default separator is nowhere and another one is."""
    if separator is not None or any(SEPARATORS[0] in record[column] for record, _ in records):
        return
    for other in SEPARATORS[1:]:
        where = next((where for record, where in records if other in record[column]), None)
        if where is not None:
            raise AnnotationError(
                f'{where}: no row separates tags by {SEPARATORS[0]!r}, but this one holds '
                f'{other!r}. Pass --separator with the one that is meant.'
            )


def read_aliases(path: Path, keep_case: bool = False) -> dict[str, str]:
    """Read what tags are to be renamed to; '' drops a tag.

    Args:
        path: A JSON object ``{"icons": "icon"}``, or CSV with the columns
            ``alias,tag``.
        keep_case: Whether upper and lower case differ.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If it is of another form, or an alias is named twice
            or leads to another alias.
    """
    if path.suffix.lower() == '.csv':
        entries = [
            (record.get('alias'), record.get('tag'), where)
            for record, where in _read_table(path, ',')
        ]
    else:
        content = read_json(path)
        if not isinstance(content, dict):
            raise AnnotationError(f'{path}:1: expected a JSON object of alias to tag.')
        entries = [(alias, tag, f'{path}: `{alias}`') for alias, tag in content.items()]
    aliases: dict[str, str] = {}
    for alias, tag, where in entries:
        if not isinstance(alias, str) or not isinstance(tag, str) or not alias.strip():
            raise AnnotationError(
                f'{where}: expected an alias and a tag, but got {alias!r} and {tag!r}.'
            )
        alias, tag = _clean(alias, keep_case), _clean(tag, keep_case)
        if alias != tag and aliases.setdefault(alias, tag) != tag:
            raise AnnotationError(f'{where}: {alias!r} is an alias of {aliases[alias]!r} already.')
    for alias, tag in aliases.items():
        if tag in aliases:
            raise AnnotationError(f'{path}: {alias!r} leads to {tag!r}, which is an alias itself.')
    return aliases


def _clean(tag: str, keep_case: bool) -> str:
    tag = ' '.join(tag.split())
    return tag if keep_case else tag.lower()


def _rename(tags: frozenset[str], aliases: dict[str, str], keep_case: bool) -> frozenset[str]:
    cleaned = (_clean(tag, keep_case) for tag in tags)
    return frozenset(aliases.get(tag, tag) for tag in cleaned) - {''}


def _unite(rows: Sequence[Tagged], allow: bool) -> list[Tagged]:
    """Put the rows of each image together, in the order of the first."""
    images: dict[str, Tagged] = {}
    for row in rows:
        kept = images.setdefault(row.img_path, row)
        if kept is row:
            continue
        if not allow:
            raise AnnotationError(
                f'{row.where}: {row.img_path!r} is listed already at {kept.where}. '
                'Pass --allow-repeats to unite the tags.'
            )
        if kept.side != row.side:
            raise AnnotationError(
                f'{row.where}: {row.img_path!r} is {row.side}, but {kept.side} at {kept.where}.'
            )
        images[row.img_path] = replace(kept, tags=kept.tags | row.tags)
    return list(images.values())


def choose_classes(images: Sequence[Tagged], min_count: int, notes: list[str]) -> list[str]:
    """Give the tags on enough images, in alphabetical order.

    Raises:
        AnnotationError: If no tag is.
    """
    counts = Counter(tag for image in images for tag in image.tags)
    classes = sorted(tag for tag, count in counts.items() if count >= min_count)
    if not classes:
        raise AnnotationError(
            f'no tag is on {min_count} of the {len(images):,} images found; '
            f'the most frequent are {counts.most_common(3)}.'
        )
    notes.append(f'{len(classes):,} of {len(counts):,} tags are on at least {min_count:,} images.')
    return classes


def _choose_sides(
    images: Sequence[Tagged], there: set[str], args: argparse.Namespace, notes: list[str]
) -> list[Tagged]:
    def digest(image: Tagged) -> bytes:
        # An image that is not there has no bytes; its name stands in, so that the report can count
        # it.
        name = image.img_path
        return hashlib.sha256(
            (args.root / name).read_bytes() if name in there else name.encode()
        ).digest()

    digests = parallel_map(digest, images, 'Reading the images', args.workers)
    copies = len(digests) - len(set(digests))
    notes.append(f'{copies:,} images are copies, byte for byte, of another.')
    if images[0].side:
        if args.test_fraction is not None:
            raise AnnotationError(
                f'{images[0].where}: the file has a column {args.split_column!r}, so expected no '
                '--test-fraction. Name another --split-column to split anew.'
            )
        _check_copies(images, digests, args.allow_repeats, notes)
        return list(images)
    fraction = 0.3 if args.test_fraction is None else args.test_fraction
    sided = [
        replace(image, side='test' if _draw(key, args.seed) < fraction else 'train')
        for image, key in zip(images, digests, strict=True)
    ]
    if len({image.side for image in sided}) < 2 and fraction > 0:
        raise AnnotationError(
            f'all {len(sided):,} images fall on the {sided[0].side} side with --test-fraction '
            f'{fraction} and --seed {args.seed}: try another seed.'
        )
    return sided


def _draw(key: bytes, seed: int) -> float:
    """Draw from [0, 1), evenly, by content."""
    return int.from_bytes(hashlib.sha256(f'{seed}:'.encode() + key).digest()[:6], 'big') / 2**48


def _check_copies(
    images: Sequence[Tagged], digests: Sequence[bytes], allow: bool, notes: list[str]
) -> None:
    first: dict[bytes, Tagged] = {}
    parted = []
    for image, key in zip(images, digests, strict=True):
        kept = first.setdefault(key, image)
        if kept.side != image.side:
            parted.append(
                f'{image.where}: the {image.side} image {image.img_path!r} is a copy of the '
                f'{kept.side} image {kept.img_path!r} at {kept.where}.'
            )
    if parted and not allow:
        raise AnnotationError(several(parted) + ' Pass --allow-repeats to keep both.')
    if parted:
        notes.append(several(parted))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this data set."""
    parser.add_argument('tags_file', type=Path, help='table of tags')
    parser.add_argument(
        '--format',
        choices=['auto', 'csv', 'tsv', 'jsonl'],
        default='auto',
        help='of the table (default: by the end of its name)',
    )
    parser.add_argument(
        '--separator', metavar='CHAR', help=f'between the tags of a cell (default: {SEPARATORS[0]})'
    )
    for name, meaning in (
        ('image', 'the path'),
        ('tags', 'all tags of the image'),
        ('tag', 'a single tag'),
        ('split', 'train or test'),
    ):
        parser.add_argument(
            f'--{name}-column', default=name, metavar='NAME', help=f'{meaning} (default: {name})'
        )
    parser.add_argument(
        '--min-count',
        type=at_least(1),
        default=1,
        help='images that a tag must be on (default: 1)',
    )
    parser.add_argument(
        '--aliases',
        type=Path,
        metavar='FILE',
        help='tags to rename: JSON {"icons": "icon"}, or CSV with the columns alias,tag; '
        'an empty tag drops the alias',
    )
    parser.add_argument('--keep-case', action='store_true', help='take Dog and dog for two tags')
    parser.add_argument(
        '--test-fraction', type=fraction, help='expected share of the test side (default: 0.3)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the split (default: 0)')


CONVERTER = Converter(DESCRIPTION, parse, add_arguments, drop_unlabelled=True, out_required=True)
