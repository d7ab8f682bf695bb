"""The measurement of the loop trains on what it wrote, and gives its rate."""

import pytest
from tools_helpers import ROOT

from morn_plugin.datasets.cached import ScoreDataset
from morn_plugin.speed.cached_loop import loop_table, write_features
from morn_plugin.speed.score_runs import ClockHook

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
    table = loop_table(CONFIG, rounds=2, num_images=96)
    (_, step, whole), (_, iteration, rate) = table.rows
    assert whole == '100 %'
    assert float(rate.rstrip(' %')) == pytest.approx(100 * float(step) / float(iteration), rel=0.2)


def test_an_iteration_is_the_mean_within_an_epoch():
    clock = ClockHook()
    clock.ends = [0.0, 0.1, 0.2, 9.0, 9.3, 9.6]
    assert clock.iteration(2) == pytest.approx(200)  # 100 ms and 300 ms
