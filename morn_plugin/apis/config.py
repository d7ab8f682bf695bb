"""From command line to a ready config.

What ``tools/train.py`` and ``tools/test.py`` have in common.
"""

import argparse
import os
import os.path as osp

import torch
from mmengine.config import Config, ConfigDict, DictAction

from ..engine.distributed import init_cpu_process_group, use_cpu_model_wrapper
from ..engine.safe_loading import force_weights_only

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every run of a config takes, named as MMPretrain names them."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help='folder for logs and checkpoints (default: work_dirs/<name of the config>)',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin memory in the data loaders'
    )
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start data loader workers anew each epoch',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. model.head.num_steps=3; lists as a=[1,2]',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were launched',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by the launcher'
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every use of a trained model takes."""
    parser.add_argument('model', help='work folder or checkpoint')
    parser.add_argument('--config', help='config, where the checkpoint has none in it or beside it')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: the best there is)')


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the common flags to it.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    force_weights_only()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not osp.isfile(args.config):
        raise FileNotFoundError(f'Config file {args.config} does not exist.')
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
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
