"""Several processes: the same figures as one, an error when one dies, and completion after torchrun's restart."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training_runs import (
    BY_EPOCH,
    HERE,
    ROOT,
    Run,
    differences,
    final_state,
    make_data,
    train,
    write_config,
)

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    return make_data(tmp_path_factory.mktemp('distributed') / 'data', validation=37)


def kill_once(marker: Path, iteration: int) -> str:
    return (
        BY_EPOCH
        + f"custom_hooks += [dict(type='KillOnceHook', marker={str(marker)!r}, iteration={iteration})]\n"
    )


def torchrun(config: Path, work_dir: Path, restarts: int) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(ROOT), str(HERE)])
    return subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc-per-node=2',
            f'--max-restarts={restarts}',
            str(ROOT / 'tools/train.py'),
            str(config),
            '--work-dir',
            str(work_dir),
            '--resume',
            '--launcher',
            'pytorch',
            '--no-pin-memory',
        ],
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.mark.parametrize('images', [37, 8, 2], ids=lambda count: f'{count}-images')
def test_any_number_of_processes_gives_the_same_figures(
    images: int, data: Path, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path / 'tiny.py',
        data,
        extra=BY_EPOCH + f"test_dataloader['dataset']['indices'] = {images}\n",
    )
    train(
        config,
        tmp_path / 'trained',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
        'default_hooks.checkpoint.save_best=None',
    ).succeed()
    figures = []
    for processes in (1, 2, 3):
        out = tmp_path / f'{processes}.json'
        Run(
            'test.py',
            [
                str(config),
                str(tmp_path / 'trained/epoch_1.pth'),
                '--work-dir',
                str(tmp_path / 'test'),
                '--no-pin-memory',
                '--out',
                str(out),
            ],
            tmp_path / 'test.log',
            processes,
        ).succeed()
        figures.append(out.read_bytes())

    assert figures[0] == figures[1] == figures[2]
    assert {'per-label/f1-score', 'per-image/f1-score', 'one-step/top-1'} <= json.loads(
        figures[0]
    ).keys()


def test_dead_process_ends_the_job_and_a_restart_completes_it(data: Path, tmp_path: Path) -> None:
    marker = tmp_path / 'killed'
    config = write_config(tmp_path / 'tiny.py', data, extra=kill_once(marker, 13))
    start = time.monotonic()
    run = torchrun(config, tmp_path / 'run', restarts=0)
    assert run.returncode != 0
    assert marker.exists()
    assert time.monotonic() - start < 120
    assert 'SIGKILL' in run.stderr
    marker.unlink()
    run = torchrun(config, tmp_path / 'run', restarts=1)  # goes on, is killed again, is restarted
    assert run.returncode == 0, run.stderr[-4000:]
    assert marker.exists()
    train(config, tmp_path / 'whole', processes=2).succeed()
    assert differences(final_state(tmp_path / 'whole'), final_state(tmp_path / 'run')) == []
