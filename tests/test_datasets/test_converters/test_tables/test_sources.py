import json

import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.guessing import Given
from morn_plugin.datasets.converters.tables.image_names import ImageIndex
from morn_plugin.datasets.converters.tables.sources import Reading, read_source

GUESS = Reading(guess=True)


@pytest.fixture
def images(tmp_path, put):
    for name in ('a.jpg', 'b.jpg', 'c.jpg'):
        put(tmp_path / 'images' / name)
    return tmp_path / 'images'


def rows(source):
    return [(row.img_path, sorted(row.tags), row.side) for row in source.rows]


@pytest.mark.parametrize(
    ('text', 'advice'),
    [
        ('filename,labels\na.jpg,cat;dog\n', 'Pass --image-column filename --tags-column labels'),
        (
            'filename,label\na.jpg,cat\na.jpg,dog\nb.jpg,cat\n',
            'Pass --image-column filename --tag-column label',
        ),
        ('image,labels\na.jpg,"cat,dog"\n', "Pass --tags-column labels --separator ','"),
        ('image,cat,dog\na.jpg,1,0\nb.jpg,0,1\n', 'Pass --flags, or --guess'),
        (
            'image,My tags,Subset\na.jpg,cat,train\n',
            "Pass --tags-column 'My tags' --split-column Subset",
        ),
        ('a.jpg,cat\nb.jpg,dog\n', 'The first row names an image: put a header above it'),
        ('image,author,caption\na.jpg,me,cat\n', 'Name them with --image-column and --tags-column'),
    ],
)
def test_errors_name_the_options(tmp_path, put, images, text, advice):
    path = put(tmp_path / 't.csv', text)
    with pytest.raises(AnnotationError) as caught:
        read_source(path, ImageIndex(images), Reading())
    assert f"{path}:2: expected the columns 'image' and either 'tags' or 'tag'" in str(caught.value)
    assert advice in str(caught.value)


def test_options_of_the_advice_read_the_table(tmp_path, put, images):
    path = put(tmp_path / 't.csv', 'filename,labels\na.jpg,"cat,dog"\n')
    given = Given(image='filename', tags='labels', separator=',')
    assert rows(read_source(path, ImageIndex(images), Reading(given))) == [
        ('a.jpg', ['cat', 'dog'], '')
    ]
    path = put(tmp_path / 't.csv', 'image,cat,dog\na.jpg,1,0\nb.jpg,0,1\n')
    assert rows(read_source(path, ImageIndex(images), Reading(Given(flags=True)))) == [
        ('a.jpg', ['cat'], ''),
        ('b.jpg', ['dog'], ''),
    ]


def test_confidence_counts_without_being_named(tmp_path, put, images):
    path = put(tmp_path / 't.csv', 'image,tag,Confidence\na.jpg,cat,1\na.jpg,dog,0\n')
    assert rows(read_source(path, ImageIndex(images), Reading())) == [
        ('a.jpg', ['cat'], ''),
        ('a.jpg', [], ''),
    ]


def test_table_without_header_is_guessed(tmp_path, put, images):
    path = put(tmp_path / 't.csv', 'a.jpg,cat;dog\nb.jpg,dog\n')
    source = read_source(path, ImageIndex(images), GUESS)
    assert rows(source) == [('a.jpg', ['cat', 'dog'], ''), ('b.jpg', ['dog'], '')]
    assert source.notes[0] == f'{path}: no header, since its first row names an image.'


def test_header_that_is_called_as_an_image_without_ending(tmp_path, put, images):
    put(images / 'image.jpg')
    path = put(tmp_path / 't.csv', 'image,tags\na.jpg,cat;dog\nb.jpg,dog\n')
    assert len(read_source(path, ImageIndex(images), GUESS).rows) == 2


CLASSES = 'filename, cat, dog\n{}, 1, 0\n'


def test_roboflow(tmp_path, put):
    for side, name in (('train', 'a.jpg'), ('valid', 'b.jpg'), ('test', 'a.jpg')):
        put(tmp_path / side / name)
        put(tmp_path / side / '_classes.csv', CLASSES.format(name))

    source = read_source(tmp_path, ImageIndex(tmp_path), GUESS)
    assert sorted(rows(source)) == [
        ('test/a.jpg', ['cat'], 'test'),
        ('train/a.jpg', ['cat'], 'train'),
        ('valid/b.jpg', ['cat'], 'val'),
    ]
    assert source.image_names == 'listed'
    assert source.notes[-1] == 'Sides: test, train, val, by the names of the tables.'


def test_a_table_for_each_side(tmp_path, put, images):
    tables = tmp_path / 'tables'
    put(tables / 'train.csv', 'image,tags\na.jpg,cat;dog\n')
    put(tables / 'validation.csv', 'image;tags\nb.jpg;cat\n')
    put(tables / 'test.jsonl', json.dumps({'image': 'c.jpg', 'tags': ['dog']}) + '\n')
    source = read_source(tables, ImageIndex(images), GUESS)
    assert sorted(rows(source)) == [
        ('a.jpg', ['cat', 'dog'], 'train'),
        ('b.jpg', ['cat'], 'val'),
        ('c.jpg', ['dog'], 'test'),
    ]


def test_a_folder_for_each_tag(tmp_path, put):
    for name in ('animal/a.jpg', 'animal/cat/b.jpg', 'sea/c.jpg', 'sea/notes.txt'):
        put(tmp_path / name)

    source = read_source(tmp_path, ImageIndex(tmp_path), GUESS)
    assert rows(source) == [
        ('animal/a.jpg', ['animal'], ''),
        ('animal/cat/b.jpg', ['animal', 'cat'], ''),
        ('sea/c.jpg', ['sea'], ''),
    ]
    assert source.united_copies


def test_a_folder_for_each_side_and_tag(tmp_path, put):
    for name in ('Train/cat/a.jpg', 'Train/dog/b.jpg', 'valid/cat/c.jpg', 'test/dog/d.jpg'):
        put(tmp_path / 'data' / name)

    source = read_source(tmp_path / 'data', ImageIndex(tmp_path), GUESS)
    assert rows(source) == [
        ('data/Train/cat/a.jpg', ['cat'], 'train'),
        ('data/Train/dog/b.jpg', ['dog'], 'train'),
        ('data/test/dog/d.jpg', ['dog'], 'test'),
        ('data/valid/cat/c.jpg', ['cat'], 'val'),
    ]


def test_folders_that_are_none_of_tags(tmp_path, put, images):
    with pytest.raises(AnnotationError, match=r'it is a folder\. Pass --guess'):
        read_source(images, ImageIndex(images), Reading())
    with pytest.raises(AnnotationError, match=r'3 images are beside them, such as a\.jpg'):
        read_source(images, ImageIndex(images), GUESS)
    with pytest.raises(AnnotationError, match='below the image folder'):
        read_source(tmp_path, ImageIndex(images), GUESS)
    (tmp_path / 'images' / 'none').mkdir()
    with pytest.raises(AnnotationError, match='but got none'):
        read_source(images / 'none', ImageIndex(images), GUESS)


def test_wrong_separator_is_refused(tmp_path, put, images):
    cells = ''.join(f'a.jpg,"tag{i};tag{i + 1}"\n' for i in range(20))
    path = put(tmp_path / 't.csv', f'image,tags\n{cells}')
    index = ImageIndex(images)
    with pytest.raises(AnnotationError, match=r"',' is in 0 of 20 cells.*--separator"):
        read_source(path, index, Reading(Given(separator=',')))
    assert len(read_source(path, index, Reading(Given(separator=';'))).rows) == 20
