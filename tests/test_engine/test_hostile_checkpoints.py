"""Checkpoints that are crafted, damaged or old."""

import collections
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import _load_checkpoint

from morn_plugin.engine.checkpoints import (
    CheckpointError,
    find_damage,
    find_resumable,
    load_checkpoint,
)

MARK = 'MORN_HOSTILE_CHECKPOINT_RAN'


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple:
        return self.function, self.arguments


class SetsState:
    """Pickles as an object whose state is set, which calls ``__setstate__`` or fills ``__dict__``."""

    def __init__(self, function: Callable, arguments: tuple, state: Any) -> None:
        self.parts = function, arguments, state

    def __reduce__(self) -> tuple:
        return self.parts


def raw(opcodes: str) -> bytes:
    return b'\x80\x02' + opcodes.encode('latin-1') + b'.'


OBJECTS = {
    'os.system': Calls(os.system, f'touch {MARK}'),
    'posix.system': Calls(os.posix_spawn, '/bin/touch', ['touch', MARK], {}),
    'os.popen': Calls(os.popen, f'touch {MARK}'),
    'os.remove': Calls(os.remove, 'keep'),
    'os.putenv': Calls(os.putenv, MARK, '1'),
    'subprocess.Popen': Calls(__import__('subprocess').Popen, ['touch', MARK]),
    'subprocess.check_output': Calls(__import__('subprocess').check_output, ['touch', MARK]),
    'eval': Calls(eval, f'open({MARK!r}, "w")'),
    'exec': Calls(exec, f'open({MARK!r}, "w")'),
    'compile': Calls(compile, '1', 'f', 'eval'),
    'open': Calls(open, MARK, 'w'),
    'io.open': Calls(io.open, MARK, 'w'),
    '__import__': Calls(__import__, 'os'),
    'importlib': Calls(__import__('importlib').import_module, 'this'),
    'globals': Calls(globals),
    'vars': Calls(vars, HistoryBuffer),
    'setattr': Calls(setattr, HistoryBuffer, 'mean', os.system),
    'delattr': Calls(delattr, HistoryBuffer, 'mean'),
    'type': Calls(type, 'T', (), {}),
    'map': Calls(map, os.system, [f'touch {MARK}']),
    'filter': Calls(filter, os.system, [f'touch {MARK}']),
    'builtins module': Calls(getattr, Calls(__import__, 'builtins'), 'eval'),
    'getattr of os': Calls(getattr, Calls(__import__, 'os'), 'system'),
    'getattr __init__': Calls(getattr, HistoryBuffer, '__init__'),
    'getattr __globals__': Calls(getattr, HistoryBuffer.mean, '__globals__'),
    'getattr __class__': Calls(getattr, HistoryBuffer, '__class__'),
    'getattr mro': Calls(getattr, HistoryBuffer, 'mro'),
    'getattr __subclasses__': Calls(getattr, object, '__subclasses__'),
    'getattr of an instance': Calls(getattr, HistoryBuffer(), 'mean'),
    'getattr with default': Calls(getattr, HistoryBuffer, 'mean', None),
    'getattr of torch': Calls(getattr, torch.Tensor, 'tofile'),
    'getattr of ndarray': Calls(getattr, np.ndarray, 'tofile'),
    'register_statistics': Calls(HistoryBuffer.register_statistics, os.system),
    'operator.attrgetter': Calls(__import__('operator').attrgetter, 'system'),
    'operator.methodcaller': Calls(__import__('operator').methodcaller, 'system', 'true'),
    'functools.partial': Calls(__import__('functools').partial, os.system, 'true'),
    'functools.reduce': Calls(__import__('functools').reduce, os.system, ['true', 'true']),
    'itertools.starmap': Calls(__import__('itertools').starmap, os.system, [('true',)]),
    'shutil.rmtree': Calls(__import__('shutil').rmtree, 'keep'),
    'pickle.loads': Calls(pickle.loads, b'cos\nsystem\n(S"true"\ntR.'),
    'torch.load': Calls(torch.load, 'keep'),
    'torch.hub': Calls(torch.hub.load, 'nobody/nothing', 'nothing'),
    'torch.jit': Calls(torch.jit.load, 'keep'),
    'torch.classes': Calls(torch.package.PackageImporter, 'keep'),
    'numpy.load': Calls(np.load, 'keep'),
    'numpy.fromfile': Calls(np.fromfile, 'keep'),
    'numpy.memmap': Calls(np.memmap, MARK, 'uint8', 'w+', 0, (10,)),
    'logging config': Calls(__import__('logging.config').config.dictConfig, {'version': 1}),
    'code': Calls(__import__('code').interact),
    'ctypes': Calls(__import__('ctypes').CDLL, 'libc.so.6'),
    'socket': Calls(__import__('socket').socket),
    'webbrowser': Calls(__import__('webbrowser').open, 'file:///'),
    'pty.spawn': Calls(__import__('pty').spawn, 'true'),
    'timeit': Calls(__import__('timeit').timeit, f'open({MARK!r}, "w")'),
    'cProfile': Calls(__import__('cProfile').run, f'open({MARK!r}, "w")'),
    'runpy': Calls(__import__('runpy').run_path, 'keep'),
    'pathlib': Path('x'),
    'defaultdict of eval': collections.defaultdict(eval),
    'object array': np.array([Calls(os.system, f'touch {MARK}')], dtype=object),
    'setstate of a dtype': SetsState(np.dtype, ('f8',), Calls(os.system, f'touch {MARK}')),
    'history buffer state': SetsState(
        HistoryBuffer, (), dict(_statistics_methods={'mean': Calls(os.system, 'true')})
    ),
    'mmengine Config': Calls(__import__('mmengine').Config.fromfile, 'keep'),
    'mmengine load': Calls(__import__('mmengine').load, 'keep'),
}
STREAMS = {
    'opcode global': raw('cos\nsystem\n(S"true"\ntR'),
    'opcode inst': raw('(S"true"\nios\nsystem\n'),
    'opcode obj': raw('(cos\nsystem\nS"true"\no'),
    'opcode ext': raw('\x82\x01'),
    'nested attribute': b'\x80\x04\x8c\x02os\x8c\x0bpath.os.popen\x93.',
    'dunder walk': b'\x80\x04\x8c\x23mmengine.logging.history_buffer\x8c\x1aHistoryBuffer.__init__.x\x93.',
    'empty': b'',
    'no stop': b'\x80\x02}',
    'stack underflow': raw('R'),
    'unknown opcode': raw('\xff'),
    'deep memo': raw('h\x05'),
    'text': b'hello',
}


def write_archive(
    path: Path, records: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def write_pickle(path: Path, stream: bytes) -> Path:
    return write_archive(
        path,
        {'archive/data.pkl': stream, 'archive/version': b'3\n', 'archive/byteorder': b'little'},
    )


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to load in; whatever ran would leave a mark there, or remove what is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'keep').write_bytes(b'x')
    return tmp_path


def assert_refused(path: Path, folder: Path) -> str:
    mean = HistoryBuffer.mean
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    with pytest.raises(CheckpointError):
        # MMEngine's way leads through the same loader
        _load_checkpoint(str(path), map_location='cpu')

    assert not (folder / MARK).exists()
    assert (folder / 'keep').read_bytes() == b'x'
    assert MARK not in os.environ
    assert HistoryBuffer.mean is mean
    text = str(caught.value)
    assert str(path) in text
    assert len(text) > len(str(path)) + 30  # says why
    assert 'weights_only' not in text  # and not how to switch the protection off
    return text


@pytest.mark.parametrize('name', OBJECTS)
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_crafted_object_is_refused(name: str, legacy: bool, guarded: Path) -> None:
    path = guarded / 'hostile.pth'
    torch.save(
        dict(state_dict={}, meta=OBJECTS[name]), path, _use_new_zipfile_serialization=not legacy
    )
    assert 'refused' in assert_refused(path, guarded)


@pytest.mark.parametrize('name', STREAMS)
def test_crafted_stream_is_refused(name: str, guarded: Path) -> None:
    assert_refused(write_pickle(guarded / 'hostile.pth', STREAMS[name]), guarded)
    (guarded / 'plain.pth').write_bytes(STREAMS[name])
    assert_refused(guarded / 'plain.pth', guarded)


def test_the_reason_names_what_was_asked_for(guarded: Path) -> None:
    for name, reason in (
        ('os.system', 'posix.system'),
        ('eval', 'eval'),
        ('getattr __init__', '__init__'),
    ):
        path = guarded / 'hostile.pth'
        torch.save(dict(meta=OBJECTS[name]), path)
        assert reason in assert_refused(path, guarded)


@pytest.mark.parametrize(
    'name', ['../evil', '/tmp/evil', 'archive/../../evil', 'a\\..\\evil', 'data.pkl']
)
def test_record_outside_of_its_folder_is_refused(name: str, guarded: Path) -> None:
    path = write_archive(
        guarded / 'hostile.pth', {'archive/data.pkl': pickle.dumps({}, 2), name: b'evil'}
    )
    assert 'not inside the one folder' in assert_refused(path, guarded)


def test_compressed_archive_is_refused(guarded: Path) -> None:
    records = {'archive/data.pkl': pickle.dumps({}, 2), 'archive/data/0': bytes(50_000_000)}
    path = write_archive(guarded / 'bomb.pth', records, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    assert 'compressed' in assert_refused(path, guarded)


def test_record_that_is_there_twice_is_refused(guarded: Path) -> None:
    path = write_pickle(guarded / 'hostile.pth', pickle.dumps({}, 2))
    with zipfile.ZipFile(path, 'a') as archive, pytest.warns(UserWarning, match='Duplicate name'):
        archive.writestr('archive/data.pkl', b'other')
    assert 'twice' in assert_refused(path, guarded)


class Oversized:
    """A tensor that claims more elements than its storage has."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __reduce__(self) -> tuple:
        return torch._utils._rebuild_tensor_v2, (
            torch.zeros(4).storage(),
            0,
            (self.size,),
            (1,),
            False,
            {},
        )


@pytest.mark.parametrize('size', [5, 1 << 40, 1 << 62])
def test_oversized_tensor_is_refused(size: int, guarded: Path) -> None:
    path = guarded / 'hostile.pth'
    torch.save(dict(state_dict=dict(weight=Oversized(size))), path)
    assert_refused(path, guarded)


@pytest.mark.parametrize('size', [1 << 50, -1])
def test_oversized_array_is_refused(size: int, guarded: Path) -> None:
    path = guarded / 'hostile.pth'
    torch.save(dict(meta=Calls(np._core.multiarray._reconstruct, np.ndarray, (size,), b'f8')), path)
    assert_refused(path, guarded)


def test_record_shorter_than_its_tensor_is_refused(guarded: Path) -> None:
    torch.save(dict(weight=torch.arange(1000.0)), guarded / 'whole.pth')
    with zipfile.ZipFile(guarded / 'whole.pth') as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    records = {
        name: content[:100] if name.endswith('data/0') else content
        for name, content in records.items()
    }
    assert_refused(write_archive(guarded / 'short.pth', records), guarded)


def a_checkpoint() -> dict[str, Any]:
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    return dict(
        meta=dict(
            epoch=3,
            iter=30,
            time='Sat Jan  1 00:00:00 2022',
            mmcls_version='0.23.0',
            CLASSES=('cat', 'dog'),
        ),
        state_dict=collections.OrderedDict(weight=torch.arange(300.0)),
        optimizer=dict(state={}, param_groups=[]),
        message_hub=dict(
            log_scalars=dict(loss=buffer),
            runtime_info=dict(best=np.float64(1.5), n=np.int64(3)),
            resumed_keys={},
        ),
    )


def assert_loaded(loaded: dict[str, Any]) -> None:
    expected = a_checkpoint()
    assert loaded['meta'] == expected['meta']
    assert torch.equal(loaded['state_dict']['weight'], expected['state_dict']['weight'])
    assert loaded['message_hub']['log_scalars']['loss'].mean() == 1.5
    assert loaded['message_hub']['runtime_info'] == expected['message_hub']['runtime_info']


@pytest.mark.parametrize('legacy', [False, True])
def test_old_checkpoint_loads(legacy: bool, tmp_path: Path) -> None:
    torch.save(a_checkpoint(), tmp_path / 'old.pth', _use_new_zipfile_serialization=not legacy)
    assert_loaded(load_checkpoint(tmp_path / 'old.pth'))
    assert_loaded(_load_checkpoint(str(tmp_path / 'old.pth'), map_location='cpu'))


@pytest.mark.parametrize('core', [b'numpy.core.', b'numpy._core.'])
def test_numpy_1_and_2_names_load(core: bytes, tmp_path: Path) -> None:
    torch.save(a_checkpoint(), tmp_path / 'new.pth')
    with zipfile.ZipFile(tmp_path / 'new.pth') as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    key = next(name for name in records if name.endswith('data.pkl'))
    assert b'numpy._core.' in records[key] or b'numpy.core.' in records[key]
    records[key] = (
        records[key].replace(b'numpy._core.', b'numpy.core.').replace(b'numpy.core.', core)
    )
    assert_loaded(load_checkpoint(write_archive(tmp_path / 'other.pth', records)))


def test_every_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / 'flipped.pth'
    torch.save(a_checkpoint(), path)
    content = path.read_bytes()

    found = 0
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)

        try:
            # padding and dates in headers: what is loaded is right
            assert_loaded(load_checkpoint(path))
        except CheckpointError:
            found += 1

    assert found > 100


def test_every_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / 'cut.pth'
    torch.save(a_checkpoint(), path)
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        assert find_damage(path), length
        with pytest.raises(CheckpointError, match=r'cut\.pth'):
            load_checkpoint(path)


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        load_checkpoint(tmp_path / 'none.pth')


def test_resumable_is_found_by_name_number_and_state(tmp_path: Path) -> None:
    assert find_resumable(str(tmp_path / 'no folder')) == (None, [])
    for epoch in (2, 9, 10):
        torch.save(a_checkpoint(), tmp_path / f'epoch_{epoch}.pth')

    torch.save(a_checkpoint(), tmp_path / 'best_epoch_11.pth')
    torch.save(dict(state_dict={}), tmp_path / 'epoch_12.pth')
    torch.save(dict(meta=OBJECTS['eval']), tmp_path / 'epoch_13.pth')
    path, skipped = find_resumable(str(tmp_path))
    assert path == str(tmp_path / 'epoch_10.pth')
    assert len(skipped) == 2
    assert 'epoch_13.pth' in skipped[0]
    assert 'no optimizer state' in skipped[1]
    # as MMEngine writes it
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/work_dirs/run/epoch_9.pth')
    assert find_resumable(str(tmp_path)) == (str(tmp_path / 'epoch_9.pth'), [])
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_7.pth')
    path, skipped = find_resumable(str(tmp_path))
    assert path == str(tmp_path / 'epoch_10.pth')
    assert (
        "last_checkpoint: it names '/elsewhere/epoch_7.pth', which is not in this folder"
        in skipped[0]
    )
