"""A linear classifier on features, by any loss."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from morn_plugin.models import DecisionHead
from morn_plugin.models.label_decoders.linear_classifier import LinearClassifier

LOSSES = ['WARPLoss', 'LSEPLoss', 'ZLPRLoss', 'TwoWayLoss', 'AsymmetricLoss', 'FocalLoss']


def make_toy(num_images, generator):
    """Six labels, each with a direction of its own in the features, and about two labels an image."""
    target = (torch.rand(num_images, 6, generator=generator) < 0.3).float()
    features = 2 * target + 0.3 * torch.randn(num_images, 6, generator=generator)
    return features, target


def test_without_a_loss_it_is_cross_entropy_with_ignored_labels_left_out():
    torch.manual_seed(0)
    decoder = LinearClassifier(3, 5)
    features = torch.randn(4, 5)
    target = torch.randint(-1, 2, (4, 3))
    logits = decoder.fc(features)
    values = F.binary_cross_entropy_with_logits(
        logits, target.clamp(min=0).float(), reduction='none'
    )
    loss = decoder.loss(features=features, target=target)['loss_labels']
    torch.testing.assert_close(loss, values[target >= 0].sum() / 4)
    torch.testing.assert_close(decoder.predict(features)['pred_score'], logits.sigmoid())
    torch.testing.assert_close(decoder.logits(features), logits)


@pytest.mark.parametrize('name', LOSSES)
def test_every_loss_learns_a_toy_by_config(name):
    """The best labels of an image, as many as it has, are the true ones."""
    torch.manual_seed(0)
    head = DecisionHead(
        6,
        dict(type='LinearClassifier', in_channels=6, loss=dict(type=name), feature_norm=dict()),
    )
    generator = torch.Generator().manual_seed(1)
    features, target = make_toy(256, generator)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)

    for batch in torch.arange(256).split(64) * 15:
        optimizer.zero_grad()
        sum(head.loss_from(dict(features=features[batch]), target[batch]).values()).backward()
        optimizer.step()

    head.eval()
    features, target = make_toy(100, generator)
    scores = head.run_decoder(dict(features=features))['pred_score'].detach()
    lowest_true = scores.masked_fill(target == 0, 2).amin(dim=1)
    highest_false = scores.masked_fill(target == 1, -1).amax(dim=1)
    assert (lowest_true > highest_false).float().mean() > 0.98


def test_whether_a_score_is_a_probability_is_for_the_loss_to_say():
    known = {name: LinearClassifier(2, 3, MODELS.build(dict(type=name))) for name in LOSSES}
    ranks = {name for name, decoder in known.items() if not decoder.has_probability}
    assert ranks == {'WARPLoss', 'LSEPLoss', 'TwoWayLoss'}
    assert LinearClassifier(2, 3).has_probability


def test_a_norm_takes_a_batch_of_one_image():
    decoder = LinearClassifier(3, 5, feature_norm=dict(momentum=0.003))
    loss = decoder.loss(torch.randn(1, 5), torch.ones(1, 3))['loss_labels']
    assert bool(loss.isfinite())


def test_wrong_shapes_are_refused():
    decoder = LinearClassifier(3, 5)
    with pytest.raises(ValueError, match=r'features of shape \(N, 5\), but got \(2, 4\)'):
        decoder.predict(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r'target of shape \(2, 3\)'):
        decoder.loss(torch.zeros(2, 5), torch.zeros(2, 4))
    with pytest.raises(ValueError, match='Expected `logits` to be a floating-point'):
        decoder.loss(torch.zeros(0, 5), torch.zeros(0, 3))
