"""JSON that another program reads as we do."""

import json

import pytest

from morn_plugin.utils.strict_json import dump_json, parse_json, read_json, write_json


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'Expecting value'),
        ('{"a": 1', 'Expecting'),
        ('{"a": NaN}', 'contains NaN'),
        ('[Infinity]', 'contains Infinity'),
        ('[-Infinity]', 'contains -Infinity'),
        ('[1e999]', 'number 1e999 is larger'),
        ('[-1e999]', 'number -1e999 is larger'),
        ('{"a": 1, "a": 2}', "repeats the key 'a'"),
        ('{"x": {"a": 1, "a": 1}}', "repeats the key 'a'"),
        ('["\\ud800"]', 'lone surrogate'),
        ('{"\\udfff": 1}', 'lone surrogate'),
        ('[' * 100_000, 'nested too deeply'),
        ('{"a":' * 100_000, 'nested too deeply'),
        ('9' * 10_000, 'limit'),
    ],
    ids=lambda value: value[:20] or 'empty',
)
def test_what_is_not_strict_names_the_source(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text, 'file.json')
    assert str(caught.value).startswith('file.json: ')
    assert len(str(caught.value)) < 300


def test_lines_are_counted_from_where_the_text_began():
    with pytest.raises(LookupError, match=r'^a\.json:12: expected JSON'):
        parse_json('[1,\n2,\n}', 'a.json', type('Own', (ValueError, LookupError), {}), 10)


def test_fields_are_left_to_whoever_checks_them():
    """A file name that is no text, as Python writes it; the keys are compared all the same."""
    assert parse_json('["\\udcff.png"]', 'a', by_field=True) == ['\udcff.png']
    assert str(parse_json('[NaN]', 'a', by_field=True)) == '[nan]'
    with pytest.raises(ValueError, match='repeats'):
        parse_json('{"a": 1, "a": 2}', 'a', by_field=True)


@pytest.mark.parametrize(
    'value', [1, 1.5, 'ü😀', None, [True, {}], {'a': {'b': [1, -2.5e-9]}}, 0.1 + 0.2], ids=str
)
def test_what_was_written_is_read_back(value):
    assert parse_json(dump_json(value), 'a') == value
    assert json.loads(dump_json(value, indent=1)) == value
    assert parse_json(json.dumps(value), 'a') == value  # with escapes, in pairs


@pytest.mark.parametrize('value', [float('nan'), [float('inf')], {'a': -float('inf')}], ids=str)
def test_what_json_has_no_number_for_is_not_written(value):
    with pytest.raises(ValueError, match='not JSON compliant'):
        dump_json(value)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / 'new' / 'a.json'
    write_json(path, {'ä': [1, 2.5]}, indent=1)
    assert path.read_bytes() == '{\n "ä": [\n  1,\n  2.5\n ]\n}\n'.encode()
    assert read_json(path) == {'ä': [1, 2.5]}
    with pytest.raises(ValueError, match='not JSON compliant'):
        write_json(path, float('nan'))
    assert read_json(path) == {'ä': [1, 2.5]}

    path.write_text('{')
    with pytest.raises(ValueError, match=r'a\.json: expected JSON'):
        read_json(path)
