"""Freed memory stays in the process, unless somebody has said otherwise."""

import ctypes
import gc
import os

import pytest

import morn_plugin  # noqa: F401  sets it
from morn_plugin.utils import memory
from morn_plugin.utils.memory import TUNABLES, VARIABLES, keep_freed_memory, no_collection

LARGE = 40 * 2**20  # bytes, above the size from which glibc always maps a block of its own


class MallocInfo(ctypes.Structure):
    """glibc's ``struct mallinfo``; the fourth number counts the blocks with their own mapping."""

    _fields_ = [(name, ctypes.c_int) for name in ['arena', 'ordblks', 'smblks', 'hblks']] + [
        (f'other_{index}', ctypes.c_int) for index in range(6)
    ]


def count_mapped():
    mallinfo = ctypes.CDLL(None).mallinfo
    mallinfo.restype = MallocInfo
    return mallinfo().hblks


@pytest.mark.skipif(not memory._has_glibc(), reason='needs GNU C library')
@pytest.mark.skipif(any(name in os.environ for name in (*VARIABLES, TUNABLES)), reason='set')
def test_importing_the_package_keeps_large_blocks_on_the_heap():
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    before = count_mapped()
    block = library.malloc(ctypes.c_size_t(LARGE))
    try:
        assert block
        assert count_mapped() == before
    finally:
        library.free(ctypes.c_void_p(block))


@pytest.mark.parametrize(
    'environment', [{name: '1'} for name in VARIABLES] + [{TUNABLES: 'glibc.malloc.mmap_max=9'}]
)
def test_what_the_user_set_stays(environment, monkeypatch):
    monkeypatch.setattr(memory.ctypes, 'CDLL', lambda name: pytest.fail('mallopt is called'))
    assert keep_freed_memory(environment) is False


def test_other_tunables_and_other_libraries(monkeypatch):
    calls = []

    class Library:
        @staticmethod
        def mallopt(number, value):
            calls.append((number, value))
            return 1

    monkeypatch.setattr(memory.ctypes, 'CDLL', lambda name: Library)
    monkeypatch.setattr(memory, '_has_glibc', lambda: True)
    assert keep_freed_memory({TUNABLES: 'glibc.rtld.nns=4'}) is True
    assert calls == [(-1, -1), (-4, 0)]

    monkeypatch.setattr(memory, '_has_glibc', lambda: False)
    assert keep_freed_memory({}) is False
    assert len(calls) == 2


def test_nothing_is_collected_until_the_start_is_over():
    assert gc.isenabled()
    before = gc.get_freeze_count()
    try:
        with no_collection():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before

        gc.disable()
        with no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.unfreeze()
        gc.enable()
