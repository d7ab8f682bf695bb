"""What can be exported keeps the number of images free; what cannot is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmpretrain.models.utils import ShiftWindowMSA
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from morn_plugin.apis.checked_export import check_onnx_size, write_onnx
from morn_plugin.apis.exporting import ExportModel, export_program
from morn_plugin.deploy.onnx_model import OnnxModel
from morn_plugin.models.shifted_windows import number_from_shapes

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
    model = build(settings, 16)
    images = torch.randn(max(SIZES), 3, size, size)
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
    model = build(backbone(), 3)
    images = torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match=f'{backbone.__name__} cannot be exported.*{reason}'):
        export_program(model, images)


NUM_CLASSES, WIDTHS = 4, (8, 16)  # widths of the last two stages of the backbone below
IMAGES = 20  # of the training set that is drawn for methods that want one
DECODERS = {
    'MultiOrderLSTM': dict(embed_dims=3, hidden_dims=5, num_steps=2),
    'LinearClassifier': {},
    'AdversarialClassifier': dict(critic=dict(embed_dims=4, hidden_dims=(8,))),
    'LabelSetEmbedding': dict(embed_dims=4, hidden_dims=(8,)),
    'DistilledClassifier': dict(teacher=dict(embed_dims=4)),
    'WindowDetector': dict(embed_dims=4),
    'RecurrentAttention': dict(embed_dims=4, hidden_dims=8, num_steps=2),
    'MultiScaleFusion': dict(embed_dims=4, quantity=False),
    'SRN': dict(map_size=4, embed_dims=8, num_filters=2),
    'CMA': dict(embed_dims=4),
    'MultiScaleCMA': dict(embed_dims=4),
    'CSRA': dict(num_heads=2, lam=0.5),
    'Query2Label': dict(embed_dims=16),
    'MLDecoder': dict(embed_dims=16),
    'TagProp': dict(num_neighbours=5),
    'TwoPassKNN': dict(num_neighbours=2, normalize_labels='training'),
}
DECISIONS = {
    'LabelQuantity': dict(hidden_dims=(8,)),
    'LabelCount': dict(hidden_dims=(8,)),
    'LearntThresholds': dict(hidden_dims=(8,)),
}
EVERY = [*DECODERS, *DECISIONS]


class TwoStages(nn.Module):
    """A backbone of two stages; the second halves the map of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTHS[0], 9, stride=8, padding=4)
        self.second = nn.Conv2d(WIDTHS[0], WIDTHS[1], 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(images).relu()
        return first, self.second(first).relu()


def build_method(name: str, **options: Any) -> ExportModel:
    """Put a method, or the CNN with a decision, behind a small backbone with two stages."""
    torch.manual_seed(0)
    head = dict(
        type='LabelDecoderHead', num_classes=NUM_CLASSES, in_channels=WIDTHS[-1], decoder=None
    )
    if name in DECODERS:
        head['decoder'] = dict(type=name, **with_width(name, DECODERS[name] | options))
    else:
        head['decision'] = dict(type=name, in_channels=WIDTHS[-1], **DECISIONS[name])

    neck = dict(type='GlobalAveragePooling')
    model = MODELS.build(
        dict(type='MultiLabelClassifier', backbone=TwoStages(), neck=neck, head=head)
    )
    nn.init.normal_(model.head.fc.weight)
    if name == 'LabelQuantity':
        nn.init.constant_(model.head.decision.regressor[-1].bias, 1.6)
    if getattr(model.head.decoder, 'needs_training_labels', False):
        prepare(model.head.decoder)
    return ExportModel(model).eval()


def with_width(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Add the width of what a decoder sees."""
    if name in ('MultiOrderLSTM', 'TagProp', 'TwoPassKNN'):
        return options
    if name in ('SRN', 'MultiScaleFusion', 'MultiScaleCMA'):
        return options | dict(stage_channels=WIDTHS)
    return options | dict(in_channels=WIDTHS[-1])


def prepare(decoder: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    targets = (torch.rand(IMAGES, NUM_CLASSES, generator=generator) > 0.5).numpy().astype(np.int8)
    arrays = {}
    if 'features' in decoder.prepares_from:
        arrays['features'] = torch.rand(IMAGES, WIDTHS[-1], generator=generator).numpy()
    decoder.prepare(list('abcd'), targets, **arrays)


def draw_images() -> Tensor:
    return torch.randn(max(SIZES), 3, 32, 32, generator=torch.Generator().manual_seed(2))


def check_outputs(run: Any, model: ExportModel, images: Tensor) -> None:
    """Compare batches of all sizes with the model itself."""
    with torch.no_grad():
        expected = dict(zip(model.outputs, model(images), strict=True))
    for number in SIZES:
        found = run(images[:number])
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value[:number].numpy(), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize('name', EVERY)
def test_every_method_runs_on_any_number_of_images(name: str) -> None:
    model = build_method(name)
    images = draw_images()
    run = export_program(model, images[:2]).module()
    named = lambda batch: {
        key: value.detach().numpy() for key, value in zip(model.outputs, run(batch), strict=True)
    }
    check_outputs(named, model, images)


METADATA = dict(
    classes=list('abcd'),
    preprocessing=dict(
        transforms=[], mean=None, std=None, channels='RGB', background=255, max_pixels=10**6
    ),
    thr=None,
    topk=None,
)


@pytest.mark.parametrize('name', ['TagProp', 'TwoPassKNN', 'LabelQuantity', 'LearntThresholds'])
def test_onnx_runs_on_any_number_of_images(name: str, tmp_path: Path) -> None:
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    model = build_method(name)
    images = draw_images()
    write_onnx(model, images[:2], METADATA, tmp_path / 'model.onnx')
    exported = OnnxModel(tmp_path / 'model.onnx')
    check_outputs(lambda batch: exported.run(batch.numpy()), model, images)

    if (
        name in DECISIONS
    ):  # and its records say what the rule chose, unless a threshold is asked for
        pictures = (images * 40 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        prepared = torch.from_numpy(np.stack([exported.prepare(item)[1] for item in pictures]))
        scores, labels = model(prepared)
        records = list(exported.predict(list(pictures)))
        assert [sorted(record['labels']) for record in records] == [
            row.nonzero()[:, 0].tolist() for row in labels
        ]
        assert len({len(record['labels']) for record in records} - {0, NUM_CLASSES}) > 0
        above = list(exported.predict(list(pictures), thr=0.5))
        assert [sorted(record['labels']) for record in above] == [
            row.nonzero()[:, 0].tolist() for row in scores > 0.5
        ]


def test_an_answer_that_depends_on_the_batch_is_not_exported() -> None:
    with pytest.raises(ValueError, match=r'TwoPassKNN cannot be exported.*other images'):
        build_method('TwoPassKNN', normalize_labels='transductive')


class LooksAtTheNumber(nn.Module):
    """Makes a method's answer depend on how many images there are."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits / len(logits)


def test_a_method_that_cannot_be_traced_is_named() -> None:
    model = build_method('LinearClassifier')
    model.head.decoder.fc = nn.Sequential(model.head.decoder.fc, LooksAtTheNumber())
    with pytest.raises(ValueError, match=r'LinearClassifier cannot be exported.*another method'):
        export_program(model, draw_images()[:2])


class NotInOnnx(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return torch.special.bessel_j0(logits)


def test_an_operator_that_onnx_does_not_have_is_named(tmp_path: Path) -> None:
    pytest.importorskip('onnxscript')
    model = build_method('LinearClassifier')
    model.head.decoder.fc = nn.Sequential(model.head.decoder.fc, NotInOnnx())
    with pytest.raises(ValueError, match=r'model\.onnx: .* ONNX cannot express .*bessel_j0'):
        write_onnx(model, draw_images()[:2], METADATA, tmp_path / 'model.onnx')


def test_a_model_that_is_too_large_for_onnx_is_refused() -> None:
    weights = nn.Linear(16, 15)  # 16 * 15 + 15 numbers of 4 bytes
    check_onnx_size(weights, 'm.onnx', largest=1021)
    with pytest.raises(
        ValueError, match=r'm\.onnx: an \.onnx file holds less than .*write a \.pt2'
    ):
        check_onnx_size(weights, 'm.onnx', largest=1020)
