"""The door for configs out of checkpoints: what passes, what is left out, and the user's word."""

import inspect
import os
import re
import sys
from pathlib import Path

import mmpretrain
import pytest
import torch
from hostile_files import CODE, MARK, MODULE, RUN, backbone, data, lay_out, model, pipeline
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS, TRANSFORMS

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.building import build_part, limited_modules
from morn_plugin.apis.checkpoint_config import CheckpointConfig, read_checkpoint_config
from morn_plugin.apis.config_gate import FILE_WORDS, REFUSED, ConfigGate
from morn_plugin.apis.finding import find_model

PURE = """
from mmpretrain.datasets import MultiLabelDataset, PackInputs
from mmpretrain.models import GlobalAveragePooling, ImageClassifier, ResNet
from morn_plugin.datasets.transforms import LoadCheckedImage
from morn_plugin.models import MultiOrderLSTM
model = dict(type=ImageClassifier, backbone=dict(type=ResNet, depth=18),
             neck=dict(type=GlobalAveragePooling), decoder=dict(type=MultiOrderLSTM))
test_dataloader = dict(dataset=dict(type=MultiLabelDataset, pipeline=[
    dict(type=LoadCheckedImage), dict(type=PackInputs)]))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    lay_out(tmp_path, monkeypatch)
    yield tmp_path
    sys.modules.pop(MODULE, None)


def read(*lines, trust=False):
    return read_checkpoint_config('\n'.join(lines), 'a.pth', trust)


MMPRETRAIN = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
FAMILIES = ('csra', 'convnext', 'efficientnet', 'lenet', 'mobilenet_v3', 'swin_transformer', 'timm')


@pytest.mark.slow
@pytest.mark.skipif(not MMPRETRAIN.is_dir(), reason='this MMPretrain brings no configs')
def test_no_classifier_of_mmpretrain_is_refused():
    """Of all its 530 configs, those of language models and of CIFAR's pickles are refused alone."""
    files = [path for name in FAMILIES for path in sorted((MMPRETRAIN / name).glob('*.py'))]
    assert len(files) > 40

    for path in files:
        gate = ConfigGate()
        gate.clean_config(Config.fromfile(path).to_dict())
        problems = [
            problem
            for problem in gate.problems
            if 'CIFAR' not in problem and 'MNIST' not in problem
        ]
        assert not problems, path.name


@pytest.mark.parametrize(
    'line',
    [
        model(
            train_cfg=dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)])
        ),
        'train_dataloader = '
        + str(
            dict(
                dataset=dict(
                    type='ConcatDataset',
                    datasets=[dict(type='MultiLabelDataset', ann_file='a.json')],
                )
            )
        ),
        pipeline(
            dict(
                type='RandAugment',
                policies=[dict(type='AutoContrast')],
                num_policies=1,
                total_level=10,
                magnitude_level=2,
            )
        ),
        pipeline(dict(type='torchvision/ConvertImageDtype', dtype='float32')),
        pipeline(dict(type='LoadImageFromFile', backend_args=None)),
        pipeline(dict(type='LoadImageFromFile', file_client_args=dict(backend='disk'))),
        model(
            backbone=dict(
                type='LoRAModel',
                module=dict(type='VisionTransformer'),
                targets=[dict(type='.*qkv'), dict(type='.*ffn.layers.0.0')],
            )
        ),
        model(backbone=dict(type='ConvMixer', arch='768/32')),
        model(backbone=dict(type='TIMMBackbone', model_name='vit_tiny_patch16_224.augreg_in21k')),
        data(metainfo=dict(classes=['a/b', 'c'], dataset_name='mine')),
        data(ann_file='../elsewhere/annotations/test.json', data_root='/data/coco'),
        "custom_imports = dict(imports=['morn_plugin', 'mmpretrain.models'])",
        "load_from = 'https://example.org/a.pth'\nwork_dir = '/tmp/x'",
        "default_scope = 'mmpretrain'",
        'loss_scale = inf\nother = -inf',
        'big = dict(seed=123456789012345)',
    ],
)
def test_what_right_configs_have_passes(line):
    assert isinstance(read(line), CheckpointConfig)


def test_the_texts_of_pure_python_configs_pass(tmp_path):
    (tmp_path / 'pure.py').write_text(PURE)
    text = Config.fromfile(tmp_path / 'pure.py').pretty_text
    assert "type='mmpretrain.models.ResNet'" in text
    found = read(text)
    assert found.model.backbone.type == 'ResNet'
    assert found.model.decoder.type == 'MultiOrderLSTM'
    assert found.test_dataloader.dataset.pipeline[0].type == 'LoadCheckedImage'


def test_names_lose_their_scope():
    line = model(backbone=dict(type='mmpretrain.ResNet', depth=18, _scope_='mmpretrain'))
    assert read(line).model.backbone == dict(type='ResNet', depth=18)


def test_weights_are_not_followed():
    """They come from the checkpoint; what the trained config loaded is no file of the user's."""
    init_cfg = dict(type='Pretrained', checkpoint='https://example.org/evil.pth')
    line = backbone(init_cfg=init_cfg, pretrained='torchvision://resnet18')
    assert read(line).model.backbone == dict(type='ResNet', depth=18, base_channels=8)
    assert read(model(pretrained='evil.pth', init_cfg=[init_cfg])).model.get('pretrained') is None


def test_all_problems_are_listed_with_what_the_user_can_do():
    lines = [model(backbone=RUN, neck=RUN), f"custom_imports = dict(imports=['{MODULE}'])"]
    with pytest.raises(ValueError, match=r'^a\.pth is refused:') as caught:
        read(*lines)
    text = str(caught.value)
    assert [line.split('`')[1] for line in text.splitlines()[1:-1]] == [
        'custom_imports',
        'model.backbone.type',
        'model.neck.type',
    ]
    assert '--trust-config' in text.splitlines()[-1]
    assert '--config FILE' in text.splitlines()[-1]
    many = ', '.join([str(RUN)] * 50)
    with pytest.raises(ValueError, match='and 42 more'):
        read(f'custom_hooks = [{many}]')


def test_the_users_word_lets_all_pass(module):
    line = f"custom_imports = dict(imports=['{MODULE}'])\nmodel = {RUN}"
    with pytest.raises(ValueError, match='is refused'):
        read(line)
    assert not (module / MARK).exists()
    found = read(line, trust=True)
    assert type(found) is Config
    assert found.model.type == 'subprocess.run'
    assert (module / MARK).exists()


def test_the_users_word_runs_code(module):
    code = 'model = dict(type="X", depth=sum(range(4)))'
    with pytest.raises(ValueError, match='plain values'):
        read(code)
    assert read(code, trust=True).model.depth == 6
    with pytest.raises(ValueError, match=r'a\.pth: .*As code, it raises ZeroDivisionError'):
        read('model = 1 / 0', trust=True)
    with pytest.raises(ValueError, match=r'a\.pth: `custom_imports`: .*no_such_module'):
        read("custom_imports = dict(imports=['no_such_module'])", trust=True)
    with pytest.raises(ValueError, match=r'a\.pth: `custom_imports`'):
        read("custom_imports = 'no_such_module'", trust=True)


def test_limits_give_way_to_the_users_word():
    text = 'a = [' + '1, ' * 100_001 + ']'
    with pytest.raises(ValueError, match=r'at most 100,000 values, .* --trust-config'):
        read(text)
    assert len(read(text, trust=True).a) == 100_001
    line = 'test_dataloader = dict(num_workers=1000)'
    with pytest.raises(ValueError, match='num_workers'):
        read(line)
    assert read(line, trust=True).test_dataloader.num_workers == 1000


@pytest.fixture
def alone(work_dir, tmp_path):
    """A checkpoint without a config, in a folder."""
    content = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    text = content['meta'].pop('cfg')
    torch.save(content, tmp_path / 'epoch_1.pth')
    return tmp_path, text


def test_a_config_beside_a_checkpoint_is_data(alone, module):
    folder, text = alone
    beside = folder / 'config.py'
    (module / f'{MODULE}.py').rename(module / 'elsewhere.txt')
    beside.write_text(text)
    assert isinstance(find_model(folder)[0], CheckpointConfig)

    for line in (f'open({MARK!r}, "w")', f'import os\nos.mkdir({MARK!r})', f'model = {RUN}'):
        beside.write_text(f'{text}\n{line}\n')
        with pytest.raises(ValueError, match=r'config\.py'):
            find_model(folder)
        assert not (module / MARK).exists()

    beside.write_text(f'{text}\nopen({MARK!r}, "w").close()\n')
    assert find_model(folder, trust_config=True)[0].model.head.num_classes == 41
    assert (module / MARK).exists()
    (module / MARK).unlink()
    assert find_model(folder, beside)[0].model.head.num_classes == 41
    assert (module / MARK).exists()


def test_the_text_in_the_checkpoint_comes_before_the_file_beside(work_dir, module):
    content = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    torch.save(content, module / 'epoch_1.pth')
    (module / f'{MODULE}.py').write_text(CODE)
    (module / 'config.py').write_text(CODE)
    assert find_model(module / 'epoch_1.pth')[0].model.head.num_classes == 41
    assert not (module / MARK).exists()


def test_a_config_beside_a_checkpoint_has_a_size(alone):
    folder, _ = alone
    (folder / 'config.py').write_text('#' * 5_000_000)
    with pytest.raises(
        ValueError, match=r'config\.py: expected a config of at most 4,000,000 bytes'
    ):
        find_model(folder)

    (folder / 'config.py').unlink()
    os.mkfifo(folder / 'config.py')
    with pytest.raises(FileNotFoundError, match='contains none'):
        find_model(folder)


@pytest.mark.parametrize('text', ['model = nothing_there', 'model = (', 'raise KeyError(1)'])
def test_a_broken_config_of_ones_own_is_named(text, work_dir, tmp_path):
    (tmp_path / 'own.py').write_text(text)
    with pytest.raises(ValueError, match=r'own\.py cannot be read: \w+Error'):
        find_model(work_dir, tmp_path / 'own.py')
    with pytest.raises(FileNotFoundError):
        find_model(work_dir, tmp_path / 'none.py')


def test_registries_import_for_ones_own_config_alone(module):
    part = dict(type=f'{MODULE}.call')
    strange = CheckpointConfig(dict(model=part))
    with pytest.raises(ValueError, match=r'hostile_module\.call.*cannot be built'):
        build_part(MODELS, part, strange)
    with pytest.raises(ValueError, match='cannot be built'):
        build_part(MODELS, dict(type=MODULE), strange)
    with pytest.raises(ValueError, match='cannot be built'):
        build_part(MODELS, dict(type='ReLU', _scope_=MODULE, nothing=1), strange)
    assert not (module / MARK).exists()
    build_part(MODELS, part, Config(dict(model=part)))
    assert (module / MARK).exists()


def test_errors_about_files_stay_what_they_are():
    part = dict(type='MultiLabelDataset', ann_file='none.json', pipeline=[])
    with pytest.raises(FileNotFoundError):
        build_part(DATASETS, part, CheckpointConfig(dict(a=1)))


def test_a_model_that_grows_is_stopped_and_others_are_not():
    with (
        pytest.raises(ValueError, match='of its weights, but it is larger'),
        limited_modules(1000, 100),
    ):
        torch.nn.Linear(20, 20)

    with (
        pytest.raises(ValueError, match='of its weights, but it is larger'),
        limited_modules(5, 10**9),
    ):
        torch.nn.Sequential(*[torch.nn.ReLU() for _ in range(9)])

    with limited_modules(5, 1000):
        torch.nn.Linear(20, 20)
    torch.nn.Linear(200, 200)


def registered(registry):
    return {**registry.parent.module_dict, **registry.module_dict}


#: What lets a class reach beyond its arguments, in its own source.
REACHES_OUT = re.compile(
    r'from_pretrained|\bpickle\.|download_and|(?<![.\w])eval\(|torch\.load\(|load_checkpoint\('
    r'|mmengine\.load\(|TOKENIZER\.build|getattr\(albumentations'
)


@pytest.mark.slow
@pytest.mark.parametrize('registry', [MODELS, TRANSFORMS, DATASETS], ids=lambda r: r.name)
def test_what_reaches_out_is_known(registry):
    """A new class of MMPretrain that loads, downloads or evaluates must be looked at."""
    registry.import_from_location()
    found = set()
    for name, kind in registered(registry).items():
        if not inspect.isclass(kind) or 'mmpretrain.utils.dependency' in kind.__module__:
            continue
        if REACHES_OUT.search(inspect.getsource(kind)):
            found.add(name)

    assert found <= REFUSED.keys()
    assert found, 'the search finds nothing at all'


def test_arguments_that_name_files_are_known():
    """Every argument of a model that may name a file is one that the door looks at."""
    MODELS.import_from_location()
    suspicious = re.compile('path|file|url|checkpoint|pretrained|cache|prototype|tokenizer')
    harmless = re.compile(r'drop_?path|num_prototypes')

    unknown = set()
    for name, kind in registered(MODELS).items():
        if not inspect.isclass(kind) or name in REFUSED:
            continue

        for base in kind.__mro__:
            if '__init__' not in vars(base) or not base.__module__.startswith(('mm', 'morn')):
                continue

            for argument in inspect.signature(base).parameters:
                if suspicious.search(argument) and not harmless.search(argument):
                    known = FILE_WORDS & set(argument.split('_'))
                    unknown |= set() if known else {f'{name}.{argument}'}

    assert not unknown


def test_the_whole_model_is_built_behind_the_door(work_dir, module):
    """A sound checkpoint predicts; its config is a stranger's to the end."""
    inferencer = MultiLabelInferencer(work_dir, device='cpu')
    assert isinstance(inferencer.cfg, CheckpointConfig)
    assert isinstance(inferencer.cfg.copy(), CheckpointConfig)
