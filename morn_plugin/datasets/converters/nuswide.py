r"""NUS-WIDE, from the official ground truth or a selection of it by the authors' lists."""

import argparse
from pathlib import Path

import numpy as np

from morn_plugin.datasets.annotations import AnnotationError

from .base import Converter, Image, Parsed, Published, Split
from .path_separators import relative_path
from .reading import (
    check_row_count,
    only_file,
    read_classes,
    read_lines,
    split_counted,
)

DESCRIPTION = r"""NUS-WIDE (81 concepts) to MultiLabelDataset JSON.

Expects under ROOT, as the official archives unpack:
  ConceptsList/Concepts81.txt                                the classes, in order
  ImageList/{Train,Test}Imagelist.txt                        actor\0002_174174086.jpg
  Groundtruth/TrainTestLabels/Labels_<concept>_{Train,Test}.txt   0 or 1 per line
  Flickr/actor/0002_174174086.jpg                            the images
Keeps the official sides and drops images without a label.

With --authors-lists DIR the images of each side are those of the one file
nus*{train,test}*_list.txt (`actor/0002_174174086.jpg 161790`, the integer being
the 1-based index in the official train list followed by the test list); their
labels still come from the official ground truth."""

SIDES = {'train': 'Train', 'test': 'Test'}
PUBLISHED = {
    'train': Published(images=161_789, classes=81, unlabelled=161_789 - 125_449),
    'test': Published(images=107_859, classes=81, unlabelled=107_859 - 83_898),
}
AUTHORS_PUBLISHED = {
    'train': Published(images=125_449, classes=81, unlabelled=0),
    'test': Published(images=83_898, classes=81, unlabelled=0),
}


def parse(args: argparse.Namespace) -> Parsed:
    """Read both sides, from the files that the options name."""
    official = {side: read_official(args.root, side, args.images_dir) for side in SIDES}
    if args.authors_lists is None:
        return Parsed(official)

    images = [image for split in official.values() for image in split.images]
    return Parsed(
        {
            side: _select(args.authors_lists, side, images, official[side].classes, args.images_dir)
            for side in SIDES
        }
    )


def read_official(root: Path, side: str, images_dir: str) -> Split:
    """Read the image list and the ground truth of one side.

    Args:
        root: Root of the official layout.
        side: ``train`` or ``test``.
        images_dir: Folder of the images below the root.

    Raises:
        FileNotFoundError: If a file is missing.
        AnnotationError: If a line is invalid; names file and line.
    """
    concepts = root / 'ConceptsList' / 'Concepts81.txt'
    classes = read_classes(concepts)
    list_path = root / 'ImageList' / f'{SIDES[side]}Imagelist.txt'
    lines = read_lines(list_path)
    truth = np.zeros((len(lines), len(classes)), dtype=bool)

    for index, concept in enumerate(classes):
        relative_path(concept, f'{concepts}:{index + 1}')  # the name becomes part of a path
        path = root / 'Groundtruth' / 'TrainTestLabels' / f'Labels_{concept}_{SIDES[side]}.txt'
        flags = _read_flags(path)
        check_row_count(path, len(flags), len(lines), list_path)
        truth[:, index] = flags

    images = []
    for number, (line, row) in enumerate(zip(lines, truth, strict=True), 1):
        where = f'{list_path}:{number}'
        images.append(
            Image(
                f'{images_dir}/{relative_path(line, where)}',
                tuple(np.flatnonzero(row).tolist()),
                where,
            )
        )

    return Split(classes, images, PUBLISHED[side])


def _read_flags(path: Path) -> list[bool]:
    flags = []
    for number, line in enumerate(read_lines(path), 1):
        if line not in ('0', '1'):
            raise AnnotationError(f'{path}:{number}: expected 0 or 1, but got {line!r}.')
        flags.append(line == '1')

    return flags


def _select(
    folder: Path,
    side: str,
    official: list[Image],
    classes: list[str],
    images_dir: str,
) -> Split:
    list_path = only_file(folder, f'nus*{side}*_list.txt')
    images = []
    for number, line in enumerate(read_lines(list_path), 1):
        where = f'{list_path}:{number}'
        name, index = split_counted(line, where, 'the index in the official lists')
        if not 1 <= index <= len(official):
            raise AnnotationError(
                f'{where}: expected an index in 1..{len(official):,}, but got {index}.'
            )

        image = official[index - 1]
        if image.img_path != f'{images_dir}/{name}':
            raise AnnotationError(
                f'{where}: {name!r} is not image {index} of the official lists: {image.where} is '
                f'{image.img_path!r}.'
            )

        images.append(Image(image.img_path, image.labels, where))

    return Split(classes, images, AUTHORS_PUBLISHED[side])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this data set."""
    parser.add_argument(
        '--images-dir',
        default='Flickr',
        metavar='NAME',
        type=lambda text: relative_path(text, '--images-dir'),
        help='folder of the images below the root (default: Flickr)',
    )
    parser.add_argument(
        '--authors-lists', type=Path, metavar='DIR', help="folder of the authors' own lists"
    )


CONVERTER = Converter(DESCRIPTION, parse, add_arguments, drop_unlabelled=True)
