"""The measurement of the loop trains on what it wrote, and gives its rate."""

import re

import pytest
from tools_helpers import ROOT

from morn_plugin.datasets.cached import ScoreDataset
from morn_plugin.speed import score_runs
from morn_plugin.speed.cached_loop import loop_table, write_features
from morn_plugin.speed.score_runs import TurnsHook

CONFIG = ROOT / 'configs/cnn/cnn-linear_features_1xb32-20e_openclipart.py'


def test_what_is_written_reads_back(tmp_path):
    write_features(tmp_path / 'a.safetensors', 70, 6)
    dataset = ScoreDataset(str(tmp_path / 'a.safetensors'), inputs=('features',))
    assert len(dataset) == 70
    assert (dataset.targets.sum(1) == 3).all()
    features = dataset.__getitems__([0, 69])['inputs']['features']
    assert features.shape == (2, 1280)
    assert 0 <= features.min() < features.max() < 1


def test_a_row_for_the_step_and_one_for_the_loop():
    table = loop_table(CONFIG, rounds=2, num_images=32 * 22)
    (_, step, whole), (_, iteration, rate) = table.rows
    assert whole == '100 %'
    middle, low, high = map(int, re.findall(r'\d+', rate))
    assert 0 < low <= middle <= high
    assert float(step) > 0
    assert float(iteration) > 0


def test_the_run_and_the_step_take_turns(monkeypatch):
    clock, taken = [0.0], []

    def pass_by(seconds, name):
        clock[0] += seconds
        taken.append(name)

    monkeypatch.setattr(score_runs.time, 'perf_counter', lambda: clock[0])
    turns = TurnsHook(lambda: pass_by(0.1, 'bare'), length=2)
    for _ in range(2):
        turns.before_train_epoch(None)
        clock[0] += 9  # the start of an epoch
        for _ in range(6):
            pass_by(0.2, 'loop')
            turns.after_train_iter()

    epoch = ['loop', 'loop', 'loop', 'bare', 'bare', 'loop', 'loop', 'bare', 'bare', 'loop']
    assert taken == 2 * epoch
    assert turns.times == dict(loop=pytest.approx([200] * 4), bare=pytest.approx([100] * 4))
