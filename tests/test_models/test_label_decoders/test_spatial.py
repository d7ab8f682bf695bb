"""Decoders of the feature map: what must hold of each, and a toy that only places can tell."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from morn_plugin.models.label_decoders.cma import (
    CMA,
    CrossModalityAttention,
    MultiScaleCMA,
    embed_labels,
    label_affinity,
)
from morn_plugin.models.label_decoders.csra import CSRA
from morn_plugin.models.label_decoders.distilled_classifier import DistilledClassifier
from morn_plugin.models.label_decoders.ml_decoder import MLDecoder
from morn_plugin.models.label_decoders.multi_scale_fusion import MultiScaleFusion
from morn_plugin.models.label_decoders.query2label import (
    CrossAttentionLayer,
    Query2Label,
    sine_positions,
)
from morn_plugin.models.label_decoders.recurrent_attention import RecurrentAttention
from morn_plugin.models.label_decoders.srn import SRN
from morn_plugin.models.label_decoders.window_detector import WindowDetector

C, D = 4, 8
TARGETS = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]], dtype=np.int8)


def build_srn(**options):
    return SRN(C, stage_channels=(D, D), map_size=4, embed_dims=8, num_filters=2, **options)


def build_cma():
    decoder = CMA(C, D, embed_dims=8)
    decoder.prepare([f'label {index}' for index in range(C)], TARGETS)
    return decoder


BUILDERS = dict(
    srn=build_srn,
    cma=build_cma,
    csra=lambda: CSRA(C, D, num_heads=2, lam=0.5),
    ml_decoder=lambda: MLDecoder(C, D, embed_dims=16),
    query2label=lambda: Query2Label(C, D, embed_dims=16, dropout=0.0),
    query2label_cross=lambda: Query2Label(C, D, embed_dims=16, dropout=0.0, self_attention=False),
    glimpses=lambda: RecurrentAttention(C, D, embed_dims=16, hidden_dims=32),
    glimpses_sampled=lambda: RecurrentAttention(C, D, 'sampled', embed_dims=16, hidden_dims=32),
    windows=lambda: WindowDetector(C, D, embed_dims=16),
    distilled=lambda: DistilledClassifier(C, D, teacher=dict(embed_dims=16)),
    ms_cnn=lambda: MultiScaleFusion(C, (D, D), embed_dims=16, quantity=False),
)


def see(decoder, maps):
    """Name the inputs of a decoder, drawn from maps (N, D, 4, 4)."""
    offered = dict(
        feature_map=maps,
        stage_maps=(maps, maps[..., ::2, ::2]),
        logits=maps.mean((2, 3))[:, :C],
        features=maps.mean((2, 3)),
    )
    return {name: offered[name] for name in decoder.inputs}


@pytest.mark.parametrize('name', BUILDERS)
def test_images_do_not_mix(name):
    torch.manual_seed(0)
    decoder = BUILDERS[name]().eval()
    maps = torch.rand(5, D, 4, 4)
    order = torch.randperm(5)
    with torch.no_grad():
        scores = decoder.predict(**see(decoder, maps))['pred_score']
        moved = decoder.predict(**see(decoder, maps[order]))['pred_score']
    torch.testing.assert_close(moved, scores[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', BUILDERS)
def test_ignored_labels_have_no_gradient(name):
    torch.manual_seed(0)
    decoder = BUILDERS[name]()
    maps = torch.rand(2, D, 4, 4)
    target = torch.full((2, C), -1.0)
    losses = decoder.loss(target=target, **see(decoder, maps))
    assert all(float(loss.detach()) == 0 for loss in losses.values())


#: Shares of right decisions; a constant answer has 0.6. CMA's attention is spread over all places
#: that look alike, which dilutes a single bright one; the distilled student sees the average alone.
REACHED = dict.fromkeys(BUILDERS, 0.95) | dict(cma=0.75, distilled=0.75)


@pytest.mark.slow
@pytest.mark.parametrize('name', BUILDERS)
def test_learns_labels_that_lie_at_places(name):
    """Label c is a bright place in channel c."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    decoder = BUILDERS[name]()

    def draw(number):
        target = (torch.rand(number, C, generator=generator) < 0.4).float()
        maps = 0.1 * torch.rand(number, D, 4, 4, generator=generator)
        images, labels = target.nonzero().unbind(1)
        places = torch.randint(16, (len(images),), generator=generator)
        maps.flatten(2)[images, labels, places] += 3
        return maps, target

    maps, target = draw(1024)
    passes = 20 if name == 'distilled' else 10  # it sees the average over places alone
    batches = torch.arange(1024).split(64) * passes
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    # As in the configs. At a constant rate the weights move faster than the running statistics of
    # batch norm, and what is learnt is lost in evaluation mode.
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))

    for batch in batches:
        optimizer.zero_grad()
        seen = see(decoder, maps[batch])
        sum(decoder.loss(target=target[batch], **seen).values()).backward()
        optimizer.step()
        scheduler.step()

    maps, target = draw(200)
    with torch.no_grad():
        scores = decoder.eval().predict(**see(decoder, maps))['pred_score']
    share = ((scores > 0.5) == target.bool()).float().mean()
    assert share > REACHED[name]


@pytest.mark.parametrize('name', BUILDERS)
def test_a_map_of_one_place(name):
    torch.manual_seed(0)
    decoder = BUILDERS[name]().eval()
    maps = torch.rand(2, D, 1, 1)
    assert decoder.predict(**see(decoder, maps))['pred_score'].isfinite().all()


@pytest.mark.parametrize('name', BUILDERS)
def test_another_width_is_named(name):
    decoder = BUILDERS[name]()
    with pytest.raises(ValueError, match=rf'\(N, {D}, H, W\), but got \(2, 5, 4, 4\)'):
        decoder.predict(**see(decoder, torch.rand(2, 5, 4, 4)))


def test_srn_attention_sums_to_one():
    attention, _ = build_srn().attend(torch.rand(2, D, 4, 4))
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(2, C))


def test_srn_of_a_constant_confidence_attends_to_it():
    """Wherever a label looks, it sees the same."""
    decoder = build_srn().eval()
    torch.nn.init.zeros_(decoder.confidence.weight)
    maps = torch.rand(2, D, 4, 4)
    _, attended = decoder._both(torch.zeros(2, C), (maps, maps))
    torch.testing.assert_close(attended, decoder.confidence.bias.expand(2, C))


def test_srn_last_convolution_sees_one_channel_each():
    last = build_srn().regularization[6]
    assert last.groups == last.in_channels == 8
    assert last.weight.shape == (16, 1, 4, 4)


def test_srn_answer_is_half_the_cnns():
    decoder = build_srn().eval()
    maps = torch.rand(2, D, 4, 4)
    logits = torch.randn(2, C)
    rest = decoder.logits(torch.zeros(2, C), (maps, maps))
    torch.testing.assert_close(decoder.logits(logits, (maps, maps)), rest + logits / 2)


@pytest.mark.parametrize(
    ('train', 'losses', 'still'),
    [
        ('attention', {'loss_attention'}, {'regularization'}),
        ('regularization', {'loss_srn'}, {'attention', 'confidence'}),
        ('all', {'loss_attention', 'loss_srn'}, set()),
    ],
)
def test_srn_trains_in_stages(train, losses, still):
    decoder = build_srn(train=train)
    maps = torch.rand(2, D, 4, 4)
    target = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    found = decoder.loss(target=target, **see(decoder, maps))
    assert found.keys() == losses
    sum(found.values()).backward()
    without = {
        name.split('.')[0]
        for name, parameter in decoder.named_parameters()
        if parameter.grad is None
    }
    assert without == still


def test_cma_attention():
    block = CrossModalityAttention(C, D, 8).eval()
    places = torch.randn(2, 9, 8)
    embeddings = torch.randn(C, 8)
    attention = block.attend(places, embeddings)
    torch.testing.assert_close(attention.sum(2), torch.ones(2, C))
    torch.testing.assert_close(block.attend(3 * places, embeddings), attention)
    same = block.attend(places, embeddings[:1].expand(C, -1))
    torch.testing.assert_close(same, same[:, :1].expand(-1, C, -1))


def test_cma_of_a_constant_map_sees_its_feature():
    block = CrossModalityAttention(C, D, 8).eval()
    place = torch.randn(1, 1, 8)
    contents = block.attend(place.expand(1, 9, 8), torch.randn(C, 8)) @ place.expand(1, 9, 8)
    torch.testing.assert_close(contents, place.expand(1, C, 8))


def test_cma_attention_of_a_label_that_no_place_looks_like_is_even():
    block = CrossModalityAttention(1, D, 2)
    attention = block.attend(torch.tensor([[[1.0, 0], [1.0, 0]]]), torch.tensor([[-1.0, 0]]))
    assert attention.tolist() == [[[0.5, 0.5]]]


def test_embeddings_agree_with_co_occurrence():
    affinity = label_affinity(torch.from_numpy(TARGETS == 1))
    unit = embed_labels(affinity, 8, bound=0.0)
    torch.testing.assert_close(unit @ unit.t(), affinity, atol=0.02, rtol=0)
    assert torch.equal(unit, embed_labels(affinity, 8, bound=0.0))


def test_affinity_by_hand():
    """Label 0 is in 3 images, label 1 in 2, both in 1: (1/3 + 1/2) / 2."""
    affinity = label_affinity(torch.from_numpy(TARGETS == 1))
    assert affinity[0, 1].item() == pytest.approx(5 / 12)


def test_several_scales_are_averaged():
    decoder = MultiScaleCMA(C, (D, D), embed_dims=8)
    decoder.prepare([f'label {index}' for index in range(C)], TARGETS)
    decoder.eval()
    maps = (torch.rand(2, D, 4, 4), torch.rand(2, D, 2, 2))
    answers = decoder._answers(stage_maps=maps)
    expected = (answers[0].sigmoid() + answers[1].sigmoid()) / 2
    torch.testing.assert_close(decoder.predict(stage_maps=maps)['pred_score'], expected)
    with pytest.raises(ValueError, match=r'built for 2 stages.*but got 1'):
        decoder.predict(stage_maps=maps[:1])


def test_csra_is_the_average_and_the_best_places():
    decoder = CSRA(C, D, num_heads=2, lam=0.5).eval()
    maps = torch.rand(2, D, 4, 4)
    expected = torch.zeros(2, C)

    for part, temperature in zip(decoder.head.csra_heads, (1, 99), strict=True):
        weight = part.head.weight[..., 0, 0]
        score = torch.einsum('nkl,ck->ncl', maps.flatten(2), F.normalize(weight, dim=1))
        soft = (score * temperature).softmax(2)
        best = score.amax(2) if temperature == 99 else (score * soft).sum(2)
        expected += score.mean(2) + 0.5 * best

    torch.testing.assert_close(decoder.logits(maps), expected)


def test_sine_positions_are_distinct():
    positions = sine_positions(torch.zeros(1, 16, 3, 5)).flatten(1).t()
    assert len(torch.unique(positions, dim=0)) == 15


@pytest.mark.parametrize(
    ('name', 'is_related'), [('query2label', True), ('query2label_cross', False)]
)
def test_query2label_relates_labels_by_self_attention_only(name, is_related):
    torch.manual_seed(0)
    decoder = BUILDERS[name]().eval()
    logits = decoder.logits(torch.rand(2, D, 4, 4))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), decoder.queries.weight)
    assert bool(gradient[0].any())
    assert bool(gradient[1:].any()) is is_related


def test_query2label_without_self_attention_is_torchs_layer_without_its_first_part():
    torch.manual_seed(0)
    layer = CrossAttentionLayer(16, 4, 32, 0.0, batch_first=True).eval()
    whole = nn.TransformerDecoderLayer(16, 4, 32, 0.0, batch_first=True).eval()
    whole.load_state_dict(layer.state_dict(), strict=False)
    # Attention that returns zero, and a norm that changes nothing, leave the queries as they are.
    nn.init.zeros_(whole.self_attn.out_proj.weight)
    whole.norm1 = nn.Identity()
    queries, memory = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    torch.testing.assert_close(layer(queries, memory), whole(queries, memory))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['query2label', 'query2label_cross'])
def test_query2label_is_exported_for_any_batch(name):
    decoder = BUILDERS[name]().eval()
    model = nn.Module()
    model.decoder = decoder
    model.forward = lambda maps: decoder.logits(maps)
    batch = {0: torch.export.Dim('batch', min=1)}
    exported = torch.export.export(model, (torch.rand(2, D, 4, 4),), dynamic_shapes=(batch,))
    maps = torch.rand(5, D, 4, 4)
    torch.testing.assert_close(exported.module()(maps), decoder.logits(maps))


def test_nothing_is_known_before_cma_is_prepared():
    with pytest.raises(RuntimeError, match='CMA has no label embeddings yet'):
        CMA(C, D).predict(feature_map=torch.rand(2, D, 4, 4))
