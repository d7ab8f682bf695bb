"""A run that is killed and resumed ends as one that never was."""

import os
import shutil
import struct
import time
import zipfile
from pathlib import Path

import pytest
from training_runs import (
    BY_EPOCH,
    BY_ITER,
    MID_EPOCH,
    differences,
    final_state,
    make_data,
    train,
    train_with_kills,
    write_config,
)

from morn_plugin.engine.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow  # starts processes

# In each of the seven cases. A longer soak: MORN_SOAK_KILLS=100 pytest
# tests/test_engine/test_resume.py -k killed
KILLS = int(os.environ.get('MORN_SOAK_KILLS', '4'))

# MMEngine's own way, for proof that the comparison finds what it is to find.
UNSEEDED = (
    BY_EPOCH
    + """
train_dataloader['sampler']['type'] = 'DefaultSampler'
default_hooks['exact_resume'] = dict(_delete_=True, type='EmptyCacheHook')
"""
)


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    return make_data(tmp_path_factory.mktemp('resume') / 'data')


@pytest.fixture(scope='module')
def finished(data: Path) -> Path:
    """The folder of a run that went through, by epoch; 8 epochs of 5 iterations. Copy it, do not change it."""
    work_dir = data.parent / 'finished'
    train(write_config(data.parent / 'tiny.py', data), work_dir).succeed()
    return work_dir


@pytest.mark.usefixtures('finished')  # the first run also starts the process that others fork from
@pytest.mark.parametrize(
    ('extra', 'workers', 'processes'),
    [
        pytest.param(BY_EPOCH, 0, 1, id='by-epoch'),
        pytest.param(BY_EPOCH, 2, 1, id='by-epoch-2-workers'),
        pytest.param(BY_EPOCH, 2, 2, id='by-epoch-2-workers-2-processes'),
        pytest.param(MID_EPOCH, 0, 1, id='mid-epoch'),
        pytest.param(BY_ITER, 0, 1, id='by-iter'),
        pytest.param(BY_ITER, 2, 1, id='by-iter-2-workers'),
        pytest.param(BY_ITER, 0, 2, id='by-iter-2-processes'),
    ],
)
def test_killed_and_resumed_ends_the_same(
    extra: str, workers: int, processes: int, data: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / 'tiny.py', data, workers, extra)
    start = time.monotonic()
    train(config, tmp_path / 'whole', processes=processes).succeed()
    seconds = time.monotonic() - start
    killed = train_with_kills(
        config,
        tmp_path / 'killed',
        kills=KILLS,
        seed=len(extra) + workers + processes,
        seconds=seconds,
        processes=processes,
    )
    whole = final_state(tmp_path / 'whole')
    resumed = final_state(tmp_path / 'killed')
    assert killed >= 2
    assert {'ema_state_dict', 'optimizer', 'param_schedulers', 'message_hub'} <= whole.keys()
    assert differences(whole, resumed) == []
    best = sorted(path.name for path in (tmp_path / 'whole').glob('best_*.pth'))
    assert best == sorted(path.name for path in (tmp_path / 'killed').glob('best_*.pth'))
    whole, resumed = (load_checkpoint(tmp_path / name / best[0]) for name in ('whole', 'killed'))
    for part in ('state_dict', 'ema_state_dict'):
        assert differences(whole[part], resumed[part]) == []


def test_without_the_components_a_resumed_run_differs(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / 'tiny.py', data, 0, UNSEEDED)
    train(config, tmp_path / 'whole').succeed()
    assert train(config, tmp_path / 'killed', crash=('replace', 7)).wait() == [-9]
    train(config, tmp_path / 'killed').succeed()
    found = differences(final_state(tmp_path / 'whole'), final_state(tmp_path / 'killed'))
    assert any(path.startswith('/state_dict/backbone') for path in found)


def test_the_data_do_not_depend_on_the_number_of_workers(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    train(write_config(tmp_path / 'tiny.py', data, workers=2), tmp_path / 'workers').succeed()
    assert differences(final_state(finished), final_state(tmp_path / 'workers')) == []


def test_a_drawn_seed_is_taken_over(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / 'tiny.py', data, 2, BY_EPOCH + 'randomness = dict(seed=None)')
    assert train(config, tmp_path / 'killed', crash=('replace', 9)).wait() == [-9]
    folder = shutil.copytree(tmp_path / 'killed', tmp_path / 'again')
    train(config, tmp_path / 'killed').succeed()
    train(config, folder).succeed()
    assert differences(final_state(tmp_path / 'killed'), final_state(folder)) == []


def test_full_disk_keeps_the_previous_checkpoint_and_says_so(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / 'tiny.py', data, 0, BY_EPOCH)
    run = train(
        config,
        tmp_path / 'full',
        '--cfg-options',
        'default_hooks.checkpoint.max_keep_ckpts=1',
        crash=('full disk', 12),
    )
    assert run.wait() == [1]
    text = run.log.read_text()
    assert 'No space left on device' in text
    assert 'could not be written; the ' in text
    name = (tmp_path / 'full' / 'last_checkpoint').read_text()
    assert load_checkpoint(tmp_path / 'full' / name)['meta']['epoch'] > 1
    assert not list((tmp_path / 'full').glob('.*.tmp'))
    train(config, tmp_path / 'full').succeed()
    assert (
        differences(
            final_state(finished)['state_dict'], final_state(tmp_path / 'full')['state_dict']
        )
        == []
    )


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty', 'missing'])
def test_damaged_newest_checkpoint_is_skipped_and_named(
    damage: str, finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / 'copy')
    for path in folder.glob('*/vis_data'):
        shutil.rmtree(path)

    newest = folder / 'epoch_8.pth'
    content = bytearray(newest.read_bytes())
    if damage == 'missing':
        newest.unlink()
    else:
        content[_middle_of_largest_record(newest)] ^= 1
        newest.write_bytes(dict(cut=content[:-1000], flipped=content, empty=b'')[damage])

    run = train(finished.parent / 'tiny.py', folder)
    run.succeed()
    text = run.log.read_text()
    assert 'Skipped when looking for a checkpoint to resume from' in text
    assert ('last_checkpoint: it names' if damage == 'missing' else str(newest)) in text
    assert 'resumed epoch: 7, iter: 35' in text
    assert differences(final_state(finished), final_state(folder)) == []


def _middle_of_largest_record(path: Path) -> int:
    """Give a place in the file that holds data: the padding between records is nobody's loss."""
    with zipfile.ZipFile(path) as archive:
        record = max(archive.infolist(), key=lambda info: info.file_size)
    header = path.read_bytes()[record.header_offset : record.header_offset + 30]
    names = sum(struct.unpack('<HH', header[26:30]))
    return record.header_offset + 30 + names + record.file_size // 2


def test_copied_folder_does_not_touch_the_original(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / 'tiny.py', data)
    assert train(config, tmp_path / 'original', crash=('replace', 10)).wait() == [-9]
    files = lambda: {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in (tmp_path / 'original').rglob('*')
        if path.is_file()
    }
    before = files()
    copy = shutil.copytree(tmp_path / 'original', tmp_path / 'copy')
    train(config, copy).succeed()
    assert files() == before
    assert differences(final_state(finished), final_state(copy)) == []
    assert len(list(copy.glob('best_*.pth'))) == 1  # the one before was removed, here
    for path in copy.glob('*.pth'):
        assert str(tmp_path).encode() not in _without_config(path)


def _without_config(path: Path) -> bytes:
    checkpoint = load_checkpoint(path)
    info = checkpoint['message_hub']['runtime_info']
    return repr([value for key, value in info.items() if key != 'cfg']).encode()


def test_resume_into_an_empty_folder_starts_from_the_beginning(data: Path, tmp_path: Path) -> None:
    run = train(
        write_config(
            tmp_path / 'tiny.py', data, extra='train_cfg = dict(by_epoch=True, max_epochs=1)'
        ),
        tmp_path / 'new',
    )
    run.succeed()
    assert 'resumed epoch' not in run.log.read_text()
