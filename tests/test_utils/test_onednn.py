"""Products by oneDNN: the same numbers, and PyTorch's own where something follows the operators."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from morn_plugin.speed.products import record_products
from morn_plugin.utils import onednn
from morn_plugin.utils.onednn import linear

pytestmark = pytest.mark.skipif(onednn.PRODUCT is None, reason='PyTorch was built without oneDNN')


@pytest.fixture(autouse=True)
def other_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, '_is_onednn_faster', lambda: True)


def uses_onednn(x: Tensor, weight: Tensor) -> bool:
    calls = record_products(lambda: linear(x, weight)).calls
    return [call.operation.overloadpacket for call in calls] == [onednn.PRODUCT]


@pytest.mark.parametrize('sizes', [(1, 1, 1), (32, 512, 2048), (7, 13, 5)])
def test_it_multiplies(sizes: tuple[int, int, int]) -> None:
    rows, inputs, outputs = sizes
    x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
    expected = x.double() @ weight.double().t()
    for given in (weight, weight.t().contiguous().t()):  # laid out either way
        assert uses_onednn(x, given)
        torch.testing.assert_close(linear(x, given).double(), expected, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ('x', 'weight'),
    [
        (torch.randn(3, 5).double(), torch.randn(2, 5).double()),
        (torch.randn(3, 5).bfloat16(), torch.randn(2, 5).bfloat16()),
        (torch.randn(0, 5), torch.randn(2, 5)),
        (torch.randn(3, 5), torch.randn(2, 5, requires_grad=True)),
        (torch.randn(3, 5, requires_grad=True), torch.randn(2, 5)),
    ],
    ids=['float64', 'bfloat16', 'no rows', 'weight learns', 'input learns'],
)
def test_other_products_are_pytorchs(x: Tensor, weight: Tensor) -> None:
    assert not uses_onednn(x, weight)
    assert torch.equal(linear(x, weight), F.linear(x, weight))
    if x.requires_grad or weight.requires_grad:
        linear(x, weight).sum().backward()
        with torch.no_grad():
            assert uses_onednn(x, weight)


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return linear(x, torch.ones(2, 5))


@pytest.mark.filterwarnings('ignore:.*torch.jit.trace')
def test_a_traced_or_exported_product_is_pytorchs() -> None:
    x = torch.randn(3, 5)
    traced = torch.jit.trace(Product(), (x,))
    program = torch.export.export(Product(), (x,))
    for text in (str(traced.graph), str(program)):
        assert 'linear' in text
        assert 'mkldnn' not in text


def test_operations_are_counted_as_those_of_pytorch() -> None:
    x, weight = torch.randn(3, 5), torch.randn(2, 5)
    counts = []
    for product in (linear, F.linear):
        with FlopCounterMode(display=False) as counter:
            product(x, weight)
        counts.append(counter.get_total_flops())
    assert counts == 2 * [2 * 3 * 5 * 2]
    assert record_products(lambda: linear(x, weight)).flops == counts[0]


def test_the_vendor_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if not torch.backends.mkl.is_available():
        pytest.skip('PyTorch was built without MKL')
    found = {}
    for vendor in ('AuthenticAMD', 'GenuineIntel'):
        info = tmp_path / vendor
        info.write_text(f'processor\t: 0\nvendor_id\t: {vendor}\n')
        monkeypatch.setattr(onednn, 'INFO', info)
        found[vendor] = onednn._is_onednn_faster.__wrapped__()
    monkeypatch.setattr(onednn, 'INFO', tmp_path / 'none')
    assert found == {'AuthenticAMD': True, 'GenuineIntel': False}
    assert not onednn._is_onednn_faster.__wrapped__()


@pytest.mark.parametrize(
    ('flags', 'is_faster'), [('fma avx2', False), ('fma avx2 avx512f avx512_bf16', True)]
)
def test_an_amd_processor_without_avx512_keeps_mkl(
    flags: str, is_faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    if not torch.backends.mkl.is_available():
        pytest.skip('PyTorch was built without MKL')
    info = tmp_path / 'cpuinfo'
    info.write_text(f'vendor_id\t: AuthenticAMD\nflags\t\t: fpu {flags} aes\n')
    monkeypatch.setattr(onednn, 'INFO', info)
    assert onednn._is_onednn_faster.__wrapped__() is is_faster
