"""The results that a converter passes to the shared code."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

from morn_plugin.datasets.annotations import Annotations


@dataclass(frozen=True)
class Published:
    """The published counts of a data set; None if not published.

    Attributes:
        images: Number of images, including those without a label.
        classes: Number of classes.
        unlabelled: Number of images without any label.
        mean: Mean number of labels per image, to two decimals.
        most: Upper bound of the number of labels of one image.
    """

    images: int | None = None
    classes: int | None = None
    unlabelled: int | None = None
    mean: float | None = None
    most: int | None = None


@dataclass(frozen=True)
class Image:
    """One image as the source lists it.

    Attributes:
        img_path: Relative to the root, with forward slashes.
        labels: Indices of the true classes, ascending.
        where: File and line (or field) that lists it, for messages.
        difficult: Indices of classes that are neither true nor false.
    """

    img_path: str
    labels: tuple[int, ...]
    where: str
    difficult: tuple[int, ...] = ()


@dataclass(frozen=True)
class Split:
    """One side of a data set, in the order of the source.

    Attributes:
        classes: Names of the C classes.
        images: The images, including unlabelled ones.
        published: The counts to compare with.
    """

    classes: list[str]
    images: list[Image]
    published: Published = Published()

    def annotations(self) -> Annotations:
        """Return the content of the annotation file."""
        return Annotations(self.classes, [_item(image) for image in self.images])


@dataclass(frozen=True)
class Parsed:
    """The results of a parse function.

    Attributes:
        splits: Name of the annotation file, such as ``train``, to its side.
        notes: Lines of the report in addition to the counts.
        part_of: Side to the side that it was cut from: the parts of a training side divide its
            images.
        files: Name of a further file to its text; '' removes the file.
    """

    splits: dict[str, Split]
    notes: list[str] = field(default_factory=list)
    part_of: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def apart(self) -> list[list[str]]:
        """Return the sets of sides that must not share an image: the whole sides, and the parts."""
        wholes = [name for name in self.splits if name not in self.part_of]
        parts = [name for name in self.splits if name not in self.part_of.values()]
        return [wholes, parts]


@dataclass(frozen=True)
class Converter:
    """A data set that can be converted.

    Attributes:
        description: Shown by ``--help``: the expected layout and the rules.
        parse: Reads the annotations named by the options; ``args.root`` is
            an existing directory. Raises ``AnnotationError`` or ``OSError``.
        add_arguments: Adds the options that only this data set has.
        drop_unlabelled: Whether images without a label are dropped unless
            the user asks for them.
        out_required: Whether the output directory is a positional argument
            rather than an option that defaults to the root.
    """

    description: str
    parse: Callable[[argparse.Namespace], Parsed]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    drop_unlabelled: bool = False
    out_required: bool = False


def _item(image: Image) -> dict:
    item = dict(img_path=image.img_path, gt_label=list(image.labels))
    if image.difficult:
        item['gt_label_difficult'] = list(image.difficult)
    return item
