"""Mistakes in a config are found before data are loaded, and right configs pass."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

import morn_plugin  # noqa: F401  registers everything
from morn_plugin.apis import ConfigError, check_config
from morn_plugin.apis.config_check import find_parameters

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope('mmpretrain')


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_config_passes_and_resumes_exactly(path: Path) -> None:
    cfg = Config.fromfile(path)
    check_config(cfg)
    assert cfg.train_dataloader.sampler.type == 'SeededSampler'
    assert cfg.default_hooks.checkpoint.type == 'ResumableCheckpointHook'
    assert cfg.default_hooks.exact_resume.type == 'ExactResumeHook'


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (
            {'optim_wrapper.optimizer.lrr': 1},
            "`optim_wrapper.optimizer.lrr`: FusedRMSprop has no such argument. Did you mean 'lr'?",
        ),
        (
            {'optim_wrapper.optimizer.type': 'RMSProp'},
            "there is no optimizer 'RMSProp'. Did you mean 'RMSprop'?",
        ),
        ({'optim_wrapper.clip_grd': dict(max_norm=1)}, "Did you mean 'clip_grad'?"),
        (
            {'train_dataloader.batch_szie': 1},
            '`train_dataloader.batch_szie`: a data loader has no such argument',
        ),
        ({'train_dataloader.dataset.annfile': 'x'}, "Did you mean 'ann_file'?"),
        (
            {'train_dataloader.dataset.pipeline.1.scal': 1},
            '`train_dataloader.dataset.pipeline[1].scal`',
        ),
        (
            {'train_dataloader.dataset.pipeline.1.type': 'RandomResizeCrop'},
            "Did you mean 'RandomResizedCrop'?",
        ),
        ({'train_dataloader.sampler.shufle': True}, "Did you mean 'shuffle'?"),
        ({'model.type': 'MultiLabelClasifier'}, "Did you mean 'MultiLabelClassifier'?"),
        ({'model.backbone.dept': 50}, "Did you mean 'depth'?"),
        ({'model.head.num_steps': 'five'}, "`model.head.num_steps` should be int, but got 'five'"),
        ({'model.head.loss.mask_': 1}, "Did you mean 'mask'?"),
        (
            {'val_evaluator.0.tresh': 0.5},
            '`val_evaluator[0].tresh`: PerLabelF1 has no such argument',
        ),
        (
            {'train_cfg.max_epoch': 3},
            '`train_cfg.max_epoch`: EpochBasedTrainLoop has no such argument',
        ),
        (
            {'default_hooks.logger.interval': 'x'},
            "`default_hooks.logger.interval` should be int, but got 'x'",
        ),
        ({'default_hooks.logger.type': 'LogerHook'}, "Did you mean 'LoggerHook'?"),
        (
            {'param_schedular': dict(type='StepLR')},
            '`param_schedular` is no setting. Did you mean `param_scheduler`?',
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_mistake_is_named(options: dict[str, Any], expected: str) -> None:
    cfg = Config.fromfile(CONFIGS / 'morn/morn_resnet101_1xb32-50e_openclipart.py')
    cfg.merge_from_dict(options)
    with pytest.raises(ConfigError) as caught:
        check_config(cfg, 'my_config.py')
    assert expected in str(caught.value)
    assert 'my_config.py' in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2  # one mistake, one line


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(
            dict(
                optim_wrapper=dict(optimizer=dict(type='SGD', l=1)),
                default_hooks=dict(a=dict(type='None')),
            )
        )
    assert len(str(caught.value).splitlines()) == 3


def test_parameters_are_followed_to_the_base_class() -> None:
    class Base:
        def __init__(self, a: int) -> None: ...

    class HandsOn(Base):
        def __init__(self, b: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    class GivesElsewhere(Base):
        def __init__(self, b: int, **kwargs: Any) -> None:
            super().__init__(1)
            self.others = kwargs

    assert [set(part) if isinstance(part, dict) else part for part in find_parameters(HandsOn)] == [
        {'a', 'b'},
        False,
    ]
    assert find_parameters(GivesElsewhere)[1] is True
