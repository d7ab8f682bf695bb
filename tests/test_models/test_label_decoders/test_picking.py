"""Rules for the label to feed back."""

import torch

from morn_plugin.models.label_decoders.picking import (
    pick_argmax,
    pick_from_pool,
    pick_given,
    pick_sampled,
    pick_unpicked,
    pick_until_end,
)


def run(pick, logits, **options):
    """All picks of (N, T, S) logits."""
    picked = []
    for step in logits.unbind(1):
        picked.append(pick(step, picked, **options))
    return torch.stack(picked, dim=1).tolist()


LOGITS = torch.tensor([[[0.0, 3.0, 2.0]] * 4, [[1.0, 0.0, 9.0]] * 4])


def test_argmax_repeats_itself():
    assert run(pick_argmax, LOGITS) == [[1, 1, 1, 1], [2, 2, 2, 2]]


def test_unpicked_goes_down_the_list():
    assert run(pick_unpicked, LOGITS[:, :3]) == [[1, 2, 0], [2, 0, 1]]


def test_unpicked_stays_at_end():
    assert run(pick_unpicked, LOGITS, end=2) == [[1, 2, 2, 2], [2, 2, 2, 2]]


def test_until_end_repeats_labels_and_then_end():
    logits = torch.tensor([[[0.0, 3.0, 2.0], [0.0, 3.0, 2.0], [0.0, 3.0, 9.0], [5.0, 0.0, 1.0]]])
    assert run(pick_until_end, logits, end=2) == [[1, 1, 2, 2]]


def test_a_picked_label_may_stay_eligible():
    """Written over by 2.5, the best one is the best again after the second."""
    assert run(pick_unpicked, LOGITS[:1], picked_logit=2.5) == [[1, 1, 1, 1]]
    assert run(pick_unpicked, LOGITS[:1], picked_logit=1.0) == [[1, 2, 1, 1]]


def test_given_follows():
    sequences = torch.tensor([[2, 0, 1, 0], [0, 1, 2, 2]])
    assert run(pick_given, LOGITS, sequences=sequences) == sequences.tolist()


def test_the_pool_empties_and_ends():
    """Symbol 2 is END, which is no candidate before the pool is empty, however high it scores."""
    pool = torch.tensor([[True, True], [False, True]])
    assert run(pick_from_pool, LOGITS, pool=pool) == [[1, 0, 2, 2], [1, 2, 2, 2]]


def test_an_empty_pool_ends_at_once():
    assert run(pick_from_pool, LOGITS, pool=torch.zeros(2, 2, dtype=torch.bool)) == [[2] * 4] * 2


def test_samples_follow_the_softmax():
    torch.manual_seed(0)
    logits = torch.tensor([0.1, 0.6, 0.3]).log().expand(20_000, 3)
    shares = pick_sampled(logits, []).bincount() / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.6, 0.3]), atol=0.015, rtol=0)
