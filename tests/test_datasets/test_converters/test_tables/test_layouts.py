import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.layouts import Layout, Tagged, read_rows
from morn_plugin.datasets.converters.tables.records import read_table


@pytest.fixture
def read(tmp_path, put):
    def call(text, layout, **options):
        path = put(tmp_path / 't.csv', text)
        rows = read_rows(read_table(path), layout, **options)
        return [(row.img_path, sorted(row.tags), sorted(row.unsure), row.side) for row in rows]

    return call


def test_tags_of_several_columns(read):
    text = 'image,tag1,tag2\na.jpg,cat,dog\nb.jpg,sea,\n'
    layout = Layout('image', 'tags', ('tag1', 'tag2'))
    assert read(text, layout) == [
        ('a.jpg', ['cat', 'dog'], [], ''),
        ('b.jpg', ['sea'], [], ''),
    ]


def test_space_separates_however_many_there_are(read):
    text = 'image,tags\na.jpg,cat  dog \n'
    assert read(text, Layout('image', 'tags', ('tags',), ' ')) == [
        ('a.jpg', ['cat', 'dog'], [], '')
    ]


def test_flags(read):
    text = 'image,cat,dog,sea\na.jpg,1,-1,0\nb.jpg,True,,no\n'
    assert read(text, Layout('image', 'flags', ('cat', 'dog', 'sea'))) == [
        ('a.jpg', ['cat'], ['dog'], ''),
        ('b.jpg', ['cat'], [], ''),
    ]
    with pytest.raises(AnnotationError, match=r"t\.csv:2: expected 'cat' to be 1 or 0.*got '3'"):
        read('image,cat\na.jpg,3\n', Layout('image', 'flags', ('cat',)))


OPEN_IMAGES = 'ImageID,LabelName,Confidence\na,cat,1\na,dog,0\nb,sea,{}\n'
PAIRS = Layout('ImageID', 'pairs', ('LabelName',), value='Confidence')


def test_confidence_of_zero_says_that_the_tag_is_not_there(read):
    assert read(OPEN_IMAGES.format(0), PAIRS) == [
        ('a', ['cat'], [], ''),
        ('a', [], [], ''),
        ('b', [], [], ''),
    ]


def test_confidence_between_needs_a_bound(read):
    with pytest.raises(AnnotationError, match=r"t\.csv:4: expected 'Confidence'.*--min-confidence"):
        read(OPEN_IMAGES.format('0.7'), PAIRS)
    assert read(OPEN_IMAGES.format('0.7'), PAIRS, min_confidence=0.7)[2][1] == ['sea']
    assert read(OPEN_IMAGES.format('0.6'), PAIRS, min_confidence=0.7)[2][1] == []
    decimal_comma = OPEN_IMAGES.format('"0,7"')
    assert read(decimal_comma, PAIRS, min_confidence=0.7)[2][1] == ['sea']
    for wrong in ('1.5', '-0.5', 'high', 'inf'):
        with pytest.raises(
            AnnotationError, match=r"t\.csv:4: expected 'Confidence' to be in 0\.\.1"
        ):
            read(OPEN_IMAGES.format(wrong), PAIRS, min_confidence=0.7)


@pytest.mark.parametrize(
    ('text', 'side'),
    [
        ('train', 'train'),
        ('Training', 'train'),
        ('val', 'val'),
        ('valid', 'val'),
        ('VALIDATION', 'val'),
        ('Validierung', 'val'),
        ('dev', 'val'),
        ('test', 'test'),
        (' testing', 'test'),
    ],
)
def test_sides(read, text, side):
    layout = Layout('image', 'tags', ('tags',), split='split')
    assert read(f'image,tags,split\na.jpg,cat,{text}\n', layout) == [('a.jpg', ['cat'], [], side)]


def test_all_mistakes_are_listed_at_once(read):
    text = 'image,tags,split\na.jpg,"[""cat""",train\n,cat,train\nc.jpg,cat,extra\nd.jpg,cat,\n'
    text = text.replace('"[""cat"""', '"[\'cat\' x]"')
    layout = Layout('image', 'tags', ('tags',), split='split')
    with pytest.raises(AnnotationError) as caught:
        read(text, layout)
    lines = str(caught.value).splitlines()
    assert [line.split('t.csv:')[1][0] for line in lines[:3]] == ['2', '3', '4']
    assert lines[3:] == ['... 4 in all.']


def test_numbers_of_photos_in_json(tmp_path, put):
    path = put(tmp_path / 't.jsonl', '{"image": 17, "tag": 3}\n')
    rows = read_rows(read_table(path), Layout('image', 'pairs', ('tag',)))
    assert rows == [Tagged('17', frozenset({'3'}), '', f'{path}:1')]
