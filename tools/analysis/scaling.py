"""Operations, memory and traffic of training, counted and not timed."""

import argparse
import copy
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from morn_plugin import registration  # noqa: F401  registers everything
from morn_plugin.apis import read_config
from morn_plugin.utils.markdown import markdown_table

CONFIG = Path(__file__).parents[2] / 'configs/morn/morn_resnet101_1xb32-50e_coco-448px.py'
FLOAT = 4  # bytes


class Machine(NamedTuple):
    """The assumed hardware: operations and bytes per second."""

    operations: float
    inside: float
    between: float
    per_node: int


class Counts(NamedTuple):
    """Counts for one image, except ``parameters``."""

    cnn_operations: float
    cnn_kept_bytes: float
    cnn_parameters: int
    feature_dims: int


def count_cnn(cfg: Config, size: int) -> Counts:
    """Count the forward pass of backbone and neck and what it keeps for the backward pass."""
    backbone = MODELS.build(cfg.model.backbone)
    neck = MODELS.build(cfg.model.neck)
    image = torch.zeros(1, 3, size, size)
    backbone.eval()

    with torch.no_grad():
        multiply_adds = quiet(FlopAnalyzer(backbone, image)).total()
        feature = neck(backbone(image))[-1]

    return Counts(
        2 * multiply_adds, kept_bytes(backbone, image), count_parameters(backbone), feature.shape[1]
    )


def kept_bytes(module: nn.Module, image: Tensor) -> int:
    """Count the bytes that autograd keeps for one more image.

    Distinct storages count, without parameters.
    """
    own = {value.untyped_storage().data_ptr() for value in module.parameters()}
    totals = []
    for number in (1, 2):  # the difference removes what does not grow with the batch
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor, kept: dict[int, Tensor] = kept) -> Tensor:
            return kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            module.train()
            output = module(image.repeat(number, 1, 1, 1))

        totals.append(
            sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
        )
        del output

    return totals[1] - totals[0]


def count_head(
    cfg: Config, num_classes: int, feature_dims: int, batch: int
) -> tuple[dict[str, int], dict[str, float]]:
    """Count parameters and operations per image of classifier and decoder for a vocabulary."""
    head_cfg = copy.deepcopy(cfg.model.head)
    head_cfg.update(num_classes=num_classes, in_channels=feature_dims)
    head = MODELS.build(head_cfg).eval()

    with torch.no_grad():
        operations = (
            2 * quiet(FlopAnalyzer(head, ((torch.zeros(batch, feature_dims),),))).total() / batch
        )

    classifier = 2 * feature_dims * num_classes
    return (
        dict(classifier=count_parameters(head.fc), decoder=count_parameters(head.decoder)),
        dict(classifier=classifier, decoder=operations - classifier),
    )


def quiet(analyzer: FlopAnalyzer) -> FlopAnalyzer:
    return analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)


def count_parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def all_reduce_bytes(parameters: int, gpus: int) -> float:
    """Bytes that each GPU sends in one ring all-reduce of its gradients."""
    return 2 * (gpus - 1) / gpus * parameters * FLOAT


def print_table(
    title: str,
    columns: list[str],
    rows: list[list[str]],
) -> None:
    print(f'\n{title}\n\n{markdown_table(columns, rows)}')


def epoch_row(
    name: str,
    operations: float,
    kept: float,
    parameters: int,
    frozen: int,
    gpus: int,
    args: argparse.Namespace,
    machine: Machine,
) -> list[str]:
    """Lay out one epoch of a stage.

    ``operations`` an image, ``kept`` bytes an image, trained and frozen parameters.
    """
    images = args.images / gpus
    steps = images / args.batch
    link = machine.inside if gpus <= machine.per_node else machine.between
    traffic = all_reduce_bytes(parameters, gpus)
    compute = args.batch * operations / machine.operations
    transfer = traffic / link
    weights = (
        parameters * 3 + frozen
    ) * FLOAT  # weight, gradient, one running average of the optimiser
    decoded = '-' if 'cached' in name else significant(args.batch / compute * gpus)
    return [
        name,
        f'{gpus}',
        f'{args.batch * gpus:,}',
        f'{steps:,.0f}',
        *map(
            significant,
            (
                args.images * operations / 1e12,
                steps * compute,
                (weights + args.batch * kept) / 1e9,
                traffic / 1e6,
                steps * traffic / 1e9,
                100 * transfer / compute,
            ),
        ),
        decoded,
    ]


def significant(value: float) -> str:
    """Write a number with three significant digits.

    Examples:
        >>> significant(0.01234), significant(5), significant(15564.2)
        ('0.0123', '5', '15,600')
    """
    rounded = float(f'{value:.3g}')
    return f'{rounded:,.0f}' if abs(rounded) >= 100 else f'{rounded:.3g}'


def print_estimate(args: argparse.Namespace) -> None:
    """Print the tables of an epoch by GPUs and of the head by vocabulary.

    Args:
        args: As of ``estimate_scaling.py``.
    """
    machine = Machine(args.tflops * 1e12, args.inside * 1e9, args.between * 1e9, args.per_node)

    MMLogger.get_instance('estimate', log_level='ERROR')
    init_default_scope('mmpretrain')
    cfg = read_config(args.config)
    cfg.model.backbone.init_cfg = None
    cnn = count_cnn(cfg, args.size)
    steps = cfg.model.head.num_steps
    hidden = cfg.model.head.hidden_dims
    print(
        f'Backbone at {args.size} px, per image: {cnn.cnn_operations / 1e9:.1f} GFLOP forward, '
        f'{cnn.cnn_kept_bytes / 1e6:.0f} MB kept for the backward pass (float32); '
        f'{cnn.cnn_parameters / 1e6:.1f} M parameters. Assumed: {args.tflops:g} TFLOP/s sustained '
        f'per GPU, {args.inside:g} GB/s between GPUs of a machine, {args.between:g} GB/s per GPU '
        f'between machines of {args.per_node}.'
    )

    parameters, operations = count_head(
        cfg, cfg.model.head.num_classes, cnn.feature_dims, args.batch
    )
    trained = cnn.cnn_parameters + parameters['classifier']
    rows = []
    for gpus in args.gpus:
        rows.append(
            epoch_row(
                'CNN',
                3 * (cnn.cnn_operations + operations['classifier']),
                cnn.cnn_kept_bytes,
                trained,
                0,
                gpus,
                args,
                machine,
            )
        )

    for gpus in args.gpus:
        rows.append(
            epoch_row(
                'decoder, CNN frozen',
                cnn.cnn_operations + operations['classifier'] + 3 * operations['decoder'],
                0,
                parameters['decoder'],
                trained,
                gpus,
                args,
                machine,
            )
        )

    for gpus in args.gpus:
        rows.append(
            epoch_row(
                'decoder, cached scores',
                3 * operations['decoder'],
                0,
                parameters['decoder'],
                0,
                gpus,
                args,
                machine,
            )
        )

    print_table(
        f'One epoch of {args.images:,} images, {cfg.model.head.num_classes} labels, {args.batch} '
        'images per GPU',
        [
            'stage',
            'GPUs',
            'batch in total',
            'steps',
            'TFLOP in all',
            'seconds of compute',
            'GB per GPU',
            'MB sent per GPU and step',
            'GB sent per GPU and epoch',
            'transfer, % of compute',
            'images per second to decode',
        ],
        rows,
    )

    rows = []
    gpus = max(args.gpus)
    for labels in args.labels:
        parameters, operations = count_head(cfg, labels, cnn.feature_dims, args.batch)
        compute = args.batch * (
            cnn.cnn_operations + operations['classifier'] + 3 * operations['decoder']
        )
        cached = args.batch * 3 * operations['decoder']
        link = machine.inside if gpus <= machine.per_node else machine.between
        sent = all_reduce_bytes(parameters['decoder'], gpus)
        rows.append(
            [
                f'{labels:,}',
                *map(
                    significant,
                    (
                        parameters['classifier'] / 1e6,
                        parameters['decoder'] / 1e6,
                        operations['classifier'] / 1e9,
                        operations['decoder'] / 1e9,
                        300 * args.batch * operations['decoder'] / compute,
                        (3 * parameters['decoder'] + parameters['classifier']) * FLOAT / 1e9,
                        args.batch * steps * labels * FLOAT / 1e6,
                        sent / 1e6,
                        100 * sent / link / (compute / machine.operations),
                        100 * sent / link / (cached / machine.operations),
                        args.images * labels * FLOAT / 1e9,
                    ),
                ),
            ]
        )

    print_table(
        f'The head by vocabulary (T = {steps}, H = {hidden}), decoder trained behind the frozen '
        'CNN',
        [
            'labels',
            'M parameters, classifier',
            'M parameters, decoder',
            'GFLOP forward per image, classifier',
            'GFLOP forward per image, decoder',
            "decoder's share of a step, %",
            'GB of weights, gradients, optimiser',
            f'MB of step logits at {args.batch}',
            f'MB sent a step at {gpus} GPUs',
            'transfer, % of compute',
            'the same from cached scores',
            'GB of cached scores',
        ],
        rows,
    )
