import pytest
import torch

from morn_plugin.models import TokenPooling

N = 3
L = 6
D = 4


def test_first_and_mean() -> None:
    tokens = torch.arange(N * L * D).reshape(N, L, D).float()
    assert torch.equal(TokenPooling()((tokens,))[0], tokens[:, 0])
    for prefix in (0, 1, 5):
        (pooled,) = TokenPooling('mean', prefix)((tokens,))
        by_hand = sum(tokens[:, i] for i in range(prefix, L)) / (L - prefix)
        torch.testing.assert_close(pooled, by_hand)


def test_every_stage_is_pooled() -> None:
    stages = (torch.randn(N, 9, 2), torch.randn(N, 5, D))
    assert [tuple(x.shape) for x in TokenPooling('mean')(stages)] == [(N, 2), (N, D)]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mode='cls'), r"one of \('first', 'mean'\), but got 'cls'"),
        (dict(num_prefix_tokens=-1), 'at least 0, but got -1'),
        (dict(num_prefix_tokens=0), "write mode='mean'"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenPooling(**options)


@pytest.mark.parametrize('shape', [(N, D), (N, 2, 2, D), (N, 1, D)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'expected tokens \(N, L, D\)'):
        TokenPooling('mean')((torch.randn(shape),))
