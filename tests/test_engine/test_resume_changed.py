"""A run that is resumed with other settings goes on in the right place, or not at all."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import (
    BY_EPOCH,
    BY_ITER,
    MID_EPOCH,
    Run,
    differences,
    final_state,
    make_data,
    train,
    write_config,
)

from morn_plugin.engine.checkpoints import load_checkpoint
from morn_plugin.engine.position import KEY, Layout, read_position
from morn_plugin.engine.same_start import compare_with_first, digest

pytestmark = pytest.mark.slow  # starts processes

TWO = 'train_cfg["max_epochs"] = 2\n'
IMAGES, BATCH = 18, 4


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp('changed') / 'data', IMAGES)


@pytest.fixture(scope='module')
def config(data: Path) -> Path:
    return write_config(data.parent / 'tiny.py', data, extra=BY_EPOCH + TWO)


@pytest.fixture(scope='module')
def one_epoch(config: Path) -> Path:
    """The folder of a run that ended after its first epoch. Copy it, do not change it."""
    folder = config.parent / 'one'
    train(config, folder, '--cfg-options', 'train_cfg.max_epochs=1').succeed()
    return folder


@pytest.fixture(scope='module')
def inside(data: Path) -> Path:
    """The folder of a run whose last checkpoint is from inside its second epoch: iteration 6 of 10."""
    path = write_config(data.parent / 'inside.py', data, extra=MID_EPOCH + TWO)
    folder = data.parent / 'inside'
    assert train(path, folder, crash=('replace', 10)).wait() == [-9]
    assert (folder / 'last_checkpoint').read_text() == 'iter_6.pth'
    return folder


def resume(config: Path, folder: Path, target: Path, *options: str, processes: int = 1) -> Run:
    shutil.copytree(folder, target)
    for log in target.glob('*/vis_data'):
        shutil.rmtree(log)
    flags = ('--cfg-options', *options) if options else ()
    return train(config, target, *flags, processes=processes)


def iterations(run: Run) -> list[tuple[int, int, int]]:
    """List the epoch, the iteration and the length of the epoch of every training iteration logged."""
    found = re.findall(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]', run.log.read_text())
    return [(int(epoch), int(step), int(length)) for epoch, step, length in found]


@pytest.mark.parametrize(
    ('options', 'processes', 'length'),
    [
        (['train_dataloader.batch_size=8'], 1, 3),
        (['train_dataloader.batch_size=2'], 1, 9),
        (['train_dataloader.batch_size=18'], 1, 1),
        (['train_dataloader.dataset.indices=10'], 1, 3),
        ([], 2, 3),
        ([], 3, 2),
        (['train_dataloader.drop_last=True'], 1, 4),
    ],
)
def test_after_an_epoch_the_next_begins_at_its_beginning(
    options: list[str],
    processes: int,
    length: int,
    config: Path,
    one_epoch: Path,
    tmp_path: Path,
) -> None:
    run = resume(config, one_epoch, tmp_path / 'run', *options, processes=processes)
    run.succeed()
    assert iterations(run) == [(2, step + 1, length) for step in range(length)]
    assert 'The training data are divided differently than before' in run.log.read_text()
    state = final_state(tmp_path / 'run')
    assert (state['meta']['epoch'], state['meta']['iter']) == (2, 5 + length)
    position = read_position(state['meta'])
    assert position is not None
    assert (position.passes, position.seen) == (2, 0)
    assert position.layout.epoch_length == length


def test_a_run_that_was_changed_once_still_resumes_exactly(
    config: Path, one_epoch: Path, tmp_path: Path
) -> None:
    """Iterations of epochs of different lengths cannot be told apart by their number alone."""
    options = ['train_dataloader.batch_size=8', 'train_cfg.max_epochs=3']
    resume(config, one_epoch, tmp_path / 'whole', *options).succeed()
    folder = tmp_path / 'twice'
    resume(config, one_epoch, folder, *options[:1]).succeed()
    run = train(config, folder, '--cfg-options', *options)
    run.succeed()
    assert iterations(run)[-3:] == [(3, 1, 3), (3, 2, 3), (3, 3, 3)]
    left_out = ('max_epochs', 'max_iters')
    found = differences(final_state(tmp_path / 'whole'), final_state(folder))
    assert [path for path in found if not path.endswith(left_out)] == []


@pytest.mark.parametrize(
    ('options', 'processes', 'change'),
    [
        (['train_dataloader.batch_size=8'], 1, 'batch_size 4 -> 8, epoch_length 5 -> 3'),
        (['train_dataloader.dataset.indices=17'], 1, 'num_images 18 -> 17'),
        ([], 2, 'num_processes 1 -> 2, epoch_length 5 -> 3'),
        (['train_dataloader.sampler.shuffle=False'], 1, 'shuffle True -> False'),
        (['train_dataloader.drop_last=True'], 1, 'epoch_length 5 -> 4'),
    ],
)
def test_inside_an_epoch_a_change_is_refused(
    options: list[str], processes: int, change: str, inside: Path, tmp_path: Path
) -> None:
    config = inside.parent / 'inside.py'
    run = resume(config, inside, tmp_path / 'run', *options, processes=processes)
    assert any(run.wait())
    text = run.log.read_text()
    assert re.search(rf'inside an epoch \(4 of 20 samples.*: {re.escape(change)}\.', text)
    assert not iterations(run)


def test_a_checkpoint_at_the_last_iteration_of_an_epoch_ends_it(data: Path, tmp_path: Path) -> None:
    """Saved by iteration there, what is left of the epoch is its end, in any layout."""
    extra = MID_EPOCH.replace('interval=2', 'interval=5') + TWO
    config = write_config(tmp_path / 'tiny.py', data, extra=extra)
    assert train(config, tmp_path / 'run', crash=('replace', 3)).wait() == [-9]
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == 'iter_5.pth'
    run = train(config, tmp_path / 'run', '--cfg-options', 'train_dataloader.batch_size=9')
    run.succeed()
    assert iterations(run)[5:] == [(2, 1, 2), (2, 2, 2)]


def test_by_iteration_the_place_in_a_pass_is_kept_or_refused(data: Path, tmp_path: Path) -> None:
    extra = BY_ITER + 'train_cfg["max_iters"] = 12\n'
    config = write_config(tmp_path / 'tiny.py', data, extra=extra)
    train(config, tmp_path / 'nine', '--cfg-options', 'train_cfg.max_iters=9').succeed()
    meta = load_checkpoint(tmp_path / 'nine' / 'iter_9.pth')['meta']
    assert meta[KEY]['passes'] == 2  # 9 batches of 4 images are two passes over 18
    assert meta[KEY]['seen'] == 0
    bigger = resume(config, tmp_path / 'nine', tmp_path / 'bigger', 'train_dataloader.batch_size=6')
    bigger.succeed()
    assert (
        final_state(tmp_path / 'bigger')['meta'][KEY] | dict(passes=3, seen=0)
        == (final_state(tmp_path / 'bigger')['meta'][KEY])
    )
    refused = resume(
        config,
        tmp_path / 'bigger',
        tmp_path / 'refused',
        'train_dataloader.batch_size=5',
        'train_cfg.max_iters=13',
    )
    refused.succeed()  # at the end of its third pass
    again = train(config, tmp_path / 'refused', '--cfg-options', 'train_cfg.max_iters=20')
    assert again.wait() == [1]
    assert 'saved inside an epoch (5 of ' in again.log.read_text()


def test_a_checkpoint_without_a_place_resumes_at_the_end_of_an_epoch_only(
    config: Path, one_epoch: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(one_epoch, tmp_path / 'run')
    checkpoint = load_checkpoint(folder / 'epoch_1.pth')
    del checkpoint['meta'][KEY]
    torch.save(checkpoint, folder / 'epoch_1.pth')
    run = resume(config, folder, tmp_path / 'other', 'train_dataloader.batch_size=8')
    assert run.wait() == [1]
    assert 'does not say where in the data that is' in run.log.read_text()
    train(config, folder).succeed()
    assert final_state(folder)['meta']['iter'] == 10


def test_an_epoch_without_batches_is_refused(config: Path, tmp_path: Path) -> None:
    run = train(
        config,
        tmp_path / 'run',
        '--cfg-options',
        'train_dataloader.batch_size=19',
        'train_dataloader.drop_last=True',
    )
    assert run.wait() == [1]
    text = run.log.read_text()
    assert '18 images' in text
    assert 'drop_last' in text
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize('side', ['val', 'test'])
def test_a_test_that_leaves_images_out_is_refused(side: str, config: Path, tmp_path: Path) -> None:
    run = train(config, tmp_path / 'run', '--cfg-options', f'{side}_dataloader.drop_last=True')
    assert run.wait() == [1]
    assert f'`{side}_dataloader.drop_last`' in run.log.read_text()


def test_nothing_to_resume_and_a_finished_run_say_so(
    config: Path, one_epoch: Path, tmp_path: Path
) -> None:
    flags = ('--cfg-options', 'train_cfg.max_epochs=1')
    first = train(config, tmp_path / 'run', *flags)
    first.succeed()
    lines = [line for line in first.log.read_text().splitlines() if 'Nothing to resume' in line]
    assert len(lines) == 1
    assert f'{tmp_path}/run: training starts at the beginning.' in lines[0]
    again = train(config, tmp_path / 'run', *flags)
    again.succeed()
    lines = [line for line in again.log.read_text().splitlines() if 'is finished' in line]
    assert len(lines) == 1
    assert 'epoch_1.pth is from epoch 1 of 1. To train on: --cfg-options' in lines[0]


def test_resuming_from_another_folder_leaves_its_files_alone(
    config: Path, one_epoch: Path, tmp_path: Path
) -> None:
    """Neither there, nor files of the same names here."""
    before = {path: path.read_bytes() for path in one_epoch.glob('*.pth')}
    here = tmp_path / 'run'
    here.mkdir()
    mine = [here / path.name for path in before]
    for path in mine:
        path.write_text('mine')

    arguments = [str(config), '--work-dir', str(here), '--resume', str(one_epoch / 'epoch_1.pth')]
    options = ['--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=1']
    run = Run('train.py', [*arguments, *options], tmp_path / 'run.log')
    run.succeed()
    assert 'Resuming from another folder' in run.log.read_text()
    assert {path: path.read_bytes() for path in one_epoch.glob('*.pth')} == before
    assert [path.read_text() for path in mine] == ['mine'] * len(mine)
    assert final_state(here)['meta']['epoch'] == 2


def test_the_first_process_chooses_the_checkpoint_for_all(
    config: Path, one_epoch: Path, tmp_path: Path
) -> None:
    """The second process finds a newer one where it looks, and must not take it."""
    newer = tmp_path / 'newer'
    resume(config, one_epoch, newer).succeed()
    older = shutil.copytree(one_epoch, tmp_path / 'older')
    run = _train_apart(config, {'0': older, '1': newer}, tmp_path)
    run.succeed()
    assert iterations(run)[0][0] == 2
    assert final_state(older)['meta']['epoch'] == 2


def _train_apart(config: Path, folders: dict[str, Path], tmp_path: Path) -> Run:
    """Train with two processes, each with a work folder of its own."""
    script = tmp_path / 'apart.py'
    script.write_text(
        f'_base_ = {str(config)!r}\nimport os\n'
        f'work_dir = { ({rank: str(path) for rank, path in folders.items()})!r}'
        "[os.environ.get('RANK', '0')]\ndel os\n"
    )
    return Run('train.py', [str(script), '--resume'], tmp_path / 'apart.log', processes=2)


def test_a_checkpoint_that_one_process_cannot_see_ends_all(
    config: Path, one_epoch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from morn_plugin.engine.hooks import resumable_checkpoint_hook

    gathered = lambda mine: [True, False]
    monkeypatch.setattr(resumable_checkpoint_hook, 'all_gather_object', gathered)
    with pytest.raises(FileNotFoundError, match=r'processes \[1\] see no such file'):
        resumable_checkpoint_hook._require_visible(str(one_epoch / 'epoch_1.pth'))


DIFFERENT = """
custom_hooks = [dict(type='EMAHook', momentum=0.1), dict(type='DisturbHook')]
"""


def test_processes_that_start_from_other_weights_are_stopped(
    config: Path, one_epoch: Path, tmp_path: Path, data: Path
) -> None:
    path = write_config(tmp_path / 'tiny.py', data, extra=BY_EPOCH + TWO + DIFFERENT)
    run = resume(path, one_epoch, tmp_path / 'run', processes=2)
    assert all(run.wait())
    assert 'process 1 differs from process 0 in weights.' in run.log.read_text()
    assert not iterations(run)


def test_a_hash_depends_on_every_number_and_name() -> None:
    value = dict(a=[torch.arange(3.0), torch.tensor(2)], b=dict(c=0.5, d=None))
    same = dict(a=[torch.arange(3.0), torch.tensor(2)], b=dict(c=0.5, d=None))
    assert digest(value) == digest(same)
    others: list[Any] = [
        dict(value, a=[torch.tensor([0.0, 1.0, 2.0000002]), torch.tensor(2)]),
        dict(value, a=[torch.arange(3), torch.tensor(2)]),
        dict(value, a=[torch.arange(3.0).reshape(3, 1), torch.tensor(2)]),
        dict(value, a=[torch.arange(3.0)]),
        dict(value, b=dict(c=0.5, e=None)),
        dict(value, b=dict(c=0.25, d=None)),
    ]
    assert len({digest(value), *map(digest, others)}) == 7


def test_the_process_and_the_part_that_differ_are_named() -> None:
    compare_with_first([dict(seed='a', weights='b')] * 3)
    with pytest.raises(
        RuntimeError, match='process 1 differs from process 0 in weights; process 2'
    ):
        compare_with_first(
            [
                dict(seed='a', weights='b'),
                dict(seed='a', weights='c'),
                dict(seed='x', weights='c'),
            ]
        )


def test_a_layout_names_all_that_differs() -> None:
    one = Layout(batch_size=4, num_processes=1, num_images=18, epoch_length=5, shuffle=True)
    other = Layout(batch_size=4, num_processes=2, num_images=18, epoch_length=3, shuffle=True)
    assert one.differences(other) == 'num_processes 1 -> 2, epoch_length 5 -> 3'
    assert one.differences(one) == ''
    assert json.loads(json.dumps(read_position({}) or 'none')) == 'none'
