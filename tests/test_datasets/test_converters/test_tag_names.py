import unicodedata

import pytest

from morn_plugin.datasets.converters.tables.layouts import Tagged
from morn_plugin.datasets.converters.tag_names import (
    choose_classes,
    clean_rows,
    find_aliases,
    read_aliases,
)


def rows(*tags):
    return [Tagged(f'{n}.jpg', frozenset(some), '', f't.csv:{n}') for n, some in enumerate(tags)]


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, 'caf\u00e9') for form in ('NFC', 'NFD'))


@pytest.mark.parametrize(
    'twin',
    [
        DECOMPOSED,
        COMPOSED + '\u200b',  # zero width space
        '\ufeff' + COMPOSED,  # byte order mark
        'ca\u00adf\u00e9',  # soft hyphen
        COMPOSED + '\u200e',  # left-to-right mark
        'CAF\u00c9',
        ' caf\u00e9\u00a0',  # no-break space
    ],
)
def test_tags_that_look_the_same_are_one(twin):
    notes = []
    cleaned = clean_rows(rows([COMPOSED], [COMPOSED], [twin, 'sea']), {}, False, notes)
    assert [sorted(row.tags) for row in cleaned] == [[COMPOSED], [COMPOSED], [COMPOSED, 'sea']]


def test_most_frequent_spelling_stands():
    notes = []
    cleaned = clean_rows(rows([DECOMPOSED], [DECOMPOSED], [COMPOSED]), {}, False, notes)
    assert {tag for row in cleaned for tag in row.tags} == {DECOMPOSED}
    assert notes == ['1 tags look the same as another tag and are merged with it.']


def test_hearts_with_and_without_their_variant():
    cleaned = clean_rows(rows(['\u2764'], ['\u2764\ufe0f']), {}, False, [])
    assert len({tag for row in cleaned for tag in row.tags}) == 1


def test_nothing_to_see_is_no_tag():
    assert clean_rows(rows(['\u200b', ' ', 'cat']), {}, False, [])[0].tags == {'cat'}


def test_case_may_be_kept():
    assert clean_rows(rows(['Dog', 'dog']), {}, True, [])[0].tags == {'Dog', 'dog'}


def test_unsure_tags_are_cleaned_too():
    row = Tagged('a.jpg', frozenset(), '', '', frozenset({' Icons'}))
    assert clean_rows([row], {'icons': 'icon'}, False, [])[0].unsure == {'icon'}


def test_names_of_open_images(tmp_path, put):
    with_header = put(
        tmp_path / 'a.csv', 'LabelName,DisplayName\n/m/01g317,Person\n/m/0bt9lr,Dog\n'
    )
    without = put(tmp_path / 'b.csv', '/m/01g317,Person\n/m/0bt9lr,Dog\n')
    expected = {'/m/01g317': 'person', '/m/0bt9lr': 'dog'}
    assert read_aliases(with_header) == read_aliases(without) == expected


def test_names_of_open_images_beside_the_table(tmp_path, put):
    coded = rows(['/m/01g317'], ['/m/0bt9lr'])
    notes = []
    assert find_aliases(tmp_path / 't.csv', coded, notes) is None
    assert '/m/01g317: --aliases with' in notes[0]
    names = put(tmp_path / 'oidv7-class-descriptions.csv', 'LabelName,DisplayName\n/m/01g317,Man\n')
    assert find_aliases(tmp_path / 't.csv', coded, notes) == names
    assert find_aliases(tmp_path / 't.csv', rows(['cat', '/m/01g317']), notes) is None


def test_kept_tags_are_listed_with_their_counts():
    notes = []
    classes, counts = choose_classes(rows(['cat', 'dog'], ['cat'], ['sea']), 1, notes)
    assert classes == ['cat', 'dog', 'sea']
    assert counts == {'cat': 2, 'dog': 1, 'sea': 1}
    assert notes[1] == 'Kept, with their images: cat 2, dog 1, sea 1.'
    notes = []
    choose_classes(rows([f'tag {i:02d}' for i in range(45)]), 1, notes)
    assert notes[1].endswith('tag 39 1, and 5 more.')
