"""The CNN of a benchmark: which learning rates are tried."""

import pytest
from tools_helpers import ROOT, SLICE

from morn_plugin.benchmark.runner.cnn import Cnn, complete_config, find_rates
from morn_plugin.benchmark.runner.methods import CNN_RATES, LEARNING_RATE
from morn_plugin.benchmark.runner.source import read_source

CONFIG = ROOT / 'configs/cnn/cnn_efficientnet-lite0_1xb32-6e_openclipart-128px.py'


@pytest.mark.parametrize(('options', 'rates'), [({}, CNN_RATES), ({LEARNING_RATE: 0.01}, (0.01,))])
def test_a_given_learning_rate_is_not_searched(options, rates):
    cfg = complete_config(Cnn(CONFIG, options=options), read_source(str(SLICE)))
    assert find_rates(cfg) == rates
