"""Runs of tools/train.py in processes that start fast, and that can be killed.

The processes are forked from a server that has imported everything but has computed nothing.
"""

import errno
import itertools
import json
import os
import random
import runpy
import signal
import socket
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from warm_start import warm_context

import morn_plugin  # noqa: F401  its allow-list
from morn_plugin.engine.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SLICE = ROOT / 'tests/data/openclipart_mini'
START_SECONDS = 90

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['morn_plugin', 'tiny_cnn'], allow_failed_imports=False)
pipeline = [dict(type='LoadCheckedImage'), dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'), dict(type='PackInputs')]
test_pipeline = [dict(type='LoadCheckedImage'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
train_dataloader = dict(batch_size=4, num_workers={workers}, persistent_workers={workers} > 0, dataset=dict(
    data_root={data!r}, ann_file='train.json', pipeline=pipeline))
val_dataloader = dict(batch_size=5, num_workers=0, persistent_workers=False, dataset=dict(
    data_root={data!r}, ann_file='val.json', pipeline=test_pipeline))
test_dataloader = val_dataloader
train_dataloader['dataset']['type'] = val_dataloader['dataset']['type'] = 'CheckedMultiLabelDataset'
train_dataloader['sampler'] = dict(type='SeededSampler', shuffle=True)
val_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=False)
val_dataloader['dataset']['test_mode'] = True
model = dict(
    type='MultiLabelClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='TinyCNN'), neck=dict(type='GlobalAveragePooling'),
    head=dict(type='MultiOrderLSTMHead', num_classes=41, in_channels=8, embed_dims=4, hidden_dims=8, num_steps=3))
val_evaluator = test_evaluator = [dict(type='PerLabelF1'), dict(type='PerImageF1', topk=2), dict(type='TopOneAccuracy')]
val_cfg = test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='TFRMSprop', lr=1e-2, alpha=0.9, momentum=0.9, eps=1.0))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=7),
                   dict(type='ExponentialLR', gamma=0.9, by_epoch=True)]
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
visualizer = dict(_delete_=True, type='Visualizer')
default_hooks = dict(logger=dict(interval=1))
"""
BY_EPOCH = 'train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=1)\n'
MID_EPOCH = (
    BY_EPOCH
    + """
default_hooks['checkpoint'] = dict(by_epoch=False, interval=2, max_keep_ckpts=2)
"""
)
BY_ITER = """
train_cfg = dict(by_epoch=False, max_iters=40, val_interval=8)
default_hooks['checkpoint'] = dict(by_epoch=False, interval=3, max_keep_ckpts=2)
"""


def make_data(folder: Path, images: int = 18, validation: int = 7) -> Path:
    """Take a few real pictures of the slice; 18 is no multiple of any batch size or number of processes used."""
    folder.mkdir()
    (folder / 'images').symlink_to(SLICE / 'images', target_is_directory=True)
    for name, source, count in (('train', 'train_fit', images), ('val', 'val', validation)):
        content = json.loads((SLICE / f'{source}.json').read_text())
        content['data_list'] = content['data_list'][::3][:count]
        (folder / f'{name}.json').write_text(json.dumps(content))
    return folder


def write_config(path: Path, data: Path, workers: int = 0, extra: str = BY_EPOCH) -> Path:
    base = str(ROOT / 'configs/_base_/default_runtime.py')
    path.write_text(CONFIG.format(base=base, workers=workers, data=f'{data}/') + extra)
    return path


def _main(
    tool: str,
    arguments: list[str],
    environment: dict[str, str],
    log: str,
    crash: tuple[str, int] | None,
) -> None:
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    if crash:
        _crash_at(*crash)
    sys.argv = [tool, *arguments]
    runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')


def _crash_at(function: str, call: int) -> None:
    """Fail in a given call of a function of ``os`` that saving goes through, before it does its
    work.

    Args:
        function: 'fsync', 'replace' or 'remove': the process is killed there. 'full disk': fsync
            says so.
        call: Which call of it, from 1.
    """
    name = 'fsync' if function == 'full disk' else function
    original = getattr(os, name)
    calls = itertools.count(1)

    def crashing(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            if function == 'full disk':
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(os, name, crashing)


class Run:
    """One run of a tool with one or more processes in one gloo group."""

    def __init__(
        self,
        tool: str,
        arguments: list[str],
        log: Path,
        processes: int = 1,
        crash: tuple[str, int] | None = None,
    ) -> None:
        self.log = log
        environment = {}
        if processes > 1:
            arguments = [*arguments, '--launcher', 'pytorch']
            with socket.socket() as probe:
                probe.bind(('127.0.0.1', 0))
                environment = dict(
                    MASTER_ADDR='127.0.0.1',
                    MASTER_PORT=str(probe.getsockname()[1]),
                    WORLD_SIZE=str(processes),
                )

        self.processes: list[BaseProcess] = []
        for rank in range(processes):
            ranks = dict(environment, RANK=str(rank), LOCAL_RANK=str(rank)) if processes > 1 else {}
            process = warm_context().Process(
                target=_main, args=(tool, arguments, ranks, str(log), crash if rank == 0 else None)
            )
            process.start()
            self.processes.append(process)

    def wait(self, timeout: float = START_SECONDS) -> list[int | None]:
        """Wait for all to end, killing the others where one dies, as torchrun does; give the exit codes."""
        end = time.monotonic() + timeout
        while any(process.is_alive() for process in self.processes):
            if any(process.exitcode for process in self.processes):
                self.kill()

            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(
                    f'Still running after {timeout} s:\n{self.log.read_text()[-3000:]}'
                )

            time.sleep(0.01)

        return [process.exitcode for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()

    def succeed(self) -> None:
        codes = self.wait()
        assert not any(codes), f'exit codes {codes}:\n{self.log.read_text()[-5000:]}'


def train(
    config: Path,
    work_dir: Path,
    *flags: str,
    processes: int = 1,
    crash: tuple[str, int] | None = None,
) -> Run:
    work_dir.parent.mkdir(exist_ok=True, parents=True)
    log = work_dir.parent / f'{work_dir.name}.log'
    return Run(
        'train.py',
        [str(config), '--work-dir', str(work_dir), '--resume', '--no-pin-memory', *flags],
        log,
        processes,
        crash,
    )


def train_with_kills(
    config: Path, work_dir: Path, kills: int, seed: int, seconds: float, processes: int = 1
) -> int:
    """Train to the end through so many kills, half of them at random times and half inside of a
    save.

    Args:
        config: The config.
        work_dir: Its folder.
        kills: How often to kill; a run that ended before is not counted.
        seed: Of the random moments.
        seconds: How long a whole run takes; killed at random times are runs between a tenth and two
            fifths of it.
        processes: Number of processes.

    Returns:
        The number of runs that really were killed before they ended.
    """
    rng = random.Random(seed)
    killed = 0
    for attempt in range(kills):
        crash = None
        if attempt % 2 == 0:
            # fsync, replace and remove are where a save can be cut; early enough for the runs to
            # come.
            crash = (rng.choice(['fsync', 'replace', 'remove']), rng.randint(1, 2))

        run = train(config, work_dir, processes=processes, crash=crash)
        if crash is None:
            end = time.monotonic() + rng.uniform(0.1, 0.4) * seconds
            while time.monotonic() < end and any(process.is_alive() for process in run.processes):
                time.sleep(0.002)

            alive = any(process.is_alive() for process in run.processes)
            run.kill()
            killed += alive
        else:
            killed += any(run.wait())

    train(config, work_dir, processes=processes).succeed()
    return killed


def final_state(work_dir: Path) -> dict[str, Any]:
    """Load what a finished run left behind."""
    name = (work_dir / 'last_checkpoint').read_text()
    return load_checkpoint(work_dir / name)


def differences(one: Any, other: Any, path: str = '') -> list[str]:
    """Name every place where two checkpoints are not equal to the bit; wall-clock times and logs' texts aside."""
    if isinstance(one, torch.Tensor):
        same = (
            one.dtype == other.dtype
            and one.shape == other.shape
            and bool((one.view(-1) == other.view(-1)).all())
        )
        return [] if same else [path]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f'{path}: keys {sorted(map(str, one.keys() ^ other.keys()))}']

        return [
            found
            for key in one
            for found in differences(one[key], other[key], f'{path}/{key}')
            if key
            not in (
                'cfg',
                'experiment_name',
                'time',
                'data_time',
                'eta',
                'train/time',
                'train/data_time',
                'val/time',
                'val/data_time',
            )
        ]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f'{path}: length {len(one)} and {len(other)}']

        return [
            found
            for i, pair in enumerate(zip(one, other, strict=True))
            for found in differences(*pair, f'{path}/{i}')
        ]
    if type(one).__name__ == 'HistoryBuffer':
        return [] if (one.data[0].tolist() == other.data[0].tolist()) else [path]

    return [] if one == other else [f'{path}: {one!r} and {other!r}']
