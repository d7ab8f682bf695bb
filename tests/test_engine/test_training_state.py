"""What a resumed run takes from a checkpoint is compared with what the run has, before it is taken."""

import contextlib
import copy
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from training_runs import (
    BY_EPOCH,
    differences,
    final_state,
    make_data,
    train,
    write_config,
)

from morn_plugin.engine.checkpoints import load_checkpoint
from morn_plugin.engine.training_state import (
    TrainingStateError,
    forget_best,
    forget_paths,
    take_paths,
)

pytestmark = pytest.mark.slow  # starts processes

ONE_EPOCH = BY_EPOCH + 'train_cfg["max_epochs"] = 1\n'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch, whose checkpoint the tests take copies of."""
    root = tmp_path_factory.mktemp('state')
    data = make_data(root / 'data')
    train(write_config(root / 'tiny.py', data, extra=ONE_EPOCH), root / 'run').succeed()
    return root


def start(config: Path, work_dir: Path) -> Runner:
    """Build a run up to where it loads its checkpoint."""
    cfg = Config.fromfile(config)
    cfg.work_dir = str(work_dir)
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook('before_run')
    runner._resume = True
    runner._load_from = str(work_dir / 'epoch_1.pth')
    return runner


@pytest.fixture(scope='module')
def runner(folder: Path) -> Runner:
    return start(folder / 'tiny.py', folder / 'run')


@pytest.fixture
def checkpoint(folder: Path) -> dict[str, Any]:
    return load_checkpoint(folder / 'run' / 'epoch_1.pth')


def take(runner: Runner, checkpoint: dict[str, Any]) -> None:
    runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)


def test_own_state_is_taken_whole(runner: Runner, checkpoint: dict[str, Any]) -> None:
    before = copy.deepcopy(checkpoint)
    take(runner, checkpoint)
    hub = checkpoint['message_hub']
    own = before['message_hub']

    for key, value in own['log_scalars'].items():
        for part, saved in zip(hub['log_scalars'][key].data, value.data, strict=True):
            assert part.tolist() == saved.tolist()

    left_out = {'cfg', 'experiment_name', 'mmengine_version'}
    assert left_out == own['runtime_info'].keys() - hub['runtime_info'].keys()
    assert checkpoint['optimizer']['param_groups'] == before['optimizer']['param_groups']

    for index, entry in before['optimizer']['state'].items():
        for key, value in entry.items():
            assert torch.equal(checkpoint['optimizer']['state'][index][key], value)


MISSING = object()
WRONG: dict[str, tuple[str, Any, str]] = {
    'no optimizer': ('optimizer', MISSING, r'no `optimizer` \(best_\*.pth are for use'),
    'no message hub': ('message_hub', MISSING, 'no `message_hub`'),
    'a message hub that is a list': ('message_hub', [1], '`message_hub` should be a dict'),
    'no weights': ('state_dict', MISSING, 'no `state_dict`'),
    'an epoch that is negative': ('meta/epoch', -1, '`meta.epoch` should be a whole number'),
    'an epoch that is a text': ('meta/epoch', '1', '`meta.epoch` should be a whole number'),
    'an iteration that is a fraction': ('meta/iter', 4.5, '`meta.iter` should be a whole number'),
    'an iteration that is true': ('meta/iter', True, '`meta.iter` should be a whole number'),
    'a seed that is negative': ('meta/seed', -3, '`meta.seed` should be in 0-4294967295'),
    'a seed that is a text': ('meta/seed', 'x', '`meta.seed` should be in 0-4294967295'),
    'a position of no size': ('meta/data_position/batch_size', 0, 'batch_size` should be a whole'),
    'a position of a list': ('meta/data_position', [1], r'data_position.passes` should be a whole'),
    'a position unshuffled': ('meta/data_position/shuffle', 1, 'shuffle` should be true or false'),
    'a tensor too few': ('state_dict/head.decoder.bias', MISSING, r'lacks head.decoder.bias\b'),
    'a tensor too many': ('state_dict/more.bias', torch.ones(1), 'another model.*more.bias'),
    'a tensor of another shape': (
        'state_dict/head.decoder.bias',
        torch.ones(3),
        r'its `head.decoder.bias` has the shape \(3,\), but that of the model \(32,\)',
    ),
    'a text for a tensor': (
        'state_dict/head.decoder.bias',
        'x',
        "head.decoder.bias'`: expected a tensor",
    ),
    'no averages': ('ema_state_dict', MISSING, r'averages weights \(EMAHook\), but it has no'),
    'averages that are a list': ('ema_state_dict', [], '`ema_state_dict` should be a dict'),
    'an average too few': (
        'ema_state_dict/module.head.decoder.bias',
        MISSING,
        'other tensors than the averages of this run: 1, such as module.head.decoder.bias',
    ),
    'an average of another shape': (
        'ema_state_dict/module.head.decoder.bias',
        torch.ones(3),
        'other tensors than the averages of this run: 1, such as module.head.decoder.bias',
    ),
    'another optimizer': (
        'optimizer/state/0',
        dict(step=torch.ones(1), exp_avg=torch.ones(8)),
        r'does not fit the TFRMSprop.*\n.*parameter 0 it has',
    ),
    'a state of another shape': (
        'optimizer/state/0/momentum',
        torch.ones(3),
        r'`momentum` of parameter 0 has the shape \(3,\)',
    ),
    'a scale of mixed precision that is a text': (
        'optimizer/loss_scaler',
        dict(scale='x'),
        '`loss_scaler` should contain numbers',
    ),
    'a base rate where there is none': (
        'optimizer/base_param_settings',
        dict(lr=1.0),
        '`base_param_settings` is',
    ),
    'a scheduler too few': (
        'param_schedulers/1',
        MISSING,
        '1 parameter schedulers, but this run 2',
    ),
    'no schedulers': ('param_schedulers', MISSING, '0 parameter schedulers, but this run 2'),
    'a scheduler with a method': (
        'param_schedulers/0/step',
        1,
        r'LinearLR \(number 1\) is that of another kind',
    ),
    'a scheduler of another kind': (
        'param_schedulers/0/end_factor',
        MISSING,
        r'LinearLR \(number 1\) is that of another kind',
    ),
    'a scheduler at a step that is a text': (
        'param_schedulers/1/last_step',
        'x',
        r"ExponentialLR \(number 2\) has last_step = 'x'",
    ),
    'a scheduler with a rate that is NaN': (
        'param_schedulers/1/base_values',
        [math.nan],
        r'ExponentialLR \(number 2\) has base_values = \[nan\]',
    ),
    'a best score that is NaN': (
        'message_hub/runtime_info/best_score',
        math.nan,
        '`best_score` should be a number',
    ),
    'a best score that is a text': (
        'message_hub/runtime_info/best_score',
        'x',
        '`best_score` should be a number',
    ),
    'a validation at no time': (
        'message_hub/runtime_info/last_validated_iter',
        -1,
        '`last_validated_iter` should be a whole number',
    ),
    'a log that is a list': (
        'message_hub/log_scalars/train\\loss',
        [1.0],
        "log of 'train/loss' is no history of numbers",
    ),
    'a log without a text for a name': (
        'message_hub/log_scalars/7',
        HistoryBuffer([1.0], [1]),
        '`message_hub` should have text as keys',
    ),
    'a time left that is a text': ('message_hub/runtime_info/eta', 'x', '`eta` should be a number'),
    'logs that are a list': (
        'message_hub/log_scalars',
        [],
        '`message_hub.log_scalars` should be a',
    ),
    'no runtime info': (
        'message_hub/runtime_info',
        MISSING,
        '`message_hub.runtime_info` should be',
    ),
    'keys to resume that are texts': (
        'message_hub/resumed_keys/x',
        'yes',
        '`message_hub.resumed_keys` should be true or false',
    ),
}


@pytest.mark.parametrize(('path', 'value', 'expected'), WRONG.values(), ids=WRONG.keys())
def test_wrong_state_is_refused_and_named(
    path: str, value: Any, expected: str, runner: Runner, checkpoint: dict[str, Any]
) -> None:
    *parents, last = [
        int(key) if key.isdigit() else key.replace('\\', '/') for key in path.split('/')
    ]
    tree: Any = checkpoint
    for key in parents:
        tree = tree[key]

    if value is MISSING:
        del tree[last]
    else:
        tree[last] = value

    with pytest.raises(TrainingStateError, match=f'(?s)epoch_1.pth.*{expected}'):
        take(runner, checkpoint)


def test_all_reasons_are_named_at_once(runner: Runner, checkpoint: dict[str, Any]) -> None:
    checkpoint['meta']['epoch'] = checkpoint['meta']['iter'] = None
    del checkpoint['optimizer'], checkpoint['state_dict']['head.decoder.bias']
    with pytest.raises(TrainingStateError) as caught:
        take(runner, checkpoint)
    reasons = [line for line in str(caught.value).splitlines() if line.startswith('- ')]
    assert len(reasons) == 4
    assert 'load_from=FILE, without --resume' in str(caught.value)


def test_a_history_keeps_nothing_but_its_numbers(
    runner: Runner, checkpoint: dict[str, Any]
) -> None:
    crafted = HistoryBuffer([1.0, 2.0], [1, 1])
    crafted.update = 'gone'  # type: ignore[assignment,method-assign]
    checkpoint['message_hub']['log_scalars']['train/loss'] = crafted
    take(runner, checkpoint)
    taken = checkpoint['message_hub']['log_scalars']['train/loss']
    taken.update(3.0)
    assert taken.data[0].tolist() == [1.0, 2.0, 3.0]


def test_what_older_runs_called_otherwise_is_taken_over(
    runner: Runner, checkpoint: dict[str, Any]
) -> None:
    info = checkpoint['message_hub']['runtime_info']
    info['validated_at_iter'] = info.pop('last_validated_iter')
    take(runner, checkpoint)
    assert 'validated_at_iter' not in info
    assert info['last_validated_iter'] == checkpoint['meta']['iter']


def test_nothing_of_ours_is_a_figure_of_the_validation(checkpoint: dict[str, Any]) -> None:
    """MMEngine's log shows whatever in the message hub begins with the name of a mode."""
    keys = checkpoint['message_hub']['runtime_info']
    assert 'last_validated_iter' in keys
    assert not [key for key in keys if key.startswith(('val', 'train', 'test'))]


def test_changed_schedules_are_named(
    runner: Runner, checkpoint: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(runner.logger, 'warning', lines.append)
    take(runner, checkpoint)
    assert not lines
    checkpoint['param_schedulers'][1]['gamma'] = 0.5
    take(runner, checkpoint)
    assert len(lines) == 1
    assert 'ExponentialLR.gamma = 0.5 (now 0.9)' in lines[0]


@pytest.mark.parametrize('scheme', ['', 'file'])
def test_a_config_text_in_the_checkpoint_is_not_run(
    scheme: str, folder: Path, tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    """MMEngine parses ``meta.config`` as a Python file when it resumes."""
    marker = tmp_path / 'was_run'
    text = f"__import__('os').mkdir({str(marker)!r})"
    checkpoint['meta']['config'] = f'made = {text}\n'
    crafted = tmp_path / 'run' / 'epoch_1.pth'
    crafted.parent.mkdir()
    torch.save(checkpoint, crafted)

    if not scheme:
        assert 'config' not in CheckpointLoader.load_checkpoint(str(crafted))['meta']
    else:
        runner = start(folder / 'tiny.py', tmp_path / 'run')
        runner.load_or_resume()
        assert runner.epoch == 1

    assert not marker.exists()


OUTSIDE = [
    '/etc/passwd',
    '../../victim.pth',
    '..',
    '.',
    '',
    'best_/../../victim.pth',
    'best_\\..\\victim.pth',
    'best_x.pth\0',
    b'/etc/passwd',
    b'best_x.pth',
    7,
    None,
    True,
    ['best_x.pth'],
    {'best_x.pth': 1},
    'epoch_1.pth',
    'tiny.py',
]


@pytest.mark.parametrize('name', OUTSIDE, ids=repr)
def test_no_name_leads_out_of_the_folder(name: Any) -> None:
    with pytest.raises(TrainingStateError, match='outdated_best_ckpts'):
        take_paths(dict(outdated_best_ckpts=[name]))
    for key in ('best_ckpt', 'best_ckpt_per-image/f1-score', 'last_ckpt'):
        info = {key: name}
        with contextlib.suppress(TrainingStateError):
            take_paths(info)
            kept = info[key]
            assert kept is None or os.path.basename(kept) == kept
            assert kept not in ('', '.', '..')
            assert key == 'last_ckpt' or kept is None or kept.startswith('best_')


@pytest.mark.parametrize(
    'numbers',
    ['123', ['/../../victim'], [1.0], [True], [-1], [None], [[1]], {1: 2}, None, [1 << 60]],
    ids=repr,
)
def test_only_whole_numbers_become_names_of_checkpoints(numbers: Any) -> None:
    with pytest.raises(TrainingStateError, match='keep_ckpt_ids'):
        take_paths(dict(keep_ckpt_ids=numbers))


def test_what_mmengine_writes_is_taken_by_its_name() -> None:
    info = dict(
        last_ckpt='/elsewhere/run/epoch_3.pth',
        best_ckpt='C:\\run\\best_per-image_f1-score_epoch_2.pth',
        keep_ckpt_ids=[2, 3],
        outdated_best_ckpts=['best_per-image_f1-score_epoch_1.pth'],
        other=5,
    )
    take_paths(info)
    assert info['last_ckpt'] == 'epoch_3.pth'
    assert info['best_ckpt'] == 'best_per-image_f1-score_epoch_2.pth'
    forget_paths(info)
    assert info == dict(other=5)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('outdated_best_ckpts', ['{victim}']),
        ('outdated_best_ckpts', ['../best_victim.pth']),
        ('best_ckpt', b'{victim}'),
        ('best_ckpt', ['{victim}']),
        ('keep_ckpt_ids', ['/../../best_victim', 1, 1]),
    ],
)
def test_resuming_removes_no_file_outside(
    key: str, value: Any, folder: Path, tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    victim = tmp_path / 'best_victim.pth'
    victim.write_text('mine')
    fill = lambda item: (
        item.replace(b'{victim}', os.fsencode(victim))
        if isinstance(item, bytes)
        else str(item).replace('{victim}', str(victim))
        if isinstance(item, str)
        else item
    )
    filled = [fill(item) for item in value] if isinstance(value, list) else fill(value)
    run = tmp_path / 'run'
    (run / 'epoch_').mkdir(parents=True)
    checkpoint['message_hub']['runtime_info'][key] = filled
    torch.save(checkpoint, run / 'epoch_1.pth')
    (run / 'last_checkpoint').write_text('epoch_1.pth')
    done = train(
        folder / 'tiny.py',
        run,
        '--cfg-options',
        'train_cfg.max_epochs=2',
        'default_hooks.checkpoint.max_keep_ckpts=1',
    )
    assert done.wait() == [1]
    assert key in done.log.read_text()
    assert victim.read_text() == 'mine'


def test_a_score_of_another_metric_is_forgotten() -> None:
    before = dict(best_judged_by=['a greater'], best_score=50.0, best_ckpt='best_a.pth', iter=5)
    for judged_by, kept in ((['a greater'], True), (['auto None'], True), (['a less'], False)):
        info = dict(before)
        assert forget_best(info, judged_by) is not kept
        assert ('best_score' in info) is kept
        assert ('best_ckpt' in info) is kept
        assert info['iter'] == 5
    assert not forget_best(dict(best_score=50.0), ['a less'])  # of a version that did not say


def test_the_best_checkpoint_is_chosen_anew_by_another_metric(folder: Path, tmp_path: Path) -> None:
    """A figure near 90 of the one metric must not keep off the other, which stays far below."""
    run = shutil.copytree(folder / 'run', tmp_path / 'run')
    path = run / 'epoch_1.pth'
    checkpoint = load_checkpoint(path)
    checkpoint['message_hub']['runtime_info']['best_score'] = 99.0
    torch.save(checkpoint, path)
    options = ['train_cfg.max_epochs=2', 'default_hooks.checkpoint.save_best=per-label/recall']
    done = train(folder / 'tiny.py', run, '--cfg-options', *options)
    done.succeed()
    assert 'is chosen again' in done.log.read_text()
    names = sorted(path.name for path in run.glob('best_*.pth'))
    assert 'best_per-label_recall_epoch_2.pth' in names
    assert any(name.startswith('best_per-image_f1-score') for name in names)


def test_schedulers_that_hold_methods_resume(folder: Path, tmp_path: Path) -> None:
    """The state of OneCycleLR has one, which torch does not load."""
    config = tmp_path / 'cycle.py'
    text = (folder / 'tiny.py').read_text()
    cycle = "dict(type='OneCycleLR', eta_max=0.01, total_steps=10, by_epoch=False)"
    config.write_text(f'{text}\nparam_scheduler = [{cycle}]\ntrain_cfg["max_epochs"] = 2\n')
    train(config, tmp_path / 'whole').succeed()
    assert train(config, tmp_path / 'run', crash=('replace', 5)).wait() == [-9]
    resumed = train(config, tmp_path / 'run')
    resumed.succeed()
    assert 'resumed epoch: 1' in resumed.log.read_text()
    assert differences(final_state(tmp_path / 'whole'), final_state(tmp_path / 'run')) == []
