from collections import Counter

import pytest
from miniatures import noise
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from tools_helpers import ROOT

from morn_plugin.datasets.annotations import load_annotations
from morn_plugin.datasets.converters.corel5k import CONVERTER

WORDS = ['city', 'mountain', 'sky', 'sun', 'water']
TRAIN = {1000: '1 2', 1003: '3', 2001: '3 4', 2002: '3 4', 3007: '2 3', 3009: '1', 3010: '2 4'}
TEST = {1001: '3 1', 121055: '5'}


@pytest.fixture
def root(tmp_path, put):
    root = tmp_path / 'corel'
    put(root / 'labels' / 'words', ''.join(f'{word}\n' for word in WORDS))
    for name, photos in (('training_label', TRAIN), ('test_label', TEST)):
        lines = ''.join(f'{photo} {words}  \n' for photo, words in photos.items())
        put(root / 'labels' / name, lines)

    for photo in [*TRAIN, *TEST]:
        path = root / 'images' / str(photo // 1000 * 1000) / f'{photo}.jpeg'
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(photo, side=48).save(path)

    return root


def read(root):
    names = ('train', 'train_fit', 'val', 'test')
    return {name: load_annotations(root / f'{name}.json') for name in names}


def paths(annotations):
    return [item['img_path'] for item in annotations.data_list]


def test_sides_and_words(root, convert):
    result = convert(CONVERTER, root, '--val-share', 0.4)
    assert result.status == 0, result.err
    sides = read(root)
    assert all(side.classes == WORDS for side in sides.values())
    assert sides['train'].data_list[:3] == [
        {'img_path': 'images/1000/1000.jpeg', 'gt_label': [0, 1]},
        {'img_path': 'images/1000/1003.jpeg', 'gt_label': [2]},
        {'img_path': 'images/2000/2001.jpeg', 'gt_label': [2, 3]},
    ]
    assert sides['test'].data_list == [
        {'img_path': 'images/1000/1001.jpeg', 'gt_label': [0, 2]},
        {'img_path': 'images/121000/121055.jpeg', 'gt_label': [4]},
    ]
    assert '│ images │ 7 │ 4,500 │ differs │' in result.out
    assert '│ images │ 2 │ 499 │ differs │' in result.out
    assert '│ classes │ 5 │ 374 │ differs │' in result.out
    assert '2 words occur on both sides (published: 260).' in result.out


def test_val_is_cut_from_the_training_side(root, convert):
    convert(CONVERTER, root, '--val-share', 0.4)
    sides = read(root)
    fit = sides['train_fit']
    val = sides['val']
    assert len(fit) > 0
    assert len(val) > 0
    assert Counter(paths(fit) + paths(val)) == Counter(paths(sides['train']))


def test_near_duplicates_stay_together(root, convert, put):
    lines = [f'{5000 + number} 1\n' for number in range(40)]
    put(root / 'labels' / 'training_label', ''.join(lines))
    folder = root / 'images' / '5000'
    folder.mkdir()

    for number in range(40):  # every second photo is the one before it, smaller
        picture = noise(number // 2, side=48 - 8 * (number % 2))
        picture.save(folder / f'{5000 + number}.jpeg', quality=60)

    convert(CONVERTER, root, '--val-share', 0.4)
    val = paths(read(root)['val'])
    assert 0 < len(val) < 40

    for number in range(0, 40, 2):
        first, second = (f'images/5000/{5000 + number + other}.jpeg' for other in (0, 1))
        assert (first in val) == (second in val)


def test_photo_that_stands_twice_is_kept_once(root, convert, put, fails):
    path = put(root / 'labels' / 'test_label', '1001 3 1\n121055 5\n121055 5\n')
    result = convert(CONVERTER, root)
    assert result.status == 0, result.err
    assert (
        f"{path}:3: 'images/121000/121055.jpeg' is listed again with the same words" in result.out
    )
    assert len(read(root)['test']) == 2

    put(path, '1001 3 1\n121055 5\n121055 4\n')
    fails(CONVERTER, root, parts=[f'{path}:3:', 'listed with other words', f'{path}:2'])


def test_word_that_stands_twice_and_photo_without_words(root, convert, put):
    path = put(root / 'labels' / 'test_label', '1001 3 3 1\n')
    result = convert(CONVERTER, root)
    assert f'{path}:1: word 3 is listed twice for photo 1001; kept once.' in result.out
    assert '1 photos are on no list and are left out: images/121000/121055.jpeg' in result.out
    assert read(root)['test'].data_list[0]['gt_label'] == [0, 2]


def test_choice_of_words(root, convert, fails):
    assert convert(CONVERTER, root, '--min-count', 3).status == 0
    sides = read(root)
    assert sides['train'].classes == ['mountain', 'sky', 'sun']  # on 3, 4 and 3 training photos
    assert sides['train'].data_list[0]['gt_label'] == [0]
    assert [item['gt_label'] for item in sides['test'].data_list] == [[1], []]

    assert convert(CONVERTER, root, '--both-sides', '--overwrite').status == 0
    assert read(root)['test'].classes == ['city', 'sky']
    assert convert(CONVERTER, root, '--both-sides', '--min-count', 3, '--overwrite').status == 0
    assert read(root)['test'].classes == ['sky']
    fails(CONVERTER, root, '--min-count', 5, parts=['no word is on 5 training photos', 'is on 4'])


@pytest.mark.parametrize(
    ('line', 'part'),
    [
        ('1000 0', 'expected word numbers in 1..5, but got 0'),
        ('1000 6', 'expected word numbers in 1..5, but got 6'),
        ('1000 sky', "expected a photo's number and word numbers, but got 'sky'"),
        ('a.jpeg 1', "but got 'a.jpeg'"),
    ],
)
def test_malformed(root, put, fails, line, part):
    path = put(root / 'labels' / 'training_label', f'1003 3\n{line}\n')
    fails(CONVERTER, root, parts=[f'{path}:2: ', part])


def test_photo_on_both_sides(root, put, fails):
    put(root / 'labels' / 'test_label', '1001 3\n1003 3\n')
    fails(CONVERTER, root, parts=["'images/1000/1003.jpeg' is on another side too"])


def test_base_config_reads_what_was_written(root, convert):
    convert(CONVERTER, root, '--val-share', 0.4)
    cfg = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'corel5k.py')
    for loader, name in (('train', 'train_fit'), ('val', 'val'), ('test', 'test')):
        config = cfg[f'{loader}_dataloader'].dataset
        assert config.data_root.endswith('/data/corel5k/')
        dataset = DATASETS.build(dict(config, data_root=f'{root}/'))
        assert len(dataset) == len(read(root)[name])
        assert dataset[0]['inputs'].shape == (3, 224, 224)
