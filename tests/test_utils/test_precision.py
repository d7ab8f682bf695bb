import torch
from torch import nn

from morn_plugin.utils.precision import as_single, cast, find_dtype


def test_the_type_of_the_weights() -> None:
    layer = nn.Linear(2, 3)
    assert find_dtype(layer) == torch.float32
    assert find_dtype(layer.to(torch.bfloat16)) == torch.bfloat16
    assert find_dtype(layer.double()) == torch.float64
    assert find_dtype(nn.ReLU()) == torch.float32


def test_only_floating_tensors_are_cast() -> None:
    given = (torch.ones(1), [torch.ones(1).double()], torch.ones(1).long(), 'text', None)
    single, (double,), whole, text, none = cast(given, torch.float16)
    assert (single.dtype, double.dtype) == (torch.float16, torch.float16)
    assert whole is given[2]
    assert (text, none) == ('text', None)


def test_half_precision_becomes_float32_and_the_rest_stays() -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)
    found = as_single(tuple(torch.ones(1, dtype=kind) for kind in kinds))
    assert [value.dtype for value in found] == [torch.float32] * 3 + [torch.float64, torch.int64]
    assert as_single(dict(a=1)) == dict(a=1)
