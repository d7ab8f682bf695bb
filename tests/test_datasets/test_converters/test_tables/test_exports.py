import json

import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.records import read_table


def read(put, path, content):
    text = content if isinstance(content, str) else json.dumps(content)
    table = read_table(put(path, text))
    return [record for record, _ in table.records], table


def task(image, *tags, **more):
    result = [{'type': 'choices', 'value': {'choices': list(tags)}}]
    return {'id': 1, 'data': {'image': image}, 'annotations': [{'result': result, **more}]}


def test_label_studio(tmp_path, put):
    tasks = [
        task('/data/upload/1/0a1b2c3d-a.jpg', 'cat', 'dog'),
        task('/data/local-files/?d=pets%2Fb.jpg', 'cat'),
        task('https://host/pets/c.jpg?size=2'),
        task('d.jpg', 'sea', was_cancelled=True),
        {'id': 5, 'data': {'image': 'e.jpg'}, 'annotations': []},
    ]
    boxes = {'type': 'rectanglelabels', 'value': {'x': 1, 'rectanglelabels': ['sky']}}
    taxonomy = {'type': 'taxonomy', 'value': {'taxonomy': [['animal', 'bird'], ['plant']]}}
    rating = {'type': 'rating', 'value': {'rating': 4}}
    tasks[2]['annotations'][0]['result'] += [boxes, taxonomy, rating]
    records, table = read(put, tmp_path / 'p.json', tasks)
    assert table.kind == 'an export of Label Studio'
    assert records == [
        {'image': '1/0a1b2c3d-a.jpg', 'tags': ['cat', 'dog']},
        {'image': 'pets/b.jpg', 'tags': ['cat']},
        {'image': 'pets/c.jpg', 'tags': ['sky', 'bird', 'plant']},
    ]
    assert table.notes == ['2 tasks without an annotation left out.']


def test_label_studio_min(tmp_path, put):
    entries = [{'image': 'a.jpg', 'id': 1, 'choice': {'choices': ['cat', 'dog']}}]
    assert read(put, tmp_path / 'p.json', entries)[0] == entries


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels/></task></meta>{}</annotations>"""


def test_cvat(tmp_path, put):
    images = (
        '<image id="0" name="a.jpg" subset="Train" width="4" height="4">'
        '<tag label="cat" source="manual"/><tag label="dog" source="manual"/>'
        '<box label="sea" xtl="0" ytl="0" xbr="1" ybr="1"/></image>'
        '<image id="1" name="b.jpg" subset="default" width="4" height="4"/>'
    )
    records, table = read(put, tmp_path / 'a.xml', CVAT.format(images))
    assert records == [
        {'image': 'a.jpg', 'tags': ['cat', 'dog'], 'split': 'Train'},
        {'image': 'b.jpg', 'tags': []},
    ]
    assert table.notes == []


def test_cvat_of_boxes_alone(tmp_path, put):
    image = (
        '<image id="0" name="a.jpg"><box label="sea" xtl="0"/><polygon label="sky" points=""/>'
        '<box label="sea" xtl="1"/></image>'
    )
    records, table = read(put, tmp_path / 'a.xml', CVAT.format(image))
    assert records == [{'image': 'a.jpg', 'tags': ['sea', 'sky', 'sea']}]
    assert 'the labels of its boxes and shapes are taken' in table.notes[0]


def test_fiftyone_samples(tmp_path, put):
    def classifications(*labels):
        entries = [{'_cls': 'Classification', 'label': label} for label in labels]
        return {'_cls': 'Classifications', 'classifications': entries}

    samples = [
        {
            'filepath': 'data/a.jpg',
            'tags': ['train'],
            'ground_truth': classifications('cat', 'dog'),
        },
        {
            'filepath': 'data/b.jpg',
            'tags': ['validation', 'old'],
            'ground_truth': {'_cls': 'Classification', 'label': 'cat'},
            'predictions': classifications('sea'),
        },
        {
            'filepath': 'data/c.jpg',
            'tags': ['test'],
            'ground_truth': {
                '_cls': 'Detections',
                'detections': [{'_cls': 'Detection', 'label': 'sea', 'bounding_box': [0, 0, 1, 1]}],
            },
        },
        {'filepath': 'data/d.jpg', 'tags': ['test'], 'ground_truth': None},
    ]
    records, table = read(put, tmp_path / 'samples.json', {'name': 'x', 'samples': samples})
    assert table.kind == 'an export of FiftyOne'
    assert records == [
        {'image': 'data/a.jpg', 'tags': ['cat', 'dog'], 'split': 'train'},
        {'image': 'data/b.jpg', 'tags': ['cat'], 'split': 'validation'},
        {'image': 'data/c.jpg', 'tags': ['sea'], 'split': 'test'},
        {'image': 'data/d.jpg', 'tags': [], 'split': 'test'},
    ]
    for sample in samples:
        sample['labels'] = sample.pop('ground_truth')

    with pytest.raises(AnnotationError, match=r"one field of labels.*\['labels', 'predictions'\]"):
        read(put, tmp_path / 'samples.json', {'samples': samples})


def test_fiftyone_labels(tmp_path, put):
    content = {'classes': ['cat', 'dog'], 'labels': {'a': [0, 1], 'b': 1, 'c': None, 'd': 'sea'}}
    assert read(put, tmp_path / 'labels.json', content)[0] == [
        {'image': 'a', 'tags': ['cat', 'dog']},
        {'image': 'b', 'tags': ['dog']},
        {'image': 'c', 'tags': []},
        {'image': 'd', 'tags': ['sea']},
    ]
    content['labels']['b'] = 2
    with pytest.raises(AnnotationError, match=r"`labels\['b'\]` should name classes, but got 2"):
        read(put, tmp_path / 'labels.json', content)


def test_coco(tmp_path, put):
    content = {
        'images': [{'id': 7, 'file_name': 'a.jpg'}, {'id': 8, 'file_name': 'b.jpg'}],
        'annotations': [
            {'id': 1, 'image_id': 7, 'category_id': 2},
            {'id': 2, 'image_id': 7, 'category_id': 1},
            {'id': 3, 'image_id': 7, 'category_id': 2},
        ],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    }
    assert read(put, tmp_path / 'c.json', content)[0] == [
        {'image': 'a.jpg', 'tags': ['cat', 'dog']},
        {'image': 'b.jpg', 'tags': []},
    ]


@pytest.mark.parametrize(
    ('content', 'part'),
    [
        ({'metainfo': {}, 'data_list': []}, 'an annotation file of MultiLabelDataset already'),
        ({'_via_settings': {}, '_via_img_metadata': {}}, 'a project of VIA'),
        ({'shapes': [], 'imagePath': 'a.jpg'}, 'one image of LabelMe'),
        ({'info': {}, 'items': [], 'categories': {}}, 'a Datumaro data set'),
        ({'cat': 1}, r"an object of \['cat'\]"),
        ([1, 2], r'`\[0\]` should be an object'),
        ('"cat"', 'expected a table'),
        ([{'data': {'text': 'no image'}, 'annotations': []}], 'should name an image'),
        ([{'data': {'image': 'a.jpg'}, 'annotations': [{'result': 3}]}], 'a list of objects'),
        ({'samples': [{'filepath': 'a.jpg'}]}, 'one field of labels'),
        ({'classes': None, 'labels': []}, '`labels` should be an object'),
    ],
)
def test_other_json_is_refused_by_name(tmp_path, put, content, part):
    with pytest.raises(AnnotationError, match=f'x.json.*{part}'):
        read(put, tmp_path / 'x.json', content)


@pytest.mark.parametrize(
    ('content', 'part'),
    [
        ('<annotation><object/></annotation>', 'PASCAL VOC'),
        ('<annotations/>', '"CVAT for images 1.1", but got <annotations> with 0 images'),
        ('<html/>', 'but got <html>'),
        ('<annotations>', 'x.xml:1: expected XML, but'),
    ],
)
def test_other_xml_is_refused_by_name(tmp_path, put, content, part):
    with pytest.raises(AnnotationError, match=part):
        read(put, tmp_path / 'x.xml', content)


def test_entities_do_not_blow_up(tmp_path, put):
    entities = ''.join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    prolog = f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]>'
    with pytest.raises(AnnotationError, match=r'x\.xml:\d+: expected XML'):
        read(put, tmp_path / 'x.xml', f'{prolog}<annotations><image name="&a11;"/></annotations>')
