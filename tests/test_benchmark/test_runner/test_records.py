"""A step is done once; one that was begun with other settings is refused."""

import pytest
from mmengine.config import Config

from morn_plugin.benchmark.runner.records import begin, finish, hash_config, read_record


def test_a_step_is_done_once(tmp_path):
    folder = tmp_path / 'step'
    assert begin(folder, dict(lr=0.1, shape=(1, 2)))
    assert begin(folder, dict(lr=0.1, shape=(1, 2))), 'stopped: to be done anew'
    with pytest.raises(FileNotFoundError, match='this step is not done'):
        read_record(folder)
    finish(folder, 1.23, f1_image=50.0)
    assert not begin(folder, dict(lr=0.1, shape=(1, 2)))
    record = read_record(folder)
    assert (record['seconds'], record['f1_image']) == (1.2, 50.0)
    assert {'commit', 'version', 'torch'} <= set(record)


def test_other_settings_are_refused(tmp_path):
    begin(tmp_path / 'step', dict(lr=0.1))
    message = r'begun with other settings: expected lr=0.2, but got 0.1. Remove the folder'
    with pytest.raises(ValueError, match=message):
        begin(tmp_path / 'step', dict(lr=0.2))


def test_files_of_unknown_settings_are_refused(tmp_path):
    (tmp_path / 'weights.pth').write_text('')
    with pytest.raises(ValueError, match=r'has files but no settings\.json'):
        begin(tmp_path, dict(lr=0.1))


def test_what_is_searched_does_not_change_a_run():
    plain = hash_config(Config(dict(model=dict(type='X'))))
    assert hash_config(Config(dict(model=dict(type='X'), benchmark=dict(title='X')))) == plain
    assert hash_config(Config(dict(model=dict(type='Y')))) != plain
