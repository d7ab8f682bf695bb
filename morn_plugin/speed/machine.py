"""Describes the machine of a measurement, and whether it is idle."""

import os
import platform
import re
from pathlib import Path

import torch

#: Load average of the last minute from which a machine counts as busy.
BUSY = 0.5


def describe_machine(device: str = 'cpu') -> str:
    """Name the processor, its threads, the load, and the device with its driver.

    Args:
        device: ``'cpu'`` or such as ``'cuda'``.
    """
    parts = [
        f'CPU: {cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads',
        f'wait policy {os.environ.get("OMP_WAIT_POLICY", "of the library")}',
        f'load {read_load():.2f}',
        f'Python {platform.python_version()}',
        f'torch {torch.__version__}',
    ]
    if torch.device(device).type == 'cuda':
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        parts.append(f'GPU: {torch.cuda.get_device_name(device)}, {memory:.0f} GiB')
        parts.append(f'CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}')
    return '; '.join(parts) + '.'


def cpu_name() -> str:
    """Return the processor's name from Linux, or else from Python."""
    info = Path('/proc/cpuinfo')
    found = re.search(r'model name\s*:\s*(.*)', info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor()


def read_load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def start_measuring(is_allowed: bool, threads: int | None = None, more: str = '') -> None:
    """Set the threads, print the machine, and end the program if the machine is busy.

    Args:
        is_allowed: Measure anyway.
        threads: Threads of torch. Defaults to None, its current number.
        more: Text printed after the machine.

    Raises:
        SystemExit: If it is busy; see :func:`refuse_if_busy`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    print(f'{describe_machine()}{more}\n', flush=True)
    try:
        refuse_if_busy(is_allowed)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def refuse_if_busy(is_allowed: bool, load: float | None = None) -> None:
    """Refuse to measure on a busy machine.

    Args:
        is_allowed: Measure anyway.
        load: The load average. Defaults to None, the current one.

    Raises:
        ValueError: If it is busy; gives the load and the remedy.

    Examples:
        >>> refuse_if_busy(False, load=1.5)
        Traceback (most recent call last):
        ValueError: Expected an idle machine, with a load below 0.5, but got 1.50: figures taken ...
    """
    load = read_load() if load is None else load
    if load >= BUSY and not is_allowed:
        raise ValueError(
            f'Expected an idle machine, with a load below {BUSY}, but got {load:.2f}: figures '
            'taken now would be those of the other programs too. Wait until these have ended (the '
            'load is a mean over a minute), or measure all the same with --busy.'
        )
