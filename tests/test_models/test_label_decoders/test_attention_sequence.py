"""Label sequences with attention, against the authors' decoder and by their properties."""

import numpy as np
import pytest
import torch
from helpers import load_golden, under

from morn_plugin.models.label_decoders.attention_sequence import (
    AttentionLSTM,
    AttentionSequenceLSTM,
)
from morn_plugin.models.label_decoders.picking import pick_argmax

C, D = 6, 5


def from_golden(golden):
    """Lay the authors' weights out as ours: START is our row 0, a symbol k our row k + 1."""
    weights = {name: torch.from_numpy(value) for name, value in under(golden, 'weight.').items()}
    start = weights['embedding.weight'][10:11]
    symbols = weights['embedding.weight'][:10]
    lstm = AttentionLSTM(10, 11, 11, embed_dims=5, hidden_dims=7, attention_dims=6)
    names = {
        'attend_map': 'attention.encoder_att',
        'attend_state': 'attention.decoder_att',
        'attend': 'attention.full_att',
        'gate': 'f_beta',
        'output': 'fc',
        'init_h': 'init_h',
        'init_c': 'init_c',
    }
    state = {
        f'{ours}.{part}': weights[f'{theirs}.{part}']
        for ours, theirs in names.items()
        for part in ('weight', 'bias')
    }
    cell = {f'cell.{name}': value for name, value in under(weights, 'lstm_cell.').items()}
    lstm.load_state_dict({**state, **cell, 'embedding.weight': torch.cat([start, symbols])})
    return lstm.double().eval()


def test_the_decoder_of_the_authors():
    golden = load_golden('orderless_decoder')
    places = torch.from_numpy(golden['feature_map']).double().flatten(1, 2)  # (N, L, D)
    pooled = torch.from_numpy(golden['pooled']).double()
    with torch.no_grad():
        step_logits, _ = from_golden(golden)(places, pooled, 20, pick_argmax)
    expected = torch.from_numpy(golden['scores']).double()
    torch.testing.assert_close(step_logits, expected, rtol=1e-6, atol=1e-6)


def build(**options):
    torch.manual_seed(0)
    small = dict(embed_dims=4, hidden_dims=8, attention_dims=6)
    decoder = AttentionSequenceLSTM(C, D, **(small | options))
    targets = np.tril(np.ones((C, C), dtype=np.int8))
    decoder.prepare([f'label {index}' for index in range(C)], targets)
    return decoder


def see(number=3, start='features'):
    generator = torch.Generator().manual_seed(1)
    inputs = dict(feature_map=torch.rand(number, D, 3, 3, generator=generator))
    if start == 'scores':
        inputs['scores'] = torch.rand(number, C, generator=generator)
    return inputs


def test_attention_sums_to_one_and_follows_the_places():
    lstm = build().eval().lstm
    places = torch.rand(2, 9, D)
    h = torch.rand(2, 8)
    weights = lstm.attention(lstm.attend_map(places), h)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    order = torch.randperm(9)
    moved = lstm.attention(lstm.attend_map(places[:, order]), h)
    torch.testing.assert_close(moved, weights[:, order])


def test_the_order_of_the_places_decides_nothing():
    decoder = build().eval()
    inputs = see()
    moved = inputs['feature_map'].flatten(2)[..., torch.randperm(9)].view(3, D, 3, 3)
    torch.testing.assert_close(
        decoder.predict(**inputs)['pred_score'], decoder.predict(feature_map=moved)['pred_score']
    )


@pytest.mark.parametrize('start', ['features', 'scores'])
@pytest.mark.parametrize('order', ['mla', 'pla', 'pool', 'ocd', 'rare_first'])
def test_every_order_learns_a_step(order, start):
    decoder = build(order=order, start=start)
    assert decoder.inputs == (
        ('feature_map',) if start == 'features' else ('scores', 'feature_map')
    )
    target = torch.tensor([[1, 0, 1, 0, 0, 0], [0] * 6, [0, -1, 0, 0, 0, 1]]).float()
    loss = decoder.loss(target=target, **see(start=start))['loss_sequence']
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is not None for parameter in decoder.parameters())
    predictions = decoder.eval().predict(**see(start=start))
    assert predictions['pred_label'].shape == (3, C)
    assert predictions['step_scores'].shape[2] == C


def test_a_map_of_one_place_is_a_plain_feature():
    decoder = build().eval()
    predictions = decoder.predict(feature_map=torch.rand(2, D, 1, 1))
    assert predictions['pred_score'].isfinite().all()


def test_a_map_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r'feature map of shape \(N, 5, H, W\).*\(2, 7, 3, 3\)'):
        build().predict(feature_map=torch.rand(2, 7, 3, 3))


def test_it_learns_a_toy_with_places():
    """Each label has a colour of its own somewhere on the map: only a look at places tells."""
    torch.manual_seed(0)
    decoder = build(order='pla', hidden_dims=32, embed_dims=8, attention_dims=16, dropout=0.0)
    generator = torch.Generator().manual_seed(0)

    def draw(number):
        target = (torch.rand(number, C, generator=generator) < 0.3).float()
        target[:, D:] = 0  # as many labels as there are channels
        feature_map = 0.1 * torch.rand(number, D, 3, 3, generator=generator)
        for image, label in target.nonzero().tolist():
            place = int(torch.randint(9, (1,), generator=generator))
            feature_map[image, label].view(-1)[place] += 2
        return feature_map, target

    maps, target = draw(512)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=5e-3)
    for batch in torch.arange(512).split(64) * 25:
        optimizer.zero_grad()
        decoder.loss(feature_map=maps[batch], target=target[batch])['loss_sequence'].backward()
        optimizer.step()

    maps, target = draw(200)
    predicted = decoder.eval().predict(feature_map=maps)['pred_label']
    assert (predicted == target.bool()).all(dim=1).float().mean() > 0.9
