"""A classifier against a critic: whose gradients go where, and what the critic adds."""

import pytest
import torch
import torch.nn.functional as F

from morn_plugin.models.label_decoders.adversarial import AdversarialClassifier
from morn_plugin.models.losses.label_critic import generator_loss

C, D = 3, 4
SMALL = dict(critic=dict(embed_dims=8, hidden_dims=(16,)), training=dict(lr=1e-2))


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(6, D), (torch.rand(6, C) < 0.5).float()


def critic_of(decoder):
    return {name: value.clone() for name, value in decoder.trainer.state_dict().items()}


def test_losses_are_cross_entropy_and_the_critics_opinion(batch):
    features, target = batch
    decoder = AdversarialClassifier(C, D, adversarial_weight=0.5, **SMALL).eval()
    losses = decoder.loss(features=features, target=target)
    logits = decoder.logits(features)
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction='sum') / 6
    torch.testing.assert_close(losses['loss_labels'], expected)
    opinion = generator_loss(decoder.trainer, features, logits.sigmoid())
    torch.testing.assert_close(losses['loss_adversarial'], 0.5 * C * opinion)


def test_the_critic_learns_in_training_alone(batch):
    features, target = batch
    decoder = AdversarialClassifier(C, D, **SMALL)
    before = critic_of(decoder)
    decoder.eval().loss(features=features, target=target)
    decoder.train()
    with torch.no_grad():
        decoder.loss(features=features, target=target)
    after = critic_of(decoder)
    assert all(torch.equal(value, after[name]) for name, value in before.items())

    sum(decoder.loss(features=features, target=target).values()).backward()
    assert decoder.trainer.num_updates == 2
    assert not torch.equal(before['first_moment'], decoder.trainer.first_moment)
    assert all(value.grad is not None for value in decoder.parameters())


def test_the_joint_form_takes_the_cnns_logits(batch):
    features, target = batch
    logits = torch.randn(6, C, requires_grad=True)
    features.requires_grad_()
    decoder = AdversarialClassifier(C, D, generator='cnn', **SMALL)
    assert decoder.inputs == ('logits', 'features')
    losses = decoder.loss(logits=logits, features=features, target=target)
    assert set(losses) == {'loss_adversarial'}  # cross-entropy is the head's
    losses['loss_adversarial'].backward()
    assert logits.grad.any()
    assert features.grad is None
    scores = decoder.predict(logits=logits, features=features)['pred_score']
    torch.testing.assert_close(scores, logits.sigmoid())


def test_ignored_labels_follow_no_opinion(batch):
    features, target = batch
    target[:, 1] = -1
    logits = torch.randn(6, C, requires_grad=True)
    decoder = AdversarialClassifier(C, D, generator='cnn', **SMALL)
    decoder.loss(logits=logits, features=features, target=target)['loss_adversarial'].backward()
    assert not logits.grad[:, 1].any()
    assert logits.grad[:, [0, 2]].any()


def test_without_a_critic_it_is_cross_entropy(batch):
    features, target = batch
    decoder = AdversarialClassifier(C, D, adversarial_weight=0)
    assert set(decoder.loss(features=features, target=target)) == {'loss_labels'}
    assert not [name for name in decoder.state_dict() if name.startswith('trainer')]


def test_the_critic_teaches_what_goes_together():
    """Two labels exclude each other, and the features do not say which of them holds.

    Cross-entropy alone says one half for both; the critic wants a set that is possible.
    """
    possible = torch.tensor([[1.0, 0.0], [0.0, 1.0]])

    def distance_to_possible(adversarial_weight):
        torch.manual_seed(0)
        decoder = AdversarialClassifier(2, 2, adversarial_weight=adversarial_weight, **options)
        optimizer = torch.optim.Adam(decoder.parameters(), lr=5e-3, betas=(0.5, 0.9))

        for _ in range(200):
            features = torch.randn(64, 2)
            target = possible[torch.randint(2, (64,))]
            optimizer.zero_grad()
            sum(decoder.loss(features=features, target=target).values()).backward()
            optimizer.step()

        with torch.no_grad():
            scores = decoder.eval().predict(torch.randn(500, 2))['pred_score']
        return (scores - possible[:, None]).norm(dim=2).amin(0).mean()

    training = dict(lr=1e-2, betas=(0.5, 0.9))
    options = dict(SMALL, training=training, hidden_dims=(32,))
    from_half = 0.5**0.5  # of (1/2, 1/2) to either possible set
    assert distance_to_possible(0) == pytest.approx(from_half, abs=0.05)
    assert distance_to_possible(3.0) < 0.5


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match='`adversarial_weight` to be 0 or more, but got -1'):
        AdversarialClassifier(C, D, adversarial_weight=-1)
    with pytest.raises(ValueError, match="`generator` to be one of 'own', 'cnn'"):
        AdversarialClassifier(C, D, generator='gan')
    with pytest.raises(ValueError, match=r'features of shape \(N, 4\), but got \(2, 5\)'):
        AdversarialClassifier(C, D).predict(torch.rand(2, 5))
