"""The fusion branch, and the number of labels on its feature; test_spatial.py has the toy with places."""

import pytest
import torch
import torch.nn.functional as F

from morn_plugin.models.label_decoders.multi_scale_fusion import MultiScaleFusion

C, CHANNELS = 5, (4, 6, 8)


def build(**options):
    torch.manual_seed(0)
    return MultiScaleFusion(C, CHANNELS, embed_dims=16, **options)


@pytest.fixture
def maps():
    torch.manual_seed(1)
    return tuple(torch.randn(3, d, size, size) for d, size in zip(CHANNELS, (9, 5, 3), strict=True))


def test_stages_are_added_to_the_branch_one_after_the_other(maps):
    decoder = build().eval()
    fused = maps[0]
    for block, following in zip(decoder.blocks, maps[1:], strict=True):
        conv, norm, _, project, last = block
        half = F.conv2d(fused, conv.weight, stride=2, padding=1) / (1 + norm.eps) ** 0.5
        halved = F.conv2d(half.relu(), project.weight) / (1 + last.eps) ** 0.5
        fused = halved + following

    linear, norm, _ = decoder.embed
    expected = (linear(fused.mean((2, 3))) / (1 + norm.eps) ** 0.5).relu()
    torch.testing.assert_close(decoder.fuse(maps), expected)


def test_a_branch_that_gives_nothing_leaves_the_last_stage_alone(maps):
    decoder = build().eval()
    torch.nn.init.zeros_(decoder.blocks[-1][-1].weight)
    alone = decoder.embed(maps[-1].mean((2, 3)))
    torch.testing.assert_close(decoder.fuse(maps), alone)


def test_as_many_labels_as_the_quantity_says(maps):
    decoder = build().eval()
    assert (decoder.has_threshold, decoder.display_name) == (False, 'MS-CNN+LQP')
    prediction = decoder.predict(maps)
    numbers = decoder.quantity.quantity(decoder.fuse(maps)).add(0.5).floor().clamp(0, C)
    assert prediction['pred_label'].sum(1).tolist() == numbers.tolist()

    with torch.no_grad():
        decoder.quantity.regressor[-1].weight.zero_()
        decoder.quantity.regressor[-1].bias.fill_(2.4)

    prediction = decoder.predict(maps)
    best = prediction['pred_score'].topk(2).indices.sort(1).values
    assert [row.nonzero()[:, 0].tolist() for row in prediction['pred_label']] == best.tolist()


def test_the_quantity_does_not_move_the_feature(maps):
    decoder = build()
    target = torch.eye(C)[:3]
    decoder.loss(stage_maps=maps, target=target)['loss_quantity'].backward()
    moved = {name.split('.')[0] for name, p in decoder.named_parameters() if p.grad is not None}
    assert moved == {'quantity'}


def test_without_a_quantity_a_threshold_decides(maps):
    decoder = build(quantity=False).eval()
    assert (decoder.has_threshold, decoder.display_name) == (True, 'MS-CNN')
    assert set(decoder.predict(maps)) == {'pred_score'}
    assert set(decoder.loss(stage_maps=maps, target=torch.eye(C)[:3])) == {'loss_labels'}
    torch.testing.assert_close(decoder.logits(maps).sigmoid(), decoder.predict(maps)['pred_score'])


def test_wrong_stages_are_named(maps):
    with pytest.raises(ValueError, match=r'built for 3 stages.*but got 2'):
        build().predict(maps[:2])
    odd = (*maps[:2], torch.randn(3, 8, 5, 5))
    with pytest.raises(ValueError, match=r'halve the map.*\(3, 8, 3, 3\) here, but got \(3, 8, 5'):
        build().predict(odd)
    with pytest.raises(ValueError, match=r'two stages or more.*stage_channels=\(8,\)'):
        MultiScaleFusion(C, (8,))
