"""The counts of tools/analysis/estimate_scaling.py against hand formulas."""

import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools/analysis/scaling.py'))


@pytest.mark.parametrize('labels', [80, 1000])
def test_head(labels):
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(TOOL['CONFIG'])
    parameters, operations = TOOL['count_head'](cfg, labels, 2048, 32)
    cells = 4 * 512
    assert parameters == dict(
        classifier=2049 * labels,
        decoder=(labels + 1) * 256
        + cells * (256 + 512 + 1)
        + 2 * 512 * (labels + 1)
        + labels * 513,
    )
    # A table of all labels where there are fewer than the lookups of a batch, else a product a
    # lookup.
    inputs = min(labels + 1, 5 * 32) * 256 * cells / 32
    assert operations['classifier'] == 2 * 2048 * labels
    assert operations['decoder'] == 2 * (2 * 512 * labels + inputs + 5 * 512 * (cells + labels))


def test_kept_bytes():
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Sigmoid())
    # the convolution keeps its input, the sigmoid its output
    assert TOOL['kept_bytes'](layers, torch.zeros(1, 3, 10, 10)) == 4 * 100 * (3 + 8)


def test_all_reduce():
    assert TOOL['all_reduce_bytes'](1000, 1) == 0
    assert TOOL['all_reduce_bytes'](1000, 4) == 6000  # 2 x 3 chunks of 250 numbers
