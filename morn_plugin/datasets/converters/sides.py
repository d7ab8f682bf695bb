"""Chooses the side of the split for each image of a user's data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.near_duplicates import NEAR_DISTANCE, connect
from morn_plugin.datasets.splitting import draw_groups

from .contents import Content, find_copies, find_near_copies, read_contents
from .reading import several
from .tables.layouts import Tagged

TEST_FRACTION = 0.3
VAL_FRACTION = 0.15  # of the images outside the test side
LARGE_GROUP = 0.2  # of all images; a larger group of near-copies makes the split uneven


@dataclass(frozen=True)
class Plan:
    """Options for choosing the sides.

    Attributes:
        test: Expected share of the test side, or None: 0.3, or the split of the table.
        val: Expected share of the validation side among the other images, or None: 0.15, or the
            split of the table.
        seed: Seed of the random choice.
        near_distance: See :func:`~.contents.find_near_copies`.
        sides_by: What says the sides of the user's own split, in words.
        complete: Whether to cut from train the sides that the column lacks.
    """

    test: float | None = None
    val: float | None = None
    seed: int = 0
    near_distance: float = NEAR_DISTANCE
    sides_by: str = "the column 'split'"
    complete: bool = False


@dataclass(frozen=True)
class Copies:
    """The copies and near-copies among N images.

    Attributes:
        exact: Pairs of copies, byte for byte, integer (P, 2).
        near: Pairs of pictures that look nearly the same, integer (Q, 2).
        groups: Group of every image, integer (N,): chains of both kinds of pairs.
    """

    exact: np.ndarray
    near: np.ndarray
    groups: np.ndarray


def choose_sides(
    images: Sequence[Tagged],
    root: Path,
    plan: Plan,
    workers: int,
    allow_copies: bool,
    notes: list[str],
) -> tuple[list[Tagged], Copies]:
    """Assign every image to a side.

    If the table has no sides, the bytes of an image and the seed determine its side, and copies and
    near-copies stay together. A side that the table does not have is drawn from the others only if
    its share is requested.

    Args:
        images: All images, with the side in the table, or ''.
        root: Folder that their paths are relative to.
        plan: The options.
        workers: Number of threads that read them.
        allow_copies: Continue if the table puts copies on different sides.
        notes: Gets a line for copies, for near-copies and for images that cannot be decoded.

    Raises:
        AnnotationError: If the table puts copies on different sides, or all images fall on one
            side.
    """
    paths = [image.img_path for image in images]
    contents = read_contents(root, paths, workers, perceptual=plan.near_distance > 0)
    _note_problems(contents, notes)
    copies = _find_copies(contents, plan.near_distance)
    _note_copies(copies, paths, notes)

    if images[0].side:
        sided = _complete_sides(images, contents, copies, plan, notes)
        _check_copies(sided, copies, allow_copies, notes)
        return sided, copies

    return _draw_sides(images, contents, copies, plan, notes), copies


def _find_copies(contents: Sequence[Content], distance: float) -> Copies:
    exact = find_copies(contents)
    near = find_near_copies(contents, distance)
    groups = connect(len(contents), np.concatenate([exact, near]))
    return Copies(exact, near, groups)


def _note_problems(contents: Sequence[Content], notes: list[str]) -> None:
    problems = [content.problem for content in contents if content.problem]
    if problems:
        notes.append(
            f'{len(problems):,} images cannot be decoded, and training will stop at them:\n'
            f"{several(problems)}\nRemove them, or set corrupt_images='skip' in the data sets."
        )


def _note_copies(
    copies: Copies,
    paths: Sequence[str],
    notes: list[str],
) -> None:
    number = len(copies.exact)
    listed = _list_pairs(copies.exact, paths, 'is')
    if number:
        notes.append(f'{number:,} images are copies, byte for byte, of another.{listed}')
    else:
        notes.append('No image is a copy, byte for byte, of another.')
    if len(copies.near):
        listed = _list_pairs(copies.near, paths, 'resembles')
        notes.append(f'{len(copies.near):,} pairs of images are nearly the same.{listed}')


def _list_pairs(
    pairs: np.ndarray,
    paths: Sequence[str],
    verb: str,
    limit: int = 3,
) -> str:
    if not len(pairs):
        return ''
    named = [f'{paths[b]} {verb} {paths[a]}' for a, b in pairs[:limit].tolist()]
    more = ', ... (all in image_copies.csv)' if len(pairs) > limit else ''
    return f' {", ".join(named)}{more}.'


def _draw_sides(
    images: Sequence[Tagged],
    contents: Sequence[Content],
    copies: Copies,
    plan: Plan,
    notes: list[str],
) -> list[Tagged]:
    """Draw the sides of all images, group by group."""
    test_share = TEST_FRACTION if plan.test is None else plan.test
    in_test = _draw(contents, copies.groups, f'{plan.seed}:', test_share)
    sided = [
        replace(image, side='test' if inside else 'train')
        for image, inside in zip(images, in_test, strict=True)
    ]

    if len(set(in_test)) < 2 and test_share > 0:
        largest = max(Counter(copies.groups.tolist()).values())
        advice = (
            f'one group of near-copies contains {largest:,} of them: pass a lower --near-distance, '
            '0 for exact copies alone'
            if largest > len(images) / 2
            else 'try another seed'
        )
        raise AnnotationError(
            f'all {len(sided):,} images fall on the {sided[0].side} side with --test-fraction '
            f'{test_share} and --seed {plan.seed}: {advice}.'
        )

    _note_large_group(copies, notes)
    val_share = VAL_FRACTION if plan.val is None else plan.val
    return _cut(sided, contents, copies, 'val', f'{plan.seed}:val:', val_share)


def _draw(
    contents: Sequence[Content],
    groups: np.ndarray,
    salt: str,
    share: float,
) -> list[bool]:
    draws = draw_groups([content.digest for content in contents], groups.tolist(), salt)
    return [draws[group] < share for group in groups.tolist()]


def _cut(
    images: Sequence[Tagged],
    contents: Sequence[Content],
    copies: Copies,
    side: str,
    salt: str,
    share: float,
) -> list[Tagged]:
    """Move a share of the training groups to another side: at least one if there are two."""
    if share == 0:
        return list(images)

    draws = draw_groups([content.digest for content in contents], copies.groups.tolist(), salt)
    held = {
        group
        for group, image in zip(copies.groups.tolist(), images, strict=True)
        if image.side != 'train'
    }
    free = sorted(draws.keys() - held, key=lambda group: draws[group])
    if len(free) < 2:
        return list(images)

    chosen = {group for group in free if draws[group] < share} or {free[0]}
    if len(chosen) == len(free):
        chosen.remove(free[-1])
    return [
        replace(image, side=side) if group in chosen else image
        for image, group in zip(images, copies.groups.tolist(), strict=True)
    ]


def _note_large_group(copies: Copies, notes: list[str]) -> None:
    largest = max(Counter(copies.groups.tolist()).values())
    if largest > 1 and largest > LARGE_GROUP * len(copies.groups):
        notes.append(
            f'One group of near-copies contains {largest:,} of {len(copies.groups):,} images, '
            'which all fall on one side. Pass a lower --near-distance if they are not that much '
            'alike.'
        )


def _complete_sides(
    images: Sequence[Tagged],
    contents: Sequence[Content],
    copies: Copies,
    plan: Plan,
    notes: list[str],
) -> list[Tagged]:
    """Draw the sides that the table does not have, if they are requested."""
    sided = list(images)
    there = {image.side for image in images}

    for side, share, default, salt in (
        ('test', plan.test, TEST_FRACTION, f'{plan.seed}:'),
        ('val', plan.val, VAL_FRACTION, f'{plan.seed}:val:'),
    ):
        if share is None and plan.complete and side not in there:
            share = default
            notes.append(
                f'By {plan.sides_by}, no image is {side}, so {share:.0%} of train are cut off for '
                f'it (--{side}-fraction).'
            )
        if share is None:
            continue
        if side in there:
            raise AnnotationError(
                f'{images[0].where}: the {side} side is given by {plan.sides_by}, so expected no '
                f'--{side}-fraction. Name another --split-column to split again.'
            )

        sided = _cut(sided, contents, copies, side, salt, share)

    if 'val' not in {image.side for image in sided}:
        notes.append(
            f'By {plan.sides_by}, no image is val: --val-fraction {VAL_FRACTION} cuts such a side '
            'from train.'
        )

    return sided


def _check_copies(
    images: Sequence[Tagged],
    copies: Copies,
    allow: bool,
    notes: list[str],
) -> None:
    """Reject copies on different sides of the table's own split, and note near-copies."""
    parted = [
        _say_parted(images[first], images[second], 'is a copy of')
        for first, second in copies.exact.tolist()
        if images[first].side != images[second].side
    ]
    if parted and not allow:
        raise AnnotationError(several(parted) + ' Pass --allow-repeats to keep both.')
    if parted:
        notes.append(several(parted))
    near = [
        _say_parted(images[first], images[second], 'nearly is')
        for first, second in copies.near.tolist()
        if images[first].side != images[second].side
    ]
    if near:
        notes.append(several(near))


def _say_parted(first: Tagged, second: Tagged, verb: str) -> str:
    return (
        f'{second.where}: the {second.side} image {second.img_path!r} {verb} the {first.side} '
        f'image {first.img_path!r} at {first.where}.'
    )
