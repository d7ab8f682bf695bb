import csv
import hashlib
import json
from collections import Counter

import pytest
from miniatures import noise

from morn_plugin.datasets.annotations import AnnotationError, load_annotations
from morn_plugin.datasets.converters import run
from morn_plugin.datasets.converters.tags import CONVERTER, convert_own_data

ROWS = [
    ('a.jpg', ['Cat', 'dog'], 'train'),
    ('sub/b.jpg', ['cat '], 'train'),
    ('c.jpg', ['rare'], 'train'),
    ('d.jpg', ['dogs', 'cat'], 'test'),
    ('e.jpg', [], 'test'),
]


@pytest.fixture
def images(tmp_path, put):
    for name, _, _ in ROWS:
        put(tmp_path / 'images' / name)
    return tmp_path / 'images'


def as_text(form, sides=True):
    if form == 'jsonl':
        return ''.join(
            json.dumps(dict(image=i, tags=t, **(dict(split=s) if sides else {}))) + '\n'
            for i, t, s in ROWS
        )
    cell = '\t' if form == 'tsv' else ','
    rows = [('image', 'tags', 'split'), *((i, ';'.join(t), s) for i, t, s in ROWS)]
    return ''.join(cell.join(row if sides else row[:2]) + '\n' for row in rows)


@pytest.mark.parametrize('form', ['csv', 'tsv', 'jsonl'])
def test_forms(tmp_path, images, put, convert, form):
    file = put(tmp_path / f'tags.{form}', as_text(form))
    aliases = put(tmp_path / 'aliases.json', '{"Dogs": "dog"}')
    result = convert(
        CONVERTER, images, file, tmp_path / 'out', '--min-count', 2, '--aliases', aliases
    )
    assert result.status == 0, result.err
    train, test = (
        load_annotations(tmp_path / 'out' / f'{side}.json') for side in ('train', 'test')
    )
    assert train.classes == test.classes == ['cat', 'dog']
    assert train.data_list == [
        {'img_path': 'a.jpg', 'gt_label': [0, 1]},
        {'img_path': 'sub/b.jpg', 'gt_label': [0]},
    ]
    assert test.data_list == [{'img_path': 'd.jpg', 'gt_label': [0, 1]}]
    assert '2 of 3 tags are on at least 2 images.' in result.out
    assert '│ images without a label │ 1 │ │ │' in result.out


def test_byte_order_mark(tmp_path, images, put, convert):
    file = put(tmp_path / 'tags.csv', '\ufeff' + as_text('csv'))  # as spreadsheets write it
    assert convert(CONVERTER, images, file, tmp_path).status == 0


def test_keep_unlabelled(tmp_path, images, put, convert):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    convert(CONVERTER, images, file, tmp_path, '--min-count', 2, '--keep-unlabelled')
    assert [item['gt_label'] for item in load_annotations(tmp_path / 'train.json').data_list] == [
        [0],
        [0],
        [],
    ]


def test_pairs(tmp_path, images, put, convert):
    file = put(
        tmp_path / 'tags.csv',
        'file,keyword,side\na.jpg,cat,train\nd.jpg,cat,test\na.jpg,"dog, big",train\n'
        'a.jpg,cat,train\n',
    )
    result = convert(
        CONVERTER,
        images,
        file,
        tmp_path,
        '--image-column',
        'file',
        '--tag-column',
        'keyword',
        '--split-column',
        'side',
    )
    assert result.status == 0, result.err
    train = load_annotations(tmp_path / 'train.json')
    assert train.classes == ['cat', 'dog, big']
    assert train.data_list == [{'img_path': 'a.jpg', 'gt_label': [0, 1]}]


def test_aliases_csv_drop_and_case(tmp_path, images, put, convert):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    aliases = put(tmp_path / 'aliases.csv', 'alias,tag\nCat,kitten\nrare,\n')
    convert(CONVERTER, images, file, tmp_path, '--aliases', aliases, '--keep-case')
    train = load_annotations(tmp_path / 'train.json')
    assert train.classes == ['cat', 'dog', 'dogs', 'kitten']
    assert train.data_list == [
        {'img_path': 'a.jpg', 'gt_label': [1, 3]},
        {'img_path': 'sub/b.jpg', 'gt_label': [0]},
    ]


def test_other_separator(tmp_path, images, put, convert, fails):
    file = put(tmp_path / 'tags.csv', 'image,tags,split\na.jpg,cat,train\nd.jpg,cat|dog,test\n')
    fails(
        CONVERTER,
        images,
        file,
        tmp_path,
        parts=[f"{file}:3: no row separates tags by ';'", '--separator'],
    )
    assert convert(CONVERTER, images, file, tmp_path, '--separator', '|').status == 0
    assert load_annotations(tmp_path / 'test.json').classes == ['cat', 'dog']
    assert convert(CONVERTER, images, file, tmp_path, '--separator', ';', '--overwrite').status == 0
    assert load_annotations(tmp_path / 'test.json').classes == ['cat', 'cat|dog']


@pytest.mark.parametrize(
    ('name', 'content', 'part'),
    [
        (
            't.csv',
            'a.jpg,cat\nd.jpg,dog\n',
            "t.csv:2: expected the columns 'image' and either 'tags' or 'tag'",
        ),
        (
            't.csv',
            'image,tags,tag\na.jpg,cat,dog\n',
            "t.csv:2: expected the columns 'image' and either",
        ),
        ('t.csv', 'image,tags\n', 't.csv:1: expected at least one row'),
        (
            't.csv',
            'image,tags,tags\na.jpg,b,c\n',
            "t.csv:1: expected each column once in the header, but got ['tags']",
        ),
        (
            't.csv',
            'image,tags\na.jpg,cat\nd.jpg\n',
            't.csv:3: expected 2 columns (image, tags), but got 1',
        ),
        (
            't.csv',
            'image,tags\na.jpg,cat,dog\n',
            't.csv:2: expected 2 columns (image, tags), but got 3',
        ),
        (
            't.csv',
            'image,tags\n\na.jpg,cat\n',
            't.csv:2: expected 2 columns (image, tags), but got 0',
        ),
        (
            't.csv',
            'image,tags\na.jpg,"two\nlines"\n,dog\n',
            "t.csv:4: expected 'image' to be text, but got ''",
        ),
        ('t.csv', 'image,tags\na.jpg,cat\nd.jpg,"dog\n', 't.csv:3: expected a table, but'),
        ('t.csv', b'image,tags\na.jpg,cat\nd.jpg,d\xf6g\n', 't.csv:3: expected UTF-8'),
        (
            't.csv',
            'image,tag\na.jpg,cat\nd.jpg,\n',
            "t.csv:3: expected 'tag' to be a tag, but got ''",
        ),
        (
            't.csv',
            'image,tags,split\na.jpg,cat,train\nd.jpg,cat,extra\n',
            "t.csv:3: expected 'split' to be train, val or test, but got 'extra'",
        ),
        (
            't.csv',
            'image,tags\na.jpg,cat\n../d.jpg,cat\n',
            't.csv:3: expected a path below the image folder',
        ),
        (
            't.csv',
            'image,tags\na.jpg,cat\n/d.jpg,cat\n',
            't.csv:3: expected a path below the image folder',
        ),
        (
            't.csv',
            'image,tags\na.jpg,cat\nd.jpg,cat\n./a.jpg,dog\n',
            "t.csv:4: 'a.jpg' is listed already at",
        ),
        (
            't.csv',
            'image,tag,split\na.jpg,cat,train\na.jpg,dog,test\n',
            "t.csv:3: 'a.jpg' is test, but train at",
        ),
        (
            't.jsonl',
            '{"image": "a.jpg", "tags": ["cat"]}\n{"image": "d.jpg", "ta',
            't.jsonl:2: expected JSON',
        ),
        (
            't.jsonl',
            '{"image": "a.jpg", "tags": ["cat"]}\n["d.jpg"]\n',
            't.jsonl:2: expected a JSON object',
        ),
        (
            't.jsonl',
            '{"image": "a.jpg", "tags": ["cat"]}\n{"image": "d.jpg"}\n',
            "t.jsonl:2: expected the column 'tags'",
        ),
        (
            't.jsonl',
            '{"image": "a.jpg", "tags": ["cat"]}\n{"image": "d.jpg", "tags": [1]}\n',
            "t.jsonl:2: expected 'tags' to be a list of tags",
        ),
        (
            't.jsonl',
            '{"image": "a.jpg", "tags": [], "tags": ["cat"]}\n',
            "t.jsonl:1: an object repeats the key 'tags'",
        ),
        (
            't.jsonl',
            '{"image": "a.jpg", "tags": ["cat"]}\n{"image": "d.jpg", "tags": ["cat"], "split": '
            '"test"}\n',
            "t.jsonl:2: expected 'split' in every row or in none",
        ),
        ('t.txt', 'a.jpg cat\n', 't.txt: expected one of .csv'),
    ],
)
def test_malformed(tmp_path, images, put, fails, name, content, part):
    file = put(tmp_path / name, content)
    fails(CONVERTER, images, file, tmp_path / 'out', parts=[part])


@pytest.mark.parametrize(
    ('name', 'content', 'part'),
    [
        ('a.json', '{"dogs": "dog", "dogs": "cat"}', "a.json:1: an object repeats the key 'dogs'"),
        ('a.json', '{"dogs": "dog", "Dogs": "cat"}', "'dogs' is an alias of 'dog' already"),
        (
            'a.json',
            '{"dogs": "dog", "dog": "cat"}',
            "a.json: 'dogs' leads to 'dog', which is an alias itself",
        ),
        ('a.json', '{"dogs": null}', 'a.json: `dogs`: expected an alias and a tag'),
        ('a.json', '["dogs"]', 'a.json:1: expected a JSON object'),
        (
            'a.csv',
            'alias,tag\ndogs,dog\ndogs,cat\n',
            "a.csv:3: 'dogs' is an alias of 'dog' already",
        ),
        ('a.csv', 'dogs,dog\nicons,icon\n', 'a.csv:2: expected an alias and a tag'),
    ],
)
def test_malformed_aliases(tmp_path, images, put, fails, name, content, part):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    fails(
        CONVERTER, images, file, tmp_path, '--aliases', put(tmp_path / name, content), parts=[part]
    )


def test_min_count_too_high(tmp_path, images, put, fails):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    fails(
        CONVERTER,
        images,
        file,
        tmp_path,
        '--min-count',
        9,
        parts=['no tag is on 9 of the 5 images', "('cat', 3)"],
    )


def test_repeats_are_united_when_told(tmp_path, images, put, convert):
    file = put(
        tmp_path / 'tags.csv',
        'image,tags,split\na.jpg,cat;dog,train\nd.jpg,cat,test\na.jpg,emu,train\n',
    )
    result = convert(CONVERTER, images, file, tmp_path, '--allow-repeats')
    assert '1 rows repeat an image; tags united.' in result.out
    assert load_annotations(tmp_path / 'train.json').data_list == [
        {'img_path': 'a.jpg', 'gt_label': [0, 1, 2]}
    ]


@pytest.fixture
def many(tmp_path, put):
    """Forty images, every second a copy of the one before it."""
    for index in range(40):
        put(tmp_path / 'many' / f'{index:02d}.jpg', f'content {index // 2}')
    return put(
        tmp_path / 'many.csv',
        'image,tags\n' + ''.join(f'{index:02d}.jpg,tag\n' for index in range(40)),
    )


def sides(folder):
    return {
        side: [item['img_path'] for item in load_annotations(folder / f'{side}.json').data_list]
        for side in ('train', 'test')
    }


def test_split_follows_from_content(tmp_path, many, put, convert):
    result = convert(CONVERTER, tmp_path / 'many', many, tmp_path / 'one', '--val-fraction', 0)
    assert '20 images are copies, byte for byte, of another.' in result.out
    one = sides(tmp_path / 'one')

    def is_test(index):
        key = hashlib.sha256(f'content {index // 2}'.encode()).digest()
        return int.from_bytes(hashlib.sha256(b'0:' + key).digest()[:6], 'big') < 0.3 * 256**6

    assert one['test'] == [f'{index:02d}.jpg' for index in range(40) if is_test(index)]
    assert one['train'] == [f'{index:02d}.jpg' for index in range(40) if not is_test(index)]
    for name in one['test']:
        assert f'{int(name[:2]) ^ 1:02d}.jpg' in one['test']

    # Renamed, in another order and among others, every image stays on its side.
    for index in range(40):
        (tmp_path / 'many' / f'{index:02d}.jpg').rename(tmp_path / 'many' / f'{99 - index}.jpg')

    file = put(
        tmp_path / 'again.csv',
        'image,tags\n' + ''.join(f'{99 - index}.jpg,tag\n' for index in range(10, 40)),
    )
    convert(CONVERTER, tmp_path / 'many', file, tmp_path / 'two')
    assert {99 - int(name[:2]) for name in sides(tmp_path / 'two')['test']} == {
        int(name[:2]) for name in one['test'] if int(name[:2]) >= 10
    }


def test_split_seed_and_fraction(tmp_path, many, convert, fails):
    results = []
    for seed, fraction in ((0, 0.5), (1, 0.5), (0, 0.9)):
        convert(
            CONVERTER,
            tmp_path / 'many',
            many,
            tmp_path / 'out',
            '--seed',
            seed,
            '--test-fraction',
            fraction,
            '--overwrite',
        )
        results.append(set(sides(tmp_path / 'out')['test']))

    assert results[0] != results[1]
    assert results[0] < results[2]
    assert (
        convert(
            CONVERTER,
            tmp_path / 'many',
            many,
            tmp_path / 'whole',
            '--test-fraction',
            0,
            '--val-fraction',
            0,
        ).status
        == 0
    )
    assert len(load_annotations(tmp_path / 'whole' / 'train.json')) == 40
    assert not (tmp_path / 'whole' / 'test.json').exists()
    fails(
        CONVERTER,
        tmp_path / 'many',
        many,
        tmp_path / 'out',
        '--test-fraction',
        1e-9,
        parts=['try another seed'],
    )


def test_split_column_and_fraction_exclude_each_other(tmp_path, images, put, fails):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    fails(
        CONVERTER,
        images,
        file,
        tmp_path,
        '--test-fraction',
        0.5,
        parts=["column 'split'", '--test-fraction'],
    )


def test_split_column_that_parts_copies(tmp_path, images, put, convert, fails):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    (images / 'd.jpg').write_bytes((images / 'a.jpg').read_bytes())
    fails(
        CONVERTER,
        images,
        file,
        tmp_path,
        parts=[
            f"{file}:5: the test image 'd.jpg' is a copy of the train image 'a.jpg' at {file}:2"
        ],
    )
    result = convert(CONVERTER, images, file, tmp_path, '--allow-repeats')
    assert result.status == 0
    assert 'is a copy of the train image' in result.out


def test_missing_images_do_not_count(tmp_path, images, put, convert, fails):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    (images / 'd.jpg').unlink()
    fails(CONVERTER, images, file, tmp_path, parts=['--allow-missing', f"{file}:5: 'd.jpg'"])
    # `dogs` was on d.jpg alone; e.jpg has no tags.
    result = convert(CONVERTER, images, file, tmp_path, '--allow-missing', '--keep-unlabelled')
    assert result.status == 0, result.err
    test = load_annotations(tmp_path / 'test.json')
    assert test.classes == ['cat', 'dog', 'rare']
    assert test.data_list == [{'img_path': 'e.jpg', 'gt_label': []}]
    assert (tmp_path / 'missing_test.txt').read_text() == 'd.jpg\n'


def test_sides_that_a_column_lacks_are_cut_from_train(tmp_path, images, put, convert):
    text = as_text('csv').replace(',val', ',train')
    file = put(tmp_path / 'tags.csv', text)
    without = convert(CONVERTER, images, file, tmp_path / 'without')
    assert "By the column 'split', no image is val: --val-fraction 0.15 cuts" in without.out
    before = side_of(tmp_path / 'without')
    assert 'val' not in before.values()

    result = convert(CONVERTER, images, file, tmp_path / 'with', '--complete-sides')
    assert "By the column 'split', no image is val, so 15% of train are cut off" in result.out
    after = side_of(tmp_path / 'with')
    assert set(after.values()) == {'train', 'val', 'test'}
    moved = {name for name in before if after[name] != before[name]}
    assert {(before[name], after[name]) for name in moved} == {('train', 'val')}


# Sides.


@pytest.fixture
def pictures(tmp_path):
    """Sixty pictures, every third one nearly the one before it."""
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index in range(60):
        seed, near = (index - 1, True) if index % 3 == 2 else (index, False)
        picture = noise(seed, side=48 - 8 * near)
        picture.save(folder / f'{index:02d}.jpg', quality=70 if near else 90)
    return folder


@pytest.fixture
def table(tmp_path, put):
    rows = ''.join(f'{index:02d}.jpg,tag\n' for index in range(60))
    return put(tmp_path / 'pictures.csv', f'image,tags\n{rows}')


def side_of(folder):
    names = [name for name in ('train', 'val', 'test') if (folder / f'{name}.json').exists()]
    return {
        item['img_path']: name
        for name in names
        for item in load_annotations(folder / f'{name}.json').data_list
    }


def test_three_parts_by_default_with_near_copies_together(tmp_path, pictures, table, convert):
    result = convert(CONVERTER, pictures, table, tmp_path / 'out')
    assert result.status == 0, result.err
    found = side_of(tmp_path / 'out')
    counts = Counter(found.values())
    assert len(found) == 60
    assert set(counts) == {'train', 'val', 'test'}
    assert counts['train'] > counts['test'] > counts['val']
    for index in range(2, 60, 3):
        assert found[f'{index:02d}.jpg'] == found[f'{index - 1:02d}.jpg']

    assert '20 pairs of images are nearly the same. 02.jpg resembles 01.jpg,' in result.out
    with (tmp_path / 'out' / 'image_copies.csv').open() as file:
        rows = list(csv.reader(file))
    assert rows[:2] == [['image', 'copy_of', 'how'], ['02.jpg', '01.jpg', 'nearly']]
    assert len(rows) == 21


def test_near_distance_of_zero_keeps_copies_alone_together(tmp_path, pictures, table, convert):
    convert(CONVERTER, pictures, table, tmp_path / 'out', '--near-distance', 0)
    found = side_of(tmp_path / 'out')
    pairs = [(f'{index:02d}.jpg', f'{index - 1:02d}.jpg') for index in range(2, 60, 3)]
    assert any(found[first] != found[second] for first, second in pairs)
    assert not (tmp_path / 'out' / 'image_copies.csv').exists()


def test_fractions_of_both_sides(tmp_path, pictures, table, convert):
    args = ('--test-fraction', 0, '--val-fraction', 0.5)
    convert(CONVERTER, pictures, table, tmp_path / 'half', *args)
    counts = Counter(side_of(tmp_path / 'half').values())
    assert set(counts) == {'train', 'val'}
    assert 15 <= counts['val'] <= 45
    convert(CONVERTER, pictures, table, tmp_path / 'none', '--val-fraction', 0)
    assert set(side_of(tmp_path / 'none').values()) == {'train', 'test'}


def test_val_has_an_image_however_small_the_data(tmp_path, pictures, put, convert):
    for number in range(4, 12):
        rows = ''.join(f'{index:02d}.jpg,tag\n' for index in range(0, 3 * number, 3))
        file = put(tmp_path / f'{number}.csv', f'image,tags\n{rows}')
        result = convert(CONVERTER, pictures, file, tmp_path / f'{number}', '--seed', 1)
        assert result.status == 0, result.err
        assert set(side_of(tmp_path / f'{number}').values()) == {'train', 'val', 'test'}


def test_pictures_that_are_all_alike_say_what_to_do(tmp_path, put, fails):
    for index in range(10):
        path = tmp_path / 'alike' / f'{index}.png'
        path.parent.mkdir(exist_ok=True)
        noise(1, side=40 + 2 * index).save(path)

    rows = ''.join(f'{index}.png,tag\n' for index in range(10))
    file = put(tmp_path / 't.csv', f'image,tags\n{rows}')
    fails(
        CONVERTER,
        tmp_path / 'alike',
        file,
        tmp_path / 'out',
        parts=['all 10 images fall on', 'one group of near-copies contains 10', '--near-distance'],
    )


def test_column_with_all_three_sides(tmp_path, images, put, convert):
    rows = 'a.jpg,cat,train\nsub/b.jpg,cat,valid\nc.jpg,dog,Test\nd.jpg,dog,train\n'
    file = put(tmp_path / 't.csv', f'image,tags,split\n{rows}')
    result = convert(CONVERTER, images, file, tmp_path / 'out')
    assert result.status == 0, result.err
    assert side_of(tmp_path / 'out') == {
        'a.jpg': 'train',
        'sub/b.jpg': 'val',
        'c.jpg': 'test',
        'd.jpg': 'train',
    }


def test_val_cut_from_the_train_side_of_a_column(tmp_path, pictures, put, convert):
    rows = ''.join(f'{i:02d}.jpg,tag,{"test" if i < 30 else "train"}\n' for i in range(60))
    file = put(tmp_path / 't.csv', f'image,tags,split\n{rows}')
    result = convert(CONVERTER, pictures, file, tmp_path / 'two')
    assert set(side_of(tmp_path / 'two').values()) == {'train', 'test'}
    assert '--val-fraction 0.15 cuts such a side from train' in result.out
    convert(CONVERTER, pictures, file, tmp_path / 'three', '--val-fraction', 0.3)
    found = side_of(tmp_path / 'three')
    assert {name for name, side in found.items() if side == 'test'} == {
        f'{i:02d}.jpg' for i in range(30)
    }
    assert set(found.values()) == {'train', 'val', 'test'}
    for index in range(32, 60, 3):
        assert found[f'{index:02d}.jpg'] == found[f'{index - 1:02d}.jpg']


def test_near_copies_that_a_column_parts_are_told(tmp_path, pictures, put, convert):
    file = put(
        tmp_path / 't.csv',
        'image,tags,split\n01.jpg,tag,train\n02.jpg,tag,test\n03.jpg,tag,train\n',
    )
    result = convert(CONVERTER, pictures, file, tmp_path / 'out')
    assert result.status == 0, result.err
    assert (
        f"{file}:3: the test image '02.jpg' nearly is the train image '01.jpg' at {file}:2."
        in result.out
    )


def test_copies_are_named(tmp_path, many, convert):
    result = convert(CONVERTER, tmp_path / 'many', many, tmp_path / 'out')
    assert '01.jpg is 00.jpg, 03.jpg is 02.jpg, 05.jpg is 04.jpg, ... (all in' in result.out
    with (tmp_path / 'out' / 'image_copies.csv').open() as file:
        assert list(csv.reader(file))[1:3] == [
            ['01.jpg', '00.jpg', 'bytes'],
            ['03.jpg', '02.jpg', 'bytes'],
        ]


# What a person sees of mistakes.


def test_images_that_cannot_be_decoded_are_told(tmp_path, pictures, table, convert):
    (pictures / '07.jpg').write_bytes(b'half a download')
    result = convert(CONVERTER, pictures, table, tmp_path / 'out')
    assert '1 images cannot be decoded, and training will stop at them:' in result.out
    assert '07.jpg cannot be decoded' in result.out


def test_no_image_found_says_what_is_there(tmp_path, pictures, put, fails):
    file = put(tmp_path / 't.csv', 'image,tags\n00,cat\n01,dog\n')
    parts = [
        f"{file}:2: '00' is missing, and so are all other images that are listed.",
        f'{pictures} contains 60 image files, such as 00.jpg.',
        "2 of 2 would be found with --image-names stem ('00' is 00.jpg).",
    ]
    fails(CONVERTER, pictures, file, tmp_path / 'out', parts=parts)
    file = put(tmp_path / 't.csv', 'image,tags\nphotos/00.jpg,cat\n')
    parts = ["would be found with --image-names name ('photos/00.jpg' is 00.jpg)"]
    fails(CONVERTER, pictures, file, tmp_path / 'out', parts=parts)
    empty = tmp_path / 'empty'
    empty.mkdir()
    parts = [f'{empty} contains no image file. Is it the right folder']
    fails(CONVERTER, empty, file, tmp_path / 'out', parts=parts)


def test_image_names_find_them(tmp_path, pictures, put, convert):
    for way, text in (('stem', '00,cat\n01,dog\n03,cat\n'), ('name', 'x/00.jpg,cat\n03.jpg,dog\n')):
        file = put(tmp_path / 't.csv', f'image,tags\n{text}')
        out = tmp_path / way
        args = ('--image-names', way, '--test-fraction', 0, '--val-fraction', 0)
        result = convert(CONVERTER, pictures, file, out, *args)
        assert result.status == 0, result.err
        assert set(side_of(out)) <= {'00.jpg', '01.jpg', '03.jpg'}


def test_all_paths_out_of_the_folder_are_listed(tmp_path, pictures, put, fails):
    file = put(tmp_path / 't.csv', 'image,tags\n00.jpg,a\n/x.jpg,a\n../y.jpg,a\nC:\\z.jpg,a\n')
    fails(CONVERTER, pictures, file, tmp_path, parts=[f'{file}:3:', f'{file}:4:', f'{file}:5:'])


def test_all_repeats_are_listed(tmp_path, pictures, put, fails):
    file = put(tmp_path / 't.csv', 'image,tags\n00.jpg,a\n00.jpg,b\n01.jpg,a\n01.jpg,b\n')
    fails(
        CONVERTER, pictures, file, tmp_path, parts=[f'{file}:3:', f'{file}:5:', '--allow-repeats']
    )


def test_another_result_is_not_overwritten_unasked(tmp_path, pictures, put, convert, fails):
    file = put(tmp_path / 't.csv', 'image,tags\n00.jpg,cat\n01.jpg,dog\n03.jpg,cat\n06.jpg,cat\n')
    out = tmp_path / 'out'
    assert convert(CONVERTER, pictures, file, out, '--seed', 1).status == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert convert(CONVERTER, pictures, file, out, '--seed', 1).status == 0  # the same again

    put(file, 'image,tags\n00.jpg,cat\n01.jpg,sea\n03.jpg,cat\n06.jpg,cat\n')
    fails(CONVERTER, pictures, file, out, '--seed', 1, parts=[f'{out}: another result is there'])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert convert(CONVERTER, pictures, file, out, '--seed', 1, '--overwrite').status == 0
    assert 'sea' in load_annotations(out / 'train.json').classes


def test_sides_of_an_earlier_result_do_not_stay(tmp_path, pictures, table, convert, fails):
    out = tmp_path / 'out'
    convert(CONVERTER, pictures, table, out)
    args = (CONVERTER, pictures, table, out, '--val-fraction', 0)
    fails(*args, parts=['another result is there (train.json, val.json)'])
    result = convert(*args, '--overwrite')
    assert f'Removed {out / "val.json"}' in result.out
    assert not (out / 'val.json').exists()


def test_tags_are_counted_in_a_file(tmp_path, images, put, convert):
    file = put(tmp_path / 'tags.csv', as_text('csv'))
    result = convert(CONVERTER, images, file, tmp_path / 'out', '--min-count', 2)
    assert 'Kept, with their images: cat 3.' in result.out
    assert (tmp_path / 'out' / 'tag_counts.csv').read_text() == (
        'tag,images,kept\ncat,3,yes\ndog,1,no\ndogs,1,no\nrare,1,no\n'
    )
    assert file.read_text() == as_text('csv')


def test_unsure_tags_are_difficult(tmp_path, pictures, put, convert):
    rows = '00.jpg,1,-1\n01.jpg,0,1\n03.jpg,1,0\n'
    file = put(tmp_path / 't.csv', f'image,cat,dog\n{rows}')
    args = ('--flags', '--test-fraction', 0, '--val-fraction', 0)
    assert convert(CONVERTER, pictures, file, tmp_path / 'out', *args).status == 0
    assert load_annotations(tmp_path / 'out' / 'train.json').data_list == [
        {'img_path': '00.jpg', 'gt_label': [0], 'gt_label_difficult': [1]},
        {'img_path': '01.jpg', 'gt_label': [1]},
        {'img_path': '03.jpg', 'gt_label': [0]},
    ]


def test_a_picture_in_several_folders_has_the_tags_of_all(tmp_path, pictures):
    for number, name in enumerate(('cat/a.jpg', 'dog/b.jpg', 'dog/c.jpg', 'cat/d.jpg')):
        path = tmp_path / 'folders' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((pictures / f'{3 * (number % 3):02d}.jpg').read_bytes())

    (tmp_path / 'folders' / 'dog' / 'a_too.jpg').write_bytes((pictures / '00.jpg').read_bytes())
    (tmp_path / 'folders' / 'cat' / 'd.jpg').write_bytes((pictures / '09.jpg').read_bytes())
    out = tmp_path / 'out'
    result = convert_own_data(tmp_path / 'folders', None, out, test_fraction=0.0, val_fraction=0.0)
    assert '1 images are copies of one in another folder; tags united.' in result.notes
    assert load_annotations(out / 'train.json').data_list == [
        {'img_path': 'cat/a.jpg', 'gt_label': [0, 1]},
        {'img_path': 'cat/d.jpg', 'gt_label': [0]},
        {'img_path': 'dog/b.jpg', 'gt_label': [1]},
        {'img_path': 'dog/c.jpg', 'gt_label': [1]},
    ]


def test_guess_from_python(tmp_path, pictures, put):
    rows = ''.join(f'{index:02d};cat, tag {index % 2}\n' for index in range(60))
    file = put(tmp_path / 't.txt', f'Nummer;Schlagwort\n{rows}'.encode('cp1252'))
    result = convert_own_data(pictures, file, tmp_path / 'out', val_fraction=0.3)
    assert list(result.splits) == ['train', 'val', 'test']
    assert result.splits['train'].classes == ['cat', 'tag 0', 'tag 1']
    assert any("column 'Nummer'" in note for note in result.notes)
    assert side_of(tmp_path / 'out').keys() == {f'{index:02d}.jpg' for index in range(60)}
    with pytest.raises(TypeError, match=r"but got \['no_such_option'\]"):
        convert_own_data(pictures, file, tmp_path / 'out', no_such_option=1)
    with pytest.raises(AnnotationError, match='another result is there'):
        convert_own_data(pictures, file, tmp_path / 'out', val_fraction=0.1)


@pytest.mark.parametrize(
    ('option', 'value'),
    [
        ('--delimiter', ';;'),
        ('--min-confidence', '1.5'),
        ('--val-fraction', '1'),
        ('--near-distance', '-1'),
        ('--near-distance', 'far'),
    ],
)
def test_options_out_of_range(tmp_path, images, put, capsys, option, value):
    with pytest.raises(SystemExit):
        run(CONVERTER, [str(images), 't.csv', 'out', option, value])
    assert option in capsys.readouterr().err
