"""Times the label decoder, the loop around it and the metrics beside their peers."""

import ctypes
import gc
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.evaluation import MultiLabelMetric
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.benchmark import Timer

from morn_plugin import registration  # noqa: F401  registers everything
from morn_plugin.datasets.annotations import Annotations
from morn_plugin.datasets.cached import ScoreFile, save_scores
from morn_plugin.engine import FusedRMSprop
from morn_plugin.evaluation import PerImageF1, PerLabelF1
from morn_plugin.models import MultiOrderLSTM, masked_stepwise_bce

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tests'))
from helpers import PlainDecoder  # noqa: E402  the tests' oracle is the plain peer

N, C, H, M, T = 32, 80, 512, 256, 5  # the paper's sizes on MS-COCO


def print_tables(threads: int, rounds: int) -> None:
    """Measure everything and print it as Markdown.

    Args:
        threads: Of torch.
        rounds: Over which medians are taken.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    print(
        f'CPU: {cpu_name()}, {threads} threads; torch {torch.__version__}; medians of '
        f'{rounds} rounds.\n'
    )
    for section in (step_table, loop_table, metric_table, head_share_table, growth_table):
        section(rounds)


def cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    found = re.search(r'model name\s*:\s*(.*)', info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor()


def medians(rounds: int, **functions: Callable[[], object]) -> dict[str, float]:
    """Time functions in turn, so that all meet the same machine. Milliseconds."""
    timers = {
        name: Timer('f()', globals=dict(f=function), num_threads=torch.get_num_threads())
        for name, function in functions.items()
    }
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.blocked_autorange(min_run_time=0.3).median * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    print(f'### {title}\n\n| {" | ".join(head)} |\n|---|{"--:|" * (len(head) - 1)}')
    for row in rows:
        print(f'| {" | ".join(row)} |')
    print(flush=True)


def make_batch(num_images: int = N, num_classes: int = C) -> tuple[Tensor, Tensor]:
    """Draw scores (N, C) and targets with 2.9 labels an image."""
    return torch.rand(num_images, num_classes), (
        torch.rand(num_images, num_classes) < 2.9 / num_classes
    ).float()


def make_step(num_classes: int = C, num_steps: int = T, num_images: int = N) -> Callable[[], None]:
    """Give our training step: forward, backward, optimiser."""
    decoder = MultiOrderLSTM(num_classes, masked_stepwise_bce, M, H, num_steps)
    optimizer = FusedRMSprop(decoder.parameters(), lr=1e-4)
    return partial(train_step, decoder.loss, optimizer, *make_batch(num_images, num_classes))


def train_step(
    loss: Callable, optimizer: torch.optim.Optimizer, scores: Tensor, target: Tensor
) -> None:
    optimizer.zero_grad()
    backward(loss(scores, target))
    optimizer.step()


def backward(losses: dict[str, Tensor]) -> None:
    total: Any = sum(losses.values())
    total.backward()


def make_plain_step() -> Callable[[], None]:
    """Give the same in plain PyTorch: LSTMCell, autograd, a mask a step, torch's RMSprop."""
    plain = PlainDecoder(MultiOrderLSTM(C, masked_stepwise_bce, M, H, T))
    optimizer = torch.optim.RMSprop(plain.parameters(), lr=1e-4)

    def loss(scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        step_logits, step_labels = plain(scores)
        total = torch.zeros(())
        mask = torch.ones_like(target)
        for logits, labels in zip(step_logits.unbind(1), step_labels.unbind(1), strict=True):
            total = total + F.binary_cross_entropy_with_logits(
                logits, target * mask, reduction='sum'
            )
            mask = 1 - F.one_hot(labels, C)
        return dict(loss=total / len(scores))

    return partial(train_step, loss, optimizer, *make_batch())


def make_products() -> Callable[[], None]:
    """Give the matrix products of the step alone, forward and backward.

    None of which a formulation can avoid.

    Operands lie in memory as they do in the step: weights are (outputs, inputs), weight gradients
    are of transposed ones.
    """
    state, table, recurrence, output = (H, C, N), (4 * H, M, C + 1), (4 * H, H, N), (C, H, N)
    layers = [state, state, table] + T * [recurrence, output]
    pairs = [
        (torch.rand(rows, inputs), torch.rand(outputs, inputs).t())
        for outputs, inputs, rows in layers
    ]
    back = [table, (C, H, N * T)] + T * [recurrence]  # to the inputs
    pairs += [
        (torch.rand(rows, outputs), torch.rand(outputs, inputs)) for outputs, inputs, rows in back
    ]
    weights = [state, state, table, (C, H, N * T), (4 * H, H, N * T)]  # of all steps at once
    pairs += [
        (torch.rand(rows, outputs).t(), torch.rand(rows, inputs))
        for outputs, inputs, rows in weights
    ]

    def products() -> None:
        for a, b in pairs:
            torch.mm(a, b)

    return products


def step_table(rounds: int) -> None:
    times = medians(rounds, ours=make_step(), plain=make_plain_step(), products=make_products())
    rows = [
        [title, f'{times[name]:.2f}', f'{times[name] / times["products"]:.2f}']
        for title, name in (
            ('the matrix products alone', 'products'),
            ('ours', 'ours'),
            ('plain PyTorch', 'plain'),
        )
    ]
    print_table(
        f'One training step with optimiser, N = {N}, C = {C}, H = {H}, M = {M}, T = {T}',
        ['', 'ms', 'against the products'],
        rows,
    )


class _Clock(Hook):
    """Notes when each training iteration has ended, what it is made of aside."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())


def loop_table(rounds: int, num_images: int = 3200) -> None:
    """Compare an epoch by ``Runner.train`` on a score file with the bare step."""
    scores, target = make_batch(num_images)
    data = [
        dict(img_path=f'{i}.jpg', gt_label=row.nonzero()[:, 0].tolist())
        for i, row in enumerate(target)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/scores.safetensors'
        save_scores(
            path, ScoreFile(scores.numpy(), Annotations([f'class {k}' for k in range(C)], data))
        )
        cfg = Config.fromfile(ROOT / 'configs' / 'morn' / 'morn_scores_1xb32-50e_openclipart.py')
        cfg.merge_from_dict(
            dict(
                model=dict(head=dict(num_classes=C)),
                work_dir=folder,
                log_level='WARNING',
                val_cfg=None,
                val_dataloader=None,
                val_evaluator=None,
                test_cfg=None,
                test_dataloader=None,
                test_evaluator=None,
                train_dataloader=dict(dataset=dict(data_root='', ann_file=path)),
                train_cfg=dict(max_epochs=rounds),
                experiment_name='benchmark',
            )
        )
        cfg.default_hooks.checkpoint = None
        clock = _Clock()
        runner = Runner.from_cfg(cfg)
        runner.register_hook(clock)
        bare = make_step()
        before = medians(rounds, bare=bare)['bare']
        runner.train()
        after = medians(rounds, bare=bare)['bare']
    epochs = np.array(clock.ends).reshape(rounds, -1)
    whole = 1e3 * float(np.median((epochs[:, -1] - epochs[:, 0]) / (epochs.shape[1] - 1)))
    step = (before + after) / 2
    print_table(
        'Training from a score file, batch 32',
        ['', 'ms an iteration', 'rate against the bare step'],
        [
            ['bare step (mean of before and after)', f'{step:.2f}', '100 %'],
            ['Runner.train with our default hooks', f'{whole:.2f}', f'{100 * step / whole:.0f} %'],
        ],
    )


def metric_table(rounds: int, num_images: int = 40_504) -> None:
    """Compare the paper's figures of MS-COCO's validation set with MMPretrain's and with loops."""
    scores, target = make_batch(num_images)
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
    print_table(
        f'Metrics, {num_images:,} images by {C} labels',
        ['', 's', 'against ours, computing'],
        [[title, f'{value:.3f}', f'{value / base:.1f}'] for title, value in values.items()],
    )


def process_all(metrics: list, samples: list[dict]) -> None:
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


def head_share_table(rounds: int) -> None:
    cfg = Config.fromfile(
        ROOT / 'configs' / 'morn' / 'morn-joint_resnet101_1xb16-100e_coco-448px.py'
    )
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).train()
    images, samples = (
        torch.rand(8, 3, 224, 224),
        [DataSample().set_gt_label([k, k + 1]) for k in range(8)],
    )
    feats = (torch.rand(8, 2048, requires_grad=True),)
    times = medians(
        min(rounds, 3),
        model=lambda: backward(model.loss(images, samples)),
        head=lambda: backward(model.head.loss(feats, samples)),
    )
    print_table(
        'Joint training, ResNet-101, 224 px, batch 8, without optimiser',
        ['', 'ms', 'share'],
        [
            ['whole model', f'{times["model"]:.0f}', '100 %'],
            [
                'head: classifier, decoder, losses',
                f'{times["head"]:.1f}',
                f'{100 * times["head"] / times["model"]:.1f} %',
            ],
        ],
    )


def growth_table(rounds: int) -> None:
    rows = []
    for num_classes, num_steps, num_images in (
        (80, 5, 32),
        (1_000, 5, 32),
        (10_000, 5, 32),
        (80, 1, 32),
        (80, 10, 32),
        (80, 5, 8),
        (80, 5, 128),
        (80, 5, 512),
    ):
        step = make_step(num_classes, num_steps, num_images)
        step()
        rows.append(
            [
                f'{num_classes:,}',
                str(num_steps),
                str(num_images),
                f'{medians(min(rounds, 3), step=step)["step"]:.1f}',
                f'{peak_mib(step):.0f}',
            ]
        )
        del step
    print_table(
        'Growth of a training step with optimiser',
        ['labels C', 'steps T', 'batch N', 'ms', 'peak MiB'],
        rows,
    )


def peak_mib(step: Callable[[], None]) -> float:
    """Give how far one call raises the memory of the process at its highest (Linux)."""
    status, clear = Path('/proc/self/status'), Path('/proc/self/clear_refs')
    gc.collect()
    ctypes.CDLL(None).malloc_trim(
        0
    )  # give back what earlier steps freed, or it would be used again unseen
    clear.write_text('5')  # sets the highest mark to the present
    before = read_mib(status, 'VmRSS')
    step()
    return read_mib(status, 'VmHWM') - before


def read_mib(status: Path, key: str) -> float:
    fields = dict(line.split(':', 1) for line in status.read_text().splitlines())
    return int(fields[key].split()[0]) / 1024  # such as "VmRSS:    1234 kB"
