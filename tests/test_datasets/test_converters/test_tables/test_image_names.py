import unicodedata

import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.image_names import ImageIndex


@pytest.fixture
def index(tmp_path, put):
    names = ['a.jpg', 'b.one.png', 'pets/a.jpg', 'pets/c.JPEG', 'wild/big/c.jpeg', 'notes.txt']
    for name in names:
        put(tmp_path / 'images' / name)
    return ImageIndex(tmp_path / 'images')


@pytest.mark.parametrize(
    ('text', 'way', 'file'),
    [
        ('a.jpg', 'listed', 'a.jpg'),
        ('pets/a.jpg', 'listed', 'pets/a.jpg'),
        ('./pets\\A.JPG', 'listed', 'pets/a.jpg'),
        ('a', 'listed', None),
        ('notes.txt', 'listed', None),
        ('a', 'stem', 'a.jpg'),
        ('pets/c', 'stem', 'pets/c.JPEG'),
        ('b.one', 'stem', 'b.one.png'),
        ('c', 'stem', None),
        ('/content/drive/images/pets/c.jpeg', 'name', 'pets/c.JPEG'),
        ('C:\\me\\wild\\big\\c.jpeg', 'name', 'wild/big/c.jpeg'),
        ('elsewhere/b.one.png', 'name', 'b.one.png'),
        ('b.one', 'name', 'b.one.png'),
        ('b.one.webp', 'name', 'b.one.png'),  # converted to another kind since
        ('b.two', 'name', None),
        ('1/0a1b2c3d-b.one.png', 'name', 'b.one.png'),  # uploaded to Label Studio
        ('https://host/x/b.one.png?size=3', 'name', 'b.one.png'),
    ],
)
def test_find(index, text, way, file):
    assert index.find(text, 't.csv:2', way) == file


def test_ambiguous_names_are_refused(index):
    with pytest.raises(AnnotationError, match=r"t\.csv:2: 'c\.jpeg' could be any of \['pets/c"):
        index.find('c.jpeg', 't.csv:2', 'name')
    with pytest.raises(AnnotationError, match='could be any of'):
        index.find('other/a.jpg', 't.csv:2', 'name')


def test_exact_spelling_is_preferred(tmp_path, put):
    for name in ('Photo.jpg', 'photo.jpg'):
        put(tmp_path / name)
    index = ImageIndex(tmp_path)
    assert index.find('photo.jpg', '', 'listed') == 'photo.jpg'
    with pytest.raises(AnnotationError, match='could be any of'):
        index.find('PHOTO.jpg', '', 'listed')


@pytest.mark.parametrize('forms', [('NFC', 'NFD'), ('NFD', 'NFC')])
def test_accents_in_either_composition(tmp_path, put, forms):
    on_disk, listed = (unicodedata.normalize(form, 'caf\u00e9.jpg') for form in forms)
    put(tmp_path / on_disk)
    for way in ('listed', 'name'):
        assert ImageIndex(tmp_path).find(listed, '', way) == on_disk


@pytest.mark.parametrize(
    ('texts', 'way'),
    [
        (['a.jpg', 'pets/a.jpg', 'gone.jpg'], 'listed'),
        (['a', 'pets/c'], 'stem'),
        (['/x/pets/a.jpg', '/x/b.one.png'], 'name'),
        (['gone.jpg'], 'listed'),
    ],
)
def test_way_is_the_strictest_that_finds_most(index, texts, way):
    assert index.choose_way(texts) == way
