"""What can be exported keeps the number of images free; what cannot is named."""

from typing import Any

import numpy as np
import pytest
import torch
from mmpretrain.models.utils import ShiftWindowMSA
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from morn_plugin.apis.exporting import ExportModel, export_program, number_from_shapes

pytestmark = pytest.mark.slow  # exports whole backbones

SWIN = dict(
    type='SwinTransformer',
    arch=dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2]),
    img_size=28,
    window_size=7,
    out_indices=(1,),
)
SIZES = (1, 2, 3, 5)


def build(backbone: Any, width: int) -> ExportModel:
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='MultiLabelClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='MultiOrderLSTMHead',
                num_classes=4,
                in_channels=width,
                embed_dims=3,
                hidden_dims=5,
                num_steps=2,
            ),
        )
    )
    nn.init.normal_(model.head.fc.weight)
    return ExportModel(model).eval()


@pytest.mark.parametrize('padded', [False, True])
def test_swin_runs_on_any_number_of_images(padded: bool) -> None:
    # 28 px: maps of 7 x 7 and 3 x 3; the second is smaller than a window.
    settings = dict(SWIN, pad_small_map=padded, img_size=28 if padded else 56)
    size = settings['img_size']
    model, images = build(settings, 16), torch.randn(max(SIZES), 3, size, size)
    with torch.no_grad():
        expected = model(images)

    run = export_program(model, images[:2]).module()
    for number in SIZES:
        for found, wanted in zip(run(images[:number]), expected, strict=True):
            np.testing.assert_allclose(found.detach(), wanted[:number], atol=1e-5)


def test_windows_are_put_together_as_the_host_does() -> None:
    theirs = ShiftWindowMSA.window_reverse
    maps = torch.randn(3, 6, 9, 5)
    windows = ShiftWindowMSA.window_partition(maps, 3)
    with number_from_shapes():
        ours = ShiftWindowMSA.window_reverse
        assert ours is not theirs
        assert torch.equal(ours(windows, 6, 9, 3), theirs(windows, 6, 9, 3))
        assert torch.equal(ours(windows, 6, 9, 3), maps)
    assert ShiftWindowMSA.window_reverse is theirs


class FixedNumber(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        number = int(images.shape[0] / 1)
        return (images.view(number, 3, *images.shape[2:]),)


class Untraceable(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (images if images.sum() > 0 else images + 1,)


@pytest.mark.parametrize(
    ('backbone', 'reason'),
    [(FixedNumber, 'depends on the number of images'), (Untraceable, 'cannot follow')],
)
def test_a_backbone_that_cannot_be_traced_is_named(backbone: type[nn.Module], reason: str) -> None:
    model, images = build(backbone(), 3), torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match=f'{backbone.__name__} cannot be exported.*{reason}'):
        export_program(model, images)
