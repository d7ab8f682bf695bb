"""Many images go through ONNX Runtime: the same numbers, where it is safe."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from morn_plugin.models import folding, onnx_network
from morn_plugin.models.onnx_network import OnnxLater, OnnxNetwork

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

SWIN = dict(
    type='SwinTransformer',
    arch=dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2]),
    img_size=56,
    window_size=7,
    out_indices=(0, 1),
)
RESNET = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(1, 3))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_network, 'AFTER', 4)


def build(config: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    network = MODELS.build(config)
    network.eval()
    return network


def are_close(images: Tensor, one: Any, other: Any) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.allclose(mine, theirs, atol=1e-5) for mine, theirs in pairs)


def run(network: nn.Module, numbers: tuple[int, ...], size: int = 56) -> list[bool]:
    """Run batches of some sizes; return whether each went through ONNX Runtime."""
    plain = network.network
    through = []
    for number in numbers:
        images = torch.randn(number, 3, size, size)
        with torch.inference_mode():
            expected = plain(images)
            found = network._found
            through.append(found is not None and found[0] == images.shape[1:])
            outputs = network(images)
        assert isinstance(outputs, type(expected))
        assert are_close(images, expected, outputs)
    return through


@pytest.mark.parametrize('config', [RESNET, SWIN], ids=lambda config: config['type'])
def test_it_takes_over_after_some_images_and_gives_the_same(config: dict[str, Any]) -> None:
    network = OnnxLater(build(config), build(config), are_close)
    assert run(network, (3, 2, 1, 5, 2)) == [False, False, True, True, True]


def test_images_of_another_size_are_counted_on_their_own() -> None:
    network = OnnxLater(build(RESNET), build(RESNET), are_close)
    assert run(network, (4, 1)) == [False, True]
    assert run(network, (3,), size=64) == [False]
    assert run(network, (1,)) == [True]
    assert run(network, (1, 1), size=64) == [False, True]


def test_large_batches_go_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, 'PIXELS_AT_ONCE', 2 * 56 * 56)
    network = OnnxLater(build(RESNET), build(RESNET), are_close)
    run(network, (4,))
    seen, forward = [], OnnxNetwork.forward

    def count(self: OnnxNetwork, images: Tensor) -> Any:
        seen.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(OnnxNetwork, 'forward', count)
    run(network, (5,))
    assert seen == [2, 2, 1]


def test_outputs_may_be_a_tensor_or_nested() -> None:
    class Nested(nn.Module):
        def forward(self, images: Tensor) -> Any:
            return [images.mean(1), (images + 1, images.flatten(1))]

    def agree(images: Tensor, one: Any, other: Any) -> bool:
        return torch.allclose(one[1][1], other[1][1])

    nested = OnnxLater(Nested(), Nested(), agree)
    images = torch.randn(4, 3, 5, 6)
    first, second = nested(images), nested(images)
    assert nested._found is not None
    for mine, theirs in zip([second[0], *second[1]], [first[0], *first[1]], strict=True):
        torch.testing.assert_close(mine, theirs)

    single = OnnxLater(nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3), lambda *_: True)
    single(images)
    torch.testing.assert_close(single(images), single.network(images))


class FixedNumber(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (images.view(int(images.shape[0] / 1), 3, -1),)


class NotInOnnx(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (torch.linalg.svdvals(images),)


def test_where_pytorch_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def stays(network: nn.Module, agree: Callable[..., bool] = are_close) -> bool:
        later = OnnxLater(network, network, agree)
        images = torch.randn(onnx_network.EXAMPLES, 3, 8, 8)
        for _ in range(3):
            later(images)
        return later._found is None

    conv = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).eval()
    assert not stays(conv, lambda *_: True)
    assert stays(conv, lambda *_: False)
    assert stays(FixedNumber())
    assert stays(NotInOnnx())

    torch.use_deterministic_algorithms(True)
    try:
        assert stays(conv, lambda *_: True)
    finally:
        torch.use_deterministic_algorithms(False)

    with monkeypatch.context() as patch:
        patch.setattr(onnx_network, 'LARGEST', 59)
        assert stays(conv, lambda *_: True)  # 3 x 3 x 3 x 2 weights, and 6 more

    for name in onnx_network.NEEDED:
        with monkeypatch.context() as patch:
            patch.setattr(onnx_network, 'find_spec', lambda other, name=name: other != name)
            patch.delitem(sys.modules, name, raising=False)
            assert stays(conv, lambda *_: True)
