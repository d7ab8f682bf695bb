import hashlib
import json

import pytest

from morn_plugin.datasets.annotations import load_annotations
from morn_plugin.datasets.converters.tags import CONVERTER

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
    assert convert(CONVERTER, images, file, tmp_path, '--separator', ';').status == 0
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
            'image,tags,split\na.jpg,cat,train\nd.jpg,cat,val\n',
            "t.csv:3: expected 'split' to be train or test, but got 'val'",
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
    result = convert(CONVERTER, tmp_path / 'many', many, tmp_path / 'one')
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
        )
        results.append(set(sides(tmp_path / 'out')['test']))
    assert results[0] != results[1]
    assert results[0] < results[2]
    assert (
        convert(CONVERTER, tmp_path / 'many', many, tmp_path / 'whole', '--test-fraction', 0).status
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
