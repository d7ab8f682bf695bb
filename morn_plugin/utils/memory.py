"""Keeps freed memory for the next tensors, and starts without collecting garbage.

Needs only the standard library.
"""

import ctypes
import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

#: Settings of glibc's malloc, and the variables of the environment that also set them.
NEVER_RETURN = {
    'M_TRIM_THRESHOLD': (-1, -1),  # number in malloc.h, value: do not shrink the heap
    'M_MMAP_MAX': (-4, 0),  # no mappings of their own for large blocks
}
VARIABLES = (
    'MALLOC_TRIM_THRESHOLD_',
    'MALLOC_MMAP_MAX_',
    'MALLOC_MMAP_THRESHOLD_',
    'MALLOC_TOP_PAD_',
)
TUNABLES = 'GLIBC_TUNABLES'


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let the process keep memory that it frees, unless the environment sets what happens to it.

    By default glibc returns large freed blocks to the system, which has to clear every page when
    the next batch needs it. That costs a training step on a CPU a fifth of its time
    (docs/speed.md). The process then holds what it once needed until it ends.

    Args:
        environment: The environment of this process.

    Returns:
        Whether it was set: not without glibc, and not if the user has set a variable of malloc.
    """
    is_set = any(name in environment for name in VARIABLES)
    if is_set or 'glibc.malloc.' in environment.get(TUNABLES, '') or not _has_glibc():
        return False

    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(number, value) == 1 for number, value in NEVER_RETURN.values()])


@contextmanager
def no_collection() -> Iterator[None]:
    """Import and build without Python's search for unused cycles, which finds hardly any there.

    It takes a seventh of the start of a tool. What exists at the end is not searched later either.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _has_glibc() -> bool:
    """Return whether Python runs on GNU's C library."""
    try:
        return 'glibc' in (os.confstr('CS_GNU_LIBC_VERSION') or '')
    except (AttributeError, ValueError):  # Windows, and other libraries
        return False
