"""The four commands of docs/data_sets.md (convert, first stage, second stage, test) on miniatures of the three data sets."""

import json
import runpy
import sys

import numpy as np
import pytest
from miniatures import BUILDERS, LABEL_COUNTS
from tools_helpers import ROOT, run_tool

pytestmark = pytest.mark.slow  # starts processes


def in_process(monkeypatch):
    def run(tool, *argv):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, argv)])
        try:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        except SystemExit as stop:
            if stop.code:
                pytest.fail(f'{tool} exited with {stop.code}')

    return run


@pytest.mark.parametrize('dataset', BUILDERS)
def test_four_commands(dataset, tmp_path, monkeypatch):
    # one data set as a user would, the others without starting Python ten times
    run = run_tool if dataset == 'voc' else in_process(monkeypatch)
    data = tmp_path / 'data'
    work = tmp_path / 'work'
    BUILDERS[dataset](data, np.random.default_rng(0))
    run(f'dataset_converters/{dataset}.py', data)

    small = [
        'model.backbone.depth=18',
        'model.head.in_channels=512',
        'train_cfg.max_epochs=1',
        'randomness.seed=0',
    ]
    for loader in ('train_dataloader', 'test_dataloader'):
        small += [
            f'{loader}.{option}'
            for option in (
                f'dataset.data_root={data}',
                'batch_size=4',
                'num_workers=0',
                'persistent_workers=False',
            )
        ]

    small += [
        'train_dataloader.dataset.pipeline.1.scale=32',
        'test_dataloader.dataset.pipeline.1.scale=(32,32)',
    ]
    first = ROOT / f'configs/cnn/cnn_resnet101_1xb16-100e_{dataset}-448px.py'
    second = ROOT / f'configs/morn/morn_resnet101_1xb32-50e_{dataset}-448px.py'

    run(
        'train.py',
        first,
        '--work-dir',
        work / 'cnn',
        '--cfg-options',
        *small,
        'model.backbone.init_cfg=None',
    )
    run(
        'train.py',
        second,
        '--work-dir',
        work / 'morn',
        '--cfg-options',
        *small,
        f'load_from={work}/cnn/epoch_1.pth',
    )
    run(
        'test.py',
        second,
        work / 'morn/epoch_1.pth',
        '--work-dir',
        work / 'test',
        '--out',
        work / 'figures.json',
        '--cfg-options',
        *small,
    )
    figures = json.loads((work / 'figures.json').read_text())

    for kind in ('per-label', 'per-image'):
        for name in ('precision', 'recall', 'f1-score'):
            assert 0 <= figures[f'{kind}/{name}'] <= 100

    kept = sum(count > 0 or dataset != 'nuswide' for count in LABEL_COUNTS['test'])
    assert len(json.loads((data / 'test.json').read_text())['data_list']) == kept

    # The second stage's CNN is the first stage's, untouched.
    run(
        'test.py',
        first,
        work / 'cnn/epoch_1.pth',
        '--work-dir',
        work / 'test',
        '--out',
        work / 'cnn.json',
        '--cfg-options',
        *small,
    )
    alone = json.loads((work / 'cnn.json').read_text())
    assert alone
    assert {name: figures[name] for name in alone} == alone
