"""Checks a CNN with the decoder on a GPU: images per second, and export."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ..apis.checked_export import TOLERANCE, run_file, write_onnx
from ..apis.exporting import ExportModel, export_program
from ..engine import FusedRMSprop
from ..utils.layout import find_root
from .checks import Found, Settings
from .timing import Table, medians

SECOND_STAGE = 'configs/morn/morn_resnet101_1xb32-50e_coco-448px.py'
FIRST_STAGE = 'configs/_base_/models/resnet101_cnn.py'
PRECISIONS = ('float32', 'float16', 'bfloat16')
CLASSES = 80


def build_cnn(config: str, settings: Settings, **options: Any) -> Any:
    """Build a model of a config with random weights, at the given depth."""
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(find_root() / config).model
    cfg.backbone.update(depth=settings.depth, init_cfg=None)
    cfg.head.in_channels = 2048 if settings.depth >= 50 else 512
    cfg.update(options)
    torch.manual_seed(0)
    return MODELS.build(cfg).to(settings.device)


def make_images(settings: Settings) -> dict[str, Any]:
    """Create a random batch of images (N, 3, H, W), 0-255 on the device, with two labels each."""
    shape = (settings.images, 3, settings.pixels, settings.pixels)
    images = torch.randint(256, shape, dtype=torch.uint8, device=settings.device)
    samples = [DataSample().set_gt_label([k % CLASSES, (k + 1) % CLASSES]) for k in range(shape[0])]
    return dict(inputs=images, data_samples=samples)


def check_two_stages(settings: Settings) -> Found:
    """Measure both training stages and the frozen forward pass alone; losses must stay finite."""
    rows, is_finite = [], True
    precisions = PRECISIONS if settings.is_cuda else ('float32',)
    for precision in precisions:
        for channels_last in (False, True):
            times, finite = time_stages(precision, channels_last, settings)
            is_finite = is_finite and finite
            rates = {name: 1e3 * settings.images / value for name, value in times.items()}
            layout = 'NHWC' if channels_last else 'NCHW'
            share = f'{times["forward"] / times["second"]:.3f}'
            cells = [f'{rates[name]:.0f}' for name in ('forward', 'second', 'first')]
            rows.append([f'{precision}, {layout}', *cells, share, 'yes' if finite else 'NO'])

    head = ['precision', 'frozen forward', 'second stage', 'first stage', 'share', 'all finite']
    title = f'ResNet-{settings.depth}, {settings.pixels} px, batch {settings.images}, images/s'
    return Found(
        is_finite,
        'The share is the rate of the second stage against the frozen forward pass and classifier '
        'alone. float32 is with TF32 in convolutions, as torch has it by default. Images lie on '
        'the device, as bytes.',
        [Table(title, head, rows)],
    )


def time_stages(
    precision: str, channels_last: bool, settings: Settings
) -> tuple[dict[str, float], bool]:
    """Return the milliseconds of a batch by stage, and whether the losses were finite."""
    batch = make_images(settings)
    second = build_cnn(SECOND_STAGE, settings, channels_last=channels_last).train()
    first = build_cnn(FIRST_STAGE, settings, channels_last=channels_last).train()
    losses: list[Tensor] = []
    wrap = partial(_wrap, precision=precision, is_cuda=settings.is_cuda)
    trained = [parameter for parameter in second.parameters() if parameter.requires_grad]
    decoder_optimizer = wrap(FusedRMSprop(trained, lr=1e-4))
    cnn_optimizer = wrap(torch.optim.SGD(first.parameters(), lr=1e-3, momentum=0.9))

    def train(model: Any, optimizer: OptimWrapper) -> None:
        losses.append(model.train_step(batch, optimizer)['loss'].detach())
        del losses[:-8]

    times = medians(
        settings.rounds,
        max(settings.seconds, 0.3),
        forward=partial(_run_frozen, second, batch, precision, settings.device),
        second=partial(train, second, decoder_optimizer),
        first=partial(train, first, cnn_optimizer),
    )
    return times, bool(torch.stack(losses).isfinite().all())


def _run_frozen(model: Any, batch: dict[str, Any], precision: str, device: str) -> None:
    half = nullcontext()
    if precision != 'float32':
        half = torch.autocast(device, getattr(torch, precision))  # type: ignore[assignment]
    with torch.no_grad(), half:
        images = model.data_preprocessor(batch, True)['inputs']
        model.head.classify(model.extract_feat(images)).sigmoid()


def _wrap(optimizer: Any, precision: str, is_cuda: bool) -> OptimWrapper:
    if precision == 'float32' or not is_cuda:
        return OptimWrapper(optimizer)
    scale = 'dynamic' if precision == 'float16' else 1.0
    return AmpOptimWrapper(loss_scale=scale, dtype=precision, optimizer=optimizer)


class _Exported(NamedTuple):
    """A model on the CPU in evaluation mode, with images and their predictions."""

    model: ExportModel
    images: Tensor
    expected: tuple[Tensor, ...]


def _make_exported(settings: Settings) -> _Exported:
    on_cpu = settings._replace(device='cpu')
    model = ExportModel(build_cnn(SECOND_STAGE, on_cpu).eval()).eval()
    side = settings.pixels // 2
    images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.no_grad():
        return _Exported(model, images, model(images))


def check_export(settings: Settings) -> Found:
    """Compare exported programs with the model: on the CPU, and on the GPU if there is one.

    The guarantee is that of tools/export.py: scores agree to ``TOLERANCE``. TF32, which torch
    allows in convolutions by default, keeps ten bits; it is measured, but not guaranteed.
    """
    model, images, expected = _make_exported(settings)
    found = {'torch.export, CPU': export_program(model, images[:2]).module()(images)}
    free: dict[str, Any] = {}

    if settings.is_cuda:
        on_device, there = model.to(settings.device), images.to(settings.device)
        with torch.no_grad(), tf32(False):
            found['PyTorch, GPU'] = on_device(there)
            program = export_program(on_device, there[:2]).module()
            found['torch.export, GPU'] = program(there)
        with torch.no_grad(), tf32(True):
            free['PyTorch, GPU, TF32'] = on_device(there)
    return _compare(model.outputs, expected, found, free)


def check_onnx(settings: Settings) -> Found:
    """Compare the ONNX file on the CPU with the model on the CPU and on the GPU."""
    model, images, expected = _make_exported(settings)
    metadata = dict(
        classes=[f'class {k}' for k in range(CLASSES)],
        preprocessing=dict(
            transforms=[],
            mean=None,
            std=None,
            channels='RGB',
            background=255,
            max_pixels=10**6,
        ),
        thr=0.5,
        topk=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'model.onnx')
        write_onnx(model, images[:2], metadata, path)
        arrays = run_file(path, images.numpy(), model.outputs)

    values = tuple(torch.from_numpy(arrays[name]) for name in model.outputs)
    found = {'PyTorch, CPU': expected}
    if settings.is_cuda:
        with torch.no_grad(), tf32(False):
            found['PyTorch, GPU'] = model.to(settings.device)(images.to(settings.device))
    return _compare(model.outputs, values, found, {})


def _compare(
    names: tuple[str, ...],
    expected: tuple[Tensor, ...],
    found: Mapping[str, tuple[Tensor, ...]],
    free: Mapping[str, tuple[Tensor, ...]],
) -> Found:
    """Compare outputs with the expected ones; ``free`` ones are only shown."""
    rows, worst = [], 0.0
    for name, values in {**found, **free}.items():
        apart, picks = compare_outputs(names, expected, values)
        worst = max(worst, apart) if name in found else worst
        rows.append([name, f'{apart:.2g}', f'{picks:.3f}'])
    head = ['', 'largest difference of a score', 'share of picks that differ']
    return Found(
        worst <= TOLERANCE,
        f'Scores differ by at most {worst:.2g}; promised: {TOLERANCE:g}.',
        [Table('Differences', head, rows)],
    )


def compare_outputs(
    names: tuple[str, ...], expected: tuple[Tensor, ...], found: tuple[Tensor, ...]
) -> tuple[float, float]:
    """Return the largest difference of a score, and the share of picked labels that differ.

    Steps after a different pick follow a different sequence, so the first figure leaves them out.
    """
    ours = dict(zip(names, expected, strict=True))
    theirs = {name: value.cpu() for name, value in zip(names, found, strict=True)}
    differs = ours['step_labels'] != theirs['step_labels']  # (N, T)
    is_same = ~differs.any(1)  # (N,)

    gaps = [(ours['cnn_scores'] - theirs['cnn_scores']).abs().max()]
    if is_same.any():
        for name in ('scores', 'step_scores'):
            gap = (ours[name] - theirs[name]).abs()
            gaps.append(gap[is_same].max())

    share = differs.float().mean()
    return float(max(gaps)), float(share)


@contextmanager
def tf32(is_allowed: bool) -> Iterator[None]:
    """Allow TF32 in convolutions, or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = is_allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
