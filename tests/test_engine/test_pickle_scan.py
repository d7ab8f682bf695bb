"""Checkpoints that would take more time or memory than they are large: refused before they load."""

import collections
import io
import pickle
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile_files import circle, in_bounds, nest, shared_nest

from morn_plugin.engine.checkpoints import (
    CheckpointError,
    find_damage,
    find_resumable,
    load_checkpoint,
)
from morn_plugin.engine.pickle_scan import MAX_DEPTH, find_unbounded

PROTO, STOP = b'\x80\x02', b'.'


def put(index):
    return b'r' + index.to_bytes(4, 'little')


def get(index):
    return b'j' + index.to_bytes(4, 'little')


def text(value):
    encoded = value.encode()
    return b'X' + len(encoded).to_bytes(4, 'little') + encoded


def number(value):
    digits = value.to_bytes((value.bit_length() + 8) // 8, 'little')
    return b'\x8a' + bytes([len(digits)]) + digits


def call(name, *arguments):
    module, function = name.rsplit('.', 1)
    return f'c{module}\n{function}\n'.encode() + b'(' + b''.join(arguments) + b'tR'


def shared_tuples(levels=60):
    """A tuple that holds one tuple twice, which holds another twice, and so on."""
    parts = [text('a'), b'\x85', put(0)]
    for level in range(levels):
        parts += [get(level), b'\x86', put(level + 1)]
    return b''.join(parts)


def key_of_a_dict():
    """To be hashed, the nest of tuples must be walked as if nothing were shared."""
    return b'}' + shared_tuples() + b'K\x01s'


def grown_later(levels=60):
    """Empty lists first, each of which is then put twice into the one before."""
    parts = []
    for level in range(levels):
        parts += [b']', put(level), b'0']
    for level in range(levels - 1):
        parts += [get(level), get(level + 1), b'a', get(level + 1), b'a', b'0']
    return b''.join(parts) + get(0)


HUGE = number(10**11)
ONE = call('torch._utils._rebuild_tensor_v2', b'N')
STREAMS = {
    'a key of shared tuples': (key_of_a_dict(), 'shared parts'),
    'shared tuples': (shared_tuples(), 'shared parts'),
    'lists that grow later': (grown_later(), 'shared parts|loaded|refused'),
    'a member of a set': (call('builtins.set', b'](' + shared_tuples() + b'e'), 'shared parts'),
    'bytes of a size': (call('builtins.bytearray', HUGE), 'bytearray'),
    'bytes of Python 2': (call('__builtin__.bytearray', HUGE), 'bytearray'),
    'a tensor of a size': (call('torch.FloatTensor', HUGE), 'FloatTensor'),
    'a tensor of a size on a GPU': (call('torch.cuda.FloatTensor', HUGE), 'FloatTensor'),
    'a plain tensor of a size': (call('torch.Tensor', HUGE), 'Tensor'),
    'a sparse tensor of a size': (call('torch.sparse.FloatTensor', HUGE, HUGE), 'FloatTensor'),
    'a tensor converted': (
        call('torch._utils._rebuild_device_tensor_from_cpu_tensor', b'NNNN'),
        'device_tensor',
    ),
    'an array converted': (
        call('torch._utils._rebuild_device_tensor_from_numpy', b'NNNN'),
        'device_tensor',
    ),
    'a subclass': (call('torch._utils._rebuild_wrapper_subclass', b'NNNNNNNN'), 'wrapper_subclass'),
    'an array of a size': (call('numpy.ndarray', HUGE, b'\x85'), 'array of a size'),
    'a slow encoding': (call('_codecs.encode', text('ä' * 1000), text('punycode')), 'punycode'),
    'an encoding of words': (call('_codecs.encode', text('a'), text('idna')), 'idna'),
    'an array of a size to be filled': (
        call('numpy._core.multiarray._reconstruct', b'cnumpy\nndarray\n', HUGE + b'\x85', b'N'),
        'ndarray',
    ),
    'a number without content': (
        call('numpy._core.multiarray.scalar', call('numpy.dtype', text('V2147483647'))),
        'V2147483647|number of',
    ),
    'an array of objects': (
        call('numpy._core.multiarray.scalar', call('numpy.dtype', text('O')), text('x')),
        'number of',
    ),
}
OBJECTS = {
    'lists': shared_nest(),
    'tuples': tuple(shared_nest()),
    'dicts': None,
    'a circle': circle(),
    'a deep list': None,
}
OBJECTS['dicts'] = {}
for _ in range(40):
    OBJECTS['dicts'] = {key: OBJECTS['dicts'] for key in 'abcdefgh'}


def write_pickle(path: Path, stream: bytes, name='data.pkl') -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(f'archive/{name}', stream)
        archive.writestr('archive/version', b'3\n')
        archive.writestr('archive/byteorder', b'little')
    return path


def assert_refused(path: Path, reason: str) -> None:
    with in_bounds(), pytest.raises(CheckpointError, match=reason) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize('name', STREAMS)
def test_a_stream_that_has_no_end(name, tmp_path):
    content, reason = STREAMS[name]
    assert_refused(write_pickle(tmp_path / 'bomb.pth', PROTO + content + STOP), reason)


@pytest.mark.parametrize('name', ['a key of shared tuples', 'bytes of a size'])
def test_the_older_format(name, tmp_path):
    content, reason = STREAMS[name]
    before = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    path = tmp_path / 'bomb.pth'
    path.write_bytes(b''.join(before) + PROTO + content + STOP + pickle.dumps([], 2))
    assert_refused(path, reason)


@pytest.mark.parametrize('name', ['lists', 'tuples', 'dicts', 'a circle'])
def test_what_is_shared_without_end(name, tmp_path):
    path = tmp_path / 'bomb.pth'
    torch.save(dict(state_dict={}, meta=dict(x=OBJECTS[name])), path)
    assert path.stat().st_size < 10_000
    assert_refused(path, 'shared parts|refers to itself')


@pytest.mark.parametrize('depth', [MAX_DEPTH + 1, 500, 300_000])
def test_what_is_nested_without_end(depth, tmp_path):
    stream = PROTO + b']' * depth + b'a' * (depth - 1) + STOP
    assert_refused(write_pickle(tmp_path / 'bomb.pth', stream), 'deep')


def test_depth_up_to_the_limit(tmp_path):
    depth = MAX_DEPTH - 1
    stream = PROTO + b']' * depth + b'a' * (depth - 1) + STOP
    found = load_checkpoint(write_pickle(tmp_path / 'deep.pth', stream))
    assert str(found) == nest(depth, '')


def test_the_scan_sees_what_hangs_python():
    """The stream of the hash bomb is one: with fewer levels, each doubles the time to load it."""
    seconds = []
    for levels in (18, 21):
        stream = PROTO + b'}' + shared_tuples(levels) + b'K\x01s' + STOP
        start = time.process_time()
        (key,) = pickle.loads(stream)  # noqa: S301
        seconds.append(time.process_time() - start)
        assert len(key) == 2
        assert (find_unbounded(io.BytesIO(stream)) is None) == (levels == 18)

    assert seconds[1] > 2 * seconds[0]


@pytest.mark.parametrize(
    ('records', 'reason'),
    [
        ({'archive/data.pkl': pickle.dumps({}, 2), 'other/data.pkl': b'x'}, 'folders'),
        ({'archive/data.pkl': pickle.dumps({}, 2), 'archive/DATA.PKL': b'x'}, 'twice'),
        ({'archive/inner/data.pkl': pickle.dumps({}, 2)}, 'no record data'),
    ],
    ids=['two folders', 'two cases', 'further in'],
)
def test_archives_that_two_readers_read_differently(records, reason, tmp_path):
    path = tmp_path / 'model.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    assert reason in find_damage(path)
    assert_refused(path, reason)


def test_an_archive_with_a_comment(tmp_path):
    path = write_pickle(tmp_path / 'model.pth', pickle.dumps({}, 2))
    with zipfile.ZipFile(path, 'a') as archive:
        archive.comment = b'PK\x05\x06' + bytes(18)
    assert_refused(path, 'comment|archive')


def test_records_that_overlap(tmp_path):
    """Many entries of the directory that point to the same bytes: 100 MB of 1 MB."""
    path = tmp_path / 'model.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickle.dumps({}, 2))
        archive.writestr('archive/data/0', bytes(1_000_000))
        for index in range(1, 100):
            again = zipfile.ZipInfo(f'archive/data/{index}')
            first = archive.getinfo('archive/data/0')
            again.header_offset = first.header_offset
            again.CRC = first.CRC
            again.file_size = again.compress_size = first.file_size
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again

    assert path.stat().st_size < 2_000_000
    assert_refused(path, 'overlap')


def test_a_bomb_is_no_state_to_resume_from(tmp_path):
    write_pickle(tmp_path / 'epoch_1.pth', PROTO + key_of_a_dict() + STOP)
    path, skipped = find_resumable(str(tmp_path))
    assert path is None
    assert 'shared parts' in skipped[0]


GENUINE = {
    'classes': dict(meta=dict(classes=tuple(f'label {index}' for index in range(20_000)))),
    'one tensor many times': dict(zip(map(str, range(5000)), [torch.zeros(3)] * 5000, strict=True)),
    'one list many times': [[1, 2, 3]] * 1000,
    'numbers of NumPy': [np.float32(1), np.int64(2), np.arange(5.0), np.zeros((2, 3))],
    'a parameter': torch.nn.Parameter(torch.zeros(2)),
    'bytes': b'\x00\xff',
    'a set': {1, 2},
    'a counter': collections.Counter('aab'),
    'an ordered dict': collections.OrderedDict(a=1),
    'a dtype and a size': [torch.float16, torch.Size([1, 2]), torch.device('cpu')],
    'an optimizer': torch.optim.Adam(torch.nn.Linear(3, 3).parameters()).state_dict(),
}


@pytest.mark.parametrize('name', GENUINE)
@pytest.mark.parametrize('legacy', [False, True])
def test_what_is_bounded_loads(name, legacy, tmp_path):
    path = tmp_path / 'model.pth'
    torch.save(GENUINE[name], path, _use_new_zipfile_serialization=not legacy)
    found = load_checkpoint(path)
    assert type(found) is type(GENUINE[name])
    assert str(found) == str(GENUINE[name])
