"""Config and weights from a folder or a file alone."""

import pytest
import torch
from mmengine.config import Config

from morn_plugin.apis.finding import find_checkpoint, find_model, parse_config


def touch(folder, *names):
    for name in names:
        (folder / name).write_text('')


def test_best_before_last_before_only(tmp_path):
    touch(tmp_path, 'epoch_1.pth')
    assert find_checkpoint(tmp_path).endswith('epoch_1.pth')
    touch(tmp_path, 'epoch_2.pth')
    with pytest.raises(ValueError, match='several checkpoints'):
        find_checkpoint(tmp_path)
    (tmp_path / 'last_checkpoint').write_text('/moved/away/epoch_2.pth')
    assert find_checkpoint(tmp_path).endswith('epoch_2.pth')
    touch(tmp_path, 'best_x_epoch_1.pth')
    assert find_checkpoint(tmp_path).endswith('best_x_epoch_1.pth')
    touch(tmp_path, 'best_y_epoch_1.pth')
    with pytest.raises(ValueError, match='several best'):
        find_checkpoint(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        find_checkpoint(tmp_path / 'no')
    with pytest.raises(FileNotFoundError, match='contains no checkpoint'):
        find_checkpoint(tmp_path)


def test_config_beside_a_checkpoint_without_one(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'a.pth')
    with pytest.raises(FileNotFoundError, match='--config'):
        find_model(tmp_path)
    (tmp_path / 'a.py').write_text('x = 1')
    assert find_model(tmp_path)[0].x == 1
    (tmp_path / 'b.py').write_text('x = 2')
    with pytest.raises(ValueError, match='several configs'):
        find_model(tmp_path)
    assert find_model(tmp_path, tmp_path / 'b.py')[0].x == 2


def test_text_of_a_config_is_read_as_mmengine_would():
    cfg = Config(
        dict(a={'x/y': 1, 'z': [1, -2.5, (3,)]}, b=dict(c=None, d=True), e=float('inf'), f="it's")
    )
    assert parse_config(cfg.pretty_text, 'text').to_dict() == cfg.to_dict()


@pytest.mark.parametrize(
    'text',
    ['import os', 'a = open("x", "w")', 'a = [__import__("os").getcwd()]', 'a = b', 'a.b = 1'],
)
def test_text_of_a_config_is_never_executed(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='expected assignments of plain values, but line 1'):
        parse_config(text, 'text')
    assert not list(tmp_path.iterdir())
