"""Guesses the layout of a table and reports the guesses.

Every guess is a sentence that the user can check, with the option that overrides it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError

from .cells import BLANK, EMPTY, find_flag, find_number, is_structured
from .image_names import WAYS, ImageIndex
from .layouts import SIDE_OF, SIGNS, Layout, is_flags, splitter
from .records import Record, Table
from .text import name_encoding

# Names of columns, the likeliest first: English, then German, French, Spanish, Italian,
# Portuguese and Dutch.
IMAGE_COLUMNS = (
    *('image', 'img', 'filename', 'file_name', 'file', 'filepath', 'file_path', 'path', 'img_path'),
    *('image_path', 'image_name', 'imagename', 'image_id', 'imageid', 'id', 'name', 'photo'),
    *('picture', 'url', 'image index', 'image_url'),
    *('bild', 'datei', 'dateiname', 'bilddatei', 'foto', 'fichier', 'nom du fichier', 'imagen'),
    *('archivo', 'immagine', 'imagem', 'arquivo', 'ficheiro', 'afbeelding', 'bestand'),
)
TAG_COLUMNS = (
    *('tags', 'tag', 'labels', 'label', 'keywords', 'keyword', 'categories', 'category'),
    *('classes', 'class', 'genres', 'genre', 'finding labels', 'labelname', 'attribute_ids'),
    *('attributes', 'target', 'targets', 'choice', 'choices', 'annotations', 'subjects', 'topics'),
    *('schlagwörter', 'schlagworte', 'schlagwort', 'stichwörter', 'stichworte', 'stichwort'),
    *('kategorien', 'kategorie', 'etiketten', 'etikett', 'klassen', 'klasse', 'mots-clés'),
    *('mot-clé', 'étiquettes', 'étiquette', 'catégories', 'catégorie', 'palabras clave'),
    *('etiquetas', 'etiqueta', 'categorías', 'categoría', 'parole chiave', 'etichette'),
    *('etichetta', 'categorie', 'categoria', 'palavras-chave', 'categorias', 'trefwoorden'),
    *('trefwoord', 'categorieën'),
)
SPLIT_COLUMNS = ('split', 'subset', 'set', 'partition', 'phase', 'fold', 'side', 'dataset', 'part')
VALUE_COLUMNS = ('confidence', 'present', 'verified', 'value')

SEPARATOR_NAMES = {
    ';': 'semicolon',
    '|': 'vertical bar',
    ',': 'comma',
    '\n': 'line break',
    ' ': 'space',
    '': 'nothing (one tag per cell)',
}
SAMPLED = 2000  # number of examined rows
NUMBERED = re.compile(r'^(.*?)[ _-]?\d+$')


@dataclass(frozen=True)
class Given:
    """The user's options; '' or () means to guess.

    Attributes:
        image: Column of the image.
        tags: Column with all tags of an image.
        tag: Column of the tag in a table with one row per tag.
        flags: Whether the table has one column per tag.
        separator: The separator of tags, or None.
        value: Column that says whether the tag of a pair is present.
        split: Column of the side.
        image_names: How images are named, one of ``WAYS``.
    """

    image: str = ''
    tags: str = ''
    tag: str = ''
    flags: bool = False
    separator: str | None = None
    value: str = ''
    split: str = ''
    image_names: str = ''


@dataclass(frozen=True)
class Guess:
    """The layout of a table.

    Attributes:
        layout: The meaning of the columns.
        image_names: How it names images, one of ``WAYS``.
        sentences: The guesses in words, with the options that override them.
    """

    layout: Layout
    image_names: str
    sentences: list[str]


def guess_layout(
    table: Table,
    index: ImageIndex,
    given: Given | None = None,
) -> Guess:
    """Guess the layout of a table.

    Args:
        table: The table.
        index: The images that the table describes.
        given: The user's options.

    Raises:
        AnnotationError: If no layout is the likeliest; names the columns and the options.
    """
    given = given or Given()
    _check_given(table, given)
    image = given.image or _guess_image(table, index)
    texts = _texts(table, image)
    way = given.image_names or index.choose_way(texts)

    split = given.split or _guess_split(table, image)
    rest = [column for column in table.columns if column not in (image, split)]
    layout = Layout(image, 'tags', (), split=split)
    layout = _guess_tags(table, layout, rest, given)
    return Guess(layout, way, _say(table, layout, way, index, texts, given))


def _check_given(table: Table, given: Given) -> None:
    named = [given.image, given.tags, given.tag, given.value, given.split]
    missing = [name for name in named if name and name not in table.columns]
    if missing:
        raise AnnotationError(
            f'{table.path}: expected the columns {missing}, but the table has {table.columns}.'
        )


def _sample(table: Table) -> Sequence[Record]:
    """Return evenly spaced rows, because the first ones are often alike."""
    step = max(1, len(table.records) // SAMPLED)
    return table.records[::step]


def _texts(table: Table, column: str) -> list[str]:
    values = (record.get(column) for record, _ in _sample(table))
    return [str(value) for value in values if value is not None]


def _guess_image(table: Table, index: ImageIndex) -> str:
    """Choose the column whose values name the most images; the column's name breaks ties."""
    found = {}
    for column in table.columns:
        texts = _texts(table, column)
        found[column] = max(index.count(texts, way) for way in WAYS)

    most = max(found.values())
    if most:
        best = [column for column in table.columns if found[column] == most]
        return min(best, key=lambda column: _rank(column, IMAGE_COLUMNS))

    known = [column for column in table.columns if column.lower() in IMAGE_COLUMNS]
    if known:
        return min(known, key=lambda column: _rank(column, IMAGE_COLUMNS))

    files = index.files
    there = f'such as {files[0]}' if files else 'none'
    raise AnnotationError(
        f'{table.path}: expected a column of image files, but no value of {table.columns} names '
        f'one of the {len(files):,} images in {index.root} ({there}). Name the column with '
        '--image-column.'
    )


def _rank(column: str, known: Sequence[str]) -> int:
    lower = column.lower()
    return known.index(lower) if lower in known else len(known)


def _guess_split(table: Table, image: str) -> str:
    """Choose a column of sides: by its name, or because it has train and another side."""
    others = [column for column in table.columns if column != image]
    texts = {column: {text.strip().lower() for text in _texts(table, column)} for column in others}
    sides = {
        column: {SIDE_OF[text] for text in found}
        for column, found in texts.items()
        if found <= SIDE_OF.keys()
    }
    named = [column for column in sides if column.lower() in SPLIT_COLUMNS]
    clear = [
        column
        for column, found in sides.items()
        if 'train' in found and len(found) > 1 and column.lower() not in TAG_COLUMNS
    ]
    return next(iter([*named, *clear]), '')


def _guess_tags(
    table: Table,
    layout: Layout,
    rest: list[str],
    given: Given,
) -> Layout:
    """Choose the tag columns, the kind of layout and the separator."""
    if given.tag:
        return _as_pairs(table, layout, given.tag, rest, given)
    if given.tags:
        return _as_tags(table, layout, (given.tags,), given)

    flags = [column for column in rest if _says_flags(table, column)]
    if given.flags or (len(flags) > 1 and not _named_tags(rest, flags)):
        return _as_flags(table, layout, flags)

    columns = _choose_tag_columns(table, rest, flags)
    if len(columns) == 1 and _is_pairs(table, layout.image, columns[0], given):
        return _as_pairs(table, layout, columns[0], rest, given)

    return _as_tags(table, layout, columns, given)


def _named_tags(rest: Sequence[str], flags: Sequence[str]) -> list[str]:
    return [column for column in rest if column.lower() in TAG_COLUMNS and column not in flags]


def _as_flags(
    table: Table,
    layout: Layout,
    flags: Sequence[str],
) -> Layout:
    if not any(is_flags(table.records, column) for column in flags):
        raise AnnotationError(
            f'{table.path}: expected columns of 0 and 1, one per tag, but {table.columns} has none.'
        )
    return replace(layout, kind='flags', columns=tuple(flags))


def _says_flags(table: Table, column: str) -> bool:
    """Return whether a column has only yes and no, or only no: a tag without images."""
    if is_flags(table.records, column):
        return True
    cells = {str(record.get(column)).strip().lower() for record, _ in table.records}
    said = cells - {'', *BLANK.split()}
    return bool(said) and all(find_flag(cell) == 0 for cell in said)


def _choose_tag_columns(
    table: Table,
    rest: list[str],
    flags: Sequence[str],
) -> tuple[str, ...]:
    """Choose the column named after tags, numbered columns, or the only text column.

    Raises:
        AnnotationError: If none or several fit.
    """
    named = _named_tags(rest, flags)
    if named:
        return (min(named, key=lambda column: _rank(column, TAG_COLUMNS)),)

    stems: dict[str, list[str]] = {}
    for column in rest:
        match = NUMBERED.match(column)
        if match and _is_text(table, column):
            stems.setdefault(match[1].lower(), []).append(column)

    numbered = [group for group in stems.values() if len(group) > 1]
    if len(numbered) == 1:
        return tuple(numbered[0])

    texts = [column for column in rest if _is_text(table, column)] or rest
    if len(texts) == 1:
        return (texts[0],)

    raise AnnotationError(
        f'{table.path}: expected one column of tags, but any of {texts} could be meant. '
        'Name it with --tags-column (all tags of an image in a cell) or --tag-column (one row a '
        'tag).'
    )


def _is_text(table: Table, column: str) -> bool:
    """Return whether a column holds words: most of its filled cells are not numbers."""

    def is_word(value: Any) -> bool:
        return isinstance(value, list | dict) or find_number(value) is None

    values = [record.get(column) for record, _ in _sample(table)]
    known = [value for value in values if value is not None]
    filled = [value for value in known if str(value).strip() not in EMPTY]
    return sum(map(is_word, filled)) > len(filled) / 2


def _is_pairs(
    table: Table,
    image: str,
    column: str,
    given: Given,
) -> bool:
    """Return whether images repeat, with one tag per row."""
    if given.separator:
        return False
    values = [record.get(column) for record, _ in table.records]
    if not all(isinstance(value, str) and not is_structured(value) for value in values):
        return False
    images = {str(record.get(image)) for record, _ in table.records}
    repeats = len(images) < 0.95 * len(table.records)
    return repeats and guess_separator([str(value) for value in values]) == ''


def _as_pairs(
    table: Table,
    layout: Layout,
    column: str,
    rest: Sequence[str],
    given: Given,
) -> Layout:
    others = [name for name in rest if name != column]
    value = given.value or find_value_column(table, others)
    return replace(layout, kind='pairs', columns=(column,), value=value)


def find_value_column(table: Table, columns: Sequence[str]) -> str:
    """Return the column that says whether the tag of a pair is present, or ''."""

    def has_shares(column: str) -> bool:
        return all(_is_share(record.get(column)) for record, _ in table.records)

    named = [column for column in columns if column.lower() in VALUE_COLUMNS]
    known = [column for column in named if has_shares(column)]
    return min(known, key=lambda column: _rank(column, VALUE_COLUMNS)) if known else ''


def _is_share(value: object) -> bool:
    if find_flag(value) is not None:
        return True
    number = find_number(value)
    return number is not None and 0 <= number <= 1


def _as_tags(
    table: Table,
    layout: Layout,
    columns: tuple[str, ...],
    given: Given,
) -> Layout:
    if given.separator is not None:
        return replace(layout, columns=columns, separator=given.separator)
    texts = [text for column in columns for text in plain_texts(table.records, column)]
    return replace(layout, columns=columns, separator=guess_separator(texts))


def plain_texts(records: Sequence[Record], column: str) -> list[str]:
    """Return the cells of a column that are plain text: not empty, and not a list."""
    values = [record.get(column) for record, _ in records]
    texts = [value for value in values if isinstance(value, str)]
    return [text for text in texts if text.strip() not in EMPTY and not is_structured(text)]


def guess_separator(texts: Sequence[str]) -> str:
    """Guess the separator of the tags in cells: the sign that most cells contain, or a space.

    At least a tenth of the cells must contain the sign. Tags of two words contain spaces too, so a
    space counts only if it makes at most half as many distinct tags as there are distinct cells.

    Args:
        texts: The cells.

    Returns:
        The separator, or '' if each cell is one tag.

    Examples:
        >>> guess_separator(['cat;dog', 'dog', 'sea, sky;cat'])
        ';'
        >>> guess_separator(['living room', 'kitchen', 'living room'])
        ''
    """
    held = {sign: count_held(texts, sign) for sign in SIGNS}
    best = max(SIGNS, key=lambda sign: held[sign])
    if held[best] >= max(1, len(texts) / 10):
        return best

    if count_held(texts, ' ') >= max(1, len(texts) / 10):
        distinct = len({text.strip().lower() for text in texts})
        if count_tags(texts, ' ') <= distinct / 2:
            return ' '

    return ''


def count_held(texts: Sequence[str], sign: str) -> int:
    """Count the cells that contain a sign, ignoring their ends."""
    return sum(sign in text.strip() for text in texts)


def explain_wrong_separator(texts: Sequence[str], separator: str) -> str:
    """Return why a separator cannot be the right one, or ''.

    It is wrong if half of the cells contain another sign and less than half as many contain it, or
    if it is a space and leaves that sign at the end of most tags. A handful of cells is too few to
    decide.
    """
    best = max(SIGNS, key=lambda sign: count_held(texts, sign))
    held = count_held(texts, separator)
    of_best = count_held(texts, best)
    if len(texts) < 10 or best == separator or of_best < len(texts) / 2:
        return ''

    if separator == ' ':
        tags = [tag for text in texts for tag in text.split()]
        is_wrong = sum(tag.endswith(best) for tag in tags) >= len(tags) / 2
    else:
        is_wrong = held < of_best / 2

    if not is_wrong:
        return ''

    example = next(text for text in texts if best in text)
    return (
        f'{separator!r} is in {held:,} of {len(texts):,} cells and makes '
        f'{count_tags(texts, separator):,} distinct tags of them; {best!r} is in {of_best:,} and '
        f'makes {count_tags(texts, best):,} (one cell is {example[:60]!r})'
    )


def count_tags(texts: Sequence[str], separator: str) -> int:
    """Count the distinct tags that a separator makes of cells."""
    split = splitter(separator)
    tags: set[str] = set()
    for text in texts:
        tags |= {tag.strip().lower() for tag in split(text)}

    return len(tags - {''})


def _say(
    table: Table,
    layout: Layout,
    way: str,
    index: ImageIndex,
    texts: Sequence[str],
    given: Given,
) -> list[str]:
    found = index.count(texts, way)
    sentences = [
        _say_file(table),
        f'Images: column {layout.image!r}, {WAYS[way]}; {found:,} of {len(texts):,} looked up are '
        'there (--image-column, --image-names).',
        _say_tags(table, layout),
    ]
    if layout.split:
        sentences.append(f'Sides: column {layout.split!r} (--split-column).')
    return sentences


def _say_file(table: Table) -> str:
    if not table.guessed_encoding:
        options = '--delimiter, --encoding' if table.delimiter else '--encoding'
        return f'{table.path}: {table.kind}, {name_encoding(table.encoding)} ({options}).'

    odd = [
        text
        for record, _ in table.records
        for text in map(str, record.values())
        if not text.isascii()
    ]
    example = f', for example {odd[0][:40]!r}' if odd else ''
    name = name_encoding(table.encoding)
    return f'{table.path}: {table.kind}; not UTF-8, so read as {name}{example} (--encoding).'


def _say_tags(table: Table, layout: Layout) -> str:
    columns = ', '.join(map(repr, layout.columns[:5]))
    more = f' and {len(layout.columns) - 5} more' if len(layout.columns) > 5 else ''
    if layout.kind == 'flags':
        return f'Tags: {len(layout.columns)} columns, one per tag: {columns}{more} (--flags).'
    if layout.kind == 'pairs':
        held = f'; {layout.value!r} says whether it is there' if layout.value else ''
        options = '--tag-column, --value-column' if layout.value else '--tag-column'
        return f'Tags: column {columns}, one row per tag{held} ({options}).'
    if not any(plain_texts(table.records, column) for column in layout.columns):
        return f'Tags: {columns}{more}, in lists (--tags-column).'

    name = SEPARATOR_NAMES.get(layout.separator, repr(layout.separator))
    return f'Tags: {columns}{more}, separated by {name} (--tags-column, --separator).'
