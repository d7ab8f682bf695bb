"""Tables as people and tools write them, each about the same four images."""

import json

import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.guessing import (
    Given,
    explain_wrong_separator,
    guess_layout,
    guess_separator,
)
from morn_plugin.datasets.converters.tables.image_names import ImageIndex
from morn_plugin.datasets.converters.tables.layouts import Layout, read_rows
from morn_plugin.datasets.converters.tables.records import read_table

TAGS = {'a.jpg': ['cat', 'dog'], 'b.jpg': ['cat'], 'c.jpg': ['dog', 'sea'], 'd.jpg': ['sea']}
ALL = ('cat', 'dog', 'sea')


@pytest.fixture
def index(tmp_path, put):
    for name in TAGS:
        put(tmp_path / 'images' / name)
    return ImageIndex(tmp_path / 'images')


def table_of(header, row, end=''):
    return header + '\n' + ''.join(row(name, tags) + '\n' for name, tags in TAGS.items()) + end


def flags(tags, yes='1', no='0'):
    return ','.join(yes if tag in tags else no for tag in ALL)


def quoted(cell):
    return '"' + cell.replace('"', '""') + '"'


TABLES = {
    'spreadsheet of Western Europe': (
        table_of('Datei;Schlagw\u00f6rter', lambda n, t: f'{n};{", ".join(t)}').encode('cp1252'),
        Layout('Datei', 'tags', ('Schlagw\u00f6rter',), ','),
        'listed',
    ),
    'columns of other words and of decimal commas beside the tags': (
        table_of(
            'Bild;Stichworte;Gr\u00f6\u00dfe;Bemerkung',
            lambda n, t: f'{n};"{"; ".join(t)}";1,5;"sagt ""gut"", na ja"',
        ).encode('utf-8-sig'),
        Layout('Bild', 'tags', ('Stichworte',), ';'),
        'listed',
    ),
    'decimal commas beside tags of an unknown name': (
        table_of('Nr;Was;kg', lambda n, t: f'{n};{"|".join(t)};1.000,5'),
        Layout('Nr', 'tags', ('Was',), '|'),
        'listed',
    ),
    'UTF-16 with tabs': (
        table_of('filename\tkeywords', lambda n, t: f'{n}\t{"|".join(t)}').encode('utf-16'),
        Layout('filename', 'tags', ('keywords',), '|'),
        'listed',
    ),
    'names without ending, one column a tag, one of text': (
        table_of('Id,note,cat,dog,sea', lambda n, t: f'{n[0]},nice,{flags(t)}'),
        Layout('Id', 'flags', ALL),
        'stem',
    ),
    'true and false': (
        table_of('name,cat,dog,sea', lambda n, t: f'{n},{flags(t, "TRUE", "FALSE")}'),
        Layout('name', 'flags', ALL),
        'listed',
    ),
    'yes and no, with a tag that no image has': (
        table_of('name,cat,dog,sea,sky', lambda n, t: f'{n},{flags(t, "yes", "no")},no'),
        Layout('name', 'flags', (*ALL, 'sky')),
        'listed',
    ),
    'yes and no in German, with semicolons': (
        table_of(
            'Foto;cat;dog;sea', lambda n, t: f'{n};{flags(t, "Ja", "nein").replace(",", ";")}'
        ),
        Layout('Foto', 'flags', ALL),
        'listed',
    ),
    '1,0 and 0,0': (
        table_of(
            'Foto;cat;dog;sea;sky',
            lambda n, t: f'{n};{";".join("1,0" if tag in t else "0,0" for tag in ALL)};0,0',
        ),
        Layout('Foto', 'flags', (*ALL, 'sky')),
        'listed',
    ),
    'flags and unsure ones, empty for no': (
        table_of(
            'Path,Age,cat,dog,sea', lambda n, t: f'/data/{n},{40 + ord(n[0])},{flags(t, "1.0", "")}'
        ).replace('d.jpg,140,,', 'd.jpg,140,-1.0,'),
        Layout('Path', 'flags', ALL),
        'name',
    ),
    'one row per tag': (
        table_of('path,label', lambda n, t: '\n'.join(f'/content/drive/{n},{tag}' for tag in t)),
        Layout('path', 'pairs', ('label',)),
        'name',
    ),
    'one row per tag, with those that are not there': (
        table_of(
            'ImageID,Source,LabelName,Confidence',
            lambda n, t: '\n'.join(f'{n[0]},verification,{tag},{int(tag in t)}' for tag in ALL),
        ),
        Layout('ImageID', 'pairs', ('LabelName',), value='Confidence'),
        'stem',
    ),
    'one row per tag, with decimal commas for whether it is there': (
        table_of(
            'Datei;Schlagwort;Confidence',
            lambda n, t: '\n'.join(f'{n};{tag};{"1,0" if tag in t else "0,0"}' for tag in ALL),
        ),
        Layout('Datei', 'pairs', ('Schlagwort',), value='Confidence'),
        'listed',
    ),
    'pandas lists behind an index': (
        table_of(',image,labels', lambda n, t: f'0,{n},{quoted(str(t))}'),
        Layout('image', 'tags', ('labels',)),
        'listed',
    ),
    'CSV of Label Studio': (
        table_of(
            'image,id,choice,annotator',
            lambda n, t: (
                f'/data/upload/1/0a1b2c3d-{n},1,'
                f'{t[0] if len(t) < 2 else quoted(json.dumps(dict(choices=t)))},1'
            ),
        ),
        Layout('image', 'tags', ('choice',)),
        'name',
    ),
    'numbered columns': (
        table_of('file,tag_1,tag_2', lambda n, t: f'{n},{t[0]},{t[1] if len(t) > 1 else ""}'),
        Layout('file', 'tags', ('tag_1', 'tag_2')),
        'listed',
    ),
    'a column for the side': (
        table_of('image;tags;Subset', lambda n, t: f'{n};{",".join(t)};valid'),
        Layout('image', 'tags', ('tags',), ',', split='Subset'),
        'listed',
    ),
    'a column for the side, of an unknown name': (
        table_of(
            'Datei;Schlagw\u00f6rter;Gruppe',
            lambda n, t: f'{n};{", ".join(t)};{"Training" if n < "c" else "Validierung"}',
        ),
        Layout('Datei', 'tags', ('Schlagw\u00f6rter',), ',', split='Gruppe'),
        'listed',
    ),
}


@pytest.mark.parametrize('kind', TABLES)
def test_layouts(tmp_path, put, index, kind):
    content, layout, way = TABLES[kind]
    table = read_table(put(tmp_path / 't.csv', content), guess=True)
    guess = guess_layout(table, index)
    assert (guess.layout, guess.image_names) == (layout, way)

    found: dict[str, set[str]] = {}
    for row in read_rows(table, layout):
        file = index.find(row.img_path, row.where, way)
        found.setdefault(file, set()).update(tag.strip() for tag in row.tags)

    assert found == {name: set(tags) for name, tags in TAGS.items()}


def test_spaces_separate_where_they_halve_the_tags(tmp_path, put, index):
    # 12 images of every pair and single one of 4 tags, as on Kaggle: names without ending.
    cells = ['cat dog', 'cat', 'dog sea', 'cat sea', 'sea sky', 'cat sky', 'dog sky', 'cat dog sea']
    for number in range(len(cells)):
        put(index.root / f'train_{number}.jpg')
    text = 'image_name,tags\n' + ''.join(f'train_{i},{cell}\n' for i, cell in enumerate(cells))
    guess = guess_layout(read_table(put(tmp_path / 't.csv', text)), ImageIndex(index.root))
    assert guess.layout == Layout('image_name', 'tags', ('tags',), ' ')
    assert guess.image_names == 'stem'


@pytest.mark.parametrize(
    ('cells', 'separator'),
    [
        (['cat;dog', 'dog', 'sea, sky;cat'], ';'),
        (['cat, dog', 'dog', 'sea'], ','),
        (['cat\ndog', 'dog'], '\n'),
        (['\u732b\u3001\u72ac', '\u72ac'], '\u3001'),
        (['living room', 'kitchen', 'living room', 'dining room'], ''),
        (['cat', 'dog'], ''),
        ([], ''),
        (['cat;'], ';'),
        # One of eleven has a comma: it belongs to the tag.
        (['dog, big', *(f'tag {i}' for i in range(10))], ''),
    ],
)
def test_separators(cells, separator):
    assert guess_separator(cells) == separator


def test_sentences_say_what_was_guessed(tmp_path, put, index):
    text = table_of('Datei;Schlagw\u00f6rter', lambda n, t: f'{n};{", ".join(t)}, gr\u00fcn')
    table = read_table(put(tmp_path / 't.csv', text.encode('cp1252')), guess=True)
    assert guess_layout(table, index).sentences == [
        f'{table.path}: semicolon-separated; not UTF-8, so read as Western European text '
        "(cp1252), for example 'cat, dog, gr\u00fcn' (--encoding).",
        "Images: column 'Datei', paths below the image folder, as they are listed; 4 of 4 looked up "
        'are there (--image-column, --image-names).',
        "Tags: 'Schlagw\u00f6rter', separated by comma (--tags-column, --separator).",
    ]


@pytest.mark.parametrize(
    ('encoding', 'name'),
    [('utf-8', 'UTF-8'), ('utf-8-sig', 'UTF-8 with a byte order mark'), ('utf-16', 'UTF-16')],
)
def test_encodings_are_named_for_people(tmp_path, put, index, encoding, name):
    text = table_of('image;tags', lambda n, t: f'{n};{",".join(t)}').encode(encoding)
    sentence = guess_layout(read_table(put(tmp_path / 't.csv', text)), index).sentences[0]
    assert f': semicolon-separated, {name} (--delimiter, --encoding).' in sentence


def test_a_column_named_after_tags_has_no_sides(tmp_path, put, index):
    table = read_table(put(tmp_path / 't.csv', 'image;tags\na.jpg;train\nb.jpg;test\n'))
    assert guess_layout(table, index).layout == Layout('image', 'tags', ('tags',))


def test_the_only_other_column_has_the_tags_even_if_they_are_numbers(tmp_path, put, index):
    table = read_table(put(tmp_path / 't.csv', 'image;code\na.jpg;3\nb.jpg;3,7\n'))
    assert guess_layout(table, index).layout == Layout('image', 'tags', ('code',), ',')


def test_given_is_not_guessed(tmp_path, put, index):
    text = table_of('image,other,tags,more', lambda n, t: f'{n},x,"{",".join(t)}",{t[0]}')
    table = read_table(put(tmp_path / 't.csv', text))
    assert guess_layout(table, index, Given(tags='more')).layout.columns == ('more',)
    assert guess_layout(table, index, Given(tag='more')).layout.kind == 'pairs'
    assert guess_layout(table, index, Given(separator='x')).layout.separator == 'x'
    assert guess_layout(table, index, Given(image_names='name')).image_names == 'name'
    with pytest.raises(AnnotationError, match=r"expected the columns \['no'\], but the table has"):
        guess_layout(table, index, Given(split='no'))


@pytest.mark.parametrize(
    ('text', 'part'),
    [
        ('image,author,caption\na.jpg,me,cat\nb.jpg,you,dog\n', r"any of \['author', 'caption'\]"),
        ('image,width,height\na.jpg,640,480\n', r"any of \['width', 'height'\] could be meant"),
        ('cat,dog\nbig,small\n', "expected a column of image files, but no value of .*'dog'"),
    ],
)
def test_what_cannot_be_guessed_names_the_columns(tmp_path, put, index, text, part):
    table = read_table(put(tmp_path / 't.csv', text))
    with pytest.raises(AnnotationError, match=part):
        guess_layout(table, index)


def test_wrong_separators_are_explained():
    cells = [f'tag{i};tag{i + 1}' for i in range(20)]
    assert "',' is in 0 of 20 cells" in explain_wrong_separator(cells, ',')
    assert explain_wrong_separator(cells, ';') == ''
    assert explain_wrong_separator(cells[:9], ',') == ''  # a handful proves nothing
    assert explain_wrong_separator(['cat'] * 20, ',') == ''
    keywords = [f'word {i}, :{i % 3}, ;), happy' if i < 5 else f'word {i}, face' for i in range(40)]
    assert "';' is in 5 of 40 cells and makes" in explain_wrong_separator(keywords, ';')
    spaced = [f'word{i}, word{i + 1}, face, smile' for i in range(20)]
    assert "' ' is in 20 of 20 cells" in explain_wrong_separator(spaced, ' ')
    assert explain_wrong_separator(['black cat', 'white dog'] * 10, ' ') == ''
    both = [f'happy, tag{i % 3}|smile, tag{i % 5}' for i in range(20)]
    assert explain_wrong_separator(both, '|') == ''
