"""Times the label decoder, the loop around it and the metrics beside their peers."""

import ctypes
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.evaluation import MultiLabelMetric
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from morn_plugin import registration  # noqa: F401  registers everything
from morn_plugin.evaluation import PerImageF1, PerLabelF1
from morn_plugin.speed.machine import start_measuring
from morn_plugin.speed.score_runs import compare_loop, make_score_config, write_scores
from morn_plugin.speed.steps import (
    Run,
    Sizes,
    make_batch,
    make_ours,
    make_plain,
    make_products,
    step_ratios,
)
from morn_plugin.speed.timing import Table, medians, ratio_range, time_in_turn
from morn_plugin.utils.layout import find_root

C = Sizes().labels  # the paper's sizes on MS-COCO
BATCHES, LABELS = (32, 128, 512), (80, 1_000, 10_000)
OTHER_STEPS = (1, 10)


def print_tables(
    threads: int,
    rounds: int,
    sections: Sequence[str],
    is_busy: bool,
) -> None:
    """Measure, and print Markdown tables.

    Args:
        threads: Of torch.
        rounds: Over which medians are taken.
        sections: What is measured.
        is_busy: Measure although the machine is.

    Raises:
        SystemExit: If it is busy.
    """
    start_measuring(is_busy, threads, f' Medians of {rounds} rounds.')
    torch.manual_seed(0)

    for name in sections:
        for table in SECTIONS[name](rounds):
            print(table.to_markdown(), flush=True)


def step_tables(rounds: int) -> list[Table]:
    """Compare the step with the products alone and with plain PyTorch, at the paper's sizes."""
    return [step_table(rounds, Sizes())]


def step_table(rounds: int, sizes: Sizes) -> Table:
    """Compare the step with the products alone and with plain PyTorch.

    The ratios are of turns that lie side by side, so that what else the machine does falls on both.
    """
    runs: dict[str, Run] = {
        'the matrix products alone': make_products(sizes),
        'ours': make_ours(sizes).step,
        'plain PyTorch': make_plain(sizes).step,
    }
    times = time_in_turn(runs, rounds)
    base = times['the matrix products alone']

    ratios = {name: ratio_range(values, base) for name, values in times.items()}
    return step_ratios(sizes, times, ratios, 'against the products')


def loop_tables(rounds: int, num_images: int = 3200) -> list[Table]:
    """Compare epochs by ``Runner.train`` on a score file with the bare step."""
    sizes = Sizes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'scores.safetensors')
        write_scores(path, num_images, sizes.labels)
        runner = Runner.from_cfg(make_score_config(path, Path(folder, 'run'), sizes, rounds))
        title = 'Training from a score file, batch 32'
        return [compare_loop(runner, make_ours(sizes).step, title)]


def metric_tables(rounds: int, num_images: int = 40_504) -> list[Table]:
    """Compare the paper's figures of MS-COCO's validation set with MMPretrain's and with loops."""
    scores, target = make_batch(Sizes(images=num_images))
    samples = [
        dict(pred_score=row, gt_label=true.nonzero()[:, 0])
        for row, true in zip(scores, target, strict=True)
    ]
    ours = [PerLabelF1(thr=0.5), PerImageF1(thr=0.5)]
    theirs = MultiLabelMetric(thr=0.5, average='macro')

    runs: dict[str, Callable[[], object]] = {
        'ours, collecting (both metrics)': partial(process_all, ours, samples),
        'ours, computing (both metrics)': lambda: [
            metric.compute_metrics(metric.results) for metric in ours
        ],
        "MMPretrain's MultiLabelMetric, collecting": partial(process_all, [theirs], samples),
        "MMPretrain's MultiLabelMetric, computing": lambda: theirs.compute_metrics(theirs.results),
        'loops over images and labels': lambda: loop_counts(
            scores.numpy() > 0.5, target.numpy() > 0
        ),
    }
    times: dict[str, list[float]] = {}
    for _ in range(min(rounds, 3)):
        for title, run in runs.items():
            start = time.perf_counter()
            run()
            times.setdefault(title, []).append(time.perf_counter() - start)

    values = {title: float(np.median(seconds)) for title, seconds in times.items()}
    base = values['ours, computing (both metrics)']
    rows = [[title, f'{value:.3f}', f'{value / base:.1f}'] for title, value in values.items()]
    head = ['', 's', 'against ours, computing']
    return [Table(f'Metrics, {num_images:,} images by {C} labels', head, rows)]


def process_all(metrics: list, samples: list[dict]) -> None:
    """Let each metric process all samples, in batches of 64."""
    for metric in metrics:
        metric.results = []
        for start in range(0, len(samples), 64):
            metric.process(None, samples[start : start + 64])


def loop_counts(predicted: np.ndarray, true: np.ndarray) -> None:
    """Count per label and per image in Python, entry by entry as the authors' evaluation does."""
    for rows in ((predicted.T, true.T), (predicted, true)):
        for guess, truth in zip(*rows, strict=True):
            both = sum(1 for a, b in zip(guess, truth, strict=True) if a and b)
            both / max(1, sum(map(bool, guess))), both / max(1, sum(map(bool, truth)))


def head_tables(rounds: int) -> list[Table]:
    """Measure the share of classifier, decoder and losses in joint training."""
    name = 'morn-joint_resnet101_1xb16-100e_coco-448px.py'
    cfg = Config.fromfile(find_root() / 'configs' / 'morn' / name)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).train()

    images, feats = torch.rand(8, 3, 224, 224), (torch.rand(8, 2048, requires_grad=True),)
    samples = [DataSample().set_gt_label([k, k + 1]) for k in range(8)]
    times = medians(
        min(rounds, 3),
        model=lambda: backward(model.loss(images, samples)),
        head=lambda: backward(model.head.loss(feats, samples)),
    )
    share = 100 * times['head'] / times['model']
    rows = [
        ['whole model', f'{times["model"]:.0f}', '100 %'],
        ['head: classifier, decoder, losses', f'{times["head"]:.1f}', f'{share:.1f} %'],
    ]
    title = 'Joint training, ResNet-101, 224 px, batch 8, without optimiser'
    return [Table(title, ['', 'ms', 'share'], rows)]


def backward(losses: dict[str, Tensor]) -> None:
    """Differentiate the sum of losses."""
    total: Any = sum(losses.values())
    total.backward()


def growth_tables(rounds: int) -> list[Table]:
    """Measure the step at other batch sizes, numbers of labels and numbers of steps."""
    sizes = [Sizes(images, labels) for labels, images in product(LABELS, BATCHES)]
    sizes += [Sizes(steps=steps) for steps in OTHER_STEPS]
    rows = [_growth_row(min(rounds, 3), size) for size in sizes]
    head = ['labels C', 'steps T', 'batch N', 'ms', 'against the products', 'peak MiB']
    return [Table('Growth of a training step with optimiser', head, rows)]


def _growth_row(rounds: int, sizes: Sizes) -> list[str]:
    step = make_ours(sizes).step
    step()
    peak = peak_mib(step)
    times = medians(rounds, step=step, products=make_products(sizes))
    ratio = times['step'] / times['products']
    counts = [f'{sizes.labels:,}', str(sizes.steps), str(sizes.images)]
    return [*counts, f'{times["step"]:.1f}', f'{ratio:.2f}', f'{peak:.0f}']


def peak_mib(step: Callable[[], object]) -> float:
    """Return how far one call raises the memory of the process at its highest (Linux)."""
    status = Path('/proc/self/status')
    clear = Path('/proc/self/clear_refs')
    gc.collect()
    # give back what earlier steps freed, or it would be used again unseen
    ctypes.CDLL(None).malloc_trim(0)
    clear.write_text('5')  # sets the highest mark to the present
    before = read_mib(status, 'VmRSS')
    step()
    return read_mib(status, 'VmHWM') - before


def read_mib(status: Path, key: str) -> float:
    """Read a size of this process, in MiB, from its status file."""
    fields = dict(line.split(':', 1) for line in status.read_text().splitlines())
    return int(fields[key].split()[0]) / 1024  # such as "VmRSS:    1234 kB"


SECTIONS = dict(
    step=step_tables,
    loop=loop_tables,
    metrics=metric_tables,
    head=head_tables,
    growth=growth_tables,
)
