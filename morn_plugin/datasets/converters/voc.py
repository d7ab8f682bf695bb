"""Converts PASCAL VOC of any year, and other data in its format, from the XML annotations."""

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from morn_plugin.datasets.annotations import AnnotationError

from .base import Converter, Image, Parsed, Published, Split
from .path_separators import relative_path
from .reading import read_classes, read_lines, read_text

DESCRIPTION = """PASCAL VOC, or other data in its format, to MultiLabelDataset JSON.

Expects ROOT/VOCdevkit/VOC2007 (or another year, or ROOT/VOC2007, or ROOT itself)
with ImageSets/Main/*.txt, Annotations/ and JPEGImages/. Writes train.json
(trainval) and test.json of 2007; of the years whose test side was not published,
train.json (train) and test.json (val). --train, --val and --test name other
lists of ImageSets/Main. With ROOT/{train,valid,test}/*.xml beside the images, as
Roboflow exports, writes train.json, val.json and test.json.
A class of which an image shows difficult objects alone goes to
`gt_label_difficult`: -1 in the target vector, left out of loss and metrics. Images
without a label are kept. The names are the 20 classes of PASCAL VOC unless
--classes FILE or --own-classes says otherwise."""

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
SIDES = ('train', 'val', 'test')
PUBLISHED = {
    ('2007', 'trainval'): Published(images=5_011, classes=20),
    ('2007', 'test'): Published(images=4_952, classes=20),
    ('2012', 'train'): Published(images=5_717, classes=20),
    ('2012', 'val'): Published(images=5_823, classes=20),
    ('2012', 'trainval'): Published(images=11_540, classes=20),
}
ROBOFLOW = {'train': 'train', 'val': 'valid', 'test': 'test'}


@dataclass(frozen=True)
class Objects:
    """The classes of one image.

    Attributes:
        img_path: Path relative to the root.
        where: File and line that list it.
        clear: Classes with an object that is not difficult.
        difficult: Classes with difficult objects only.
    """

    img_path: str
    where: str
    clear: frozenset[str]
    difficult: frozenset[str]


def parse(args: argparse.Namespace) -> Parsed:
    """Read all sides."""
    known = None if args.own_classes else CLASSES
    if args.classes is not None:
        known = read_classes(args.classes)

    kit = find_kit(args.root, args.year)
    if kit is None:
        found = _read_folders(args.root, known)
        published: Mapping[str, Published] = {}
    else:
        year = kit.name.removeprefix('VOC')
        found = {}
        published = {}
        for side, name in choose_lists(kit, {side: vars(args)[side] for side in SIDES}).items():
            found[side] = read_list(args.root, kit, name, known)
            published[side] = PUBLISHED.get((year, name), Published())

    names = known or _collect_names(found.values())
    notes = [] if known else [f'{len(names):,} classes: {", ".join(names[:10])}.']
    splits = {}
    for side, images in found.items():
        labelled = [_label(image, names) for image in images]
        splits[side] = Split(names, labelled, published.get(side, Published()))

    return Parsed(splits, notes)


def find_kit(root: Path, year: str | None) -> Path | None:
    """Find the folder of a year.

    Args:
        root: The folder itself, or one above it.
        year: The year. Defaults to None: the only year found.

    Returns:
        The folder, or None if XML files are beside the images in a folder for each side.

    Raises:
        FileNotFoundError: If neither is found.
        AnnotationError: If several years are found and none is named.
    """
    pattern = f'VOC{year or "[0-9]*"}'
    in_devkit = sorted(root.glob(f'VOCdevkit/{pattern}'))
    in_root = sorted(root.glob(pattern))
    candidates = [*in_devkit, *in_root, root]
    kits = [kit for kit in candidates if (kit / 'ImageSets' / 'Main').is_dir()]
    if len(kits) > 1:
        years = ', '.join(kit.name for kit in kits)
        raise AnnotationError(f'{root}: expected one year, but got {years}. Pass --year.')
    if kits:
        return kits[0]

    # Without a kit, as Roboflow writes it: a folder for each side.
    folders = [root / name for name in ROBOFLOW.values()]
    if any(folder.glob('*.xml') for folder in folders if folder.is_dir()):
        return None

    usual = f'VOC{year or 2007}'
    expected = [root / 'VOCdevkit' / usual, root / usual, root]
    raise FileNotFoundError(
        f'Expected ImageSets/Main in one of {", ".join(map(str, expected))}, but got none.'
    )


USUAL_LISTS = ({'train': 'trainval', 'test': 'test'}, {'train': 'train', 'test': 'val'})


def choose_lists(kit: Path, named: Mapping[str, str | None]) -> dict[str, str]:
    """Choose the list of each side.

    Args:
        kit: The folder of a year.
        named: Names of lists by side, None for the usual one.

    Raises:
        FileNotFoundError: If none is named and the usual ones are missing.
    """
    given = {side: name.removesuffix('.txt') for side, name in named.items() if name is not None}
    if given:
        return given

    folder = kit / 'ImageSets' / 'Main'
    there = {path.stem for path in folder.glob('*.txt')}
    for lists in USUAL_LISTS:
        if there.issuperset(lists.values()):
            return lists

    if 'trainval' in there:  # only its test list is missing
        return USUAL_LISTS[0]

    raise FileNotFoundError(
        f'{folder}: expected trainval.txt and test.txt, or train.txt and val.txt, but got '
        f'{sorted(there)[:5]}. Name the lists with --train, --val and --test.'
    )


def read_list(
    root: Path,
    kit: Path,
    name: str,
    known: list[str] | None,
) -> list[Objects]:
    """Read the images of one list.

    Args:
        root: Folder that image paths are relative to.
        kit: The folder of a year, the root or below it.
        name: Name of the list.
        known: Classes that objects may have, or None for any.

    Raises:
        FileNotFoundError: If a list or an XML file is missing.
        AnnotationError: If one is invalid; names file and line.
    """
    list_path = kit / 'ImageSets' / 'Main' / f'{name}.txt'
    prefix = (kit / 'JPEGImages').relative_to(root).as_posix()

    images = []
    for number, line in enumerate(read_lines(list_path), 1):
        where = f'{list_path}:{number}'
        if len(Path(relative_path(line, where)).parts) > 1 or ' ' in line:
            raise AnnotationError(
                f'{where}: expected the name of an image, such as 000005, but got {line!r}.'
            )

        path = kit / 'Annotations' / f'{line}.xml'
        file_name, clear, difficult = read_objects(path, where, known)
        # Other tools use other image formats; only the extension is taken from the XML.
        suffix = Path(file_name).suffix if Path(file_name).stem == line else '.jpg'
        images.append(Objects(f'{prefix}/{line}{suffix}', where, clear, difficult))

    return images


def _read_folders(root: Path, known: list[str] | None) -> dict[str, list[Objects]]:
    """Read XML files beside their images, in a folder for each side."""
    sides = {}
    for side, folder in ROBOFLOW.items():
        paths = sorted((root / folder).glob('*.xml'))
        images = []
        for path in paths:
            file_name, clear, difficult = read_objects(path, str(path), known)
            img_path = relative_path(f'{folder}/{file_name or f"{path.stem}.jpg"}', str(path))
            images.append(Objects(img_path, str(path), clear, difficult))

        if images:
            sides[side] = images

    return sides


def _collect_names(sides: Iterable[list[Objects]]) -> list[str]:
    images = [image for side in sides for image in side]
    return sorted({name for image in images for name in image.clear | image.difficult})


def _label(image: Objects, classes: list[str]) -> Image:
    clear = tuple(sorted(map(classes.index, image.clear)))
    difficult = tuple(sorted(map(classes.index, image.difficult)))
    return Image(image.img_path, clear, image.where, difficult)


def read_objects(
    path: Path, listed: str, known: list[str] | None
) -> tuple[str, frozenset[str], frozenset[str]]:
    """Read the classes of one image.

    Args:
        path: The XML file.
        listed: File and line that list the image, for the error.
        known: Classes that objects may have, or None for any.

    Returns:
        The name of the image file in the XML, the classes with an object that is not difficult, and
        those with difficult objects only.

    Raises:
        AnnotationError: If the file is missing or has another format.
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

    # The parser drops line numbers; without them an error is hard to find among many objects.
    starts = [match.start() for match in re.finditer(r'<object\b', text)]
    lines = [text.count('\n', 0, start) + 1 for start in starts]
    objects = annotation.findall('object')
    if len(objects) != len(lines):
        raise AnnotationError(
            f'{path}:{lines[0]}: expected every `object` right below `annotation`.'
        )

    clear: set[str] = set()
    difficult: set[str] = set()
    for element, line in zip(objects, lines, strict=True):
        name, is_difficult = _read_object(element, f'{path}:{line}', known)
        group = difficult if is_difficult else clear
        group.add(name)

    file_name = _text_of(annotation, 'filename')
    return file_name, frozenset(clear), frozenset(difficult - clear)


def _text_of(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or '').strip()


def _read_object(
    element: ElementTree.Element, where: str, known: list[str] | None
) -> tuple[str, bool]:
    name = _text_of(element, 'name')
    difficult = _text_of(element, 'difficult')
    if not name or (known is not None and name not in known):
        which = 'given' if known is None else f'one of the {len(known)} classes'
        raise AnnotationError(
            f'{where}: expected the `name` of the object to be {which}, but got {name!r}. Other '
            'names are taken with --own-classes, or --classes FILE.'
        )
    if not difficult and known is not CLASSES:
        return name, False  # other tools omit it
    if difficult not in ('0', '1'):
        raise AnnotationError(
            f'{where}: expected `difficult` of the object to be 0 or 1, but got {difficult!r}.'
        )

    return name, difficult == '1'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this data set."""
    parser.add_argument('--year', help='such as 2012 (default: that of the folder)')
    for side in SIDES:
        parser.add_argument(
            f'--{side}', metavar='NAME', help=f'list of the {side} side in ImageSets/Main'
        )

    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        '--classes', type=Path, metavar='FILE', help='names of the classes, one per line'
    )
    classes.add_argument(
        '--own-classes', action='store_true', help='take the names that objects have, sorted'
    )


CONVERTER = Converter(DESCRIPTION, parse, add_arguments)
