import pytest

from morn_plugin.datasets.annotations import load_annotations
from morn_plugin.datasets.converters.nuswide import CONVERTER

# One column a concept, one row per image, as they are cut into a file a concept below.
CONCEPTS = ['airport', 'animal', 'sky']
TRAIN = {
    'actor\\0001_2124494179.jpg': '011',
    'actor\\0002_174174086.jpg': '000',
    'zebra\\0900_5.jpg': '010',
}
TEST = {'actor\\0003_3124.jpg': '100', 'cat\\0004_77.jpg': '101', 'cat\\0005_78.jpg': '000'}


@pytest.fixture(params=['\n', '\r\n'], ids=['lf', 'crlf'])
def root(request, tmp_path, put):
    def lines(texts):
        return ''.join(text + request.param for text in texts)

    put(tmp_path / 'ConceptsList' / 'Concepts81.txt', lines(CONCEPTS))
    for side, images in (('Train', TRAIN), ('Test', TEST)):
        put(tmp_path / 'ImageList' / f'{side}Imagelist.txt', lines(images))
        for index, concept in enumerate(CONCEPTS):
            put(
                tmp_path / 'Groundtruth' / 'TrainTestLabels' / f'Labels_{concept}_{side}.txt',
                lines(row[index] for row in images.values()),
            )

        for name in images:
            put(tmp_path / 'Flickr' / name.replace('\\', '/'))

    return tmp_path


def test_official(root, convert):
    result = convert(CONVERTER, root)
    assert result.status == 0, result.err
    train = load_annotations(root / 'train.json')
    test = load_annotations(root / 'test.json')
    assert train.classes == test.classes == CONCEPTS
    assert train.data_list == [
        {'img_path': 'Flickr/actor/0001_2124494179.jpg', 'gt_label': [1, 2]},
        {'img_path': 'Flickr/zebra/0900_5.jpg', 'gt_label': [1]},
    ]
    assert test.data_list == [
        {'img_path': 'Flickr/actor/0003_3124.jpg', 'gt_label': [0]},
        {'img_path': 'Flickr/cat/0004_77.jpg', 'gt_label': [0, 2]},
    ]
    assert '│ images │ 3 │ 161,789 │ differs │' in result.out
    assert '│ images kept │ 2 │ 125,449 │ differs │' in result.out
    assert '│ images kept │ 2 │ 83,898 │ differs │' in result.out
    assert '│ classes │ 3 │ 81 │ differs │' in result.out


def test_keep_unlabelled(root, convert):
    out = convert(CONVERTER, root, '--keep-unlabelled').out
    assert '│ images kept │ 3 │ 107,859 │ differs │' in out
    assert [item['gt_label'] for item in load_annotations(root / 'train.json').data_list] == [
        [1, 2],
        [],
        [1],
    ]


def test_images_dir(root, convert):
    (root / 'Flickr').rename(root / 'images')
    assert convert(CONVERTER, root, '--images-dir', 'images').status == 0
    assert (
        load_annotations(root / 'train.json').data_list[0]['img_path']
        == 'images/actor/0001_2124494179.jpg'
    )


@pytest.mark.parametrize(
    ('name', 'content', 'part'),
    [
        (
            'Groundtruth/TrainTestLabels/Labels_sky_Train.txt',
            '1\n2\n0\n',
            "Labels_sky_Train.txt:2: expected 0 or 1, but got '2'",
        ),
        (
            'Groundtruth/TrainTestLabels/Labels_sky_Train.txt',
            '1\n\n0\n',
            'Labels_sky_Train.txt:2: expected text',
        ),
        (
            'Groundtruth/TrainTestLabels/Labels_sky_Train.txt',
            '1\n0\n',
            'Labels_sky_Train.txt:3: expected 3 lines',
        ),
        (
            'Groundtruth/TrainTestLabels/Labels_sky_Test.txt',
            '1\n0\n0\n1\n',
            'Labels_sky_Test.txt:4: expected 3 lines',
        ),
        (
            'ConceptsList/Concepts81.txt',
            'airport\nanimal\nsea\n',
            'Labels_sea_Train.txt does not exist',
        ),
        (
            'ConceptsList/Concepts81.txt',
            'airport\nsky\nsky\n',
            "Concepts81.txt:3: repeats the class name 'sky'",
        ),
        (
            'ConceptsList/Concepts81.txt',
            'airport\n../sky\n',
            'Concepts81.txt:2: expected a path below',
        ),
        (
            'ImageList/TrainImagelist.txt',
            'a\\1.jpg\n..\\2.jpg\na\\3.jpg\n',
            'TrainImagelist.txt:2: expected a path below',
        ),
        (
            'ImageList/TrainImagelist.txt',
            'a\\1.jpg\nC:\\ImageData\\2.jpg\na\\3.jpg\n',
            'Imagelist.txt:2: expected a path',
        ),
        (
            'ImageList/TrainImagelist.txt',
            'actor\\0001_2124494179.jpg\nzebra\\0900_5.jpg\nzebra\\0900_5.jpg\n',
            "TrainImagelist.txt:3: 'Flickr/zebra/0900_5.jpg' is listed already at",
        ),
        (
            'ImageList/TestImagelist.txt',
            'zebra\\0900_5.jpg\ncat\\0004_77.jpg\ncat\\0005_78.jpg\n',
            "TestImagelist.txt:1: 'Flickr/zebra/0900_5.jpg' is on another side too",
        ),
    ],
)
def test_malformed(root, put, fails, name, content, part):
    put(root / name, content)
    fails(CONVERTER, root, parts=[part])
    assert not (root / 'train.json').exists()


@pytest.fixture
def lists(root, put):
    # Indices are 1-based in train followed by test: 3 train images, so the first of test is 4.
    put(root / 'lists' / 'nus_train_list.txt', 'zebra/0900_5.jpg 3\nactor/0001_2124494179.jpg 1\n')
    put(root / 'lists' / 'nus_test_list.txt', 'cat/0004_77.jpg 5\n')
    return root / 'lists'


def test_authors_lists(root, lists, convert):
    result = convert(CONVERTER, root, '--authors-lists', lists)
    assert result.status == 0, result.err
    assert load_annotations(root / 'train.json').data_list == [
        {'img_path': 'Flickr/zebra/0900_5.jpg', 'gt_label': [1]},
        {'img_path': 'Flickr/actor/0001_2124494179.jpg', 'gt_label': [1, 2]},
    ]
    assert load_annotations(root / 'test.json').data_list == [
        {'img_path': 'Flickr/cat/0004_77.jpg', 'gt_label': [0, 2]}
    ]
    assert '│ images │ 2 │ 125,449 │ differs │' in result.out


@pytest.mark.parametrize(
    ('line', 'part'),
    [
        ('cat/0004_77.jpg', 'nus_test_list.txt:1: expected a path, a space and the index'),
        ('cat/0004_77.jpg five', 'nus_test_list.txt:1: expected a path, a space and the index'),
        ('cat/0004_77.jpg 7', 'nus_test_list.txt:1: expected an index in 1..6, but got 7'),
        ('cat/0004_77.jpg 0', 'nus_test_list.txt:1: expected an index in 1..6, but got 0'),
        (
            'cat/0004_77.jpg 4',
            "nus_test_list.txt:1: 'cat/0004_77.jpg' is not image 4 of the official lists",
        ),
    ],
)
def test_malformed_authors_lists(root, lists, put, fails, line, part):
    put(lists / 'nus_test_list.txt', line)
    fails(CONVERTER, root, '--authors-lists', lists, parts=[part])
