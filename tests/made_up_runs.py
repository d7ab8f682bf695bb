"""Runs of made-up methods, whose differences are known."""

import numpy as np

from morn_plugin.benchmark.results import (
    BenchmarkInfo,
    Group,
    RunResult,
    Side,
    save_info,
    save_result,
)

NUM = dict(val=80, test=150)
NUM_CLASSES, NUM_SEEDS = 6, 4


def make_targets(side):
    rng = np.random.default_rng(list(NUM).index(side))
    return (rng.random((NUM[side], NUM_CLASSES)) < 0.3).astype(np.int8)


def make_side(side, seed, margin, kind):
    """Normal logits around -margin and margin; of ranks squeezed, of sets thrown away."""
    targets = make_targets(side)
    rng = np.random.default_rng(1000 * seed + list(NUM).index(side))
    logits = margin * (2 * targets - 1.0) + rng.normal(size=targets.shape)
    labels = logits > 0.2
    if kind == 'sets':
        return Side(targets, labels)
    if kind == 'ranks':
        logits = 0.1 * logits - 2
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    paths = None
    if kind == 'steps':
        paths = np.argsort(-scores, axis=1)[:, :3].astype(np.int16)
        paths[::2, 2] = -1
    return Side(targets, labels, scores, paths=paths)


def make_run(method, seed, margin, kind='plain', **fields):
    noise = 0.02 * np.random.default_rng(sum(map(ord, method)) + seed).normal()
    sides = {side: make_side(side, seed, margin + noise, kind) for side in NUM}
    defaults = dict(title=method.capitalize(), tier='scores', group='methods')
    return RunResult(method=method, seed=seed, **(defaults | fields), **sides)


def make_results():
    runs = []
    trials = [dict(lr=0.001, F1_I=50.0), dict(lr=0.01, F1_I=60.0)]
    for seed in range(NUM_SEEDS):
        runs += [
            make_run('cnn', seed, 0.8, seconds=60.0),
            make_run('better', seed, 1.6, tier='features', settings=dict(lr=0.01), trials=trials),
            make_run('same', seed, 0.8, 'steps', title='The same', seconds=600.0),
            make_run('sets', seed, 0.8, 'sets'),
            make_run('ranks', seed, 0.8, 'ranks', has_probability=False),
        ]
    runs += [make_run('other', seed, 0.3, group='ablation', views=2) for seed in range(1, 3)]
    return runs


def make_info():
    return BenchmarkInfo(
        title='Made-up data',
        classes=[f'label {k}' for k in range(NUM_CLASSES)],
        training_counts=[3, 10, 30, 100, 300, 1000],
        num_training=2000,
        groups=[
            Group('methods', 'The methods', 'cnn'),
            Group('ablation', 'An ablation', 'better'),
        ],
        topk=2,
        order=['cnn', 'same'],
        command='make nothing',
        minutes=12.0,
    )


def save_runs(folder, info, runs):
    """Write the files of runs, those of the CNN deeper than the others."""
    save_info(folder, info)
    for run in runs:
        depth = folder / 'a' if run.method == 'cnn' else folder
        save_result(depth / run.method / f'seed_{run.seed}', run)
