"""Cleans tags, renames them by aliases, merges those that look the same, and counts them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.utils.class_names import visible_form

from .reading import read_json
from .tables.layouts import Tagged
from .tables.records import read_table

ALIAS_COLUMNS = (('alias', 'tag'), ('LabelName', 'DisplayName'))  # ours, Open Images'
CODE = re.compile(r'/[mg]/\w+', re.ASCII)  # a class code of Open Images


def read_aliases(path: Path, keep_case: bool = False) -> dict[str, str]:
    """Read the new names of tags; '' drops a tag.

    Args:
        path: A JSON object ``{"icons": "icon"}``, or CSV with the columns ``alias,tag`` or, as in
            Open Images, ``LabelName,DisplayName``.
        keep_case: Whether upper and lower case differ.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If it has another form, or an alias appears twice or leads to another
            alias.
    """
    aliases: dict[str, str] = {}
    for alias, tag, where in _read_entries(path):
        if not isinstance(alias, str) or not isinstance(tag, str) or not alias.strip():
            raise AnnotationError(
                f'{where}: expected an alias and a tag, but got {alias!r} and {tag!r}.'
            )

        alias = clean_tag(alias, keep_case)
        tag = clean_tag(tag, keep_case)
        if alias != tag and aliases.setdefault(alias, tag) != tag:
            raise AnnotationError(f'{where}: {alias!r} is an alias of {aliases[alias]!r} already.')

    for alias, tag in aliases.items():
        if tag in aliases:
            raise AnnotationError(f'{path}: {alias!r} leads to {tag!r}, which is an alias itself.')

    return aliases


def _read_entries(path: Path) -> list[tuple[Any, Any, str]]:
    """Return alias, tag and position of every entry."""
    if path.suffix.lower() == '.csv':
        table = read_table(path)
        if CODE.fullmatch(table.columns[0]):  # Open Images' earlier files have no header
            table = read_table(path, header=False)
            return [(*list(record.values())[:2], where) for record, where in table.records]

        columns = next(
            (pair for pair in ALIAS_COLUMNS if set(pair) <= set(table.columns)), ALIAS_COLUMNS[0]
        )
        return [
            (record.get(columns[0]), record.get(columns[1]), where)
            for record, where in table.records
        ]

    content = read_json(path)
    if not isinstance(content, dict):
        raise AnnotationError(f'{path}:1: expected a JSON object of alias to tag.')

    return [(alias, tag, f'{path}: `{alias}`') for alias, tag in content.items()]


def find_aliases(
    tags_file: Path,
    rows: Sequence[Tagged],
    notes: list[str],
) -> Path | None:
    """Find the file of Open Images' class names beside a table with class codes.

    Args:
        tags_file: The table.
        rows: The rows of the table.
        notes: Gets a line with the found or the missing file.
    """
    tags = {tag for row in rows for tag in row.tags}
    codes = [tag for tag in tags if CODE.fullmatch(tag)]
    if not codes or len(codes) < len(tags):
        return None

    found = sorted(tags_file.parent.glob('*class-descriptions*.csv'))
    if not found:
        notes.append(
            f'Tags are codes of Open Images, such as {min(codes)}: --aliases with its '
            'class-descriptions.csv names them.'
        )
        return None

    notes.append(f'Tags are codes of Open Images, named by {found[0]} (--aliases).')
    return found[0]


def clean_tag(tag: str, keep_case: bool = False) -> str:
    """Join the white space of a tag and convert it to lower case.

    Examples:
        >>> clean_tag('  Polar  Bear')
        'polar bear'
    """
    tag = ' '.join(tag.split())
    return tag if keep_case else tag.lower()


def clean_rows(
    rows: Sequence[Tagged],
    aliases: dict[str, str],
    keep_case: bool,
    notes: list[str],
) -> list[Tagged]:
    """Clean and rename the tags of all rows, and merge those that look the same.

    Composed and decomposed accents look the same, and so do tags that differ only in invisible
    characters. The most frequent spelling replaces the others.

    Args:
        rows: The rows of the table.
        aliases: See :func:`read_aliases`.
        keep_case: Whether upper and lower case differ.
        notes: Gets a line for merged spellings.
    """
    cleaned = [
        replace(
            row,
            tags=_rename(row.tags, aliases, keep_case),
            unsure=_rename(row.unsure, aliases, keep_case),
        )
        for row in rows
    ]
    tags = [row.tags for row in cleaned]
    unsure = [row.unsure for row in cleaned]
    spelling = _choose_spellings([*tags, *unsure])

    twins = len(spelling) - len(set(spelling.values()))
    if twins:
        notes.append(f'{twins:,} tags look the same as another tag and are merged with it.')

    def respell(tags: frozenset[str]) -> frozenset[str]:
        return frozenset(spelling[tag] for tag in tags)

    return [replace(row, tags=respell(row.tags), unsure=respell(row.unsure)) for row in cleaned]


def _rename(
    tags: Iterable[str],
    aliases: dict[str, str],
    keep_case: bool,
) -> frozenset[str]:
    cleaned = (clean_tag(tag, keep_case) for tag in tags)
    renamed = {aliases.get(tag, tag) for tag in cleaned}
    return frozenset(tag for tag in renamed if visible_form(tag))


def _choose_spellings(tag_sets: Iterable[Iterable[str]]) -> dict[str, str]:
    """Map every tag to the most frequent one that looks the same; the shortest if tied."""
    counts = Counter(tag for tags in tag_sets for tag in tags)
    twins: dict[str, list[str]] = defaultdict(list)
    for tag in counts:
        twins[visible_form(tag)].append(tag)

    spelling = {}
    for group in twins.values():
        best = min(group, key=lambda tag: (-counts[tag], len(tag), tag))
        spelling.update(dict.fromkeys(group, best))

    return spelling


def choose_classes(
    images: Sequence[Tagged], min_count: int, notes: list[str]
) -> tuple[list[str], Counter[str]]:
    """Choose the tags that enough images have.

    Args:
        images: The images that were found.
        min_count: Number of images that a tag needs.
        notes: Gets a line with the numbers, and one with the tags.

    Returns:
        The tags in alphabetical order, and the number of images of every tag.

    Raises:
        AnnotationError: If no tag has enough images.
    """
    counts = Counter(tag for image in images for tag in image.tags)
    classes = sorted(tag for tag, count in counts.items() if count >= min_count)
    if not classes:
        raise AnnotationError(
            f'no tag is on {min_count} of the {len(images):,} images found; '
            f'the most frequent are {counts.most_common(3)}.'
        )

    notes.append(f'{len(classes):,} of {len(counts):,} tags are on at least {min_count:,} images.')
    notes.append(_list_classes(classes, counts))
    return classes, counts


def _list_classes(
    classes: Sequence[str],
    counts: Counter[str],
    limit: int = 40,
) -> str:
    """List classes with their numbers of images, the most frequent first."""
    ordered = sorted(classes, key=lambda tag: (-counts[tag], tag))
    listed = ', '.join(f'{tag} {counts[tag]:,}' for tag in ordered[:limit])
    more = f', and {len(ordered) - limit:,} more' if len(ordered) > limit else ''
    return f'Kept, with their images: {listed}{more}.'
