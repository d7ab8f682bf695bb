"""A run that fails before its first batch leaves nothing behind, and says why in its last line."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import morn_plugin  # noqa: F401  registers everything
from morn_plugin.apis.config_check import ConfigError
from morn_plugin.apis.starting import add_checks, read_checkpoint, resume_safely, tidy_start
from morn_plugin.engine.checkpoints import CheckpointError
from morn_plugin.engine.hooks import CheckpointCheckHook

LOG = '20260101_120000'


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpretrain')


def settings(work_dir):
    cfg = Config(dict(work_dir=str(work_dir)))
    object.__setattr__(cfg, '_filename', str(work_dir.parent / 'mine.py'))
    return cfg


def begin(work_dir):
    """Write what a Runner writes before it trains."""
    log = work_dir / LOG
    (log / 'vis_data').mkdir(parents=True)
    (work_dir / 'mine.py').write_text('new')
    logger = MMLogger.get_instance(f'start_{id(work_dir)}')
    logger.addHandler(logging.FileHandler(log / f'{LOG}.log'))


def fail(work_dir, error, begun=False):
    with tidy_start(settings(work_dir)) as watch:
        begin(work_dir)
        if begun:
            logger = SimpleNamespace(log_file=work_dir / LOG, info=lambda text, extra: print(text))
            for _ in range(2):
                watch.before_train_iter(SimpleNamespace(logger=logger), 0)
        raise error


def test_a_failed_start_leaves_nothing_and_names_no_log(tmp_path, capsys):
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / 'deep' / 'work', ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []
    assert 'all else' not in capsys.readouterr().out


def test_what_was_there_stays_as_it_was(tmp_path):
    work_dir = tmp_path / 'work'
    other = work_dir / '20250101_120000'
    other.mkdir(parents=True)
    (work_dir / 'mine.py').write_text('old')
    with pytest.raises(KeyboardInterrupt):
        fail(work_dir, KeyboardInterrupt())
    assert sorted(path.name for path in work_dir.iterdir()) == [other.name, 'mine.py']
    assert (work_dir / 'mine.py').read_text() == 'old'


def test_a_run_that_has_begun_keeps_its_log(tmp_path, capsys):
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / 'work', ZeroDivisionError(), begun=True)
    assert (tmp_path / 'work' / LOG / f'{LOG}.log').exists()
    assert capsys.readouterr().out.count('all else: ') == 1
    assert (tmp_path / 'work' / 'mine.py').read_text() == 'new'


def test_a_log_elsewhere_is_not_removed(tmp_path):
    begin(tmp_path / 'other')
    with pytest.raises(ZeroDivisionError), tidy_start(settings(tmp_path / 'work')):
        raise ZeroDivisionError
    assert (tmp_path / 'other' / LOG).exists()


def test_a_mistake_ends_with_its_message_alone(tmp_path):
    with pytest.raises(SystemExit, match=r'^what is wrong$'):
        fail(tmp_path / 'work', ConfigError('what is wrong'))
    with pytest.raises(ConfigError):
        fail(tmp_path / 'work', ConfigError('what is wrong'), begun=True)


@pytest.mark.parametrize(
    'cfg',
    [
        {},
        dict(default_hooks=dict(logger=dict(type='LoggerHook'))),
        dict(custom_hooks=[dict(type=CheckpointCheckHook)]),
        dict(default_hooks=dict(checkpoint_check=None)),
    ],
)
def test_the_checks_are_added_where_they_are_not(cfg):
    config = Config(cfg)
    add_checks(config)
    hooks = config.default_hooks
    assert hooks.data_check == dict(type='DataCheckHook')
    own = 'custom_hooks' in cfg or 'checkpoint_check' in cfg.get('default_hooks', {})
    assert bool(hooks.get('checkpoint_check')) != own


@pytest.mark.parametrize(
    'kind', [None, 'CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook]
)
def test_resuming_goes_through_the_hook_that_takes_no_path(kind):
    cfg = Config({} if kind is None else dict(default_hooks=dict(checkpoint=dict(type=kind))))
    resume_safely(cfg, 'auto')
    assert cfg.default_hooks.checkpoint.type == 'ResumableCheckpointHook'
    assert cfg.default_hooks.checkpoint.auto_resume is True
    resume_safely(cfg, 'some.pth')
    assert (cfg.resume, cfg.load_from) == (True, 'some.pth')


def test_what_is_no_checkpoint_is_named(tmp_path):
    assert read_checkpoint(None) is None
    assert read_checkpoint('https://example.org/a.pth') is None
    torch.save([1, 2], tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'a\.pth contains a list'):
        read_checkpoint(str(tmp_path / 'a.pth'))
    with pytest.raises(FileNotFoundError):
        read_checkpoint(str(tmp_path / 'none.pth'))
