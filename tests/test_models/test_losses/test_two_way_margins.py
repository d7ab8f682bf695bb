"""Two-way margins: a naive loop over images and neighbours, and what must hold."""

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances

from morn_plugin.models.losses.two_way_margins import label_set_distances, two_way_margin_loss

N = 7
C = 5
E = 4


@pytest.fixture
def batch():
    torch.manual_seed(0)
    target = (torch.rand(N, C) < 0.4).long()
    target[3] = target[2]  # the same label set twice
    return torch.randn(N, E), torch.randn(N, E), target


def naive(images, label_sets, target, num_neighbours, margin):
    total = 0.0
    for i in range(N):
        others = []
        for j in range(N):
            own = set(np.flatnonzero(target[i]))
            other = set(np.flatnonzero(target[j]))
            if own != other:
                others.append((len(own ^ other) / len(own | other), j))

        for difference, j in sorted(others)[:num_neighbours]:
            own = margin * difference + torch.dist(images[i], label_sets[i])
            total += max(0.0, float(own - torch.dist(images[i], label_sets[j])))
            total += max(0.0, float(own - torch.dist(images[j], label_sets[i])))

    return total / N


@pytest.mark.parametrize('margin', [0.3, 2.0])
def test_all_neighbours_by_loops(batch, margin):
    found = two_way_margin_loss(*batch, num_neighbours=50, margin=margin)
    assert found.item() == pytest.approx(naive(*batch, 50, margin), rel=1e-5)


def test_only_the_nearest_label_sets_count(batch):
    """Three sets at distances that are all different, so that it is clear which is the nearest."""
    images, label_sets, _ = (part[:3] for part in batch)
    target = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]])

    nearest = {0: (1, 1 / 5), 1: (0, 1 / 5), 2: (1, 3 / 4)}
    expected = 0.0
    for i, (j, difference) in nearest.items():
        own = 2 * difference + torch.dist(images[i], label_sets[i])
        expected += max(0.0, float(own - torch.dist(images[i], label_sets[j])))
        expected += max(0.0, float(own - torch.dist(images[j], label_sets[i])))

    found = two_way_margin_loss(images, label_sets, target, num_neighbours=1, margin=2.0)
    assert found.item() == pytest.approx(expected / 3, rel=1e-5)


def test_distances_are_jaccards(batch):
    target = batch[2]
    expected = pairwise_distances(target.numpy().astype(bool), metric='jaccard')
    np.testing.assert_allclose(label_set_distances(target), expected, atol=1e-6)


def test_equal_label_sets_and_a_batch_of_one_cost_nothing(batch):
    images, label_sets, target = batch
    same = target[:1].expand(N, -1)
    assert two_way_margin_loss(images, label_sets, same, 5, 1.0) == 0
    assert two_way_margin_loss(images[:1], label_sets[:1], target[:1], 5, 1.0) == 0


def test_images_at_their_own_label_sets_far_from_others_cost_nothing():
    points = 10 * torch.eye(3)
    target = torch.eye(3, dtype=torch.long)
    images = points.clone().requires_grad_()
    loss = two_way_margin_loss(images, points, target, 2, 1.0)
    assert loss == 0
    loss.backward()
    assert images.grad.isfinite().all()  # the distance to oneself has a corner
