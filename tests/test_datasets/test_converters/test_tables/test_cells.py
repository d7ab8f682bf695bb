import numpy as np
import pytest

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.converters.tables.cells import find_number, read_flag, read_tags


def split(text):
    return text.split(';')


@pytest.mark.parametrize(
    ('cell', 'tags'),
    [
        ('cat;dog', ['cat', 'dog']),
        ("['cat', 'dog']", ['cat', 'dog']),  # pandas
        ('["cat", "dog"]', ['cat', 'dog']),  # JSON
        (str(np.array(['cat', 'polar bear'])), ['cat', 'polar bear']),  # NumPy: without commas
        (str(np.array(['cat', "dog's"])), ['cat', "dog's"]),
        ("('cat', 'dog')", ['cat', 'dog']),
        ("('cat',)", ['cat']),
        ("{'dog', 'cat'}", ['cat', 'dog']),
        ('{"choices":["Cat","Dog"]}', ['Cat', 'Dog']),  # Label Studio
        ('[{"x": 1.5, "rectanglelabels": ["Cat"]}, {"rectanglelabels": ["Dog"]}]', ['Cat', 'Dog']),
        ('[{"label": "cat"}, {"name": "dog"}]', ['cat', 'dog']),
        ('{"label": "cat"}', ['cat']),
        ('{"cat": 1, "dog": 0, "sea": true}', ['cat', 'sea']),
        ("{'cat': True, 'dog': False}", ['cat']),
        ('[cat, dog]', ['cat', 'dog']),
        ('[]', []),
        ('{}', []),
        ('["cat", null, ""]', ['cat']),
        ('[3, 15]', ['3', '15']),
        ('nan', []),
        ('', []),
        ('#N/A', []),
        ('(unknown)', ['(unknown)']),
        ('cat (big)', ['cat (big)']),
        ('[', ['[']),
        (['cat', 'dog'], ['cat', 'dog']),
        (None, []),
        ({'cat': 1, 'dog': 0}, ['cat']),
    ],
)
def test_tags(cell, tags):
    assert read_tags(cell, 't.csv:2', 'tags', split) == tags


@pytest.mark.parametrize(
    'cell',
    [
        "['cat', 'dog']x]",
        '{"cat": }',
        '[cat, "dog]',
        '[["cat"], ["dog"]]',
        '{"cat": 0.4}',
        '{"cat": "black"}',
        '["cat", 1.5]',
        '[' * 5000 + ']' * 5000,
        "['a' + 'b']",
        '[__import__("os")]',
        '["' + '-' * 15_000 + '1]',
        '[' + '1,' * 20_000 + ']',
    ],
)
def test_lists_that_cannot_be_read_are_refused(cell):
    with pytest.raises(AnnotationError, match=r"^t\.csv:2: expected 'tags' to be"):
        read_tags(cell, 't.csv:2', 'tags', split)


@pytest.mark.parametrize('value', [3, 1.5, True, [3], ['cat', True]])
def test_json_of_other_types_is_refused(value):
    with pytest.raises(AnnotationError, match=r"^t\.jsonl:2: expected 'tags' to be a list of tags"):
        read_tags(value, 't.jsonl:2', 'tags', split)


@pytest.mark.parametrize(
    ('cell', 'flag'),
    [
        ('1', 1),
        ('1.0', 1),
        (' TRUE ', 1),
        ('Yes', 1),
        ('x', 1),
        ('WAHR', 1),
        ('VRAI', 1),
        ('Ja', 1),
        ('oui', 1),
        ('s\u00ed', 1),
        ('si\u0301', 1),  # the accent as a character of its own, as macOS writes it
        ('1,0', 1),
        ('1,00', 1),
        (1, 1),
        (True, 1),
        (1.0, 1),
        ('0', 0),
        ('0.0', 0),
        ('FALSE', 0),
        ('no', 0),
        ('', 0),
        ('FALSCH', 0),
        ('nein', 0),
        ('Non', 0),
        ('0,00', 0),
        (0, 0),
        (False, 0),
        (None, 0),
        ('-1', -1),
        ('-1.0', -1),
        ('-1,0', -1),
        ('?', -1),
        (-1, -1),
    ],
)
def test_flags(cell, flag):
    assert read_flag(cell, 't.csv:2', 'cat') == flag


@pytest.mark.parametrize('cell', ['2', '0.5', '0,5', '1,', 'maybe', 2, 0.5, float('nan'), ['1']])
def test_no_flags(cell):
    with pytest.raises(AnnotationError, match=r"^t\.csv:2: expected 'cat' to be 1 or 0"):
        read_flag(cell, 't.csv:2', 'cat')


@pytest.mark.parametrize(
    ('cell', 'number'),
    [
        ('0.9', 0.9),
        ('0,9', 0.9),
        (' -2,25 ', -2.25),
        ('1.234.567,5', 1234567.5),
        (3, 3.0),
        ('1,2,3', None),
        ('1,234.5', None),
        ('12.34,5', None),
        ('5 cm', None),
        ('', None),
        (None, None),
    ],
)
def test_numbers_with_a_point_or_a_decimal_comma(cell, number):
    assert find_number(cell) == number
