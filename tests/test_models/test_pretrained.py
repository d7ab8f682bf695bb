from pathlib import Path

import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from morn_plugin.models.pretrained import load_pretrained, read_state_dict

CONFIGS = Path(__file__).parents[2] / 'configs'
RESNET = dict(type='ResNet', depth=18, num_stages=4, out_indices=(3,), style='pytorch')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


@pytest.fixture(scope='module')
def theirs():
    torch.manual_seed(3)
    return torchvision.models.resnet18(weights=None).eval()


def classifier(checkpoint):
    return MODELS.build(
        dict(
            type='MultiLabelClassifier',
            backbone=dict(RESNET, init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint))),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LabelDecoderHead', num_classes=3, in_channels=512, decoder=None),
        )
    )


@pytest.mark.parametrize('layout', ['torchvision', 'openmmlab', 'data_parallel'])
def test_local_file_gives_the_features_of_the_other_library(tmp_path, theirs, layout):
    state = theirs.state_dict()
    if layout == 'openmmlab':
        state = dict(
            meta={},
            state_dict={
                (f'head.{k}' if k.startswith('fc.') else f'backbone.{k}'): v
                for k, v in state.items()
            },
        )
    elif layout == 'data_parallel':
        state = {f'module.{k}': v for k, v in state.items()}

    torch.save(state, tmp_path / 'weights.pth')
    model = classifier(tmp_path / 'weights.pth')
    model.init_weights()
    model.eval()
    images = torch.randn(2, 3, 64, 64)
    body = torch.nn.Sequential(*list(theirs.children())[:-1])
    with torch.no_grad():
        torch.testing.assert_close(model.extract_feat(images)[-1], body(images).flatten(1))
    # the classifier is its own
    assert model.head.fc.weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_timm_names(tmp_path):
    timm = pytest.importorskip('timm')
    state = timm.create_model('tf_efficientnet_lite0', pretrained=False).state_dict()
    torch.save(state, tmp_path / 'weights.pth')
    backbone = MODELS.build(dict(type='TIMMBackbone', model_name='tf_efficientnet_lite0'))
    load_pretrained(backbone, str(tmp_path / 'weights.pth'))
    torch.testing.assert_close(backbone.timm_model.conv_head.weight, state['conv_head.weight'])


def test_position_embedding_is_interpolated(tmp_path):
    vit = dict(type='VisionTransformer', arch='deit-tiny', patch_size=16)
    small = MODELS.build(dict(vit, img_size=32))
    large = MODELS.build(dict(vit, img_size=64))
    torch.save(
        {f'backbone.{k}': v for k, v in small.state_dict().items()}, tmp_path / 'weights.pth'
    )
    load_pretrained(large, str(tmp_path / 'weights.pth'))
    torch.testing.assert_close(large.pos_embed[:, 0], small.pos_embed[:, 0])
    assert large.pos_embed.shape[1] == 1 + 16


def test_prefix(tmp_path, theirs):
    torch.save(
        {f'teacher.{k}': v for k, v in theirs.state_dict().items()}, tmp_path / 'weights.pth'
    )
    backbone = MODELS.build(RESNET)
    load_pretrained(backbone, str(tmp_path / 'weights.pth'), prefix='teacher')
    torch.testing.assert_close(backbone.conv1.weight, theirs.conv1.weight)

    with pytest.raises(
        ValueError,
        match=r"does not contain the weights of this ResNet: .* of its .*'teacher.conv1.weight'",
    ):
        load_pretrained(backbone, str(tmp_path / 'weights.pth'))


def test_other_architecture(tmp_path, theirs):
    torch.save(theirs.state_dict(), tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=r'weights\.pth do not fit ResNet: '):
        load_pretrained(MODELS.build(dict(RESNET, depth=50)), str(tmp_path / 'weights.pth'))


@pytest.mark.parametrize(
    'checkpoint', ['torchvision://resnet18', 'https://weights.invalid/resnet18.pth']
)
def test_offline(monkeypatch, tmp_path, checkpoint):
    def refuse(*args, **kwargs):
        raise OSError('Network is unreachable')

    monkeypatch.setattr('urllib.request.urlopen', refuse)
    monkeypatch.setattr('torch.hub.urlopen', refuse)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(ValueError, match='Cannot download the backbone') as error:
        classifier(checkpoint).init_weights()
    for part in (
        checkpoint,
        'Network is unreachable',
        '--cfg-options model.backbone.init_cfg.checkpoint=FILE',
    ):
        assert part in str(error.value)


@pytest.mark.parametrize('content', [None, b'', b'<html>', [1, 2], {'epoch': 3}])
def test_bad_file(tmp_path, content):
    path = tmp_path / 'weights.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)

    with pytest.raises(ValueError, match=r'Cannot read|Expected') as error:
        read_state_dict(str(path))
    assert str(path) in str(error.value)
    assert 'model.backbone.init_cfg.checkpoint=FILE' in str(error.value)


def test_option_of_the_shipped_config(tmp_path, theirs):
    torch.save(theirs.state_dict(), tmp_path / 'weights.pth')
    cfg = Config.fromfile(CONFIGS / 'cnn/cnn_resnet18_1xb16-100e_coco-448px.py')
    cfg.merge_from_dict({'model.backbone.init_cfg.checkpoint': str(tmp_path / 'weights.pth')})
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.testing.assert_close(model.backbone.conv1.weight, theirs.conv1.weight)
    assert isinstance(model.predict(torch.zeros(1, 3, 64, 64))[0], DataSample)
