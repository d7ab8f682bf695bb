"""Prints the counts that a converter found next to the published ones."""

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from morn_plugin.datasets.annotations import AnnotationError

from .base import Image, Published, Split
from .images import find_images
from .reading import several


@dataclass(frozen=True)
class Checked:
    """A split compared with the files on disk.

    Attributes:
        split: Each listed image once, with its name on disk.
        missing: The images that were not found.
        repeats: Number of repeated listings.
        respelled: Number of images found with different upper and lower case.
    """

    split: Split
    missing: list[Image]
    repeats: int
    respelled: int

    def kept(self, drop_unlabelled: bool) -> Split:
        """Return the content of the annotation file."""
        missing = {image.img_path for image in self.missing}
        images = [
            image
            for image in self.split.images
            if image.img_path not in missing and (image.labels or not drop_unlabelled)
        ]
        return replace(self.split, images=images)


def check_split(
    name: str,
    split: Split,
    root: Path,
    workers: int,
    follow_links: bool,
    allow_repeats: bool,
) -> Checked:
    """Find the images of a split and the repeats among them.

    Raises:
        AnnotationError: If a link leaves the root, or an image is listed
            twice and that is not allowed or the labels disagree.
    """
    pairs = [(image.img_path, image.where) for image in split.images]
    found = find_images(root, pairs, f'Looking for the {name} images', workers, follow_links)
    images = [
        replace(image, img_path=path or image.img_path)
        for image, path in zip(split.images, found, strict=True)
    ]
    distinct = _drop_repeats(images, allow_repeats)
    there = {path for path in found if path is not None}
    return Checked(
        split=replace(split, images=distinct),
        missing=[image for image in distinct if image.img_path not in there],
        repeats=len(images) - len(distinct),
        respelled=sum(
            path is not None and path != listed
            for path, (listed, _) in zip(found, pairs, strict=True)
        ),
    )


def _drop_repeats(images: list[Image], allow: bool) -> list[Image]:
    first: dict[str, Image] = {}
    repeats = []
    for image in images:
        kept = first.setdefault(image.img_path, image)
        if kept is image:
            continue

        repeats.append(f'{image.where}: {image.img_path!r} is listed already at {kept.where}.')
        if allow and (kept.labels, kept.difficult) != (image.labels, image.difficult):
            raise AnnotationError(f'{repeats[-1]} The labels differ: one of the two is wrong.')

    if repeats and not allow:
        raise AnnotationError(several(repeats) + ' Pass --allow-repeats to keep the first of each.')

    return list(first.values())


def check_disjoint(splits: dict[str, Split]) -> None:
    """Require that no image is on two sides.

    Raises:
        AnnotationError: If any is; names both places of the first few.
    """
    first: dict[str, Image] = {}
    shared = []
    for split in splits.values():
        for image in split.images:
            kept = first.setdefault(image.img_path, image)
            if kept is not image:
                shared.append(
                    f'{image.where}: {image.img_path!r} is on another side too, at {kept.where}.'
                )

    if shared:
        raise AnnotationError(several(shared))


@dataclass(frozen=True)
class Row:
    """A row of the report; ``published`` is '' if unknown."""

    name: str
    found: str
    published: str = ''
    differs: bool = False


def rows_of(checked: Checked, drop_unlabelled: bool) -> list[Row]:
    """Count a split, next to the published counts."""
    split = checked.split
    published = checked.split.published
    numbers = [len(image.labels) for image in split.images]
    mean = sum(numbers) / max(len(numbers), 1)
    most = max(numbers, default=0)
    rows = [
        _row('images', len(numbers), published.images),
        _row('classes', len(split.classes), published.classes),
        _row('images without a label', numbers.count(0), published.unlabelled),
        Row('labels', f'{sum(numbers):,}'),
        _mean_row(mean, published),
        _most_row(most, published),
    ]
    difficult = sum(len(image.difficult) for image in split.images)
    if difficult:
        rows.append(Row('labels left out as difficult', f'{difficult:,}'))
    expected = _expected_kept(published, drop_unlabelled)
    return [
        *rows,
        Row(
            'classes without an image',
            f'{len(split.classes) - len({i for m in split.images for i in m.labels}):,}',
        ),
        Row('images listed again', f'{checked.repeats:,}'),
        Row('images found in other case', f'{checked.respelled:,}'),
        Row('images not found', f'{len(checked.missing):,}'),
        _row('images kept', len(checked.kept(drop_unlabelled).images), expected),
    ]


def _row(
    name: str,
    found: int,
    published: int | None,
) -> Row:
    if published is None:
        return Row(name, f'{found:,}')
    return Row(name, f'{found:,}', f'{published:,}', found != published)


def _mean_row(mean: float, published: Published) -> Row:
    expected = '' if published.mean is None else f'{published.mean:.2f}'
    return Row(
        'labels a picture, mean', f'{mean:.2f}', expected, expected not in ('', f'{mean:.2f}')
    )


def _most_row(most: int, published: Published) -> Row:
    if published.most is None:
        return Row('labels a picture, most', f'{most}')
    return Row(
        'labels a picture, most', f'{most}', f'up to {published.most}', most > published.most
    )


def _expected_kept(published: Published, drop_unlabelled: bool) -> int | None:
    if not drop_unlabelled:
        return published.images
    if published.images is None or published.unlabelled is None:
        return None
    return published.images - published.unlabelled


def print_report(
    console: Console,
    name: str,
    rows: list[Row],
) -> None:
    """Print the table of one split, and the differences in words."""
    table = Table(title=name, title_justify='left', title_style='bold')
    table.add_column('')
    for column in ('found', 'published', ''):
        table.add_column(column, justify='right')

    for row in rows:
        table.add_row(
            row.name, row.found, row.published, '[bold red]differs' if row.differs else ''
        )

    console.print(table)
    differing = [f'{row.name} ({row.found}, not {row.published})' for row in rows if row.differs]
    if differing:
        console.print(
            f'{name} differs from the published count: {", ".join(differing)}. '
            'Unless this is an intended subset, results are not comparable.',
            highlight=False,
        )
