"""Distributed runs without a GPU.

MMEngine's own start-up selects a CUDA device for any backend. So this module creates the process
group before the Runner.
"""

import atexit
import gc
import os
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import ConfigDict
from mmengine.model import is_model_wrapper
from torch import nn
from torch.distributed.rendezvous import rendezvous


def init_cpu_process_group(timeout: int | None = None) -> bool:
    """Join the gloo group that torchrun set up, if there is no GPU and no group yet.

    The process leaves it when it ends.

    Args:
        timeout: Seconds to wait for a silent process. Defaults to torch's 1800. A dead process is
            noticed at once.

    Returns:
        Whether the process is now in our gloo group.
    """
    if torch.cuda.is_available() or dist.is_initialized():
        return False
    limit = timedelta(seconds=timeout or 1800)
    store, rank, world_size = next(rendezvous('env://', timeout=limit))
    # torchrun may keep its store over a restart, with the addresses of dead processes, for which
    # new ones would wait. So each attempt gets its own part.
    store = dist.PrefixStore(f'attempt_{os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")}', store)
    dist.init_process_group('gloo', store=store, rank=rank, world_size=world_size, timeout=limit)
    atexit.register(leave_process_group)
    return True


def use_cpu_model_wrapper(cfg: ConfigDict) -> None:
    """Keep MMEngine from using the GPU of this rank; the wrapper's other settings stay."""
    wrapper = dict(type='MMDistributedDataParallel', forward_sync_buffers=False)
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}


def unwrap(model: nn.Module) -> Any:
    """Return the model inside its distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def leave_process_group() -> None:
    """Leave the group once its threads have ended, while Python still runs.

    A gloo thread that releases an exchanged tensor while the interpreter shuts down aborts the
    process ("terminate called without an active exception", exit code -6), and torchrun then fails
    a finished job. The group waits for its threads once nothing references it; a finished Runner's
    model does so until it is collected. After an error there is no waiting, since a thread may be
    in an exchange that other processes never reach.
    """
    if dist.is_initialized() and not hasattr(sys, 'last_type'):
        gc.collect()
        dist.destroy_process_group()
