"""The whole benchmark on a few images of the slice: cached, searched, trained, tested, written."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tools_helpers import ROOT, SLICE, run_in_process

from morn_plugin.benchmark.results import load_info, load_results
from morn_plugin.benchmark.runner import bench as bench_module
from morn_plugin.benchmark.runner import cnn as cnn_module
from morn_plugin.benchmark.runner.bench import CNN, Bench, Options
from morn_plugin.benchmark.runner.cnn import FINETUNED, FROZEN, GIVEN, Cnn
from morn_plugin.benchmark.runner.methods import (
    LEARNING_RATE,
    LINEAR,
    choose_methods,
    find_methods,
)
from morn_plugin.benchmark.runner.source import read_source
from morn_plugin.datasets.cached import load_scores

CONFIG = """
_base_ = [
    '{configs}/_base_/models/resnet101_cnn.py', '{configs}/_base_/datasets/openclipart_mini.py',
    '{configs}/_base_/evaluation/cnn.py', '{configs}/_base_/schedules/cnn_adamw_8e.py',
    '{configs}/_base_/default_runtime.py']
model = dict(backbone=dict(depth=18, base_channels=8, init_cfg=None),
             head=dict(num_classes=41, in_channels=64))
pipeline = [dict(type='LoadCheckedImage'), dict(type='Resize', scale=(32, 32)),
            dict(type='PackInputs')]
options = dict(num_workers=0, persistent_workers=False, batch_size=16)
train_dataloader = dict(**options, dataset=dict(pipeline=pipeline, indices=32))
val_dataloader = dict(**options, dataset=dict(pipeline=pipeline, indices=12))
test_dataloader = dict(**options, dataset=dict(pipeline=pipeline, indices=14))
del options
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(save_best='cnn/per-image/f1-score'))
benchmark = dict(search={{'optim_wrapper.optimizer.lr': [1e-3]}})
"""
MINE = """
_base_ = '{configs}/{base}'
benchmark = dict(title='Mine', search={{'optim_wrapper.optimizer.lr': [1e-3]}})
"""
BASES = dict(
    features='zlpr/zlpr_features_1xb32-20e_openclipart.py',
    scores='cnn_rnn/cnn-rnn-rare-first_scores_1xb32-50e_openclipart.py',
    maps='csra/csra_maps_1xb32-15e_openclipart.py',
)


def write_method(folder, tier):
    path = folder / f'mine-{tier}_{tier}_1xb32-1e_slice.py'
    path.write_text(MINE.format(configs=ROOT / 'configs', base=BASES[tier]))
    return str(path)


@pytest.fixture
def in_process(monkeypatch):
    """Tools run in this process, which takes no time to start; what they print is let through."""
    uncaught = SimpleNamespace(readouterr=lambda: ('', ''))

    def call(tool, *arguments, log, options=None):
        changes = [f'{key}={value}' for key, value in (options or {}).items()]
        more = ['--cfg-options', *changes] if changes else []
        run_in_process(monkeypatch, uncaught, tool, *arguments, *more)

    monkeypatch.setattr(cnn_module, 'call_tool', call)


def make_bench(folder, kind, wanted, **options):
    config = folder / 'cnn_of_the_test.py'
    config.write_text(CONFIG.format(configs=ROOT / 'configs'))
    given = options.pop('checkpoints', ())
    settings = dict(seeds=2, max_epochs=1, workers=0, resamples=20) | options
    return Bench(
        read_source(str(SLICE), 'The slice'),
        choose_methods(find_methods(), wanted),
        Options(folder / 'out', Cnn(config, kind, checkpoints=given), **settings),
    )


@pytest.fixture
def no_page(monkeypatch):
    """Returns what lets later runs write no page, which takes longer than their training."""
    return lambda: monkeypatch.setattr(bench_module, 'write_page', lambda *arguments: None)


def list_files(folder):
    kept = [
        path
        for name in ('inputs', 'scores', 'search', 'cnn')
        for path in (folder / name).rglob('*')
    ]
    return {path: path.stat().st_mtime_ns for path in kept if path.is_file()}


@pytest.mark.slow
def test_a_frozen_cnn(tmp_path, in_process, no_page, capfd):
    wanted = [write_method(tmp_path, tier) for tier in ('features', 'scores')]
    bench = make_bench(tmp_path, FROZEN, wanted, topk=2)
    page = bench.run()

    printed = capfd.readouterr().out
    assert '8 runs, 1 at a time' in printed
    runs = {(run.method, run.seed): run for run in load_results(tmp_path / 'out' / 'runs')}
    names = (LINEAR, 'mine-features', 'mine-scores')
    assert list(runs) == [(name, seed) for name in names for seed in range(2)]
    assert {run.tier for run in runs.values()} == {'features', 'scores'}
    assert all(run.test.targets.shape == (14, 41) for run in runs.values())
    sequence = runs['mine-scores', 1].test
    assert sequence.scores is None, 'a sequence has no threshold'
    assert sequence.paths is not None

    # The rate is the best of three on validation, and all seeds have it.
    linear = runs[LINEAR, 0]
    assert [trial['lr'] for trial in linear.trials] == [1e-3, 3e-3, 1e-2]
    best = max(linear.trials, key=lambda trial: trial['F1_I'])
    assert linear.settings == dict(lr=best['lr'])

    # The linear classifier of a seed gives the scores that the other methods of the seed see.
    assert not np.array_equal(linear.test.scores, runs[LINEAR, 1].test.scores)
    for seed in range(2):
        file = load_scores(tmp_path / 'out' / 'inputs' / f'seed_{seed}' / 'scores_test.safetensors')
        np.testing.assert_allclose(file.scores, runs[LINEAR, seed].test.scores, atol=1e-6)

    text = page.read_text()
    assert '# The slice: which method' in text
    assert '## Exactly 2 labels an image' in text
    assert 'Mine' in text
    info = load_info(page.parent)
    assert info.groups[0].reference == LINEAR
    assert info.num_training == read_source(str(SLICE)).num_training

    # The same once more: what is done is left alone.
    no_page()
    before = list_files(tmp_path / 'out')
    make_bench(tmp_path, FROZEN, wanted, topk=2).run()
    assert list_files(tmp_path / 'out') == before

    # Settings that decide the outcome are not changed in the middle.
    other = make_bench(tmp_path, FROZEN, wanted, topk=2, max_epochs=2)
    other.run()
    assert 'begun with other settings' in capfd.readouterr().out


@pytest.mark.slow
def test_a_cnn_for_each_seed_and_given_ones(tmp_path, in_process, no_page):
    no_page()
    wanted = [write_method(tmp_path, 'features')]
    bench = make_bench(tmp_path, FINETUNED, wanted)
    bench.run()
    runs = load_results(tmp_path / 'out' / 'runs')
    assert {(run.method, run.tier) for run in runs} == {
        (CNN, 'joint'),
        ('mine-features', 'features'),
    }
    assert bench.reference == CNN

    checkpoints = tuple(sorted((tmp_path / 'out' / 'cnn').rglob('best_*.pth')))
    assert len(checkpoints) == 2
    other = make_bench(tmp_path, GIVEN, wanted, checkpoints=checkpoints)
    other.out = Path(tmp_path / 'given')
    other.run()
    again = {(run.method, run.seed): run for run in load_results(tmp_path / 'given' / 'runs')}
    for run in runs:
        np.testing.assert_array_equal(again[run.method, run.seed].test.scores, run.test.scores)


@pytest.mark.slow
def test_no_time_at_all_leaves_the_plan(tmp_path, in_process, capfd):
    bench = make_bench(tmp_path, FROZEN, [write_method(tmp_path, 'features')], hours=0.0)
    costs = bench.probe()
    assert bench.plan(costs).seeds[LINEAR] == 1
    assert 'mine-features: not run' in bench.describe_plan()


@pytest.mark.slow
def test_methods_of_several_stages_are_left_out_and_named(tmp_path, in_process, capfd):
    bench = make_bench(tmp_path, FROZEN, ['srn', 'csra'])
    bench.probe()
    assert [method.name for method in bench.methods] == [LINEAR, 'csra']
    assert 'srn is left out' in capfd.readouterr().out
    assert bench.inputs == ('feature_map', 'features')


def test_time_of_all_attempts_is_counted(tmp_path):
    bench = make_bench(tmp_path, FROZEN, ['csra'])
    bench.out.mkdir()
    clock = bench.out / 'seconds.json'
    clock.write_text('100.0')
    with bench._clock():
        pass
    assert 100 < json.loads(clock.read_text()) < 160


@pytest.mark.slow
def test_methods_that_train_the_cnn(tmp_path, in_process, no_page, capfd):
    bench = make_bench(tmp_path, FINETUNED, ['acfs', 'csra-joint'], topk=2, seeds=1)
    assert [method.name for method in bench.methods] == ['acfs', 'csra-joint', 'four-views']
    assert {method.search[LEARNING_RATE] for method in bench.methods} == {(1e-3,)}

    page = bench.run().read_text()
    printed = capfd.readouterr().out
    assert '3 runs, 1 at a time' in printed
    assert 'failed' not in printed

    runs = {(run.method, run.seed): run for run in load_results(tmp_path / 'out' / 'runs')}
    names = ('acfs', CNN, 'csra-joint', 'four-views')
    assert list(runs) == [(name, 0) for name in names]
    assert {run.tier for run in runs.values()} == {'joint'}
    assert {name: runs[name, 0].views for name in names} == {
        'acfs': 4,
        CNN: 1,
        'csra-joint': 1,
        'four-views': 4,
    }
    for run in runs.values():
        np.testing.assert_array_equal(run.test.targets, runs[CNN, 0].test.targets)
        assert run.test.scores.shape == (14, 41)
    assert not np.array_equal(runs['acfs', 0].test.scores, runs['four-views', 0].test.scores)
    assert not list((tmp_path / 'out').glob('*/*/**/work')), 'weights are not kept'

    # Without methods on cached files only the CNN's own row needs some, and those of two sides.
    held = {path.name for path in (tmp_path / 'out').rglob('*.safetensors')}
    assert held == {'scores_val.safetensors', 'scores_test.safetensors'}
    assert not (tmp_path / 'out' / 'inputs').exists()

    first, views = load_info(tmp_path / 'out' / 'runs').groups
    assert '1 epochs of one view' in first.note
    assert (views.name, views.reference, views.members) == ('4 views', 'four-views', [CNN])
    assert '4 passes an image' in views.note
    assert views.note in page
    assert '**Of 4 views an image**' in page
    assert 'ACfs (4 views)' not in page.split('## 4 views')[0].split('## Exactly')[0]

    # The same once more: what is done is left alone.
    no_page()
    before = list_files(tmp_path / 'out')
    make_bench(tmp_path, FINETUNED, ['acfs', 'csra-joint'], topk=2, seeds=1).run()
    assert list_files(tmp_path / 'out') == before


def test_what_trains_the_cnn_is_left_out_where_it_is_frozen(tmp_path, in_process):
    bench = make_bench(tmp_path, FROZEN, ['acfs', 'csra'])
    assert [method.name for method in bench.methods] == [LINEAR, 'csra']
    assert 'Left out: acfs, four-views train the CNN, which stays frozen.' in bench.describe_plan()
