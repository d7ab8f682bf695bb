import contextlib
import io
import json

import pytest
from pycocotools.coco import COCO

from morn_plugin.datasets.annotations import load_annotations
from morn_plugin.datasets.converters.coco import CONVERTER

# The ids are neither consecutive nor in order, as in the official files (1..90 with gaps).
CATEGORIES = [
    {'supercategory': 'animal', 'id': 18, 'name': 'dog'},
    {'supercategory': 'person', 'id': 1, 'name': 'person'},
    {'supercategory': 'animal', 'id': 17, 'name': 'cat'},
]
TRAIN = {9: [18, 1, 18], 30: [], 581: [17], 25: [1, 17, 18]}
VAL = {42: [1], 73: []}


def instances(folder, labels):
    return {
        'info': {'description': 'COCO 2014 Dataset', 'year': 2014},
        'images': [
            {
                'license': 5,
                'file_name': f'COCO_{folder}_{i:012d}.jpg',
                'coco_url': '',
                'height': 480,
                'width': 640,
                'date_captured': '2013-11-14 16:28:13',
                'flickr_url': '',
                'id': i,
            }
            for i in labels
        ],
        'licenses': [{'url': '', 'id': 5, 'name': ''}],
        'annotations': [
            {
                'segmentation': [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]],
                'area': 1.5,
                'iscrowd': 0,
                'image_id': i,
                'bbox': [1.0, 2.0, 3.0, 4.0],
                'category_id': category,
                'id': 1000 * i + n,
            }
            for i, categories in labels.items()
            for n, category in enumerate(categories)
        ],
        'categories': CATEGORIES,
    }


@pytest.fixture
def root(tmp_path, put):
    for folder, labels in (('train2014', TRAIN), ('val2014', VAL)):
        content = instances(folder, labels)
        put(tmp_path / 'annotations' / f'instances_{folder}.json', json.dumps(content))
        for image in content['images']:
            put(tmp_path / folder / image['file_name'])
    return tmp_path


def change(root, edit, side='train2014'):
    path = root / 'annotations' / f'instances_{side}.json'
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def test_official(root, convert):
    result = convert(CONVERTER, root)
    assert result.status == 0, result.err
    train = load_annotations(root / 'train.json')
    test = load_annotations(root / 'test.json')
    assert train.classes == test.classes == ['person', 'cat', 'dog']
    assert train.data_list == [
        {'img_path': 'train2014/COCO_train2014_000000000009.jpg', 'gt_label': [0, 2]},
        {'img_path': 'train2014/COCO_train2014_000000000030.jpg', 'gt_label': []},
        {'img_path': 'train2014/COCO_train2014_000000000581.jpg', 'gt_label': [1]},
        {'img_path': 'train2014/COCO_train2014_000000000025.jpg', 'gt_label': [0, 1, 2]},
    ]
    assert test.data_list == [
        {'img_path': 'val2014/COCO_val2014_000000000042.jpg', 'gt_label': [0]},
        {'img_path': 'val2014/COCO_val2014_000000000073.jpg', 'gt_label': []},
    ]


def test_same_as_pycocotools(root, convert):
    convert(CONVERTER, root)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(root / 'annotations' / 'instances_train2014.json'))
    ours = load_annotations(root / 'train.json')
    assert ours.classes == [
        category['name'] for category in coco.loadCats(sorted(coco.getCatIds()))
    ]
    assert len(ours) == len(coco.getImgIds())

    for index, name in enumerate(ours.classes):
        expected = {
            image['file_name']
            for image in coco.loadImgs(coco.getImgIds(catIds=coco.getCatIds(catNms=[name])))
        }
        assert {
            item['img_path'].split('/')[1] for item in ours.data_list if index in item['gt_label']
        } == expected


def test_report(root, convert):
    out = convert(CONVERTER, root).out
    assert '│ images │ 4 │ 82,783 │ differs │' in out
    assert '│ classes │ 3 │ 80 │ differs │' in out
    assert '│ images without a label │ 1 │ 702 │ differs │' in out
    assert '│ labels │ 6 │ │ │' in out
    assert '│ labels a picture, mean │ 1.50 │ 2.91 │ differs │' in out
    assert '│ labels a picture, most │ 3 │ up to 18 │ │' in out
    assert (
        'train differs from the published count: images (4, not 82,783), classes (3, not 80)' in out
    )
    assert 'test differs from the published count: images (2, not 40,504)' in out


def test_drop_unlabelled(root, convert):
    out = convert(CONVERTER, root, '--drop-unlabelled', '--out-dir', root / 'labelled').out
    assert '│ images kept │ 3 │ 82,081 │ differs │' in out
    assert '│ images kept │ 1 │ 40,137 │ differs │' in out
    assert [
        item['gt_label'] for item in load_annotations(root / 'labelled' / 'train.json').data_list
    ] == [[0, 2], [1], [0, 1, 2]]
    assert not (root / 'train.json').exists()


@pytest.mark.parametrize(
    ('edit', 'parts'),
    [
        (lambda c: c.pop('annotations'), ['`annotations`, a list of objects']),
        (lambda c: c.update(images={}), ['`images`, a list of objects']),
        (lambda c: c['images'][1].pop('id'), ['`images[1].id` should be an integer, but got None']),
        (
            lambda c: c['images'][1].pop('file_name'),
            ['`images[1].file_name` should be a non-empty string'],
        ),
        (
            lambda c: c['images'][1].update(id=9),
            ['`images[1].id` repeats the id 9', 'COCO_train2014_000000000009.jpg'],
        ),
        (
            lambda c: c['images'][1].update(file_name='../x.jpg'),
            ['`images[1].file_name`', "'../x.jpg'"],
        ),
        (
            lambda c: c['images'][1].update(file_name='/etc/x.jpg'),
            ['`images[1].file_name`', "'/etc/x.jpg'"],
        ),
        (
            lambda c: c['images'][1].update(file_name=c['images'][0]['file_name']),
            ['`images[1].file_name`', 'is listed already at', '`images[0].file_name`'],
        ),
        (
            lambda c: c['annotations'][2].update(category_id=999),
            ['`annotations[2].category_id` is 999'],
        ),
        (
            lambda c: c['annotations'][2].update(category_id='1'),
            ['`annotations[2].category_id` should be an integer'],
        ),
        (lambda c: c['annotations'][2].update(image_id=5), ['`annotations[2].image_id` is 5']),
        (
            lambda c: c['annotations'][2].pop('image_id'),
            ['`annotations[2].image_id` should be an integer, but got None'],
        ),
        (lambda c: c['categories'][2].update(name='dog'), ['`categories` repeats a name']),
    ],
)
def test_malformed(root, fails, edit, parts):
    path = change(root, edit)
    fails(CONVERTER, root, parts=[path, *parts])
    assert not (root / 'train.json').exists()


def test_truncated(root, fails):
    path = root / 'annotations' / 'instances_train2014.json'
    text = json.dumps(json.loads(path.read_text()), indent=1)
    path.write_text(text[: text.index('"annotations"') + 40])
    line = text[: text.index('"annotations"') + 40].count('\n') + 1
    fails(CONVERTER, root, parts=[f'{path}:{line}: expected JSON'])


def test_sides_with_other_categories(root, fails):
    path = change(root, lambda c: c['categories'][0].update(name='hound'), 'val2014')
    fails(CONVERTER, root, parts=[path, "'hound' was found and 'dog' expected"])


def test_file_missing(root, fails):
    path = root / 'annotations' / 'instances_val2014.json'
    path.unlink()
    fails(CONVERTER, root, parts=[f'{path} does not exist'])


@pytest.fixture
def authors(root, put):
    folder = root / 'lists'
    put(
        folder / 'coco_train_list.txt',
        'train2014/COCO_train2014_000000000009.jpg 2\n'
        'train2014/COCO_train2014_000000000030.jpg 0\n'
        'train2014/COCO_train2014_000000000025.jpg 3\n',
    )
    put(folder / 'coco_train_annot.txt', '1 0 1\n0 0 0\n1 1 1\n')
    put(folder / 'coco_test_list.txt', 'val2014/COCO_val2014_000000000042.jpg 1\n')
    put(folder / 'coco_test_annot.txt', '0 0 1\n')
    put(folder / 'classes.txt', 'cat\ndog\nperson\n')
    return ['--authors-lists', folder, '--classes', folder / 'classes.txt']


def test_authors_lists(root, authors, convert):
    result = convert(CONVERTER, root, *authors)
    assert result.status == 0, result.err
    train = load_annotations(root / 'train.json')
    test = load_annotations(root / 'test.json')
    assert train.classes == ['cat', 'dog', 'person']
    assert train.data_list == [
        {'img_path': 'train2014/COCO_train2014_000000000009.jpg', 'gt_label': [0, 2]},
        {'img_path': 'train2014/COCO_train2014_000000000030.jpg', 'gt_label': []},
        {'img_path': 'train2014/COCO_train2014_000000000025.jpg', 'gt_label': [0, 1, 2]},
    ]
    assert test.data_list == [
        {'img_path': 'val2014/COCO_val2014_000000000042.jpg', 'gt_label': [2]}
    ]


@pytest.mark.parametrize(
    ('name', 'content', 'part'),
    [
        (
            'coco_train_annot.txt',
            '1 0 1\n0 0 2\n1 1 1\n',
            "coco_train_annot.txt:2: expected 0 or 1, but got '2'",
        ),
        (
            'coco_train_annot.txt',
            '1 0 1\n0 0\n1 1 1\n',
            'coco_train_annot.txt:2: expected 3 numbers',
        ),
        (
            'coco_train_annot.txt',
            '1 0 1\n0 0 0 0\n1 1 1\n',
            'coco_train_annot.txt:2: expected 3 numbers',
        ),
        (
            'coco_train_annot.txt',
            '1 0 1\n0 1 0\n1 1 1\n',
            'coco_train_list.txt:2: expected 0 labels',
        ),
        (
            'coco_train_annot.txt',
            '1 0 1\n0 0 0\n1 0 1\n',
            'coco_train_list.txt:3: expected 3 labels',
        ),
        ('coco_train_annot.txt', '1 0 1\n0 0 0\n', 'coco_train_annot.txt:3: expected 3 lines'),
        (
            'coco_train_annot.txt',
            '1 0 1\n0 0 0\n1 1 1\n1 1 1\n',
            'coco_train_annot.txt:4: expected 3 lines',
        ),
        (
            'coco_train_annot.txt',
            '1 0 1\n\n1 1 1\n',
            'coco_train_annot.txt:2: expected text, but the line is blank',
        ),
        (
            'coco_test_list.txt',
            'val2014/COCO_val2014_000000000042.jpg\n',
            'coco_test_list.txt:1: expected a path, a space',
        ),
        (
            'coco_test_list.txt',
            'val2014/COCO_val2014_000000000042.jpg -1\n',
            'coco_test_list.txt:1: expected a path',
        ),
        (
            'coco_test_list.txt',
            '../val2014/a.jpg 1\n',
            'coco_test_list.txt:1: expected a path below',
        ),
        (
            'coco_test_list.txt',
            'C:\\val2014\\a.jpg 1\n',
            'coco_test_list.txt:1: expected a path below',
        ),
        ('coco_test_list.txt', b'val2014/\xff.jpg 1\n', 'coco_test_list.txt:1: expected UTF-8'),
        (
            'coco_test_list.txt',
            'train2014/COCO_train2014_000000000009.jpg 1\n',
            'coco_test_list.txt:1: '
            "'train2014/COCO_train2014_000000000009.jpg' is on another side too",
        ),
        ('classes.txt', 'cat\ndog\ncat\n', "classes.txt:3: repeats the class name 'cat' of line 1"),
        ('coco_test_extra_annot.txt', '0 0 1\n', 'exactly one file coco*test*_annot.txt'),
    ],
)
def test_malformed_authors_lists(root, authors, put, fails, name, content, part):
    put(root / 'lists' / name, content)
    fails(CONVERTER, root, *authors, parts=[part])


def test_authors_lists_need_classes(root, authors, fails):
    fails(CONVERTER, root, *authors[:2], parts=['which column is which class', '--classes FILE'])


def test_classes_need_authors_lists(root, authors, fails):
    fails(CONVERTER, root, *authors[2:], parts=['--classes goes with --authors-lists'])


def write_side(path, folder, labels, put, images=None):
    """Write one side, and its images into a folder."""
    content = instances(folder, labels)
    put(path, json.dumps(content))
    for image in content['images']:
        put((images or path.parent) / image['file_name'])
    return path


def paths(path):
    return [item['img_path'] for item in load_annotations(path).data_list]


def test_2017(tmp_path, put, convert):
    for folder, labels in (('train2017', TRAIN), ('val2017', VAL)):
        path = tmp_path / 'annotations' / f'instances_{folder}.json'
        write_side(path, folder, labels, put, tmp_path / folder)

    result = convert(CONVERTER, tmp_path)
    assert result.status == 0, result.err
    assert paths(tmp_path / 'test.json') == [
        'val2017/COCO_val2017_000000000042.jpg',
        'val2017/COCO_val2017_000000000073.jpg',
    ]
    assert '│ images │ 4 │ 118,287 │ differs │' in result.out
    assert '│ images without a label │ 1 │ 1,021 │ differs │' in result.out
    assert '│ images │ 2 │ 5,000 │ differs │' in result.out
    assert '│ images without a label │ 1 │ 48 │ differs │' in result.out


def test_two_years(root, put, convert, fails):
    path = root / 'annotations' / 'instances_val2017.json'
    write_side(path, 'val2017', VAL, put, root / 'val2017')
    fails(CONVERTER, root, parts=['those of 2014 and 2017 are there. Pass --year'])
    assert convert(CONVERTER, root, '--year', 2014).status == 0
    fails(CONVERTER, root, '--year', 2017, parts=['instances_train2017.json does not exist'])
    args = ('--year', 2017, '--train', path)
    fails(CONVERTER, root, *args, parts=['--year selects the official files'])


def test_files_of_any_name(tmp_path, put, convert):
    # As CVAT exports: one file a task, the images in a folder of their own.
    train = write_side(
        tmp_path / 'annotations' / 'instances_default.json', 'a', TRAIN, put, tmp_path / 'images'
    )
    val = write_side(tmp_path / 'more' / 'mine.json', 'b', VAL, put, tmp_path / 'elsewhere')
    args = ('--train', train.relative_to(tmp_path), '--val', val, '--val-images', 'elsewhere')
    result = convert(CONVERTER, tmp_path, *args)
    assert result.status == 0, result.err
    assert paths(tmp_path / 'train.json')[0] == 'images/COCO_a_000000000009.jpg'
    assert paths(tmp_path / 'val.json')[0] == 'elsewhere/COCO_b_000000000042.jpg'
    assert not (tmp_path / 'test.json').exists()
    assert 'differs' not in result.out


def test_roboflow(tmp_path, put, convert):
    heading = {'id': 0, 'name': 'animals', 'supercategory': 'none'}
    below = [{**category, 'supercategory': 'animals'} for category in CATEGORIES]
    for folder, labels in (('train', TRAIN), ('valid', VAL), ('test', {73: [17]})):
        path = write_side(tmp_path / folder / '_annotations.coco.json', folder, labels, put)
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, 'categories': [heading, *below]}))

    result = convert(CONVERTER, tmp_path)
    assert result.status == 0, result.err
    train = load_annotations(tmp_path / 'train.json')
    assert train.classes == ['person', 'cat', 'dog']
    assert train.data_list[0] == {
        'img_path': 'train/COCO_train_000000000009.jpg',
        'gt_label': [0, 2],
    }
    assert paths(tmp_path / 'val.json')[0] == 'valid/COCO_valid_000000000042.jpg'
    assert paths(tmp_path / 'test.json') == ['test/COCO_test_000000000073.jpg']
    assert "category 'animals' is the parent of the others and is left out" in result.out


def test_heading_that_an_object_has_stays(tmp_path, put, convert):
    heading = {'id': 0, 'name': 'animals', 'supercategory': 'none'}
    below = [{**category, 'supercategory': 'animals'} for category in CATEGORIES]
    path = write_side(tmp_path / 'a.json', 'a', {1: [0, 17]}, put)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'categories': [heading, *below]}))
    convert(CONVERTER, tmp_path, '--train', 'a.json')
    assert load_annotations(tmp_path / 'train.json').classes == ['animals', 'person', 'cat', 'dog']


def test_one_file_alone_says_what_to_do(tmp_path, put, fails):
    write_side(tmp_path / 'annotations' / 'instances_default.json', 'a', TRAIN, put)
    fails(
        CONVERTER,
        tmp_path,
        parts=[
            'instances_train2014.json does not exist.',
            'There is annotations/instances_default.json.',
            '--train, --val and --test',
        ],
    )
