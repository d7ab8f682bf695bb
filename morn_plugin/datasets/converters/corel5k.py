"""Corel5K, from the lists of word numbers."""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.splitting import assign_sides
from morn_plugin.utils.checks import at_least, fraction

from .base import Converter, Image, Parsed, Published, Split
from .contents import group_contents, read_contents
from .reading import read_classes, read_lines

DESCRIPTION = """Corel5K to MultiLabelDataset JSON.

Expects under ROOT:
  labels/words                          the 374 words, one per line
  labels/{training,test}_label          a photo's number, then its words, counted from 1
  images/1000/1000.jpeg                 the photos, a folder for each Corel CD
Writes train.json and test.json, and train_fit.json and val.json, which share
out train.json by content: near-duplicates stay on one side. All 374 words are
labels unless --min-count or --both-sides says otherwise. The photos are
copyrighted: keep them out of what you publish."""

LISTS = {'train': 'training_label', 'test': 'test_label'}
PUBLISHED = {
    'train': Published(images=4_500, classes=374, unlabelled=0, most=5),
    'test': Published(images=499, classes=374, unlabelled=0, most=5),
}
SHARED_WORDS = 260  # published: words that occur on both sides
VAL_DRAW = 'val'


def parse(args: argparse.Namespace) -> Parsed:
    """Read both sides and cut the validation part off the training side."""
    words = read_classes(args.root / 'labels' / 'words')
    notes: list[str] = []
    sides = {side: read_side(args.root, side, len(words), notes) for side in LISTS}
    notes.extend(_find_unlisted(args.root, sides))

    kept = _choose_words(sides, len(words), args.min_count, args.both_sides, notes)
    splits = {side: _relabel(images, words, kept, side) for side, images in sides.items()}
    fit, val = _cut(args.root, splits['train'], args.val_share, args.workers)
    return Parsed(
        dict(train=splits['train'], train_fit=fit, val=val, test=splits['test']),
        notes,
        part_of=dict(train_fit='train', val='train'),
    )


def read_side(
    root: Path,
    side: str,
    num_words: int,
    notes: list[str],
) -> list[Image]:
    """Read the list of one side.

    Args:
        root: Root of the layout.
        side: ``train`` or ``test``.
        num_words: Number of words in the list; a label is the number of a word.
        notes: Gets a line for each known flaw that was found.

    Raises:
        FileNotFoundError: If there is no such list.
        AnnotationError: If a line is invalid; names file and line.
    """
    path = root / 'labels' / LISTS[side]
    images: dict[str, Image] = {}
    for number, line in enumerate(read_lines(path), 1):
        where = f'{path}:{number}'
        image = _read_line(line, where, num_words, notes)
        first = images.setdefault(image.img_path, image)
        if first is image:
            continue
        if first.labels != image.labels:
            raise AnnotationError(
                f'{where}: {image.img_path!r} is listed with other words at {first.where}.'
            )

        notes.append(f'{where}: {image.img_path!r} is listed again with the same words; kept once.')

    return list(images.values())


def _read_line(
    line: str,
    where: str,
    num_words: int,
    notes: list[str],
) -> Image:
    cells = line.split()
    wrong = [cell for cell in cells if not (cell.isascii() and cell.isdigit())]
    if wrong:
        raise AnnotationError(
            f"{where}: expected a photo's number and word numbers, but got {wrong[0]!r}."
        )

    photo, *words = map(int, cells)
    outside = [word for word in words if not 1 <= word <= num_words]
    if outside:
        raise AnnotationError(
            f'{where}: expected word numbers in 1..{num_words}, but got {outside[0]}.'
        )

    repeated = [word for word, count in Counter(words).items() if count > 1]
    if repeated:
        notes.append(f'{where}: word {repeated[0]} is listed twice for photo {photo}; kept once.')
    labels = tuple(sorted({word - 1 for word in words}))
    return Image(f'images/{photo // 1000 * 1000}/{photo}.jpeg', labels, where)


def _find_unlisted(root: Path, sides: dict[str, list[Image]]) -> list[str]:
    """Return a note that names the photos on no list."""
    listed = {image.img_path for images in sides.values() for image in images}
    found = (path.relative_to(root).as_posix() for path in (root / 'images').glob('*/*.jpeg'))
    unlisted = sorted(set(found) - listed)
    if not unlisted:
        return []

    more = ', ...' if len(unlisted) > 3 else ''
    return [
        f'{len(unlisted):,} photos are on no list and are left out: {", ".join(unlisted[:3])}{more}'
    ]


def _choose_words(
    sides: dict[str, list[Image]],
    num_words: int,
    min_count: int,
    both_sides: bool,
    notes: list[str],
) -> list[int]:
    """Choose the words that become labels, in the order of the list.

    Raises:
        AnnotationError: If no word is left.
    """
    counts = {side: _count_words(images) for side, images in sides.items()}
    shared = counts['train'].keys() & counts['test'].keys()
    notes.append(f'{len(shared):,} words occur on both sides (published: {SHARED_WORDS:,}).')

    candidates = sorted(shared) if both_sides else range(num_words)
    kept = [word for word in candidates if counts['train'][word] >= min_count]
    if not kept:
        raise AnnotationError(
            f'no word is on {min_count:,} training photos; the most frequent is on '
            f'{max(counts["train"].values(), default=0):,}.'
        )

    notes.append(f'{len(kept):,} words are labels.')
    return kept


def _count_words(images: Sequence[Image]) -> Counter[int]:
    return Counter(word for image in images for word in image.labels)


def _relabel(
    images: Sequence[Image],
    words: list[str],
    kept: Sequence[int],
    side: str,
) -> Split:
    """Number the words that are labels."""
    index_of = {word: index for index, word in enumerate(kept)}

    relabelled = []
    for image in images:
        labels = tuple(index_of[word] for word in image.labels if word in index_of)
        relabelled.append(replace(image, labels=labels))

    published = PUBLISHED[side]
    if len(kept) < len(words):
        published = Published(images=published.images)  # the other counts cover all words
    return Split([words[word] for word in kept], relabelled, published)


def _cut(
    root: Path,
    train: Split,
    val_share: float,
    workers: int,
) -> tuple[Split, Split]:
    """Divide the training side by content."""
    contents = read_contents(root, [image.img_path for image in train.images], workers)
    groups = group_contents(contents).tolist()
    in_val = assign_sides([content.digest for content in contents], groups, VAL_DRAW, val_share)

    fit: list[Image] = []
    val: list[Image] = []
    for image, is_val in zip(train.images, in_val, strict=True):
        side = val if is_val else fit
        side.append(image)

    return Split(train.classes, fit), Split(train.classes, val)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this data set."""
    parser.add_argument(
        '--min-count',
        type=at_least(0),
        default=0,
        metavar='N',
        help='keep words on at least N training photos (default: all words)',
    )
    parser.add_argument(
        '--both-sides',
        action='store_true',
        help='keep words that occur on both sides: the 260 of most publications',
    )
    parser.add_argument(
        '--val-share',
        type=fraction,
        default=0.15,
        help='expected share of val.json among the training photos (default: 0.15)',
    )


CONVERTER = Converter(DESCRIPTION, parse, add_arguments)
