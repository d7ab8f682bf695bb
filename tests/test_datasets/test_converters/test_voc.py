import pytest
from mmpretrain.datasets import VOC

from morn_plugin.datasets.annotations import load_annotations
from morn_plugin.datasets.converters.voc import CLASSES, CONVERTER

# Name and difficult of every object.
TRAINVAL = {
    '000005': [('chair', 0), ('chair', 1), ('diningtable', 1)],
    '000007': [('car', 0)],
    '000009': [('person', 1), ('person', 1)],
}
TEST = {
    '000001': [('dog', 0), ('person', 0)],
    '000002': [('train', 1), ('aeroplane', 1), ('train', 0)],
}

OBJECT = """\t<object>
\t\t<name>{}</name>
\t\t<pose>Rear</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>{}</difficult>
\t\t<bndbox>
\t\t\t<xmin>263</xmin>
\t\t\t<ymin>211</ymin>
\t\t\t<xmax>324</xmax>
\t\t\t<ymax>339</ymax>
\t\t</bndbox>
\t\t<part>
\t\t\t<name>head</name>
\t\t</part>
\t</object>
"""
# The first object starts on line 9, each further one 15 lines below.
XML = """<annotation>
\t<folder>VOC2007</folder>
\t<filename>{}.jpg</filename>
\t<source><database>The VOC2007 Database</database></source>
\t<owner><name>?</name></owner>
\t<size><width>500</width><height>375</height><depth>3</depth></size>
\t<segmented>0</segmented>

{}</annotation>
"""


@pytest.fixture
def root(tmp_path, put):
    kit = tmp_path / 'VOCdevkit' / 'VOC2007'
    for name, images in (('trainval', TRAINVAL), ('test', TEST)):
        put(kit / 'ImageSets' / 'Main' / f'{name}.txt', ''.join(f'{image}\n' for image in images))
        for image, objects in images.items():
            put(
                kit / 'Annotations' / f'{image}.xml',
                XML.format(image, ''.join(OBJECT.format(*o) for o in objects)),
            )
            put(kit / 'JPEGImages' / f'{image}.jpg')

    return tmp_path


def test_official(root, convert):
    result = convert(CONVERTER, root)
    assert result.status == 0, result.err
    train = load_annotations(root / 'train.json')
    test = load_annotations(root / 'test.json')
    assert len(train.classes) == 20
    assert train.classes == test.classes == sorted(train.classes)
    prefix = 'VOCdevkit/VOC2007/JPEGImages'
    assert train.data_list == [
        {'img_path': f'{prefix}/000005.jpg', 'gt_label': [8], 'gt_label_difficult': [10]},
        {'img_path': f'{prefix}/000007.jpg', 'gt_label': [6]},
        {'img_path': f'{prefix}/000009.jpg', 'gt_label': [], 'gt_label_difficult': [14]},
    ]
    assert test.data_list == [
        {'img_path': f'{prefix}/000001.jpg', 'gt_label': [11, 14]},
        {'img_path': f'{prefix}/000002.jpg', 'gt_label': [18], 'gt_label_difficult': [0]},
    ]
    assert '│ images │ 3 │ 5,011 │ differs │' in result.out
    assert '│ images │ 2 │ 4,952 │ differs │' in result.out
    assert '│ classes │ 20 │ 20 │ │' in result.out
    assert '│ labels left out as difficult │ 2 │ │ │' in result.out


def test_same_as_mmpretrain(root, convert):
    convert(CONVERTER, root)
    theirs = VOC(data_root=str(root / 'VOCdevkit' / 'VOC2007'), split='trainval')
    ours = load_annotations(root / 'train.json')
    assert ours.classes == CLASSES == list(theirs.CLASSES)
    assert len(ours) == len(theirs)

    for index, item in enumerate(ours.data_list):
        info = theirs.get_data_info(index)
        assert info['img_path'] == str(root / item['img_path'])
        assert set(info['gt_label']) == set(item['gt_label'])
        # Theirs keeps a class in both lists when one of its objects is not difficult.
        assert set(info['gt_label_difficult']) - set(info['gt_label']) == set(
            item.get('gt_label_difficult', [])
        )


@pytest.mark.parametrize('below', ['VOCdevkit', 'VOCdevkit/VOC2007'])
def test_root_nearer(root, convert, below):
    assert convert(CONVERTER, root / below).status == 0
    item = load_annotations(root / below / 'train.json').data_list[0]
    assert (root / below / item['img_path']).is_file()


@pytest.mark.parametrize(
    ('old', 'new', 'part'),
    [
        (
            '<name>diningtable</name>',
            '<name>table</name>',
            '000005.xml:39: expected the `name` of the object to be one of '
            "the 20 classes, but got 'table'",
        ),
        ('<name>diningtable</name>', '', '000005.xml:39: expected the `name` of the object'),
        (
            '\t\t<difficult>0</difficult>\n',
            '',
            '000005.xml:9: expected `difficult` of the object to be 0 or 1',
        ),
        (
            '<difficult>0</difficult>',
            '<difficult>2</difficult>',
            "000005.xml:9: expected `difficult` of the object to be 0 or 1, but got '2'",
        ),
        ('</annotation>\n', '', '000005.xml:54: expected XML'),
        ('<segmented>0</segmented>', '<segmented>0', '000005.xml:54: expected XML'),
        ('<part>', '<part><object/>', '000005.xml:9: expected every `object` right below'),
    ],
)
def test_malformed_xml(root, fails, old, new, part):
    path = root / 'VOCdevkit' / 'VOC2007' / 'Annotations' / '000005.xml'
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    fails(CONVERTER, root, parts=[path.parent, part])


def test_not_an_annotation(root, put, fails):
    path = put(root / 'VOCdevkit' / 'VOC2007' / 'Annotations' / '000005.xml', '<html></html>')
    fails(CONVERTER, root, parts=[f'{path}:1: expected the element `annotation`, but got `html`'])


@pytest.mark.parametrize(
    ('content', 'part'),
    [
        (
            '000005\n000005\n',
            "trainval.txt:2: 'VOCdevkit/VOC2007/JPEGImages/000005.jpg' is listed already at",
        ),
        ('000005\n000008\n', 'trainval.txt:2: expected the file'),
        ('000005\n000007 -1\n', 'trainval.txt:2: expected the name of an image'),
        ('000005\n../000007\n', 'trainval.txt:2: expected a path below'),
        ('000005\n\n000007\n', 'trainval.txt:2: expected text, but the line is blank'),
        ('', 'trainval.txt:1: expected text, but the line is blank'),
    ],
)
def test_malformed_list(root, put, fails, content, part):
    put(root / 'VOCdevkit' / 'VOC2007' / 'ImageSets' / 'Main' / 'trainval.txt', content)
    fails(CONVERTER, root, parts=[part])


def test_no_kit(tmp_path, fails):
    fails(
        CONVERTER,
        tmp_path,
        parts=['Expected ImageSets/Main in one of', tmp_path / 'VOCdevkit' / 'VOC2007'],
    )


def make_kit(kit, put, lists, suffix='.jpg'):
    """Write a folder of a year; lists hold the objects of each image."""
    for name, images in lists.items():
        put(kit / 'ImageSets' / 'Main' / f'{name}.txt', ''.join(f'{image}\n' for image in images))
        for image, objects in images.items():
            xml = XML.format(image, ''.join(OBJECT.format(*o) for o in objects))
            put(kit / 'Annotations' / f'{image}.xml', xml.replace('.jpg<', f'{suffix}<'))
            put(kit / 'JPEGImages' / f'{image}{suffix}')


def labels(path):
    annotations = load_annotations(path)
    return {
        item['img_path']: [annotations.classes[label] for label in item['gt_label']]
        for item in annotations.data_list
    }


def test_2012_has_no_public_test_side(tmp_path, put, convert):
    kit = tmp_path / 'VOCdevkit' / 'VOC2012'
    make_kit(kit, put, {'train': {'2008_01': [('dog', 0)]}, 'val': {'2008_02': [('cat', 0)]}})
    put(kit / 'ImageSets' / 'Main' / 'trainval.txt', '2008_01\n2008_02\n')
    result = convert(CONVERTER, tmp_path)
    assert result.status == 0, result.err
    prefix = 'VOCdevkit/VOC2012/JPEGImages'
    assert labels(tmp_path / 'train.json') == {f'{prefix}/2008_01.jpg': ['dog']}
    assert labels(tmp_path / 'test.json') == {f'{prefix}/2008_02.jpg': ['cat']}
    assert '│ images │ 1 │ 5,717 │ differs │' in result.out
    assert '│ images │ 1 │ 5,823 │ differs │' in result.out

    result = convert(CONVERTER, tmp_path, '--train', 'trainval.txt', '--out-dir', tmp_path / 'all')
    assert len(labels(tmp_path / 'all' / 'train.json')) == 2
    assert '│ images │ 2 │ 11,540 │ differs │' in result.out


def test_several_years(root, put, convert, fails):
    kit = root / 'VOCdevkit' / 'VOC2012'
    make_kit(kit, put, {'train': {'2008_01': [('dog', 0)]}, 'val': {'2008_02': [('cat', 0)]}})
    fails(CONVERTER, root, parts=['expected one year, but got VOC2007, VOC2012. Pass --year'])
    assert convert(CONVERTER, root, '--year', '2012').status == 0
    assert list(labels(root / 'train.json')) == ['VOCdevkit/VOC2012/JPEGImages/2008_01.jpg']
    fails(CONVERTER, root, '--year', '2010', parts=['ImageSets/Main in one of', 'VOC2010'])


def test_validation_list(root, put, convert):
    put(root / 'VOCdevkit' / 'VOC2007' / 'ImageSets' / 'Main' / 'train.txt', '000005\n000007\n')
    put(root / 'VOCdevkit' / 'VOC2007' / 'ImageSets' / 'Main' / 'val.txt', '000009\n')
    result = convert(CONVERTER, root, '--train', 'train', '--val', 'val', '--test', 'test')
    assert result.status == 0, result.err
    assert [len(labels(root / f'{side}.json')) for side in ('train', 'val', 'test')] == [2, 1, 2]


def test_own_classes(tmp_path, put, convert, fails):
    # As CVAT exports: other names, other images, no `difficult`.
    lists = {'train': {'a': [('zebra', 0), ('gnu', 0)]}, 'val': {'b': [('gnu', 1)]}}
    make_kit(tmp_path, put, lists, '.png')
    path = tmp_path / 'Annotations' / 'a.xml'
    path.write_text(path.read_text().replace('\t\t<difficult>0</difficult>\n', ''))
    fails(CONVERTER, tmp_path, parts=["one of the 20 classes, but got 'zebra'", '--own-classes'])
    result = convert(CONVERTER, tmp_path, '--own-classes')
    assert result.status == 0, result.err
    train = load_annotations(tmp_path / 'train.json')
    assert train.classes == ['gnu', 'zebra']
    assert train.data_list == [{'img_path': 'JPEGImages/a.png', 'gt_label': [0, 1]}]
    assert load_annotations(tmp_path / 'test.json').data_list == [
        {'img_path': 'JPEGImages/b.png', 'gt_label': [], 'gt_label_difficult': [0]}
    ]

    names = put(tmp_path / 'names.txt', 'zebra\ngnu\n')
    convert(CONVERTER, tmp_path, '--classes', names, '--overwrite')
    assert load_annotations(tmp_path / 'train.json').classes == ['zebra', 'gnu']
    fails(CONVERTER, tmp_path, '--classes', put(names, 'gnu\n'), parts=['one of the 1 classes'])


def test_xml_beside_the_images(tmp_path, put, convert):
    # As Roboflow exports.
    for side, image, name in (('train', 'a', 'gnu'), ('valid', 'b', 'gnu'), ('test', 'c', 'yak')):
        put(tmp_path / side / f'{image}.xml', XML.format(image, OBJECT.format(name, 0)))
        put(tmp_path / side / f'{image}.jpg')
    result = convert(CONVERTER, tmp_path, '--own-classes')
    assert result.status == 0, result.err
    assert labels(tmp_path / 'train.json') == {'train/a.jpg': ['gnu']}
    assert labels(tmp_path / 'val.json') == {'valid/b.jpg': ['gnu']}
    assert labels(tmp_path / 'test.json') == {'test/c.jpg': ['yak']}


def test_lists_of_other_names_are_told(tmp_path, put, fails):
    make_kit(tmp_path, put, {'default': {'a': [('dog', 0)]}})
    fails(
        CONVERTER,
        tmp_path,
        parts=["expected trainval.txt and test.txt, or train.txt and val.txt, but got ['default']"],
    )
