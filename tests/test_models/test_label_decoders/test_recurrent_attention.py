"""Glimpses: how they are cut, what they are paid, what teaches their places; test_spatial.py has the toy with places."""

import math

import pytest
import torch
from torch import nn

from morn_plugin.models.label_decoders.recurrent_attention import (
    RecurrentAttention,
    cut_regions,
    top_label_reward,
)

C, D = 3, 5


def build(glimpses, **options):
    torch.manual_seed(0)
    sizes = dict(embed_dims=4, hidden_dims=6, num_steps=2)
    return RecurrentAttention(C, D, glimpses, **(sizes | options))


@pytest.fixture
def batch():
    torch.manual_seed(1)
    target = torch.tensor([[1, 0, 1], [0, 1, -1], [0, 0, 0], [-1, -1, -1]])
    return torch.rand(4, D, 4, 4), target.float()


def naive_sample(feature_map, x, y):
    """Bilinear interpolation at a point of a map (E, H, W) that reaches from -1 to 1, the border going on."""
    _, height, width = feature_map.shape
    column = min(max((x + 1) * width / 2 - 0.5, 0), width - 1)
    row = min(max((y + 1) * height / 2 - 0.5, 0), height - 1)
    left = math.floor(column)
    top = math.floor(row)
    right = min(left + 1, width - 1)
    bottom = min(top + 1, height - 1)
    across = column - left
    down = row - top
    upper = (1 - across) * feature_map[:, top, left] + across * feature_map[:, top, right]
    lower = (1 - across) * feature_map[:, bottom, left] + across * feature_map[:, bottom, right]
    return (1 - down) * upper + down * lower


def test_regions_are_cut_as_by_loops():
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 5)
    centres = 2 * torch.rand(2, 6, 2) - 1
    halves = torch.rand(2, 6, 2)
    found = cut_regions(maps, centres, halves, 3)
    assert found.shape == (2, 6, 3, 3, 3)

    for n in range(2):
        for r in range(6):
            for i, down in enumerate((-2 / 3, 0, 2 / 3)):
                for j, across in enumerate((-2 / 3, 0, 2 / 3)):
                    x = float(centres[n, r, 0] + halves[n, r, 0] * across)
                    y = float(centres[n, r, 1] + halves[n, r, 1] * down)
                    expected = naive_sample(maps[n], x, y)
                    torch.testing.assert_close(found[n, r, :, i, j], expected, atol=1e-5, rtol=1e-4)


def test_the_whole_map_and_a_single_place():
    maps = torch.randn(2, 3, 4, 4)
    whole = cut_regions(maps, torch.zeros(2, 1, 2), torch.ones(2, 1, 2), 4)
    torch.testing.assert_close(whole[:, 0], maps)
    corner = torch.tensor([0.75, -0.75]).expand(2, 1, 2)  # the middle of the place at the top right
    place = cut_regions(maps, corner, torch.zeros(2, 1, 2), 2)
    torch.testing.assert_close(place[:, 0], maps[:, :, :1, 3:].expand(2, 3, 2, 2))


def test_the_reward_counts_the_true_labels_among_the_best():
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.9, 0.2, 0.1], [0.3, 0.2, 0.1], [0.3, 0.2, 0.1]])
    target = torch.tensor([[1, 0, 1], [-1, 1, 0], [0, 0, 0], [1, 1, 1]])
    assert top_label_reward(scores, target).tolist() == [0.5, 1.0, 0.0, 1.0]


@pytest.mark.parametrize('glimpses', ['transformer', 'sampled'])
def test_each_label_takes_its_best_glimpse(glimpses, batch):
    decoder = build(glimpses).eval()
    best = decoder.logits(batch[0])
    answers = []
    fc = decoder.fc.register_forward_hook(lambda _, __, output: answers.append(output))
    decoder.logits(batch[0])
    fc.remove()
    regions = 9 if glimpses == 'sampled' else 1
    assert [tuple(answer.shape) for answer in answers] == [(4, regions, C)] * 2
    torch.testing.assert_close(best, torch.cat(answers, dim=1).amax(dim=1))


def test_predictions_draw_nothing(batch):
    decoder = build('sampled').eval()
    first, second = (decoder.predict(batch[0])['pred_score'] for _ in range(2))
    assert torch.equal(first, second)
    drawn = [decoder.look(batch[0], draws=True).centres for _ in range(2)]
    assert not torch.equal(*drawn)


def test_anchors_pull_the_places_of_images_that_are_known(batch):
    maps, target = batch
    decoder = build('transformer', anchor_weight=2.0)
    losses = decoder.loss(feature_map=maps, target=target)
    assert set(losses) == {'loss_labels', 'loss_anchors'}
    centres = decoder.look(maps, draws=False).centres
    anchors = torch.tensor([[0.0, 0.0], [-0.5, -0.5]])
    expected = 2 * (centres[:3] - anchors).square().sum() / 4  # of the fourth nothing is known
    torch.testing.assert_close(losses['loss_anchors'], expected)
    sum(losses.values()).backward()
    assert decoder.locate.weight.grad.any()


def test_reinforce_by_hand(batch):
    """The gradient of the log probability of each place drawn, times what the reward is above the expected one."""
    maps, target = batch
    decoder = build('sampled', policy_weight=3.0)
    torch.manual_seed(5)
    losses = decoder.loss(feature_map=maps, target=target)

    torch.manual_seed(5)
    seen = decoder.look(maps, draws=True)
    reward = top_label_reward(seen.logits, target)
    expected_reward = decoder.baseline(seen.states.detach())[..., 0]

    policy = baseline = 0.0
    for n in (0, 1):  # the others have no true label
        for t in range(2):
            mean = decoder.locate(seen.states[n, t]).tanh()
            # Places drawn beyond the map are moved to its border; here none is.
            assert seen.centres[n, t].abs().max() < 1
            log_prob = -((seen.centres[n, t] - mean) ** 2).sum() / (2 * 0.2**2)
            log_prob = log_prob - 2 * math.log(0.2 * math.sqrt(2 * math.pi))
            surprise = reward[n] - expected_reward[n, t]
            policy = policy - surprise.detach() * log_prob / 4
            baseline = baseline + surprise**2 / 8

    torch.testing.assert_close(losses['loss_policy'], 3 * policy)
    torch.testing.assert_close(losses['loss_baseline'], baseline)

    weights = (decoder.locate.weight, decoder.lstm.weight_ih)
    found = torch.autograd.grad(losses['loss_policy'], weights, retain_graph=True)
    for ours, theirs in zip(found, torch.autograd.grad(3 * policy, weights), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize('glimpses', ['transformer', 'sampled'])
def test_it_is_exported_for_any_batch(glimpses):
    decoder = build(glimpses).eval()
    model = nn.Module()
    model.decoder = decoder
    model.forward = lambda maps: decoder.logits(maps)
    batch = {0: torch.export.Dim('batch', min=1)}
    exported = torch.export.export(model, (torch.rand(2, D, 4, 4),), dynamic_shapes=(batch,))
    maps = torch.rand(5, D, 4, 4)
    torch.testing.assert_close(exported.module()(maps), decoder.logits(maps))


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="`glimpses` to be one of 'transformer', 'sampled'"):
        build('hard')
    with pytest.raises(ValueError, match='`deviation` to be positive, but got 0'):
        build('sampled', deviation=0)
