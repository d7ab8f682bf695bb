"""What the machine offers: a GPU or none, processors, memory, and a measured speed."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from .timing import time_training

GIB = 2**30
CONTAINER_LIMIT = Path('/sys/fs/cgroup/memory.max')
PROBE_BACKBONE, PROBE_SIZE, PROBE_BATCH = 'lite0', 128, 8


@dataclass(frozen=True)
class Hardware:
    """A machine.

    Attributes:
        device: ``'cuda'`` where there is a GPU, else ``'cpu'``.
        processors: Those that this process may use.
        memory: GiB, of the GPU or of the machine.
        seconds: Measured time of training EfficientNet-lite0 on one image of 128 px.
    """

    device: str
    processors: int
    memory: float
    seconds: float

    def describe(self) -> str:
        """Return what it is, for people."""
        cores = f'{self.processors} core{"s" if self.processors > 1 else ""}'
        memory = f'{self.memory:.0f} GiB'
        return f'a GPU of {memory}, {cores}' if self.device == 'cuda' else f'{cores}, {memory}'


def find_hardware() -> Hardware:
    """Look at the machine, and time a few batches on it."""
    device = find_device()
    seconds = time_training(PROBE_BACKBONE, PROBE_SIZE, PROBE_BATCH, device) / PROBE_BATCH
    return Hardware(device, count_processors(), find_memory(device) / GIB, seconds)


def find_device() -> str:
    """Return ``'cuda'`` where there is a GPU, else ``'cpu'``."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def count_processors() -> int:
    """Count the processors that this process may use, which a container can limit."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_memory(device: str, container_limit: Path = CONTAINER_LIMIT) -> int:
    """Return the bytes that there are: free ones of the GPU, all of the machine or container.

    Args:
        device: ``'cpu'`` or ``'cuda'``.
        container_limit: File with a container's limit, or ``max``; need not be there.
    """
    if device == 'cuda':
        return int(torch.cuda.mem_get_info()[0])

    machine = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    limit = container_limit.read_text().strip() if container_limit.is_file() else 'max'
    return min(machine, int(limit)) if limit.isdecimal() else machine
