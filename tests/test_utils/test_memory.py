"""Freed memory stays in the process of a tool, unless somebody has said otherwise."""

import gc
import os
import subprocess
import sys

import pytest

from morn_plugin.utils import memory
from morn_plugin.utils.layout import PACKAGE, find_root
from morn_plugin.utils.memory import TUNABLES, VARIABLES, keep_freed_memory, no_collection

# Prints whether a large block is on the heap, of this process and of the worker of a DataLoader.
LOOK = """
import ctypes, sys
sys.modules['mmpretrain'] = None  # so that importing the package registers nothing
if sys.argv[1:]:
    sys.modules['__main__'].__file__ = sys.argv[1]
import morn_plugin
from torch.utils.data import DataLoader

LARGE = 40 * 2**20  # bytes, above the size from which glibc always maps a block of its own
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p

class MallocInfo(ctypes.Structure):
    _fields_ = [(f'number_{k}', ctypes.c_int) for k in range(10)]  # 3: blocks of their own

library.mallinfo.restype = MallocInfo

class Blocks:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        before = library.mallinfo().number_3
        assert library.malloc(ctypes.c_size_t(LARGE))
        return library.mallinfo().number_3 == before

workers = DataLoader(Blocks(), num_workers=1, multiprocessing_context='fork')
print(Blocks()[0], *(bool(batch) for batch in workers))
"""


def look(*arguments):
    unset = {
        name: value for name, value in os.environ.items() if name not in (*VARIABLES, TUNABLES)
    }
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', LOOK, *arguments],
        env=unset | dict(PYTHONPATH=str(PACKAGE.parent)),
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.skipif(not memory._has_glibc(), reason='needs GNU C library')
def test_a_tool_keeps_large_blocks_on_the_heap_and_its_workers_do():
    assert look(str(find_root() / 'tools' / 'train.py')) == ['True', 'True']


@pytest.mark.slow
@pytest.mark.skipif(not memory._has_glibc(), reason='needs GNU C library')
def test_another_program_that_imports_the_package_is_left_alone():
    assert look() == ['False', 'False']


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
        gc.enable()
