"""Images and label sets in one space."""

import pytest
import torch
import torch.nn.functional as F

from morn_plugin.models.label_decoders.label_set_embedding import LabelSetEmbedding
from morn_plugin.models.losses.two_way_margins import two_way_margin_loss

C, D = 3, 4


def build(**options):
    torch.manual_seed(0)
    return LabelSetEmbedding(C, D, embed_dims=8, hidden_dims=(16,), **options)


def test_losses_are_the_margins_and_the_way_back():
    decoder = build(num_neighbours=2, margin=0.7, reconstruction_weight=3.0)
    features = torch.randn(5, D)
    target = torch.randint(0, 2, (5, C)).float()
    losses = decoder.loss(features=features, target=target)
    images = decoder.place_images(features)
    label_sets = decoder.place_label_sets(target)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(5))
    margins = two_way_margin_loss(images, label_sets, target, 2, 0.7)
    torch.testing.assert_close(losses['loss_margins'], margins)
    back = decoder.read_labels(label_sets)
    expected = 3 * F.binary_cross_entropy_with_logits(back, target, reduction='sum') / 5
    torch.testing.assert_close(losses['loss_reconstruction'], expected)


def test_the_labels_are_read_at_the_images_place():
    decoder = build()
    features = torch.randn(5, D)
    expected = decoder.read_labels(decoder.place_images(features)).sigmoid()
    torch.testing.assert_close(decoder.predict(features)['pred_score'], expected)
    torch.testing.assert_close(decoder.logits(features).sigmoid(), expected)


def test_an_ignored_label_is_as_if_absent():
    decoder = build()
    target = torch.tensor([[1.0, -1, 0]])
    torch.testing.assert_close(
        decoder.place_label_sets(target), decoder.place_label_sets(target.clamp(min=0))
    )


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r'positive `margin`.*margin=0'):
        build(margin=0)
    with pytest.raises(ValueError, match='`num_neighbours` to be a positive integer'):
        build(num_neighbours=0)
