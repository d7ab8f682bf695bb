import gzip

import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.text import read_table_text

TABLE = 'image,tags\na.jpg,Straße;café\n'


@pytest.mark.parametrize(
    ('encoding', 'name'),
    [
        ('utf-8', 'utf-8'),
        ('utf-8-sig', 'utf-8-sig'),
        ('utf-16', 'utf-16'),
        ('utf-32', 'utf-32'),
    ],
)
def test_known_without_a_guess(tmp_path, put, encoding, name):
    found = read_table_text(put(tmp_path / 't.csv', TABLE.encode(encoding)))
    assert (found.text, found.encoding, found.guessed) == (TABLE, name, False)


@pytest.mark.parametrize('encoding', ['cp1252', 'utf-16-le', 'utf-16-be'])
def test_guessed(tmp_path, put, encoding):
    found = read_table_text(put(tmp_path / 't.csv', TABLE.encode(encoding)), guess=True)
    assert (found.text, found.encoding, found.guessed) == (TABLE, encoding, True)


@pytest.mark.parametrize(
    'text',
    ['Datei;Wörter\nGröße 1.jpg;größer\nGröße 2.jpg;Öl\n', 'fichier;mots\na.jpg;Noël, créée\n'],
)
def test_western_words_with_two_accented_letters_in_a_row(tmp_path, put, text):
    found = read_table_text(put(tmp_path / 't.csv', text.encode('cp1252')), guess=True)
    assert (found.text, found.encoding) == (text, 'cp1252')


def test_named_encoding_and_a_mark_that_it_does_not_expect(tmp_path, put):
    text = 'image,tags\na.jpg,кошка\n'
    found = read_table_text(put(tmp_path / 't.csv', text.encode('cp1251')), 'cp1251')
    assert found.text == text
    found = read_table_text(put(tmp_path / 't.csv', TABLE.encode('utf-8-sig')), 'utf-8')
    assert found.text == TABLE


@pytest.mark.parametrize(
    ('encoding', 'text'),
    [
        ('cp1251', 'image,tags\na.jpg,кошка;собака\n'),
        ('gb18030', 'image,tags\na.jpg,猫;大海\n'),
        ('gb18030', 'image,tags\na.jpg,猫;狗;鸟;鱼;花\n'),
        ('cp1253', 'image,tags\na.jpg,γάτα;σκύλος\n'),
        ('shift_jis', 'image,tags\na.jpg,ねこ;いぬ\n'),
        ('cp1256', 'image,tags\na.jpg,قطة;كلب\n'),
    ],
)
def test_other_scripts_are_not_taken_for_western(tmp_path, put, encoding, text):
    path = put(tmp_path / 't.csv', text.encode(encoding))
    with pytest.raises(AnnotationError, match=r't\.csv: .* it is neither\. .*--encoding'):
        read_table_text(path, guess=True)


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        (b'PK\x03\x04 and more', 'Excel'),
        (b'\xd0\xcf\x11\xe0 and more', 'Excel'),
        (gzip.compress(b'image,tags', mtime=0), 'gzipped'),
        (b'PAR1....', 'Parquet'),
        (b'SQLite format 3\0', 'SQLite'),
        (b'%PDF-1.7', 'PDF'),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, put, content, kind):
    with pytest.raises(AnnotationError, match=f'{kind}.*Save it as CSV'):
        read_table_text(put(tmp_path / 't.csv', content), guess=True)


def test_errors(tmp_path, put):
    with pytest.raises(FileNotFoundError, match=r'none\.csv does not exist'):
        read_table_text(tmp_path / 'none.csv')
    with pytest.raises(
        AnnotationError, match='an encoding that Python knows, but got --encoding x'
    ):
        read_table_text(put(tmp_path / 't.csv', TABLE), 'x')

    with pytest.raises(AnnotationError, match='contains zero bytes'):
        read_table_text(put(tmp_path / 't.csv', b'image\0,tags\na.jpg,cat\n'))
    with pytest.raises(AnnotationError, match=r't\.csv:2: expected UTF-8 text.*cp1252'):
        read_table_text(put(tmp_path / 't.csv', TABLE.encode('cp1252')))
    with pytest.raises(AnnotationError, match=r't\.csv:2: expected ascii text'):
        read_table_text(put(tmp_path / 't.csv', TABLE.encode()), 'ascii')
