"""Critic of label sets: the authors' values, and the properties of the textbook penalty."""

import math

import pytest
import torch
from helpers import load_golden, under
from torch import nn

from morn_plugin.models.losses.label_critic import (
    LabelCritic,
    critic_loss,
    generator_loss,
    mix,
    slope_penalty,
)


@pytest.fixture
def golden():
    arrays = {name: torch.as_tensor(array) for name, array in load_golden('wgan_critic').items()}
    critic = LabelCritic(5, 7, embed_dims=4, hidden_dims=(6, 5, 4))
    ours = dict(feature_emb_linear='embed_features', label_set_emb_linear='embed_labels')
    state = {}
    for name, weight in under(arrays, 'weight.').items():
        layer, rest = name.split('.', 1)
        state[f'{ours.get(layer, layer)}.{rest}'] = weight

    critic.load_state_dict(state)
    return arrays, critic


class Linear(nn.Module):
    """D(x, y) = a . x + b . y: a slope that is known everywhere."""

    def __init__(self, along_features, along_labels):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(along_features))
        self.b = nn.Parameter(torch.tensor(along_labels))

    def forward(self, features, labels):
        return features @ self.a + labels @ self.b


@pytest.fixture
def batch():
    torch.manual_seed(0)
    target = torch.tensor([[1, 0, 1], [0, 1, -1], [0, 0, 0], [-1, -1, -1]])
    return torch.randn(4, 2), target, torch.rand(4, 3)


def test_means_and_losses_are_the_authors(golden):
    arrays, critic = golden
    pairs = dict(
        critic_generated=('features_generated', 'generated', 1),
        critic_real=('features_real', 'labels_real', -1),
        critic_mismatched=('features_real', 'labels_mismatched', 1),
    )
    for name, (features, labels, sign) in pairs.items():
        mean = sign * critic(arrays[features], arrays[labels]).mean()
        torch.testing.assert_close(mean.double(), arrays[name], rtol=1e-6, atol=1e-7)

    loss = generator_loss(critic, arrays['features_generated'], arrays['generated'])
    torch.testing.assert_close(loss.double(), arrays['generator_loss'], rtol=1e-6, atol=1e-7)


def test_the_penalty_is_the_releases(golden):
    arrays, critic = golden
    share_features = arrays['alpha_features'].float()
    share_labels = arrays['alpha_labels'].float()
    features = mix(arrays['features_real'], arrays['features_generated'], share_features)
    labels = mix(arrays['labels_real'], arrays['labels_generated_batch'], share_labels)
    penalty = slope_penalty(critic, features, labels, of_features=True)
    torch.testing.assert_close(penalty.double(), arrays['gradient_penalty'], rtol=1e-6, atol=1e-7)


def test_by_hand(batch):
    """A linear critic: the three means, and a penalty that is the same at every point."""
    features, target, scores = batch
    critic = Linear([3.0, 4.0], [0.0, 2.0, 0.0])
    true = torch.where(target < 0, scores, target.float())
    others = torch.where(target < 0, scores, true[[3, 0, 1, 2]])
    means = [critic(features, labels).mean() for labels in (scores, others, true)]
    expected = means[0] / 2 + means[1] / 2 - means[2]

    textbook = critic_loss(critic, features, target, scores, penalty_weight=7.0)
    torch.testing.assert_close(textbook, expected + 7 * (2 - 1) ** 2)
    release = critic_loss(critic, features, target, scores, penalty='release', penalty_weight=7.0)
    torch.testing.assert_close(release, expected + 7 * ((2 - 1) ** 2 + (5 - 1) ** 2))


def test_the_textbook_points_lie_between_true_and_made(batch):
    """A critic that is steep only beyond the segment is not punished."""
    features, target, scores = batch
    target = target.clamp(min=0)

    class Notes(Linear):
        seen = []

        def forward(self, features, labels):
            self.seen.append(labels.detach())
            return super().forward(features, labels)

    critic = Notes([1.0, 0.0], [1.0, 0.0, 0.0])
    critic_loss(critic, features, target, scores)
    share = (critic.seen[-1] - scores) / (target - scores)
    torch.testing.assert_close(share, share[:, :1].expand_as(share), rtol=1e-3, atol=1e-3)
    assert bool(((share > 0) & (share < 1)).all())


def test_gradients_reach_their_own_side_alone(batch):
    features, target, scores = batch
    features.requires_grad_()
    scores.requires_grad_()
    critic = LabelCritic(3, 2, embed_dims=4, hidden_dims=(5,))

    critic_loss(critic, features, target, scores).backward()
    assert scores.grad is None
    assert features.grad is None
    assert all(parameter.grad is not None for parameter in critic.parameters())

    generator_loss(critic, features, scores).backward()
    assert scores.grad.any()


def test_what_is_ignored_tells_the_critic_nothing(batch):
    """An image with ignored labels only has one and the same label set, true, made or another's."""
    features, _, scores = batch
    critic = LabelCritic(3, 2)
    target = torch.full((4, 3), -1)
    loss = critic_loss(critic, features, target, scores, penalty_weight=0.0)
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('penalty', ['generated', 'release'])
def test_a_batch_of_one_image_has_no_other(batch, penalty):
    features, target, scores = (part[:1] for part in batch)
    loss = critic_loss(LabelCritic(3, 2), features, target, scores, penalty)
    assert math.isfinite(loss.item())


def test_the_critic_learns_how_far_true_is_from_made():
    """True label sets repeat the features' sign; the made ones, half of each, are sqrt(1/2) away."""
    torch.manual_seed(0)
    features = torch.randn(64, 2)
    target = (features > 0).float()
    scores = torch.full((64, 2), 0.5)
    critic = LabelCritic(2, 2, embed_dims=16, hidden_dims=(32, 32))
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)

    for _ in range(200):
        optimizer.zero_grad()
        critic_loss(critic, features, target, scores).backward()
        optimizer.step()

    with torch.no_grad():
        true = critic(features, target).mean()
        made = critic(features, scores).mean()
        wrong = critic(features, 1 - target).mean()

    assert (true - made).item() == pytest.approx(0.5**0.5, abs=0.1)
    assert (made - wrong).item() == pytest.approx(0.5**0.5, abs=0.1)


def test_an_unknown_penalty_is_refused(batch):
    with pytest.raises(ValueError, match="`penalty` to be one of 'generated', 'release'"):
        critic_loss(LabelCritic(3, 2), *batch, penalty='none')


def test_a_single_image_has_no_other_labels_to_tell_apart(batch):
    features, target, scores = (part[:1] for part in batch)
    critic = Linear([0.5, -1.0], [1.0, 2.0, 0.5])
    found = critic_loss(critic, features, target, scores, penalty_weight=0.0)
    expected = critic(features, scores).mean() / 2 - critic(features, target.float()).mean()
    torch.testing.assert_close(found, expected)
