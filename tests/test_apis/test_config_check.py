"""Mistakes in a config are found before data are loaded, and right configs pass."""

import tempfile
from pathlib import Path
from typing import Any

import mmpretrain
import pytest
from config_files import CONFIGS, LEAVES, read_leaf
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

import morn_plugin  # noqa: F401  registers everything
from morn_plugin.apis import ConfigError, check_config
from morn_plugin.apis.config_check import find_parameters


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope('mmpretrain')


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_config_passes_and_resumes_exactly(path: Path) -> None:
    cfg = read_leaf(path)
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
    cfg = read_leaf(CONFIGS / 'morn/morn_resnet101_1xb32-50e_openclipart.py')
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


MMPRETRAIN = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
FAMILIES = sorted(path.name for path in MMPRETRAIN.iterdir() if path.is_dir())
# Those that MMEngine cannot read: they need MMDetection, mix the two kinds of config, or read a
# name that their base does not define.
UNREADABLE = {
    'mask-rcnn_r50-c4_ms-1x_coco.py',
    'mask-rcnn_r50_fpn_ms-1x_coco.py',
    'replknet-31B-deploy_32xb64_in1k-384px.py',
    'replknet-31B-deploy_32xb64_in1k.py',
    'replknet-31B_32xb64_in1k-384px.py',
    'replknet-31B_32xb64_in1k.py',
    'swinv2-base-w12_8xb128_in21k-192px.py',
    'swinv2-large-w12_8xb128_in21k-192px.py',
}
# Those that cannot be built, and what stands in the way.
BROKEN = {
    'resnet50_8xb32-cutmix_in1k.py': "there is no batch augment 'BatchCutMix'",
    'blip2_8xb32_retrieval.py': '`model.max_txt_len`',
    'blip-base_8xb16_refcoco.py': "'mmdet.RandomCrop'",
}
NOT_INSTALLED = "pip install 'mmpretrain[multimodal]'"


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_no_config_of_mmpretrain_is_refused(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # MMEngine writes every file of the chain to a temporary one.
    if Path('/dev/shm').is_dir():
        monkeypatch.setattr(tempfile, 'tempdir', '/dev/shm')

    for path in sorted((MMPRETRAIN / family).rglob('*.py')):
        if '_base_' in path.parts or path.name in UNREADABLE:
            continue

        cfg = Config.fromfile(path)
        try:
            check_config(cfg, path.name)
        except ConfigError as error:
            (problem,) = str(error).splitlines()[1:]
            known = BROKEN.get(path.name, NOT_INSTALLED)
            assert NOT_INSTALLED in problem or known in problem


def test_mmpretrain_brings_its_configs() -> None:
    leaves = [path for path in MMPRETRAIN.rglob('*.py') if '_base_' not in path.parts]
    assert len(leaves) > 500


def classifier(**settings: Any) -> dict[str, Any]:
    backbone = settings.pop('backbone', dict(type='ResNet', depth=18))
    head = dict(type='LabelDecoderHead', num_classes=4, in_channels=512, decoder=None)
    return dict(model=dict(type='MultiLabelClassifier', backbone=backbone, head=head, **settings))


def loading(*pipeline: dict[str, Any]) -> dict[str, Any]:
    dataset = dict(type='CheckedMultiLabelDataset', ann_file='a.json', pipeline=list(pipeline))
    return dict(train_dataloader=dict(batch_size=1, dataset=dataset))


def policies(*given: dict[str, Any]) -> dict[str, Any]:
    magnitudes = dict(num_policies=1, total_level=10, magnitude_level=9.5, policies=list(given))
    return loading(dict(type='RandAugment', **magnitudes))


def lora(**adapted: Any) -> dict[str, Any]:
    module = dict(type='VisionTransformer', arch='b', **adapted)
    return classifier(
        backbone=dict(type='LoRAModel', module=module, rank=16, targets=[dict(type='qkv')])
    )


ODD_VIT = dict(type='VisionTransformer', pretrained='somewhere')
ROTATE = dict(type='Rotate', magnitude_key='angle', magnitude_range=(0, 30))


@pytest.mark.parametrize(
    ('right', 'wrong', 'expected'),
    [
        (
            classifier(train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)])),
            classifier(train_cfg=dict(augments=[dict(type='Mixupp', alpha=0.8)])),
            "there is no batch augment 'Mixupp'. Did you mean 'Mixup'?",
        ),
        (
            classifier(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=None)),
            classifier(train_cfg=dict(augments=dict(type='CutMix', alpa=1.0))),
            "CutMix has no such argument. Did you mean 'alpha'?",
        ),
        (
            dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=512.0)),
            dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scal=512.0)),
            "Did you mean 'loss_scale'?",
        ),
        (
            policies(ROTATE),
            policies(dict(ROTATE, magnitude_rnge=(0, 30))),
            "Rotate has no such argument. Did you mean 'magnitude_range'?",
        ),
        (policies(ROTATE), policies(dict(ROTATE, type='Rotatee')), "Did you mean 'Rotate'?"),
        (lora(), lora(drop_rat=0.1), "Did you mean 'drop_rate'?"),
        (
            loading(dict(type='BEiTMaskGenerator', input_size=(14, 14), num_masking_patches=75)),
            loading(dict(type='BEiTMaskGenerator', input_size='14', num_masking_patches=75)),
            "input_size` should be int, but got '14'",
        ),
        (
            # A wrapper may take arguments that are not those of what it wraps.
            classifier(backbone=dict(type='TIMMBackbone', model_name='a', tower=dict(ODD_VIT))),
            classifier(backbone=dict(ODD_VIT)),
            'VisionTransformer has no such argument',
        ),
        (
            dict(tta_model=dict(type='AverageScoresTTA')),
            dict(tta_model=dict(type='AverageScoreTTA')),
            "Did you mean 'AverageScoresTTA'?",
        ),
    ],
    ids=[
        'mixup',
        'cutmix',
        'loss_scale',
        'policy',
        'policy type',
        'lora',
        'pair',
        'wrapped',
        'tta',
    ],
)
def test_right_values_pass_where_a_mistake_is_named(
    right: dict[str, Any], wrong: dict[str, Any], expected: str
) -> None:
    check_config(ConfigDict(right))
    with pytest.raises(ConfigError) as caught:
        check_config(ConfigDict(wrong))
    assert expected in str(caught.value)


def test_own_annotations_are_believed() -> None:
    head = dict(type='LabelDecoderHead', num_classes=4.5, in_channels=512, decoder=None)
    with pytest.raises(ConfigError, match=r'num_classes` should be int, but got 4\.5'):
        check_config(dict(model=dict(type='MultiLabelClassifier', head=head)))
