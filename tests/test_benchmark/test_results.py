"""The files of a run: what comes back, and what is refused by name."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from morn_plugin.benchmark.results import (
    Facts,
    RunResult,
    Side,
    load_facts,
    load_info,
    load_result,
    load_results,
    save_facts,
    save_result,
)


def assert_same(found, expected):
    for part in fields(expected):
        value, wanted = getattr(found, part.name), getattr(expected, part.name)
        if isinstance(wanted, Side):
            assert_same(value, wanted)
        elif isinstance(wanted, np.ndarray):
            assert value.dtype == wanted.dtype
            np.testing.assert_array_equal(value, wanted)
        else:
            assert value == wanted, part.name


def test_runs_come_back_as_they_were(folder, results, info):
    assert load_info(folder) == info
    found = load_results(folder)
    assert [(run.method, run.seed) for run in found] == sorted(
        (run.method, run.seed) for run in results
    )
    expected = {(run.method, run.seed): run for run in results}
    for run in found:
        assert_same(run, expected[run.method, run.seed])


def test_facts_come_back(tmp_path):
    facts = Facts(5, 6, dict(P_I=1.5), dict(a=[dict(lr=1e-3, F1_I=2.0)]))
    save_facts(tmp_path, facts)
    assert load_facts(tmp_path) == facts
    (tmp_path / 'facts.json').write_text('{"format": "morn-benchmark-1", "num_val": 5}')
    with pytest.raises(ValueError, match=r'facts\.json: .*num_test'):
        load_facts(tmp_path)


@pytest.fixture
def run_folder(results, tmp_path):
    save_result(tmp_path / 'run', results[0])
    return tmp_path / 'run'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(tier='pixels'), "`tier` to be one of 'scores'"),
        (dict(method=''), 'a method and a title'),
        (dict(format='other'), "of the format 'morn-benchmark-1'"),
        (dict(odd=1), "got \\['odd'\\]"),
        (dict(seed=None), 'seed'),
    ],
)
def test_a_wrong_field_is_named(run_folder, change, message):
    path = run_folder / 'result.json'
    content = json.loads(path.read_text()) | change
    content = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf'run.*{message}'):
        load_result(run_folder)


@pytest.mark.parametrize('name', ['result.json', 'predictions.npz'])
@pytest.mark.parametrize('content', [b'', b'{"format": 3', b'\x00\xff' * 50])
def test_a_damaged_file_is_named(run_folder, name, content):
    (run_folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        load_result(run_folder)


def test_predictions_that_were_cut_are_named(run_folder):
    path = run_folder / 'predictions.npz'
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:200] + b'x' * 50 + content[250:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r'predictions\.npz'):
            load_result(run_folder)


def test_a_file_of_objects_is_not_unpickled(run_folder):
    np.savez(run_folder / 'predictions.npz', val_targets=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r'predictions\.npz'):
        load_result(run_folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(labels=np.zeros((3, 2), bool)), r'`labels` of shape \(4, 2\)'),
        (dict(scores=np.full((4, 2), 1.5)), '`scores` to be numbers in 0-1'),
        (dict(scores=np.full((4, 2), np.nan)), '`scores` to be numbers in 0-1'),
        (dict(first_scores=np.zeros((4, 3))), '`first_scores` of shape'),
        (dict(paths=np.zeros((5, 3), int)), '`paths` of 4 images'),
    ],
)
def test_predictions_that_do_not_fit_are_refused(change, message):
    side = Side(np.zeros((4, 2), np.int8), np.zeros((4, 2), bool))
    with pytest.raises(ValueError, match=message):
        replace(side, **change)


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r'expected folders with result\.json'):
        load_results(tmp_path)


def test_a_run_that_is_there_twice_is_named(results, tmp_path):
    for name in 'ab':
        save_result(tmp_path / name, results[0])
    with pytest.raises(ValueError, match=r'b: cnn with seed 0 is there twice, also in .*a'):
        load_results(tmp_path)


def test_runs_on_other_images_are_not_compared(results, tmp_path):
    first, second = results[:2]
    other = replace(second.test, targets=1 - second.test.targets)
    save_result(tmp_path / 'a', first)
    save_result(tmp_path / 'b', RunResult(**{**vars(second), 'test': other}))
    with pytest.raises(ValueError, match=r'b: its test images or true labels are others'):
        load_results(tmp_path)


def test_an_unfinished_run_is_not_read(results, tmp_path):
    """The file that says that a run is done is written last."""
    save_result(tmp_path / 'done', results[0])
    save_result(tmp_path / 'begun', results[1])
    (tmp_path / 'begun' / 'result.json').unlink()
    assert [run.method for run in load_results(tmp_path)] == ['cnn']
