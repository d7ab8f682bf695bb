"""Distributed runs where there is no GPU.

MMEngine's own start-up picks a CUDA device whatever the backend. So the process group is made here, before the Runner.
"""

import torch
import torch.distributed as dist
from mmengine.config import ConfigDict


def init_cpu_process_group() -> bool:
    """Join the gloo group that torchrun set up, if there is no GPU and no group yet.

    Returns:
        Whether the process now is in a gloo group of ours.
    """
    if torch.cuda.is_available() or dist.is_initialized():
        return False
    dist.init_process_group('gloo')
    return True


def use_cpu_model_wrapper(cfg: ConfigDict) -> None:
    """Keep MMEngine from asking for the GPU of this rank; other settings of the wrapper stay."""
    wrapper = dict(type='MMDistributedDataParallel', forward_sync_buffers=False)
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}
