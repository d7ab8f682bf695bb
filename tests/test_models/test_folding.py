"""Batch norm folded into convolutions: the same numbers, where it is safe."""

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from morn_plugin.models import folding
from morn_plugin.models.folding import FoldedConv, InParts, fold_batch_norm, fold_weights
from morn_plugin.models.onnx_network import OnnxNetwork, export_network


def train_statistics(model):
    """Give every batch norm statistics and weights of its own."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    model.eval()
    return model


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


def fold(model, images):
    return fold_batch_norm(model, lambda network: network(images[:1]))


@pytest.mark.parametrize('bias', [True, False])
def test_weights_are_those_of_torch(bias):
    conv = nn.Conv2d(4, 6, 3, groups=2, bias=bias)
    norm = train_statistics(nn.BatchNorm2d(6))
    expected = fuse_conv_bn_eval(conv.eval(), norm)
    weight, shift = fold_weights(conv, norm)
    torch.testing.assert_close(weight, expected.weight)
    torch.testing.assert_close(shift, expected.bias)


@pytest.mark.parametrize('size', [(32, 32), (33, 38)])
@torch.no_grad()
def test_convolutions_that_pad_by_size_see_the_same_pixels(size):
    """timm's EfficientNet-lite pads as TensorFlow does, below and to the right first."""
    timm = pytest.importorskip('timm')
    model = train_statistics(timm.create_model('tf_efficientnet_lite0', features_only=True))
    images = torch.randn(3, 3, *size)
    folded = fold(model, images)
    assert count(model, nn.BatchNorm2d) == count(folded, FoldedConv) == 48
    assert count(folded, nn.BatchNorm2d) == 0

    for _ in range(3):  # weights are laid out anew when a shape comes again
        for mine, theirs in zip(folded(images), model(images), strict=True):
            assert mine.shape == theirs.shape
            assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize('size', [(32, 32), (33, 38)])
@torch.no_grad()
def test_a_folded_network_is_exported_in_one_operator_a_convolution(size):
    """ONNX pads each side by its own number."""
    onnx = pytest.importorskip('onnx')
    timm = pytest.importorskip('timm')
    model = train_statistics(timm.create_model('tf_efficientnet_lite0', features_only=True))
    images = torch.randn(3, 3, *size)
    folded = fold(model, images).network
    in_onnx = OnnxNetwork(folded, images, model(images))
    for mine, theirs in zip(in_onnx(images[:1]), model(images[:1]), strict=True):
        assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()

    graph = onnx.load_model_from_string(export_network(folded, images)).graph
    kinds = [node.op_type for node in graph.node if node.op_type != 'Constant']
    assert set(kinds) == {'Conv', 'Clip', 'Add'}
    assert kinds.count('Conv') == 48


@pytest.mark.parametrize(
    'options', [dict(type='ResNet', depth=18), dict(type='MobileNetV3', arch='small_050')]
)
@torch.no_grad()
def test_backbones_of_mmpretrain_give_the_same(options):
    from mmpretrain.registry import MODELS

    import morn_plugin.registration  # noqa: F401

    model = train_statistics(MODELS.build(options))
    images = torch.randn(3, 3, 40, 40)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold(model, images)
    assert count(folded, nn.BatchNorm2d) == 0
    for mine, theirs in zip(folded(images), model(images), strict=True):
        assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Shared(nn.Module):
    """A convolution that two batch norms follow, and one that is used without its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.other, self.head = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, images):
        twice = self.norms[0](self.conv(images)) + self.norms[1](self.conv(images))
        between = self.norms[2](self.other(images).relu())
        return self.norms[3](self.head(twice + between))


@torch.no_grad()
def test_only_what_follows_directly_and_alone_is_folded():
    model = train_statistics(Shared())
    images = torch.randn(2, 3, 5, 5)
    folded = fold(model, images)
    assert (count(folded, FoldedConv), count(folded, nn.BatchNorm2d)) == (1, 3)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-5, atol=1e-5)
    assert (
        fold(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)).eval(), images) is None
    )


@torch.no_grad()
def test_many_images_go_through_in_parts(monkeypatch):
    monkeypatch.setattr(folding, 'PIXELS_AT_ONCE', 11)
    seen = []

    class Network(nn.Module):
        def forward(self, images):
            seen.append(len(images))
            return (images * 2, images.sum((1, 2, 3)))

    images = torch.randn(5, 3, 2, 2)
    double, total = InParts(Network())(images)
    assert seen == [2, 2, 1]
    assert torch.equal(double, images * 2)
    assert torch.equal(total, images.sum((1, 2, 3)))


@torch.no_grad()
def test_few_shapes_are_remembered():
    conv = nn.Conv2d(3, 4, 3, padding=1)
    norm = train_statistics(nn.BatchNorm2d(4))
    folded = FoldedConv(conv, *fold_weights(conv, norm), [nn.ReLU()])
    for size in [*range(3, 23), *range(3, 23), 22, 22]:
        images = torch.randn(1, 3, size, size)
        torch.testing.assert_close(folded(images), norm(conv(images)).relu(), rtol=1e-4, atol=1e-5)
        assert len(folded._kept) <= folding.MAX_SHAPES
    assert sum(value is not None for value in folded._kept.values()) == 1
