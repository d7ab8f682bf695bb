import pytest
import torch
from mmpretrain.models import GlobalAveragePooling

from morn_plugin.models import ChannelLastPooling


def test_it_is_the_usual_pooling_of_the_same_map_with_channels_first() -> None:
    stages = (torch.randn(3, 8, 6, 2), torch.randn(3, 4, 3, 5))
    usual = GlobalAveragePooling()(tuple(maps.movedim(-1, 1) for maps in stages))
    for pooled, expected in zip(ChannelLastPooling()(stages), usual, strict=True):
        torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize('shape', [(3, 5), (3, 4, 5)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'expected maps \(N, H, W, D\)'):
        ChannelLastPooling()((torch.randn(shape),))
