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

    def link(self, gpus: int) -> float:
        """Return the bytes per second between GPUs of one machine, or of several."""
        return self.inside if gpus <= self.per_node else self.between


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

        others = [tensor for key, tensor in kept.items() if key not in own]
        totals.append(sum(tensor.untyped_storage().nbytes() for tensor in others))
        del output

    return totals[1] - totals[0]


def count_head(
    cfg: Config, num_classes: int, feature_dims: int, batch: int
) -> tuple[dict[str, int], dict[str, float]]:
    """Count parameters and operations per image of classifier and decoder for a vocabulary."""
    head_cfg = copy.deepcopy(cfg.model.head)
    head_cfg.update(num_classes=num_classes, in_channels=feature_dims)
    head = MODELS.build(head_cfg).eval()

    feature = torch.zeros(batch, feature_dims)
    with torch.no_grad():
        multiply_adds = quiet(FlopAnalyzer(head, ((feature,),))).total()

    total = 2 * multiply_adds / batch
    classifier = 2 * feature_dims * num_classes
    operations = dict(classifier=classifier, decoder=total - classifier)
    parameters = dict(
        classifier=count_parameters(head.fc),
        decoder=count_parameters(head.decoder),
    )
    return parameters, operations


def quiet(analyzer: FlopAnalyzer) -> FlopAnalyzer:
    """Switch off the warnings of an analyzer."""
    return analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)


def count_parameters(module: nn.Module) -> int:
    """Count the parameters of a module."""
    return sum(value.numel() for value in module.parameters())


def all_reduce_bytes(parameters: int, gpus: int) -> float:
    """Bytes that each GPU sends in one ring all-reduce of its gradients."""
    return 2 * (gpus - 1) / gpus * parameters * FLOAT


def print_table(
    title: str,
    columns: list[str],
    rows: list[list[str]],
) -> None:
    """Print a titled Markdown table."""
    print(f'\n{title}\n\n{markdown_table(columns, rows)}')


class Stage(NamedTuple):
    """What a stage of training needs: operations and kept bytes per image, and parameters."""

    name: str
    operations: float
    kept: float
    trained: int
    frozen: int = 0


EPOCH_COLUMNS = [
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
]


def list_stages(
    cnn: Counts,
    parameters: dict[str, int],
    operations: dict[str, float],
) -> list[Stage]:
    """List the CNN's stage, and the decoder's behind the CNN and on cached scores."""
    with_classifier = cnn.cnn_operations + operations['classifier']
    of_cnn = cnn.cnn_parameters + parameters['classifier']
    of_decoder = parameters['decoder']
    decoder_step = 3 * operations['decoder']  # a backward pass costs two forward passes

    return [
        Stage('CNN', 3 * with_classifier, cnn.cnn_kept_bytes, of_cnn),
        Stage('decoder, CNN frozen', with_classifier + decoder_step, 0, of_decoder, of_cnn),
        Stage('decoder, cached scores', decoder_step, 0, of_decoder),
    ]


def epoch_row(
    stage: Stage,
    gpus: int,
    args: argparse.Namespace,
    machine: Machine,
) -> list[str]:
    """Lay out one epoch of a stage on some GPUs."""
    steps = args.images / gpus / args.batch
    traffic = all_reduce_bytes(stage.trained, gpus)
    compute = args.batch * stage.operations / machine.operations
    transfer = traffic / machine.link(gpus)

    # weight, gradient and one running average of the optimiser
    weights = (stage.trained * 3 + stage.frozen) * FLOAT
    memory = weights + args.batch * stage.kept

    figures = [
        args.images * stage.operations / 1e12,
        steps * compute,
        memory / 1e9,
        traffic / 1e6,
        steps * traffic / 1e9,
        100 * transfer / compute,
    ]
    is_cached = 'cached' in stage.name
    decoded = '-' if is_cached else significant(args.batch / compute * gpus)
    batch = f'{args.batch * gpus:,}'
    return [stage.name, f'{gpus}', batch, f'{steps:,.0f}', *map(significant, figures), decoded]


def head_columns(batch: int, gpus: int) -> list[str]:
    """Return the headings of the table by vocabulary."""
    return [
        'labels',
        'M parameters, classifier',
        'M parameters, decoder',
        'GFLOP forward per image, classifier',
        'GFLOP forward per image, decoder',
        "decoder's share of a step, %",
        'GB of weights, gradients, optimiser',
        f'MB of step logits at {batch}',
        f'MB sent a step at {gpus} GPUs',
        'transfer, % of compute',
        'the same from cached scores',
        'GB of cached scores',
    ]


def head_row(
    cfg: Config,
    labels: int,
    cnn: Counts,
    args: argparse.Namespace,
    machine: Machine,
) -> list[str]:
    """Lay out the head of a vocabulary, with the decoder trained behind the frozen CNN."""
    parameters, operations = count_head(cfg, labels, cnn.feature_dims, args.batch)
    _, behind_cnn, on_scores = list_stages(cnn, parameters, operations)
    weights = 3 * parameters['decoder'] + parameters['classifier']
    logits = args.batch * cfg.model.head.num_steps * labels

    gpus = max(args.gpus)
    sent = all_reduce_bytes(parameters['decoder'], gpus)
    transfer = sent / machine.link(gpus)
    step = args.batch * behind_cnn.operations / machine.operations
    cached_step = args.batch * on_scores.operations / machine.operations

    figures = [
        parameters['classifier'] / 1e6,
        parameters['decoder'] / 1e6,
        operations['classifier'] / 1e9,
        operations['decoder'] / 1e9,
        100 * on_scores.operations / behind_cnn.operations,
        weights * FLOAT / 1e9,
        logits * FLOAT / 1e6,
        sent / 1e6,
        100 * transfer / step,
        100 * transfer / cached_step,
        args.images * labels * FLOAT / 1e9,
    ]
    return [f'{labels:,}', *map(significant, figures)]


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
    machine = Machine(
        args.tflops * 1e12,
        args.inside * 1e9,
        args.between * 1e9,
        args.per_node,
    )

    MMLogger.get_instance('estimate', log_level='ERROR')
    init_default_scope('mmpretrain')
    cfg = read_config(args.config)
    cfg.model.backbone.init_cfg = None
    head = cfg.model.head
    cnn = count_cnn(cfg, args.size)
    print(
        f'Backbone at {args.size} px, per image: {cnn.cnn_operations / 1e9:.1f} GFLOP forward, '
        f'{cnn.cnn_kept_bytes / 1e6:.0f} MB kept for the backward pass (float32); '
        f'{cnn.cnn_parameters / 1e6:.1f} M parameters. Assumed: {args.tflops:g} TFLOP/s sustained '
        f'per GPU, {args.inside:g} GB/s between GPUs of a machine, {args.between:g} GB/s per GPU '
        f'between machines of {args.per_node}.'
    )

    counts = count_head(cfg, head.num_classes, cnn.feature_dims, args.batch)
    stages = list_stages(cnn, *counts)
    print_table(
        f'One epoch of {args.images:,} images, {head.num_classes} labels, {args.batch} images per '
        'GPU',
        EPOCH_COLUMNS,
        [epoch_row(stage, gpus, args, machine) for stage in stages for gpus in args.gpus],
    )

    print_table(
        f'The head by vocabulary (T = {head.num_steps}, H = {head.hidden_dims}), decoder trained '
        'behind the frozen CNN',
        head_columns(args.batch, max(args.gpus)),
        [head_row(cfg, labels, cnn, args, machine) for labels in args.labels],
    )
