"""The text of a config is formatted once, and is what yapf says of it."""

import pytest
from mmengine.config import Config
from yapf.yapflib.errors import YapfError
from yapf.yapflib.yapf_api import FormatCode

from morn_plugin.utils.config_text import NUM_TEXTS, remember_texts


@pytest.fixture
def calls():
    return []


@pytest.fixture
def format_code(calls):
    def count(text, **options):
        calls.append(text)
        return FormatCode(text, **options)

    return remember_texts(count)


def test_the_same_text_is_formatted_once(format_code, calls):
    for _ in range(3):
        assert format_code('a=1', style_config='pep8') == ('a = 1\n', True)
    assert calls == ['a=1']


def test_another_text_and_other_options_are_formatted_anew(format_code, calls):
    assert format_code('a=[ 1 ]', style_config='pep8') == ('a = [1]\n', True)
    spaced = dict(based_on_style='pep8', space_inside_brackets=True)
    assert format_code('a=[ 1 ]', style_config=spaced) == ('a = [ 1 ]\n', True)
    assert format_code('a=[ 2 ]', style_config=spaced) == ('a = [ 2 ]\n', True)
    assert len(calls) == 3


def test_no_more_than_the_last_texts_are_kept(format_code, calls):
    for number in (*range(NUM_TEXTS + 1), 0):
        assert format_code(f'a={number}', style_config='pep8')[0] == f'a = {number}\n'
    assert calls.count('a=0') == 2


def test_an_error_is_not_remembered(format_code, calls):
    for _ in range(2):
        with pytest.raises(YapfError):
            format_code('a = (', style_config='pep8')
    assert len(calls) == 2


def test_a_config_that_changes_is_written_as_it_is():
    cfg = Config(dict(model=dict(type='Any', width=3)))
    assert 'width=3' in cfg.pretty_text
    cfg.model.width = 4
    assert 'width=4' in cfg.pretty_text
    assert Config.fromstring(cfg.pretty_text, '.py').model.width == 4
