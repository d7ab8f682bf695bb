"""A loss that is not finite ends the run and names the images; mistakes in a config end it before the data are read."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmpretrain.structures import DataSample
from training_runs import BY_EPOCH, make_data, train, write_config

from morn_plugin.engine.hooks import FiniteLossHook, LossError

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    return make_data(tmp_path_factory.mktemp('finite') / 'data')


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_names_images_and_part(value: float) -> None:
    samples = [DataSample(metainfo=dict(img_path=name)) for name in ('a.png', 'b.png')]
    losses = dict(
        loss=torch.tensor(value),
        loss_cnn=torch.tensor(value, requires_grad=True),
        loss_multi_order=1.0,
    )
    with pytest.raises(LossError, match=r'iteration 8 \(epoch 2\).*loss_cnn = .*a\.png, b\.png'):
        FiniteLossHook().after_train_iter(
            SimpleNamespace(iter=7, epoch=1), 0, dict(data_samples=samples), losses
        )

    with pytest.raises(LossError, match=r'of the batch: c\.png'):
        FiniteLossHook().after_train_iter(
            SimpleNamespace(iter=7, epoch=1), 0, dict(img_path=['c.png']), losses
        )


def test_finite_loss_passes() -> None:
    FiniteLossHook().after_train_iter(
        SimpleNamespace(iter=0, epoch=0), 0, None, dict(loss=torch.tensor(1e30), lr=1)
    )


def test_run_stops_before_the_next_checkpoint(data: Path, tmp_path: Path) -> None:
    extra = BY_EPOCH + "optim_wrapper['optimizer'] = dict(type='SGD', lr=1e30)\n"
    run = train(write_config(tmp_path / 'tiny.py', data, extra=extra), tmp_path / 'run')
    assert run.wait() == [1]
    text = run.log.read_text()
    assert 'LossError: The loss is not finite in iteration' in text
    assert '.webp' in text.split('LossError')[-1]
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize(
    ('extra', 'expected'),
    [
        ("optim_wrapper['optimizer']['lr'] = '0.1'", 'lr'),
        ("model['head']['num_stepz'] = 3", 'num_stepz'),
        ("default_hooks['checkpoint'] = dict(intervall=1)", 'intervall'),
        ("val_evaluator[0]['thr'] = 50", '`thr` to be a number between 0 and 1'),
        ("optim_wrapper['optimizer']['alhpa'] = 0.9", "Did you mean 'alpha'"),
    ],
)
def test_mistake_is_found_before_the_data(
    extra: str, expected: str, data: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / 'tiny.py', tmp_path / 'no data there', extra=BY_EPOCH + extra)
    run = train(config, tmp_path / 'run')
    assert run.wait() == [1]
    last = run.log.read_text().split('Traceback')[-1]
    assert expected in last
    assert 'does not exist' not in last
