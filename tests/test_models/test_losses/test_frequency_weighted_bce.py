"""Cross-entropy weighted by how rare a label is; the authors' values are in test_attention_consistency.py."""

import math

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS

from morn_plugin.models.losses import label_loss


def build(**options):
    return MODELS.build(dict(type='FrequencyWeightedBCELoss', num_classes=2, **options))


def test_by_hand_with_an_ignored_label():
    loss = label_loss(
        build(positive_ratio=[0.25, 0.5]), torch.zeros(2, 2), torch.tensor([[1, 0], [-1, 1]])
    )
    expected = math.log(2) * (math.exp(0.75) + math.exp(0.5) + math.exp(0.5)) / 2
    assert loss.item() == pytest.approx(expected)


def test_strong_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = label_loss(build(positive_ratio=[0.0, 1.0]), logits, torch.tensor([[0, 1]]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert logits.grad.tolist() == [[1, -1]]


def test_prepare_counts_images_without_labels_and_a_checkpoint_keeps_it():
    module = build()
    targets = np.array([[1, 0], [0, 0], [1, -1], [0, 1]], dtype=np.int8)
    module.prepare(['a', 'b'], targets)
    torch.testing.assert_close(module.positive_ratio, torch.tensor([0.5, 0.25]))

    loaded = build()
    loaded.load_state_dict(module.state_dict())
    case = torch.randn(3, 2), torch.randint(2, (3, 2)).float()
    torch.testing.assert_close(loaded(*case), module(*case))


def test_unprepared_it_says_so():
    module = build()
    with pytest.raises(RuntimeError, match='does not know how frequent the labels are'):
        module(torch.zeros(1, 2), torch.zeros(1, 2))
    module.load_state_dict(build().state_dict())
    with pytest.raises(RuntimeError, match='does not know how frequent the labels are'):
        module(torch.zeros(1, 2), torch.zeros(1, 2))


def test_wrong_shares_are_refused():
    with pytest.raises(ValueError, match=r'2 numbers between 0 and 1, but got \[0.5\]'):
        build(positive_ratio=[0.5])
    with pytest.raises(ValueError, match='2 numbers between 0 and 1'):
        build(positive_ratio=[0.5, 1.5])
    with pytest.raises(ValueError, match=r'shape \(N, 2\).*got \(4, 3\)'):
        build().prepare(['a', 'b', 'c'], np.zeros((4, 3), dtype=np.int8))
    with pytest.raises(ValueError, match='N at least 1'):
        build().prepare(['a', 'b'], np.zeros((0, 2), dtype=np.int8))
