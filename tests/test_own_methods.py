"""Methods from a file outside of the package, through the whole chain of tools, on the slice."""

import importlib.util
import json
import re
import sys

import pytest
import torch
from tools_helpers import ROOT, SLICE, run_in_process

from morn_plugin.benchmark.figures import Ranking, compute_figures
from morn_plugin.benchmark.results import load_result
from morn_plugin.benchmark.runner.cell import Cell, run_cell
from morn_plugin.benchmark.runner.methods import Method
from morn_plugin.benchmark.runner.records import finish
from morn_plugin.evaluation.columns import ALL_COLUMNS

pytestmark = pytest.mark.slow  # trains, tests and exports

FILE = ROOT / 'tests' / 'data' / 'own_methods.py'
SIZE = '(32, 32)'
CONFIG = """
_base_ = [
    '{configs}/_base_/models/resnet101_{kind}.py', '{configs}/_base_/datasets/openclipart_mini.py',
    '{configs}/_base_/evaluation/{evaluation}.py',
    '{configs}/_base_/schedules/decoder_rmsprop_50e.py', '{configs}/_base_/default_runtime.py']
custom_imports = dict(imports=['morn_plugin', 'own_methods'], allow_failed_imports=False)
model = dict(backbone=dict(depth=18, base_channels=8, init_cfg=None),
             head=dict(num_classes=41, in_channels={width}, {head}))
pipeline = [dict(type='LoadCheckedImage'), dict(type='Resize', scale={size}),
            dict(type='PackInputs')]
options = dict(num_workers=0, persistent_workers=False, batch_size=16)
train_dataloader = dict(**options, dataset=dict(pipeline=pipeline, indices=64))
val_dataloader = dict(**options, dataset=dict(pipeline=pipeline, indices=37))
test_dataloader = dict(**options, dataset=dict(pipeline=pipeline, indices=37))
del options
train_cfg = dict(max_epochs=2)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None, max_keep_ckpts=-1))
"""
CACHED = """
_base_ = ['{configs}/_base_/models/cached.py', '{configs}/_base_/datasets/openclipart_cached.py',
          '{configs}/_base_/evaluation/decoder.py',
          '{configs}/_base_/schedules/decoder_rmsprop_50e.py',
          '{configs}/_base_/default_runtime.py']
custom_imports = dict(imports=['morn_plugin', 'own_methods'], allow_failed_imports=False)
model = dict(head=dict(num_classes=41, {head}))
train_dataloader = dict(dataset=dict(data_root='{folder}/'))
val_dataloader = dict(dataset=dict(data_root='{folder}/'))
test_dataloader = dict(dataset=dict(data_root='{folder}/'))
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None, max_keep_ckpts=-1))
"""
METHODS = dict(
    features="decoder=dict(type='LinearFeatures', in_channels=64)",
    feature_map="decoder=dict(type='PeakOfMap', in_channels=64)",
    memory="decoder=dict(type='NearestImage')",
    loss="decoder=None, loss_cnn=dict(type='SquaredError')",
)
#: Those whose scores have a CNN's row beside them.
WITH_CNN_ROW = ('features', 'feature_map', 'memory')
FLAGS = dict(features='--features', feature_map='--feature-map', memory='--features')


@pytest.fixture(autouse=True)
def own_module(monkeypatch):
    monkeypatch.syspath_prepend(str(FILE.parent))


def write_config(folder, name, head, kind='cnn', evaluation='decoder', width=64):
    path = folder / f'{name}.py'
    values = dict(head=head, kind=kind, evaluation=evaluation, width=width, size=SIZE)
    path.write_text(CONFIG.format(configs=ROOT / 'configs', **values))
    return path


@pytest.fixture(scope='module')
def cnn(tmp_path_factory):
    """A CNN, its config and its checkpoint; one epoch."""
    folder = tmp_path_factory.mktemp('cnn')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FILE.parent))
        path = write_config(folder, 'cnn', 'decoder=None', evaluation='cnn')
        spec = importlib.util.spec_from_file_location('tool_train', ROOT / 'tools' / 'train.py')
        tool = importlib.util.module_from_spec(spec)
        arguments = [str(path), '--work-dir', str(folder / 'run')]
        patch.setattr(sys, 'argv', ['train.py', *arguments])
        spec.loader.exec_module(tool)
        tool.main()

    return path, folder / 'run' / 'epoch_2.pth'


@pytest.mark.parametrize('name', METHODS)
def test_the_whole_chain(name, cnn, tmp_path, monkeypatch, capfd):
    run = lambda tool, *args: run_in_process(monkeypatch, capfd, tool, *args)
    folder = tmp_path / 'run'
    is_decoder = name in WITH_CNN_ROW
    config = write_config(
        tmp_path,
        name,
        METHODS[name],
        kind='frozen' if is_decoder else 'cnn',
        evaluation='decoder' if is_decoder else 'cnn',
    )

    # Train (which prepares), and resume.
    start = ['--cfg-options', f'load_from={cnn[1]}'] if is_decoder else []
    run('train.py', config, '--work-dir', folder, *start)
    first = torch.load(folder / 'epoch_1.pth', weights_only=True)
    last = torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict']
    (folder / 'epoch_2.pth').unlink()
    (folder / 'last_checkpoint').write_text('epoch_1.pth')
    run('train.py', config, '--work-dir', folder, '--resume')
    resumed = torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict']
    assert first['meta']['epoch'] == 1
    assert all(torch.equal(resumed[key], value) for key, value in last.items())
    if name == 'memory':
        assert last['head.decoder.memory'].shape == (64, 64)

    # Test: the paper's table, with a CNN's row where there is one; augmentation; thresholds.
    checkpoint = folder / 'epoch_2.pth'
    out = tmp_path / 'figures.json'
    printed = run('test.py', config, checkpoint, '--work-dir', tmp_path / 't', '--out', out)
    figures = json.loads(out.read_text())
    assert 'cnn/per-image/f1-score' in figures
    assert re.search(r'^.*CNN', printed, re.MULTILINE)
    key = 'per-image/f1-score' if is_decoder else 'cnn/per-image/f1-score'
    assert 0 <= figures[key] <= 100
    run('test.py', config, checkpoint, '--work-dir', tmp_path / 't', '--tta')
    thresholds = tmp_path / 'thresholds.json'
    model = [folder, '--config', config]
    run('analysis/calibrate.py', *model, '--out', thresholds)
    run('test.py', config, checkpoint, '--work-dir', tmp_path / 't', '--thresholds', thresholds)

    # Report, predict, export; a label graph needs steps, and says so.
    run('analysis/report.py', *model, '--out', tmp_path / 'report.html')
    assert (tmp_path / 'report.html').stat().st_size > 10_000
    images = sorted((SLICE / 'images/animals').glob('*.webp'))[:4]
    run('predict.py', *images, '--model', folder, '--config', config, '--out', tmp_path / 'p.jsonl')
    records = [json.loads(line) for line in (tmp_path / 'p.jsonl').read_text().splitlines()]
    assert len(records) == 4
    assert all(min(record['scores']) >= 0 for record in records)
    run('export.py', *model, '--out', tmp_path / 'model.onnx', '--images', *images)
    with pytest.raises(SystemExit, match='has no steps'):
        run('analysis/label_graph.py', *model, '--out-dir', tmp_path / 'graph')

    if not is_decoder:
        return

    # Extract, train from the cache, merge, and predict alike.
    cached = tmp_path / 'cached'
    for split in ('train', 'val', 'test'):
        target = cached / f'scores_{split}.safetensors'
        where = ['--split', split, '--work-dir', tmp_path / 'e']
        run('extract_scores.py', cnn[0], cnn[1], target, FLAGS[name], *where)

    cached_config = tmp_path / 'cached.py'
    text = CACHED.format(configs=ROOT / 'configs', folder=cached, head=METHODS[name])
    cached_config.write_text(text)
    run('train.py', cached_config, '--work-dir', tmp_path / 'decoder')
    decoder = tmp_path / 'decoder' / 'epoch_1.pth'
    run('test.py', cached_config, decoder, '--work-dir', tmp_path / 't', '--out', out)
    expected = json.loads(out.read_text())
    merged = tmp_path / 'merged.pth'
    run('model_converters/merge_decoder.py', cnn[1], decoder, merged, '--config', config)
    run('test.py', config, merged, '--work-dir', tmp_path / 't', '--out', out)
    found = json.loads(out.read_text())
    for key in ('per-image/f1-score', 'per-label/f1-score'):
        assert found[key] == pytest.approx(expected[key], abs=1.0)  # maps are kept in float16

    # One cell of the benchmark, which is the same training on the same cache.
    check_cell_of_benchmark(name, cached_config, cached, tmp_path / 'cell', expected)


def check_cell_of_benchmark(name, config, cached, folder, expected):
    """Run a method from outside as the benchmark does; ``expected`` is what test.py said of it."""
    method = Method(name, config, 'maps' if name == 'feature_map' else 'features', name)
    finish(cached, 0.0, cnn_sha256='of the test')
    run_cell(Cell(method, seed=0, settings={}, folder=folder, inputs=cached))
    result = load_result(folder)
    decided = compute_figures(result.test.labels, result.test.targets, Ranking.of(result.test))
    figures = dict(zip(ALL_COLUMNS, decided, strict=True))
    assert figures['F1_I'] == pytest.approx(expected['per-image/f1-score'], abs=1e-3)
    assert figures['F1_L'] == pytest.approx(expected['per-label/f1-score'], abs=1e-3)


def test_a_wrong_input_is_named():
    from morn_plugin.models import LabelDecoder

    class Wrong(LabelDecoder):
        inputs = ('pixels',)

        def loss(self, pixels, target):
            return {}

        def predict(self, pixels):
            return {}

    with pytest.raises(ValueError, match=r"Wrong: expected `inputs`.*'scores'.*but got 'pixels'"):
        Wrong(3)
