"""Every promise of the page on reliability names a test that is there."""

import re

import pytest
from tools_helpers import ROOT

PAGE = ROOT / 'docs' / 'reliability.md'
REFERENCE = re.compile(r'`((?:test_\w+/)*(?:test_\w+\.py)?)(?:::(test_\w+))?`')


def references():
    """Yield file and test of every reference; a test without a file is of the file before it."""
    file = None
    for line in PAGE.read_text(encoding='utf-8').splitlines():
        for found in REFERENCE.finditer(line):
            name, test = found.groups()
            if not name and not test:
                continue
            file = name or file
            yield file, test


def test_the_page_names_tests():
    assert len(set(references())) > 60


@pytest.mark.parametrize('file', sorted({file for file, _ in references()}))
def test_what_is_named_is_there(file):
    text = (ROOT / 'tests' / file).read_text(encoding='utf-8')
    for _, test in (item for item in references() if item[0] == file):
        assert test is None or re.search(rf'^\s*def {test}\(', text, re.MULTILINE), test


def test_every_promise_names_one():
    lines = PAGE.read_text(encoding='utf-8').splitlines()
    rows = [line for line in lines if line.startswith('| ') and '---' not in line]
    promises = [row for row in rows if not row.startswith(('| Promise', '| It can'))]
    assert len(promises) > 30
    for row in promises:
        last = row.strip('| ').split(' | ')[-1]
        assert 'test' in last or last.startswith('the same'), row[:80]
