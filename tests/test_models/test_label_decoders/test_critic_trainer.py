"""The critic's own optimiser: steps as PyTorch's Adam makes them, a state that goes with the model."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from morn_plugin.models.label_decoders import critic_trainer
from morn_plugin.models.label_decoders.critic_trainer import CriticTrainer
from morn_plugin.models.losses.label_critic import LabelCritic, critic_loss

C, D = 3, 2


@pytest.fixture
def float64():
    """Compute in float64: where a gradient is zero, Adam makes steps of what rounding leaves."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    target = torch.tensor([[1, 0, 1], [0, 1, -1], [0, 0, 0], [1, 1, 0]])
    return torch.randn(4, D), target, torch.rand(4, C)


def build(**options):
    torch.manual_seed(1)
    return CriticTrainer(LabelCritic(C, D, embed_dims=4, hidden_dims=(5,)), **options)


def state(trainer):
    return {name: value.clone() for name, value in trainer.state_dict().items()}


def test_steps_are_those_of_adam(float64, batch):
    options = dict(lr=1e-2, betas=(0.5, 0.9))
    trainer = build(steps=3, max_norm=0.5, penalty_weight=7.0, **options)
    torch.manual_seed(1)
    plain = LabelCritic(C, D, embed_dims=4, hidden_dims=(5,))
    optimizer = torch.optim.Adam(plain.parameters(), **options)

    torch.manual_seed(2)
    trainer.train_critic(*batch)
    torch.manual_seed(2)

    for _ in range(3):
        optimizer.zero_grad()
        critic_loss(plain, *batch, penalty_weight=7.0).backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        assert norm > 0.5
        optimizer.step()

    expected = parameters_to_vector(plain.parameters()).detach()
    torch.testing.assert_close(trainer.weights, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trainer(*batch[::2]), plain(*batch[::2]).detach())


def test_a_loaded_state_goes_on_exactly(batch):
    trainer = build()
    resumed = build(lr=1e-3)
    for seed in range(2):
        torch.manual_seed(seed)
        trainer.train_critic(*batch)

    resumed.load_state_dict(state(trainer))
    for one in (trainer, resumed):
        torch.manual_seed(5)
        one.train_critic(*batch)

    assert all(torch.equal(value, state(resumed)[name]) for name, value in state(trainer).items())
    assert resumed.num_updates == 6


def test_nothing_is_left_for_the_models_optimiser(batch):
    trainer = build()
    features, target, scores = batch
    features.requires_grad_()
    scores.requires_grad_()
    trainer.train_critic(features, target, scores)
    assert features.grad is None
    assert scores.grad is None
    assert not list(trainer.parameters())
    assert not trainer.weights.requires_grad


def test_processes_average_their_gradients(batch, monkeypatch):
    """Two processes, the other's gradient being the negative of twice ours: the mean is minus half of ours."""
    trainer = build()
    torch.manual_seed(3)
    alone = trainer._gradient(*batch)
    monkeypatch.setattr(critic_trainer.dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(critic_trainer.dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr(critic_trainer.dist, 'all_reduce', lambda value: value.mul_(-1))
    torch.manual_seed(3)
    torch.testing.assert_close(trainer._gradient(*batch), -alone / 2)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r'`lr` and `max_norm`.*lr=0'):
        build(lr=0)
    with pytest.raises(ValueError, match='`steps` to be a positive integer, but got 0'):
        build(steps=0)
    with pytest.raises(ValueError, match="`penalty` to be one of 'generated', 'release'"):
        build(penalty='none')
