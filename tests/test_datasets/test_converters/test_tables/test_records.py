import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.records import find_delimiter, read_table

WANTED = ('image', 'tags')


def rows(table):
    return [record for record, _ in table.records]


@pytest.mark.parametrize('delimiter', [',', ';', '\t', '|'])
@pytest.mark.parametrize('wanted', [WANTED, ()])
def test_delimiter_is_found(tmp_path, put, delimiter, wanted):
    text = f'image{delimiter}tags\na.jpg{delimiter}"cat, dog; big"\nb.jpg{delimiter}sea\n'
    table = read_table(put(tmp_path / 't.csv', text), wanted=wanted)
    assert table.delimiter == delimiter
    assert rows(table) == [
        {'image': 'a.jpg', 'tags': 'cat, dog; big'},
        {'image': 'b.jpg', 'tags': 'sea'},
    ]


def test_commas_in_cells_of_a_semicolon_table():
    assert find_delimiter('image;tags\na.jpg;cat, dog\nb.jpg;cat, dog\n') == ';'
    assert find_delimiter('image;tags\na.jpg;cat, dog\nb.jpg;cat, dog\n', wanted=WANTED) == ';'
    assert find_delimiter('image,tags\na.jpg,cat;dog\nb.jpg,cat;dog\n') == ','


def test_usual_delimiter_where_nothing_tells():
    assert find_delimiter('image\na.jpg\n') == ','
    assert find_delimiter('image\na.jpg\n', '\t') == '\t'


def test_line_that_names_the_delimiter(tmp_path, put):
    path = put(tmp_path / 't.csv', 'sep=;\r\nimage;tags\r\na.jpg;cat\r\nb.jpg\r\n')
    with pytest.raises(AnnotationError, match=r't\.csv:4: expected 2 columns \(image, tags\)'):
        read_table(path)
    put(path, 'sep=;\r\nimage;tags\r\na.jpg;cat\r\n')
    table = read_table(path)
    assert table.records == [({'image': 'a.jpg', 'tags': 'cat'}, f'{path}:3')]


def test_empty_rows_and_columns_of_spreadsheets(tmp_path, put):
    table = read_table(put(tmp_path / 't.csv', 'image,tags,,\na.jpg,cat,,\n,,,\n,,,\n'))
    assert rows(table) == [{'image': 'a.jpg', 'tags': 'cat', 'column 3': '', 'column 4': ''}]
    assert table.notes == ['2 empty rows at the end left out.']


def test_column_of_numbers_without_a_name(tmp_path, put):
    table = read_table(put(tmp_path / 't.csv', ',image,tags\n0,a.jpg,cat\n'))  # as pandas writes it
    assert table.columns == ['column 1', 'image', 'tags']


def test_without_header(tmp_path, put):
    table = read_table(put(tmp_path / 't.csv', 'a.jpg,cat\nb.jpg,dog\n'), header=False)
    assert rows(table) == [
        {'column 1': 'a.jpg', 'column 2': 'cat'},
        {'column 1': 'b.jpg', 'column 2': 'dog'},
    ]


@pytest.mark.parametrize(
    ('text', 'kind'),
    [
        ('{"image": "a.jpg", "tags": ["cat"]}\n{"image": "b.jpg", "tags": []}\n', 'JSON lines'),
        ('[{"image": "a.jpg", "tags": ["cat"]}, {"image": "b.jpg", "tags": []}]', 'JSON'),
        ('{"a.jpg": ["cat"], "b.jpg": []}', 'JSON'),
    ],
)
def test_form_is_guessed(tmp_path, put, text, kind):
    path = put(tmp_path / 'table.txt', text)
    table = read_table(path, guess=True)
    assert table.kind == kind
    assert rows(table) == [{'image': 'a.jpg', 'tags': ['cat']}, {'image': 'b.jpg', 'tags': []}]
    with pytest.raises(AnnotationError, match=r'expected one of \.csv'):
        read_table(path)


def test_too_many_cells_say_what_to_do(tmp_path, put):
    with pytest.raises(AnnotationError, match=r'got 3\. .*comma: put .* into quotes.*--delimiter'):
        read_table(put(tmp_path / 't.csv', 'image,tags\na.jpg,cat,dog\n'), wanted=WANTED)
