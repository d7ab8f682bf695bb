"""Reads the JSON or XML of annotation tools as a table with the columns image and tags."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from morn_plugin.datasets.annotations import AnnotationError

from ..coco import read_categories_and_images

Record = tuple[dict[str, Any], str]
Export = tuple[str, list[Record]]

SIDE_TAGS = ('train', 'training', 'val', 'valid', 'validation', 'test', 'testing')
HELP = (
    'JSON is read as a list of objects, one for each image, as {"a.jpg": ["cat"]}, as COCO, or as '
    'Label Studio and FiftyOne export it'
)

# The keys that identify other tools' JSON, and advice for each.
OTHER_TOOLS = {
    ('metainfo', 'data_list'): 'an annotation file of MultiLabelDataset already: train from it',
    ('_via_img_metadata',): 'a project of VIA: export it as COCO',
    ('shapes', 'imagePath'): 'one image of LabelMe: convert the folder to COCO (labelme2coco)',
    ('items', 'categories'): 'a Datumaro data set: export it as COCO or CVAT',
    ('assets', 'tags', 'connections'): 'a project of VoTT: export it as CSV',
}


def read_json_export(
    content: Any,
    path: Path,
    notes: list[str],
) -> Export:
    """Read the decoded JSON of a file.

    Args:
        content: The decoded content.
        path: The file.
        notes: Gets a line for content that is left out.

    Returns:
        The kind of file, in words, and its records.

    Raises:
        AnnotationError: If its form is unknown; names the form if possible.
    """
    if isinstance(content, list):
        return _read_list(content, path, notes)
    if not isinstance(content, dict):
        raise AnnotationError(f'{path}: expected a table, but got {str(content)[:60]!r}. {HELP}.')

    for keys, advice in OTHER_TOOLS.items():
        if all(key in content for key in keys):
            raise AnnotationError(f'{path}: expected a table of tags, but it is {advice}.')

    for keys, read in _READERS.items():
        if all(key in content for key in keys):
            return read(content, path, notes)

    if content and all(_is_tags(value) for value in content.values()):
        return 'JSON', [
            (dict(image=name, tags=tags), f'{path}: {name!r}') for name, tags in content.items()
        ]

    raise AnnotationError(
        f'{path}: expected a table, but got an object of {list(content)}. {HELP}.'
    )


def _is_tags(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(tag, str) for tag in value)
    return isinstance(value, str)


def _read_list(
    content: list[Any],
    path: Path,
    notes: list[str],
) -> Export:
    for number, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise AnnotationError(
                f'{path}: `[{number}]` should be an object, but got {str(entry)[:60]!r}. {HELP}.'
            )

    is_label_studio = bool(content) and all(
        isinstance(entry.get('data'), dict) and 'annotations' in entry for entry in content
    )
    if is_label_studio:
        return 'an export of Label Studio', list(_read_label_studio(content, path, notes))

    return 'JSON', [(entry, f'{path}: `[{number}]`') for number, entry in enumerate(content)]


def _read_label_studio(
    tasks: list[dict[str, Any]],
    path: Path,
    notes: list[str],
) -> Iterator[Record]:
    """Read tasks; each annotation that was not cancelled becomes a record."""
    without = 0
    for number, task in enumerate(tasks):
        where = f'{path}: `[{number}]`'
        image = _image_of_task(task['data'], where)
        annotations = _objects(task['annotations'], f'{where}.annotations')
        done = [entry for entry in annotations if not entry.get('was_cancelled')]
        without += not done

        for entry in done:
            results = _objects(entry.get('result'), f'{where}.annotations.result')
            tags = [tag for result in results for tag in _tags_of_result(result)]
            yield dict(image=image, tags=tags), where

    if without:
        notes.append(f'{without:,} tasks without an annotation left out.')


def _objects(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise AnnotationError(f'{where} should be a list of objects, but got {str(value)[:60]!r}.')
    return value


def _image_of_task(data: dict[str, Any], where: str) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    for key in ('image', 'img', *texts):
        if key in texts and (key in ('image', 'img') or '/' in texts[key] or '.' in texts[key]):
            return strip_address(texts[key])
    raise AnnotationError(f'{where}.data should name an image, but got {str(data)[:60]!r}.')


def strip_address(text: str) -> str:
    """Return the path in an image address that a label tool wrote.

    Examples:
        >>> strip_address('/data/local-files/?d=pets%2Fcat.jpg')
        'pets/cat.jpg'
        >>> strip_address('https://host/pets/cat.jpg?size=2')
        'pets/cat.jpg'
    """
    parts = urlsplit(text)
    if parts.query and '/local-files/' in parts.path:
        return parse_qs(parts.query).get('d', [''])[0]
    if '://' in text:
        return parts.path.lstrip('/')
    return text.removeprefix('/data/upload/')


def _tags_of_result(result: dict[str, Any]) -> list[str]:
    """Return the tags of choices, taxonomies, boxes, polygons, ...; a rating has none."""
    value = result.get('value')
    tags = value.get(str(result.get('type'))) if isinstance(value, dict) else None
    if not isinstance(tags, list):
        return []
    ends = [tag[-1] if isinstance(tag, list) and tag else tag for tag in tags]  # for a taxonomy
    return [tag for tag in ends if isinstance(tag, str)]


def _read_coco(
    content: dict[str, Any],
    path: Path,
    notes: list[str],
) -> Export:
    classes, images = read_categories_and_images(content, path, notes)

    records: list[Record] = []
    for name, labels, where in images:
        tags = [classes[label] for label in labels]
        records.append((dict(image=name, tags=tags), where))

    return 'COCO', records


def _read_fiftyone_samples(
    content: dict[str, Any],
    path: Path,
    notes: list[str],
) -> Export:
    samples = _objects(content['samples'], f'{path}: `samples`')
    field = _find_label_field(samples, path)
    records = []
    for number, sample in enumerate(samples):
        where = f'{path}: `samples[{number}]`'
        labels = sample.get(field) or {}
        entries = [
            labels,
            *(v for value in labels.values() if isinstance(value, list) for v in value),
        ]
        tags = [entry['label'] for entry in entries if isinstance(entry, dict) and 'label' in entry]
        record = dict(image=sample.get('filepath'), tags=tags)
        sides = [tag for tag in sample.get('tags') or () if tag in SIDE_TAGS]
        records.append((dict(record, split=sides[0]) if sides else record, where))

    return 'an export of FiftyOne', records


def _find_label_field(samples: list[dict[str, Any]], path: Path) -> str:
    fields = sorted(
        {
            key
            for sample in samples
            for key, value in sample.items()
            if isinstance(value, dict) and str(value.get('_cls')) in _FIFTYONE_LABELS
        }
    )
    if 'ground_truth' in fields or len(fields) == 1:
        return 'ground_truth' if 'ground_truth' in fields else fields[0]

    raise AnnotationError(
        f'{path}: expected one field of labels in the samples, but got {fields or "none"}. Export '
        'one label field.'
    )


_FIFTYONE_LABELS = ('Classification', 'Classifications', 'Detections', 'Polylines')


def _read_fiftyone_labels(
    content: dict[str, Any],
    path: Path,
    notes: list[str],
) -> Export:
    """Read ``labels.json`` of FiftyOne's image classification data sets."""
    classes = content['classes']
    labels = content['labels']
    if not isinstance(labels, dict):
        raise AnnotationError(
            f'{path}: `labels` should be an object, but got {str(labels)[:60]!r}.'
        )

    records: list[Record] = []
    for name, value in labels.items():
        where = f'{path}: `labels[{name!r}]`'
        entry = value.get('label') if isinstance(value, dict) else value
        if entry is None:
            entries = []
        else:
            entries = entry if isinstance(entry, list) else [entry]

        tags = [_name_of_label(label, classes, where) for label in entries]
        records.append((dict(image=name, tags=tags), where))

    return 'an export of FiftyOne', records


def _name_of_label(label: Any, classes: Any, where: str) -> str:
    if isinstance(label, str):
        return label
    if isinstance(label, int) and isinstance(classes, list) and 0 <= label < len(classes):
        return str(classes[label])
    raise AnnotationError(f'{where} should name classes, but got {label!r}.')


_READERS: dict[tuple[str, ...], Callable[[dict[str, Any], Path, list[str]], Export]] = {
    ('images', 'annotations', 'categories'): _read_coco,
    ('samples',): _read_fiftyone_samples,
    ('classes', 'labels'): _read_fiftyone_labels,
}


def read_xml_export(
    text: str,
    path: Path,
    notes: list[str],
) -> Export:
    """Read CVAT's XML: the tags of images or, without any, the labels of their shapes.

    Raises:
        AnnotationError: If it is XML of another kind.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise AnnotationError(f'{path}:{error.position[0]}: expected XML, but {error}.') from error

    if root.tag == 'annotation':
        raise AnnotationError(
            f'{path}: expected a table of tags, but it is one image of PASCAL VOC: '
            'tools/dataset_converters/voc.py converts these.'
        )

    images = root.findall('image')
    if root.tag != 'annotations' or not images:
        raise AnnotationError(
            f'{path}: expected the XML of "CVAT for images 1.1", but got <{root.tag}> with '
            f'{len(images)} images.'
        )

    by_tags = any(image.find('tag') is not None for image in images)
    if not by_tags:
        notes.append('No image has tags in CVAT: the labels of its boxes and shapes are taken.')
    return 'an export of CVAT', [
        _read_cvat_image(image, by_tags, f'{path}: image {number}')
        for number, image in enumerate(images)
    ]


def _read_cvat_image(
    image: ElementTree.Element,
    by_tags: bool,
    where: str,
) -> Record:
    marked = image.findall('tag') if by_tags else list(image)
    tags = [element.get('label') for element in marked if element.get('label')]
    record: dict[str, Any] = dict(image=image.get('name'), tags=tags)
    subset = image.get('subset', '')
    if subset.lower() in SIDE_TAGS:
        record['split'] = subset
    return record, where
