"""PASCAL VOC 2007, from the XML annotations."""

import argparse
import re
from pathlib import Path
from xml.etree import ElementTree

from morn_plugin.datasets.annotations import AnnotationError

from .base import Converter, Image, Parsed, Published, Split
from .paths import relative_path
from .reading import read_lines, read_text

DESCRIPTION = """PASCAL VOC 2007 to MultiLabelDataset JSON.

Expects ROOT/VOCdevkit/VOC2007 (or ROOT/VOC2007, or ROOT itself) with
ImageSets/Main/{trainval,test}.txt, Annotations/ and JPEGImages/; writes
train.json (trainval) and test.json. A class of which an image shows difficult
objects alone goes to `gt_label_difficult`: -1 in the target vector, left out of
loss and metrics. Images without a label are kept."""

CLASSES = [
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
]
LISTS = {'train': 'trainval', 'test': 'test'}
PUBLISHED = {
    'train': Published(images=5_011, classes=20),
    'test': Published(images=4_952, classes=20),
}


def parse(args: argparse.Namespace) -> Parsed:
    """Read both sides."""
    kit = _find_kit(args.root)
    return Parsed({side: read_side(args.root, kit, side) for side in LISTS})


def _find_kit(root: Path) -> Path:
    candidates = [root / 'VOCdevkit' / 'VOC2007', root / 'VOC2007', root]
    for candidate in candidates:
        if (candidate / 'ImageSets' / 'Main').is_dir():
            return candidate
    raise FileNotFoundError(
        f'Expected ImageSets/Main in one of {", ".join(map(str, candidates))}, but got none.'
    )


def read_side(root: Path, kit: Path, side: str) -> Split:
    """Read one side.

    Args:
        root: What image paths are relative to.
        kit: The folder ``VOC2007``, the root or below it.
        side: ``train`` or ``test``.

    Raises:
        FileNotFoundError: If a list or an XML file is not there.
        AnnotationError: If one is not as it should be; names file and line.
    """
    list_path = kit / 'ImageSets' / 'Main' / f'{LISTS[side]}.txt'
    prefix = (kit / 'JPEGImages').relative_to(root).as_posix()
    images = []
    for number, name in enumerate(read_lines(list_path), 1):
        where = f'{list_path}:{number}'
        if len(Path(relative_path(name, where)).parts) > 1 or ' ' in name:
            raise AnnotationError(
                f'{where}: expected the name of an image, such as 000005, but got {name!r}.'
            )
        labels, difficult = read_objects(kit / 'Annotations' / f'{name}.xml', where)
        images.append(Image(f'{prefix}/{name}.jpg', labels, where, difficult))
    return Split(CLASSES, images, PUBLISHED[side])


def read_objects(path: Path, listed: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read the classes of one image.

    Args:
        path: The XML file.
        listed: File and line that list the image, for the error.

    Returns:
        Classes with an object that is not difficult, and those with difficult
        objects alone.

    Raises:
        AnnotationError: If the file is not there or not of this format.
    """
    if not path.is_file():
        raise AnnotationError(f'{listed}: expected the file {path}, but there is none.')
    text = read_text(path)
    try:
        annotation = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise AnnotationError(f'{path}:{error.position[0]}: expected XML, but {error}.') from error
    if annotation.tag != 'annotation':
        raise AnnotationError(
            f'{path}:1: expected the element `annotation`, but got `{annotation.tag}`.'
        )
    # The parser does not keep lines, and without them an error is hard to find among many objects.
    lines = [text.count('\n', 0, match.start()) + 1 for match in re.finditer(r'<object\b', text)]
    objects = annotation.findall('object')
    if len(objects) != len(lines):
        raise AnnotationError(
            f'{path}:{lines[0]}: expected every `object` right below `annotation`.'
        )
    classes: dict[bool, set[int]] = {False: set(), True: set()}
    for element, line in zip(objects, lines, strict=True):
        label, difficult = _read_object(element, f'{path}:{line}')
        classes[difficult].add(label)
    return tuple(sorted(classes[False])), tuple(sorted(classes[True] - classes[False]))


def _read_object(element: ElementTree.Element, where: str) -> tuple[int, bool]:
    name, difficult = ((element.findtext(key) or '').strip() for key in ('name', 'difficult'))
    if name not in CLASSES:
        raise AnnotationError(
            f'{where}: expected the `name` of the object to be one of the 20 classes, '
            f'but got {name!r}.'
        )
    if difficult not in ('0', '1'):
        raise AnnotationError(
            f'{where}: expected `difficult` of the object to be 0 or 1, but got {difficult!r}.'
        )
    return CLASSES.index(name), difficult == '1'


CONVERTER = Converter(DESCRIPTION, parse)
