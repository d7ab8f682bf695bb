"""More processes, accumulated gradients, lower precision, an averaged model, recomputed activations; Slurm's scripts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from morn_plugin.apis.annotating.recipe import STATE_NORM
from morn_plugin.engine.hooks.checkpoint_check_hook import CheckpointCheckHook

pytestmark = pytest.mark.slow  # starts processes

ROOT = Path(__file__).parents[2]
SECOND_STAGE = ROOT / 'configs/morn/morn_resnet18_1xb32-50e_coco-448px.py'
DATA = ROOT / 'tests/data/openclipart_mini'
AUGMENTATION = [
    dict(type='LoadCheckedImage'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='PackInputs'),
]
FIRST_STAGE = ROOT / 'configs/cnn/cnn_resnet18_1xb16-100e_coco-448px.py'


def small_model(path, **backbone):
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(path)
    cfg.model.backbone.update(init_cfg=None, **backbone)
    torch.manual_seed(0)
    return cfg, MODELS.build(cfg.model)


def batch(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)
    samples = [DataSample().set_gt_label([i % 80, 79 - i % 7]) for i in range(number)]
    return dict(inputs=inputs, data_samples=samples)


def part(data, rows):
    return dict(inputs=data['inputs'][rows], data_samples=data['data_samples'][rows])


def flat(model):
    return torch.cat(
        [value.detach().flatten() for value in model.parameters() if value.requires_grad]
    )


def run(command, **env):
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(ROOT),
        'PYTHON': sys.executable,
        **env,
    }
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=200, env=env
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize(
    ('state_norm', 'tolerance'),
    [(None, 1e-4), (STATE_NORM, 1e-2)],  # RMSProp enlarges rounding where gradients vanish
    ids=['plain', 'batch norm'],
)
def test_two_processes_at_16_equal_one_at_32(state_norm, tolerance, tmp_path):
    """The same samples in each of four steps, behind a frozen CNN, with and without batch norm before the state."""
    cfg, _ = small_model(SECOND_STAGE)
    cfg.model.head.state_norm = state_norm
    cfg.merge_from_dict(
        dict(
            model=dict(head=dict(num_classes=41)),
            load_from=None,
            train_cfg=dict(max_epochs=1),
            train_dataloader=dict(
                num_workers=0,
                persistent_workers=False,
                dataset=dict(
                    data_root=str(DATA), ann_file='val.json', indices=128, pipeline=AUGMENTATION
                ),
            ),
            test_dataloader=None,
            test_cfg=None,
            test_evaluator=None,
        )
    )
    torch.manual_seed(0)
    start = MODELS.build(cfg.model)
    torch.save(dict(state_dict=start.state_dict()), tmp_path / 'first.pth')
    cfg.load_from = str(tmp_path / 'first.pth')
    cfg.dump(tmp_path / 'config.py')

    run(
        [
            sys.executable,
            ROOT / 'tools/train.py',
            tmp_path / 'config.py',
            '--work-dir',
            tmp_path / 'one',
            '--cfg-options',
            'train_dataloader.batch_size=32',
        ]
    )
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]

    run(
        [
            ROOT / 'tools/dist_train.sh',
            tmp_path / 'config.py',
            2,
            '--work-dir',
            tmp_path / 'two',
            '--cfg-options',
            'train_dataloader.batch_size=16',
        ],
        MASTER_PORT=str(port),
    )
    weights = [
        torch.load(tmp_path / name / 'epoch_1.pth', weights_only=True)['state_dict']
        for name in ('one', 'two')
    ]
    moved = 0
    for name, value in start.state_dict().items():
        one = weights[0][name]
        two = weights[1][name]
        if name.startswith('head.decoder.'):
            step = (one - value).float().norm()
            assert (one - two).float().norm() <= tolerance * step, name
            moved += bool(step > 0)
        else:
            assert torch.equal(one, value), name
            assert torch.equal(two, value), name

    assert moved >= 8


def test_accumulated_gradients_equal_the_large_batch():
    """optim_wrapper.accumulative_counts=2 at 16 takes the step of 32."""
    data = batch(32)
    results = []
    for counts in (1, 2):
        cfg, model = small_model(SECOND_STAGE)
        start = flat(model)
        wrapper = build_optim_wrapper(model, dict(cfg.optim_wrapper, accumulative_counts=counts))
        wrapper.initialize_count_status(model, 0, 2 * counts)
        model.train()

        for _ in range(2):
            for chunk in range(counts):
                size = 32 // counts
                model.train_step(part(data, slice(chunk * size, (chunk + 1) * size)), wrapper)

        results.append(flat(model) - start)

    assert results[0].norm() > 0
    assert (results[0] - results[1]).norm() <= 1e-4 * results[0].norm()


@pytest.mark.parametrize(
    ('path', 'tolerance'), [(FIRST_STAGE, 0.05), (SECOND_STAGE, 0.05)], ids=['cnn', 'morn']
)
def test_autocast(path, tolerance):
    """What AmpOptimWrapper does around the forward pass; the wrapper itself refuses to run without a GPU."""
    _, model = small_model(path)
    model.train()
    data = model.data_preprocessor(batch(8), training=True)
    exact = model(**data, mode='loss')
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(**data, mode='loss')
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=tolerance)
        assert loss.item() != exact[name].item(), 'nothing ran in the lower precision'

    sum(losses.values()).backward()
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.requires_grad)


def test_recomputed_activations_change_no_gradient():
    """model.backbone.with_cp=True."""
    gradients = []
    for with_cp in (False, True):
        _, model = small_model(FIRST_STAGE, with_cp=with_cp, norm_eval=True)
        model.train()
        losses = model(**model.data_preprocessor(batch(4), training=True), mode='loss')
        losses['loss_cnn'].backward()
        gradients.append(torch.cat([value.grad.flatten() for value in model.parameters()]))

    assert gradients[0].norm() > 0
    torch.testing.assert_close(*gradients)


def count_kept(module, x):
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel()) or tensor, lambda x: x
    ):
        module(x)
    return sum(sizes)


def test_recomputed_activations_keep_less():
    kept = []
    for with_cp in (False, True):
        _, model = small_model(FIRST_STAGE, with_cp=with_cp)
        kept.append(count_kept(model.backbone, torch.randn(2, 3, 64, 64)))
    assert kept[1] < kept[0] / 2


def test_averaged_model(tmp_path, monkeypatch):
    """custom_hooks=[dict(type='EMAHook', ...)]: the averaged weights are what is saved."""
    monkeypatch.setattr(CheckpointCheckHook, 'before_train', lambda *_: None)
    cfg, _ = small_model(SECOND_STAGE)
    momentum = 0.25
    name = 'head.decoder.output.bias'
    seen = []
    cfg.merge_from_dict(
        dict(
            custom_hooks=[dict(type='EMAHook', momentum=momentum)],
            train_cfg=dict(max_epochs=3),
            work_dir=str(tmp_path),
            model=dict(head=dict(num_classes=41)),
            test_dataloader=None,
            test_cfg=None,
            test_evaluator=None,
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                persistent_workers=False,
                collate_fn=dict(type='default_collate'),
                dataset=dict(
                    data_root=str(DATA), ann_file='val.json', indices=8, pipeline=AUGMENTATION
                ),
            ),
        )
    )

    class Watch(Hook):
        priority = 'VERY_HIGH'

        def after_train_iter(self, runner, *args, **kwargs):
            seen.append(dict(runner.model.named_parameters())[name].detach().clone())

    runner = Runner.from_cfg(cfg)
    runner.register_hook(Watch())
    runner.train()
    average = seen[0]
    for weights in seen[1:]:
        average = (1 - momentum) * average + momentum * weights

    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    torch.testing.assert_close(saved['state_dict'][name], average)
    assert (average - seen[-1]).abs().max() > 1e-5


@pytest.mark.parametrize(
    ('script', 'arguments', 'tool'),
    [
        ('slurm_train.sh', ['config.py', '--amp'], 'train.py'),
        ('slurm_test.sh', ['config.py', 'a.pth'], 'test.py'),
    ],
)
def test_slurm(tmp_path, script, arguments, tool):
    """A stand-in for srun shows what it is given."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    env = dict(
        PATH=f'{tmp_path}:{os.environ["PATH"]}',
        GPUS='16',
        GPUS_PER_NODE='8',
        SRUN_ARGS='--time=10 --quiet',
    )
    given = run([ROOT / 'tools' / script, 'gpu', 'job', *arguments], **env).splitlines()
    assert {
        '--partition=gpu',
        '--job-name=job',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--gres=gpu:8',
        '--time=10',
        '--quiet',
    } <= set(given)
    assert given[given.index('-u') + 1 :] == [
        str(ROOT / 'tools' / tool),
        *arguments,
        '--launcher',
        'slurm',
    ]


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
@pytest.mark.parametrize(
    ('ports', 'expected'),
    [
        (dict(), 29500),
        (dict(PORT='1234'), 1234),
        (dict(MASTER_PORT='4321'), 4321),
        (dict(PORT='1234', MASTER_PORT='4321'), 4321),
    ],
)
def test_the_port_may_be_named_as_mmpretrain_does(script, ports, expected, monkeypatch):
    monkeypatch.delenv('MASTER_PORT', raising=False)
    given = run([ROOT / 'tools' / script, 'config.py', 'a.pth', '2'], PYTHON='echo', **ports)
    assert f'--master_port={expected} ' in given


def test_slurm_needs_whole_machines(tmp_path):
    done = subprocess.run(
        [ROOT / 'tools/slurm_train.sh', 'gpu', 'job', 'config.py'],
        capture_output=True,
        text=True,
        env=dict(os.environ, GPUS='12', GPUS_PER_NODE='8'),
    )
    assert done.returncode == 2
    assert 'GPUS=12' in done.stderr
