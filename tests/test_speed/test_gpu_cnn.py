"""The checks of a CNN with the decoder behind it, as far as they go on a CPU."""

import torch

from morn_plugin.speed.checks import make_settings
from morn_plugin.speed.gpu_cnn import check_export, check_two_stages, compare_outputs

SETTINGS = make_settings('cpu', rounds=1, small=True)
NAMES = ('scores', 'cnn_scores', 'step_scores', 'step_labels')


def outputs(score, step_score, label):
    """Outputs of two images, of which the first is as the arguments say."""
    return (
        torch.tensor([[score, 0.5], [0.5, 0.5]]),
        torch.full((2, 2), 0.5),
        torch.tensor([[[step_score, 0.5]], [[0.5, 0.5]]]),
        torch.tensor([[label], [1]]),
    )


def test_steps_after_another_pick_are_not_compared():
    expected = outputs(0.5, 0.5, 0)
    apart, picks = compare_outputs(NAMES, expected, outputs(0.6, 0.8, 0))
    assert round(apart, 5) == 0.3
    assert picks == 0
    assert compare_outputs(NAMES, expected, outputs(0.6, 0.8, 1)) == (0.0, 0.5)


def test_exported_programs_agree():
    assert check_export(SETTINGS).holds


def test_both_stages_are_measured():
    found = check_two_stages(SETTINGS._replace(seconds=0.001))
    assert found.holds
    assert [row[0] for row in found.tables[0].rows] == ['float32, NCHW', 'float32, NHWC']
