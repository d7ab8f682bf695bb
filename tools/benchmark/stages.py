"""The order in which the benchmark trains, and how it spreads the work over processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import torch
from plan import ABLATION_SEEDS, BY_NAME, CNN_LEARNING_RATES, SEEDS, VARIANTS, Variant
from rich.progress import Progress
from runs import Bench, Run, cache_scores, read_record, train_cnn, train_decoder, train_joint

from morn_plugin.engine.safe_loading import force_weights_only

Task = tuple[Callable[..., None], tuple]


def use_one_core(log: str) -> None:
    """Set up a process for tasks of one core: one thread, its output in a file."""
    torch.set_num_threads(1)
    os.environ['OMP_NUM_THREADS'] = '1'  # of the tools that it calls
    force_weights_only()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)


def best_rate(bench: Bench, variant: Variant) -> float:
    """Choose the learning rate.

    The highest F1_I on the validation side, seed 0, the checkpoint best there.
    """
    tuned = BY_NAME[variant.tuned_as] if variant.tuned_as else variant

    def score(lr: float) -> float:
        return read_record(bench.folder(Run(tuned.name, lr, 0)))['validation']['f1_image']

    return max(tuned.learning_rates, key=score)


def best_cnn_rate(bench: Bench) -> float:
    def score(lr: float) -> float:
        return read_record(bench.cnn_folder(lr, 0))['validation']['f1_image']

    return max(CNN_LEARNING_RATES, key=score)


def final_run(bench: Bench, variant: Variant, seed: int) -> Run:
    """Give the run of a variant that the page reports."""
    source = BY_NAME[variant.base] if variant.base and not variant.joint else variant
    return Run(variant.name, best_rate(bench, source), seed)


def base_run(bench: Bench, variant: Variant, seed: int) -> Run | None:
    return final_run(bench, BY_NAME[variant.base], seed) if variant.base else None


def search_tasks(bench: Bench, joint: bool) -> list[Task]:
    """Give the learning-rate searches of every variant that has its own, on seed 0."""
    tuned = [variant for variant in VARIANTS if variant.tuned_as is None and variant.joint == joint]
    runs = [Run(variant.name, lr, 0) for variant in tuned for lr in variant.learning_rates]
    return [_task(bench, run) for run in runs]


def final_tasks(bench: Bench, joint: bool) -> list[Task]:
    """Give all reported runs; those that need the checkpoint of another come last."""
    variants = sorted(
        (variant for variant in VARIANTS if variant.joint == joint),
        key=lambda variant: bool(variant.base),
    )
    return [
        _task(bench, final_run(bench, variant, seed))
        for variant in variants
        for seed in range(bench.count_seeds(variant.seeds))
    ]


def _task(bench: Bench, run: Run) -> Task:
    base = base_run(bench, run.plan, run.seed)
    return (
        (train_joint, (bench, run, base)) if run.plan.joint else (train_decoder, (bench, run, base))
    )


def call(task: Task) -> str:
    function, (bench, *arguments) = task
    function(bench, *arguments)
    return ' '.join(
        f'{item.variant} lr {item.lr:g} seed {item.seed}' if isinstance(item, Run) else str(item)
        for item in arguments[: 1 if isinstance(arguments[0], Run) else None]
    )


class Stages:
    """Does lists of tasks, with a bar each."""

    def __init__(self, progress: Progress, log: Path, workers: int) -> None:
        self.progress, self.log, self.workers = progress, str(log), workers

    def one_by_one(self, title: str, tasks: Sequence[Task]) -> None:
        """Do tasks that use all cores themselves."""
        self._follow(title, map(call, tasks), len(tasks))

    def side_by_side(self, title: str, tasks: Sequence[Task]) -> None:
        """Do tasks of one core each, in processes of their own."""
        spawn = multiprocessing.get_context('spawn')
        pool = ProcessPoolExecutor(
            self.workers, spawn, use_one_core, (self.log,)
        )  # a Pool's may start none
        try:
            futures = as_completed([pool.submit(call, task) for task in tasks])
            self._follow(title, (future.result() for future in futures), len(tasks))
        finally:
            pool.shutdown(cancel_futures=True)

    def _follow(self, title: str, done: Iterable[str], number: int) -> None:
        for count, what in enumerate(self.progress.track(done, total=number, description=title), 1):
            if not self.progress.console.is_terminal:  # no bar there: lines
                print(f'{title} {count}/{number}: {what}', flush=True)


def run_all(bench: Bench, stages: Stages) -> Bench:
    """Train everything; give the benchmark with the CNN's learning rate filled in."""
    cnn = lambda lr, seed, weak=False: (train_cnn, (bench, lr, seed, weak))
    scores = lambda seed, kind: (cache_scores, (bench, seed, kind))
    stages.one_by_one('CNN, learning rates', [cnn(lr, 0) for lr in CNN_LEARNING_RATES])
    bench = replace(bench, cnn_lr=best_cnn_rate(bench))
    seeds, ablation_seeds = (
        range(bench.count_seeds(SEEDS)),
        range(bench.count_seeds(ABLATION_SEEDS)),
    )
    stages.one_by_one('CNN, seeds', [cnn(bench.cnn_lr, seed) for seed in seeds])
    stages.one_by_one('CNN, weak', [cnn(bench.cnn_lr, seed, True) for seed in ablation_seeds])
    stages.one_by_one(
        'Scores',
        [scores(seed, 'full') for seed in seeds]
        + [scores(seed, kind) for kind in ('weak', 'incomplete') for seed in ablation_seeds],
    )
    stages.side_by_side('Decoders, learning rates', search_tasks(bench, joint=False))
    tasks = final_tasks(bench, joint=False)
    based = [task for task in tasks if task[1][2] is not None]
    stages.side_by_side('Decoders', [task for task in tasks if task not in based])
    stages.side_by_side('Decoders, used otherwise', based)
    stages.side_by_side('CNN and decoder, learning rates', search_tasks(bench, joint=True))
    stages.side_by_side('CNN and decoder', final_tasks(bench, joint=True))
    return bench
