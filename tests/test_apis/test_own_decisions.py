"""A model's own decision, as a report and a page find it: a threshold where it has one."""

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS

from morn_plugin.apis.own_decisions import own_threshold, plain_decision
from morn_plugin.models import LabelDecoderHead

NUM_CLASSES, WIDTH = 4, 8
THR = [0.2, 0.4, 0.6, 0.8]


def build(**options):
    return LabelDecoderHead(NUM_CLASSES, WIDTH, **options)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(), 0.5),
        (dict(thr=0.3), 0.3),
        (dict(thr=1), 1.0),
        (dict(thr=THR), THR),
        (dict(topk=2), None),
        (dict(decision=dict(type='FixedThreshold', thr=0.25)), 0.25),
        (
            dict(decision=dict(type='FixedThreshold', thr=[0.25, 0.5, 0.5, 0.75])),
            [0.25, 0.5, 0.5, 0.75],
        ),
        (dict(decision=dict(type='ScoreMap', slope=2.0, thr=0.75)), 0.75),
        (dict(decision=dict(type='TopLabels', number=2)), None),
        (dict(decision=dict(type='LabelQuantity', in_channels=WIDTH)), None),
        (dict(decision=dict(type='LearntThresholds', in_channels=WIDTH)), None),
        (dict(decoder=dict(type='LabelSequenceLSTM', order='pla', hidden_dims=4)), None),
    ],
)
def test_the_threshold_of_a_head(options, expected):
    assert own_threshold(build(**options)) == expected


def test_it_marks_what_the_head_predicts():
    """Or there is none, and the head's own labels are what is shown."""
    torch.manual_seed(0)
    features = torch.randn(50, WIDTH)
    for options in (dict(thr=THR), dict(decision=dict(type='ScoreMap', slope=2.0, offset=0.3))):
        head = build(**options)
        torch.nn.init.normal_(head.fc.weight)
        for sample in head.predict((features,)):
            marked = sample.pred_score > torch.tensor(own_threshold(head))
            assert sample.pred_label.tolist() == np.flatnonzero(marked).tolist()


def test_of_mmpretrains_two_the_threshold_decides():
    head = MODELS.build(
        dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=8, thr=0.3, topk=2)
    )
    assert own_threshold(head) == 0.3
    assert plain_decision(head) == dict(thr=0.3, topk=2)
