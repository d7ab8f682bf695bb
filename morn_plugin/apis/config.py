"""Loads a config for the command line.

Shared by ``tools/train.py`` and ``tools/test.py``.
"""

import argparse
import os
import os.path as osp
import sys

import torch
from mmengine.config import Config, ConfigDict

from ..engine.distributed import init_cpu_process_group, use_cpu_model_wrapper
from ..engine.safe_loading import force_weights_only
from ..utils.checks import describe_missing
from .finding import read_own_config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the common flags to it.

    If the config is missing, cannot be read, or overrides a variable that nothing reads afterwards,
    the process ends with a message.
    """
    force_weights_only()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not osp.isfile(args.config):
        sys.exit(f'Config file {describe_missing(args.config)}')

    try:
        cfg = read_own_config(args.config, args.cfg_options)
    except (OSError, ValueError) as error:
        sys.exit(str(error))

    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    cfg.launcher = args.launcher
    for loader in filter(None, map(cfg.get, LOADERS)):
        _set_loader_defaults(loader, args)

    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    if args.launcher == 'pytorch' and init_cpu_process_group(timeout):
        use_cpu_model_wrapper(cfg)
    return cfg


def _set_loader_defaults(loader: ConfigDict, args: argparse.Namespace) -> None:
    loader.setdefault('collate_fn', dict(type='default_collate'))
    loader.pin_memory = (
        loader.get('pin_memory', torch.cuda.is_available()) and not args.no_pin_memory
    )
    loader.persistent_workers = loader.get('num_workers', 0) > 0 and not args.no_persistent_workers
