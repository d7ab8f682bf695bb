"""Arguments that several tools share. Parsing them needs neither torch nor MMPretrain."""

import argparse

from ..deploy.shards import Shard, parse_shard
from .layout import find_config_file

SPLITS = ('train', 'val', 'test')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the common flags of training and testing, with MMPretrain's names."""
    from mmengine.config import DictAction  # missing if only exported models are run

    parser.add_argument(
        'config',
        type=find_config_file,
        help="config file; 'morn_plugin::morn/NAME.py' is one of the package's own",
    )
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
        help='restart the data loader workers each epoch',
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
    """Add the common flags of all tools that use a trained model."""
    parser.add_argument('model', help='work folder or checkpoint')
    add_config_arguments(parser)
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: the best available)')


def add_split_arguments(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add the flags of tools that run a trained model on a data set of its config."""
    add_model_arguments(parser)
    parser.add_argument(
        '--split',
        choices=SPLITS,
        default='test',
        help=f'images to {purpose} (default: test)',
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that select the config of a model."""
    parser.add_argument(
        '--config',
        type=find_config_file,
        help='config, if the checkpoint has none inside or next to it',
    )
    parser.add_argument(
        '--trust-config',
        action='store_true',
        help='use the config in the checkpoint even if it uses more than registered names: it '
        'can then run anything, so only if you trust its author',
    )


def add_busy_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag of measurements that need an idle machine."""
    parser.add_argument('--busy', action='store_true', help='measure even if the machine is busy')


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that select the images, and their shard."""
    parser.add_argument(
        '--list',
        action='append',
        default=[],
        metavar='FILE',
        help='text file with a path or URL per line, paths relative to its folder; may be repeated',
    )
    parser.add_argument(
        '--trust-lists',
        action='store_true',
        help='let --list name files outside of its folder: only if you trust its author',
    )
    parser.add_argument(
        '--allow-private',
        action='store_true',
        help='let URLs in --list lead into your own network: only if you trust its author',
    )
    parser.add_argument(
        '--shard',
        type=_read_shard,
        default=Shard(),
        metavar='I/N',
        help='take the I-th of N shares of the images, and add -I-of-N to the name of the result; '
        "'auto': what torchrun or Slurm say",
    )


def _read_shard(text: str) -> Shard:
    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
