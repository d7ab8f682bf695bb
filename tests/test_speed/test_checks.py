"""Checks one after the other, and their report."""

import json

import pytest

from morn_plugin.speed.checks import (
    Found,
    NotHere,
    find_checks,
    make_settings,
    run_checks,
    to_markdown,
    write_report,
)
from morn_plugin.speed.timing import Table

SETTINGS = make_settings('cpu', rounds=1, small=True)


def broken(_):
    raise RuntimeError('no kernel')


def elsewhere(settings):
    settings.need_cuda()


CHECKS = {
    'holds': lambda _: Found(True, 'All is well.', [Table('A table', ['', 'ms'], [['a', '1']])]),
    'broken': broken,
    'elsewhere': elsewhere,
    'does-not-hold': lambda _: Found(False, 'It waits.'),
    'measures': lambda _: Found(None, 'Measured.'),
}


def test_a_check_that_fails_costs_no_other():
    seen = []
    results = run_checks(CHECKS, SETTINGS, 1, lambda found: seen.append(len(found)))
    assert [result.status for result in results] == [
        'passed',
        'BROKEN',
        'skipped',
        'FAILED',
        'passed',
    ]
    assert [result.is_bad for result in results] == [False, True, False, True, False]
    assert 'RuntimeError: no kernel' in results[1].text
    assert results[2].text == 'It needs CUDA.'
    assert seen == [1, 2, 3, 4, 5]


def test_nothing_is_begun_after_the_time():
    results = run_checks(CHECKS, SETTINGS, 0, lambda found: None)
    assert {result.status for result in results} == {'skipped'}
    assert '--only broken' in results[1].text


def test_a_module_that_cannot_be_imported_costs_its_check_alone():
    checks = find_checks({'lost': ('nowhere', 'check'), 'waits': ('gpu_decoder', 'check_waits')})
    lost, waits = run_checks(checks, SETTINGS, 1, lambda found: None)
    assert lost.status == 'BROKEN'
    assert 'ModuleNotFoundError' in lost.text
    assert waits.status == 'skipped'


def test_report(tmp_path):
    results = run_checks(CHECKS, SETTINGS, 1, lambda found: None)
    write_report(tmp_path / 'new', 'A machine.', results)
    text = (tmp_path / 'new/gpu_check.md').read_text()
    assert text == to_markdown('A machine.', results)
    assert '- broken: BROKEN\n' in text
    assert '| a | 1 |' in text

    content = json.loads((tmp_path / 'new/gpu_check.json').read_text())
    assert content['machine'] == 'A machine.'
    assert content['checks'][0]['tables'][0]['rows'] == [['a', '1']]


def test_a_gpu_is_not_needed_where_there_is_one():
    make_settings('cuda', rounds=1).need_cuda()
    with pytest.raises(NotHere):
        SETTINGS.need_cuda()
