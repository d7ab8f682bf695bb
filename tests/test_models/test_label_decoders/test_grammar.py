"""A toy language that every decoder must learn: one score tells a scene, the scene tells all its labels."""

import numpy as np
import pytest
import torch

from morn_plugin.models import LabelSequenceLSTM, MultiOrderLSTM, masked_stepwise_bce

NUM_CLASSES = 7
SCENES = [[0], [0, 1, 2], [2, 3, 4], [5, 6], []]  # label sets that overlap; the scores show the first label alone


def make_toy(num_images, generator):
    """Scores that are sure of one label of a scene, and the scene's target."""
    scenes = torch.randint(len(SCENES), (num_images,), generator=generator)
    scores = 0.1 * torch.rand(num_images, NUM_CLASSES, generator=generator)
    target = torch.zeros(num_images, NUM_CLASSES)
    for row, truth, scene in zip(scores, target, scenes.tolist(), strict=True):
        truth[SCENES[scene]] = 1
        if SCENES[scene]:
            row[SCENES[scene][-1]] = 0.9
    return scores, target


DECODERS = {
    'multi-order': lambda: MultiOrderLSTM(NUM_CLASSES, masked_stepwise_bce, embed_dims=16, hidden_dims=32),
    **{order: lambda order=order: LabelSequenceLSTM(NUM_CLASSES, order, embed_dims=16, hidden_dims=32)
       for order in ('frequent_first', 'rare_first', 'lexicographic')},
    'beam': lambda: LabelSequenceLSTM(NUM_CLASSES, 'rare_first', beam_size=3, embed_dims=16, hidden_dims=32)}


@pytest.mark.parametrize('name', DECODERS)
def test_learns_the_grammar(name):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    decoder = DECODERS[name]()
    decoder.prepare([f'label {k}' for k in range(NUM_CLASSES)], make_toy(500, generator)[1].numpy().astype(np.int8))
    optimizer = torch.optim.Adam(decoder.parameters(), lr=5e-3)
    scores, target = make_toy(512, generator)
    for batch in torch.arange(512).split(64) * 20:
        loss = sum(decoder.loss(scores[batch], target[batch]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    decoder.eval()
    scores, target = make_toy(200, generator)
    with torch.no_grad():
        predictions = decoder.predict(scores)
    predicted = predictions.get('pred_label', predictions['pred_score'] > 0.5)
    assert (predicted == target.bool()).all(dim=1).float().mean() > 0.98
