"""Lists of class names: what is seen is what counts."""

import pytest
from test_utils.test_describing import shared_nest

from morn_plugin.datasets.annotations import AnnotationError, check_classes
from morn_plugin.utils.class_names import MAX_CHARACTERS, find_faults, visible_form

TWINS = {
    'zero width space': ('cat', 'ca\u200bt'),
    'zero width joiner': ('cat', 'cat\u200d'),
    'soft hyphen': ('cat', 'c\u00adat'),
    'byte order mark': ('cat', '\ufeffcat'),
    'right to left mark': ('cat', 'cat\u200f'),
    'override of direction': ('cat', '\u202ecat\u202c'),
    'tag character': ('cat', 'cat\U000e0041'),
    'variation selector': ('cat', 'cat\ufe0f'),
    'no-break space': ('polar bear', 'polar\u00a0bear'),
    'two blanks': ('polar bear', 'polar  bear'),
    'blank at the end': ('cat', 'cat '),
    'ideographic space': ('cat', 'cat\u3000'),
    'Hangul filler': ('cat', 'cat\u3164'),
    'empty Braille': ('cat', 'cat\u2800'),
    'grapheme joiner': ('cat', 'c\u034fat'),
    'decomposed': ('caf\u00e9', 'cafe\u0301'),
}
UNSEEN = {
    'control character': 'c\x1b[31mat',
    'C1 control character': 'c\x9bat',
    'line feed': 'cat\n',
    'NUL': 'cat\0',
    'lone surrogate': 'cat\ud800',
    'nothing': '',
    'blanks': '  ',
    'zero width space': '\u200b\u200d',
    'long': 'x' * (MAX_CHARACTERS + 1),
    'bytes': b'cat',
    'number': 3,
    'none': None,
    'list': ['cat'],
    'nest': shared_nest(),
}


@pytest.mark.parametrize('name', TWINS)
def test_two_names_that_look_the_same_are_one(name):
    first, second = TWINS[name]
    with pytest.raises(
        AnnotationError, match=r'^a\.json: .*classes\[2\].*invisible characters'
    ) as caught:
        check_classes([first, 'dog', second], 'a.json')
    assert ascii(second) in str(caught.value)


@pytest.mark.parametrize('name', UNSEEN)
def test_a_name_that_cannot_be_shown_is_refused(name):
    with pytest.raises(AnnotationError, match=r'^a\.json: .*classes\[1\]') as caught:
        check_classes(['dog', UNSEEN[name]], 'a.json')
    assert str(caught.value).isprintable()


@pytest.mark.parametrize('classes', [[], (), 'cat', None, 5, {'cat': 1}, {'cat'}], ids=repr)
def test_what_is_no_list_is_refused(classes):
    (fault,) = find_faults(classes, 'names')
    assert fault.startswith('expected `names` to be a non-empty list of class names, but got')


@pytest.mark.parametrize(
    'classes',
    [
        ('cat', 'dog'),
        ['Katze', '犬', 'कुत्ता', 'café', '👨\u200d👩\u200d👧', '❤\ufe0f'],
        ['m²', 'm2', 'Cat', 'cat', 'cat-', '①', '1', 'cats'],
        [f'label {index}' for index in range(2000)],
    ],
    ids=['plain', 'scripts', 'alike', 'many'],
)
def test_names_that_differ_are_accepted_as_they_are(classes):
    assert check_classes(classes, 'a.json') == list(classes)
    assert len({visible_form(name) for name in classes}) == len(classes)
