"""Turns the files of the collection into labelled, encoded images on their sides."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from morn_plugin.datasets.near_duplicates import (
    fingerprint,
    group_near_duplicates,
    near_duplicates,
)
from morn_plugin.datasets.splitting import assign_sides

from .collection import Picture
from .errors import (
    BlankPictureError,
    BrokenPictureError,
    OpenClipartError,
    TooManyPixelsError,
    TooSmallError,
)
from .keywords import clean_keywords, frequent_keywords
from .pictures import decode, render
from .plan import Plan

ENCODINGS: dict[str, dict[str, Any]] = {
    '.png': dict(format='PNG', optimize=True),
    '.webp': dict(format='WEBP', quality=90, method=6),
}
PROBLEMS: dict[type[Exception], str] = {
    TooManyPixelsError: 'too_many_pixels',
    TooSmallError: 'too_small',
    BrokenPictureError: 'broken',
    BlankPictureError: 'blank',
}

TRAIN_SHARE = 0.7
VAL_SHARE = 0.15  # of the training side
# Large groups make the draw uneven. Among all pairs of draws 0-299 that keep every label in every
# part of the full set and of the slice, this one comes closest to the expected shares. The choice
# used label counts alone.
TRAIN_DRAW = 'train284'
VAL_DRAW = 'val295'


@dataclass
class Entry:
    """A rendered picture, before it gets its labels and its side."""

    picture: Picture
    keywords: set[str]
    encoded: bytes
    group: int = -1
    in_train: bool = False
    in_fit: bool = False


@dataclass(frozen=True)
class Rendered:
    """The rendered form of one PNG.

    Attributes:
        encoded: Bytes of the image file.
        bits: Perceptual hash of the whole picture, bool (B,).
        mode: Mode of the PNG.
    """

    encoded: bytes
    bits: np.ndarray
    mode: str


def render_all(
    pictures: Sequence[Picture], plan: Plan, report: dict[str, Any]
) -> tuple[list[Entry], np.ndarray]:
    """Render and hash every picture; report the unusable ones.

    Returns:
        The N rendered pictures and their perceptual hashes, bool (N, B).
    """
    unusable: dict[str, list[str]] = {kind: [] for kind in PROBLEMS.values()}
    modes: Counter[str] = Counter()
    done: dict[str, Rendered | str] = {}  # copies are rendered once
    entries, hashes = [], []

    for picture in tqdm(pictures, desc='render', unit='picture'):
        if picture.digest not in done:
            done[picture.digest] = _try_render(picture.file, plan)
        result = done[picture.digest]
        if isinstance(result, str):
            unusable[result].append(picture.name)
            continue

        modes[result.mode] += 1
        entries.append(Entry(picture, clean_keywords(picture.keywords), result.encoded))
        hashes.append(result.bits)

    report['unusable'] = unusable
    report['modes'] = dict(sorted(modes.items()))
    return entries, np.array(hashes)


def _try_render(file: Path, plan: Plan) -> Rendered | str:
    """Return the rendered picture, or the kind of problem with it."""
    try:
        return render_one(file, plan)
    except tuple(PROBLEMS) as error:
        return PROBLEMS[type(error)]


def render_one(file: Path, plan: Plan) -> Rendered:
    """Decode, shrink, encode and hash one PNG."""
    picture, mode = decode(file)
    image = render(picture, plan.size, file)
    buffer = io.BytesIO()
    image.save(buffer, **ENCODINGS[plan.suffix])
    return Rendered(buffer.getvalue(), fingerprint(picture), mode)


def split(
    entries: Sequence[Entry],
    hashes: np.ndarray,
    report: dict[str, Any],
) -> None:
    """Assign every group of near-duplicates to one side; report the groups."""
    groups = group_near_duplicates(hashes).tolist()
    digests = [entry.picture.digest.encode() for entry in entries]
    train = assign_sides(digests, groups, TRAIN_DRAW, TRAIN_SHARE)
    val = assign_sides(digests, groups, VAL_DRAW, VAL_SHARE)

    for entry, group, in_train, in_val in zip(entries, groups, train, val, strict=True):
        entry.group = group
        entry.in_train = in_train
        entry.in_fit = in_train and not in_val

    sizes = Counter(Counter(groups).values())
    report['near_duplicates'] = dict(
        groups=len(set(groups)),
        pictures_in_groups_of_several=sum(k * n for k, n in sizes.items() if k > 1),
        groups_by_size={str(size): sizes[size] for size in sorted(sizes)},
    )


def choose(
    entries: Sequence[Entry], plan: Plan, report: dict[str, Any]
) -> tuple[list[str], list[Entry]]:
    """Choose labels and pictures as planned; report the numbers.

    Raises:
        OpenClipartError: If no keyword is frequent enough.
    """
    keywords = [entry.keywords for entry in entries]
    classes = list(plan.classes or frequent_keywords(keywords, plan.min_count))
    if not classes:
        raise OpenClipartError(
            f'Expected a keyword on at least {plan.min_count} pictures, but there is none.'
        )

    labelled = [
        entry for entry in entries if len(entry.keywords.intersection(classes)) >= plan.min_labels
    ]
    by_content = sorted(labelled, key=lambda entry: (entry.picture.digest, entry.picture.name))
    drawn = by_content[: plan.max_images]
    chosen = drop_crossing(sorted(drawn, key=lambda entry: entry.picture.name))

    report['chosen'] = dict(
        distinct_keywords=len(set().union(*keywords)),
        labels=len(classes),
        min_labels=plan.min_labels,
        pictures_with_too_few_labels=len(entries) - len(labelled),
        over_max_images=len(labelled) - len(drawn),
        near_duplicates_once_encoded=len(drawn) - len(chosen),
        pictures=len(chosen),
    )
    return classes, chosen


def drop_crossing(entries: Sequence[Entry]) -> list[Entry]:
    """Drop test pictures whose stored images are near-duplicates of the training side.

    Pictures that differed when the sides were drawn may become near-duplicates at a smaller size
    or in a lossy encoding. With the full set's 256 pixels and PNG, none is dropped.
    """
    images = (Image.open(io.BytesIO(entry.encoded)) for entry in entries)
    hashes = np.array([fingerprint(image) for image in images])

    crossing: set[int] = set()
    for first, second in near_duplicates(hashes).tolist():
        if entries[first].in_train != entries[second].in_train:
            crossing |= {first, second}
    return [entry for index, entry in enumerate(entries) if entry.in_train or index not in crossing]
