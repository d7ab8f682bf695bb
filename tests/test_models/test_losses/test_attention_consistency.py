"""Visual attention consistency: the authors' four losses and their gradients."""

import pytest
import torch
import torch.nn.functional as F
from helpers import load_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from morn_plugin.models.losses import AttentionConsistencyLoss, frequency_weighted_bce
from morn_plugin.models.losses.attention_consistency import (
    class_activation_maps,
    flip_consistency,
    scale_consistency,
)


def golden():
    """Rows 0-2 are the images, 3-5 the mirrored ones."""
    return {
        name: torch.as_tensor(array).clone() for name, array in load_golden('acfs_losses').items()
    }


def test_losses_and_gradients_are_the_authors():
    arrays = golden()
    names = ('features_large', 'features_small', 'weight', 'bias')
    leaves = [arrays[name].requires_grad_() for name in names]
    large, small, weight, bias = leaves
    maps = {
        size: class_activation_maps(arrays[f'features_{size}'], weight)
        for size in ('large', 'small')
    }
    for size in maps:
        torch.testing.assert_close(maps[size].detach(), arrays[f'heatmaps_{size}'])

    logits = torch.cat([view.mean(dim=(2, 3)) @ weight.T + bias for view in (large, small)])
    values = frequency_weighted_bce(logits, arrays['labels'].repeat(4, 1), arrays['positive_ratio'])
    classification = values.sum() / 12  # four views of three images
    torch.testing.assert_close(
        classification.detach(), arrays['classification_loss'], rtol=1e-12, atol=0
    )

    views = [half for size in ('large', 'small') for half in maps[size].split(3)]
    torch.testing.assert_close(
        flip_consistency(*views[:2]).detach(), arrays['flip_loss_large'], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        flip_consistency(*views[2:]).detach(), arrays['flip_loss_small'], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        scale_consistency(maps['large'], maps['small']).detach(),
        arrays['scale_loss'],
        rtol=1e-12,
        atol=0,
    )

    flip_weight, _, scale_weight = arrays['lambdas'].tolist()
    losses = AttentionConsistencyLoss(flip_weight, scale_weight)(*views)
    total = classification + sum(losses.values())
    torch.testing.assert_close(total.detach(), arrays['total_loss'], rtol=1e-12, atol=0)
    for name, grad in zip(names, torch.autograd.grad(total, leaves), strict=True):
        torch.testing.assert_close(grad, arrays[f'grad_{name}'], rtol=1e-10, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(sizes=st.tuples(*[st.integers(1, 7)] * 4))
def test_scale_consistency_is_that_of_maps_enlarged_by_blocks(sizes):
    torch.manual_seed(0)
    height, width, other_height, other_width = sizes
    maps = torch.randn(2, 3, height, width)
    other = torch.randn(2, 3, other_height, other_width)
    size = (height * other_height, width * other_width)
    expected = F.mse_loss(F.interpolate(maps, size), F.interpolate(other, size))
    torch.testing.assert_close(scale_consistency(maps, other), expected)


def test_maps_that_move_with_the_image_cost_nothing():
    torch.manual_seed(0)
    small = torch.randn(2, 3, 4, 4)
    large = F.interpolate(small, (8, 8))
    losses = AttentionConsistencyLoss()(large, large.flip(-1), small, small.flip(-1))
    assert {name: loss.item() for name, loss in losses.items()} == dict(loss_flip=0, loss_scale=0)


def test_one_size_has_no_scale():
    maps = torch.randn(2, 3, 4, 4)
    losses = AttentionConsistencyLoss(flip_weight=2.0)(maps, maps)
    assert set(losses) == {'loss_flip'}
    torch.testing.assert_close(losses['loss_flip'], 2 * F.mse_loss(maps, maps.flip(-1)))


def test_a_map_of_one_place():
    maps = torch.randn(2, 3, 1, 1)
    assert flip_consistency(maps, maps) == 0
    assert scale_consistency(maps, maps) == 0


def test_wrong_input_is_refused():
    maps = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r'one shape.*\(2, 3, 4, 4\).*\(2, 3, 3, 3\)'):
        flip_consistency(maps, maps[..., :3, :3])
    with pytest.raises(ValueError, match=r'the same images and labels.*\(1, 3, 4, 4\)'):
        scale_consistency(maps, maps[:1])
    with pytest.raises(ValueError, match='one of the two'):
        AttentionConsistencyLoss()(maps, maps, maps)
    with pytest.raises(ValueError, match='scale_weight=-1'):
        AttentionConsistencyLoss(scale_weight=-1)
