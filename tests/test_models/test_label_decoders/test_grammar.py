"""A toy language that every method must learn: what is seen tells a scene, the scene tells all its labels."""

import numpy as np
import pytest
import torch
from helpers import samples_of

from morn_plugin.models import (
    DecisionHead,
    LabelDecoderHead,
    LabelSequenceLSTM,
    MultiOrderLSTM,
    masked_stepwise_bce,
)
from morn_plugin.models.label_decoders.label_orders import LEARNT_ORDERS
from morn_plugin.models.label_decoders.neighbours import TagProp, TwoPassKNN

pytestmark = pytest.mark.slow  # trains every method

NUM_CLASSES = 7
# label sets that overlap; the scores show the last label alone
SCENES = [
    [0],
    [0, 1, 2],
    [2, 3, 4],
    [5, 6],
    [],
]


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
    'multi-order': lambda: MultiOrderLSTM(
        NUM_CLASSES, masked_stepwise_bce, embed_dims=16, hidden_dims=32
    ),
    **{
        order: lambda order=order: LabelSequenceLSTM(
            NUM_CLASSES, order, embed_dims=16, hidden_dims=32
        )
        for order in ('frequent_first', 'rare_first', 'lexicographic', *LEARNT_ORDERS)
    },
    'beam': lambda: LabelSequenceLSTM(
        NUM_CLASSES, 'rare_first', beam_size=3, embed_dims=16, hidden_dims=32
    ),
}


def train(parameters, loss, data, lr=5e-3):
    """Twenty passes over 512 images in batches of 64."""
    optimizer = torch.optim.Adam(parameters, lr=lr)
    for batch in torch.arange(512).split(64) * 20:
        optimizer.zero_grad()
        sum(loss(*(part[batch] for part in data)).values()).backward()
        optimizer.step()


@pytest.mark.parametrize('name', DECODERS)
def test_learns_the_grammar(name):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    decoder = DECODERS[name]()
    decoder.prepare(
        [f'label {k}' for k in range(NUM_CLASSES)],
        make_toy(500, generator)[1].numpy().astype(np.int8),
    )
    train(decoder.parameters(), decoder.loss, make_toy(512, generator))
    decoder.eval()
    scores, target = make_toy(200, generator)
    with torch.no_grad():
        predictions = decoder.predict(scores)
    predicted = predictions.get('pred_label', predictions['pred_score'] > 0.5)
    assert (predicted == target.bool()).all(dim=1).float().mean() > 0.98


def share_right(head, generator):
    """The share of 200 new images whose labels a trained head predicts all."""
    head.eval()
    feats, target = make_toy(200, generator)
    with torch.no_grad():
        samples = head.predict((feats,))
    right = [
        sample.pred_label.tolist() == row.nonzero()[:, 0].tolist()
        for sample, row in zip(samples, target, strict=True)
    ]
    return sum(right) / len(right)


@pytest.mark.parametrize('name', ['cnn', 'sr-cnn-rnn', 'multi-order, joint'])
def test_learns_the_grammar_from_features(name):
    """The classifier and the decoder behind it, from the features that a backbone would give."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    decoder = dict(
        cnn=lambda: None,
        **{'sr-cnn-rnn': DECODERS['rare_first'], 'multi-order, joint': DECODERS['multi-order']},
    )
    head = LabelDecoderHead(NUM_CLASSES, NUM_CLASSES, decoder[name](), detach_scores=False)
    head.init_weights()
    if head.decoder is not None:
        head.decoder.prepare(
            [f'label {k}' for k in range(NUM_CLASSES)],
            make_toy(500, generator)[1].numpy().astype(np.int8),
        )

    loss = lambda feats, target: head.loss((feats,), samples_of(target))
    train(head.parameters(), loss, make_toy(512, generator), lr=2e-2)
    assert share_right(head, generator) > 0.98


ON_FEATURES = {
    'adversarial': dict(
        type='AdversarialClassifier',
        hidden_dims=(32,),
        critic=dict(embed_dims=16, hidden_dims=(32,)),
    ),
    'label set embedding': dict(type='LabelSetEmbedding', embed_dims=16, hidden_dims=(32,)),
}


@pytest.mark.parametrize('name', ON_FEATURES)
def test_a_decoder_of_features_learns_the_grammar(name):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    head = DecisionHead(NUM_CLASSES, dict(ON_FEATURES[name], in_channels=NUM_CLASSES))
    loss = lambda features, target: head.loss_from(dict(features=features), target)
    train(head.parameters(), loss, make_toy(512, generator))
    head.eval()
    features, target = make_toy(200, generator)

    with torch.no_grad():
        inputs = dict(features=features)
        predicted = head.decide(head.run_decoder(inputs)['pred_score'], inputs)

    assert (predicted == target.bool()).all(dim=1).float().mean() > 0.98


@pytest.mark.parametrize(
    ('decoder', 'threshold'),
    [(TagProp(NUM_CLASSES, num_neighbours=20), 0.5), (TwoPassKNN(NUM_CLASSES, bandwidth=9), 0.15)],
    ids=['tagprop', '2pknn'],
)
def test_neighbours_know_the_grammar(decoder, threshold):
    """Scenes are found again. 2PKNN looks at images of each label alone, so it has no answer to an image without one."""
    generator = torch.Generator().manual_seed(1)
    features, target = make_toy(500, generator)
    names = [f'label {k}' for k in range(NUM_CLASSES)]
    decoder.prepare(names, target.numpy().astype(np.int8), features=features.numpy())
    features, target = make_toy(200, generator)
    if isinstance(decoder, TwoPassKNN):
        features, target = (part[target.any(dim=1)] for part in (features, target))

    with torch.no_grad():
        predicted = decoder.predict(features)['pred_score'] > threshold
    assert (predicted == target.bool()).all(dim=1).float().mean() > 0.98


THRESHOLDS = dict(type='LearntThresholds', in_channels=NUM_CLASSES, hidden_dims=(32,))
QUANTITY = dict(type='LabelQuantity', in_channels=NUM_CLASSES, hidden_dims=(32,))
LOSSES = {
    'warp, thresholds': (dict(type='WARPLoss'), THRESHOLDS),
    'warp, quantity': (dict(type='WARPLoss', rank='sampled'), QUANTITY),
    'lsep, thresholds': (dict(type='LSEPLoss'), THRESHOLDS),
    'lsep, quantity': (dict(type='LSEPLoss'), QUANTITY),
    'two-way, thresholds': (dict(type='TwoWayLoss'), THRESHOLDS),
    'zlpr': (dict(type='ZLPRLoss'), None),
    'asymmetric, thresholds': (dict(type='AsymmetricLoss'), THRESHOLDS),
}


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_of_the_cnn_learns_the_grammar(name):
    """A loss that only ranks labels leaves it to a learnt decision how many there are."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    loss_cnn, decision = LOSSES[name]
    head = LabelDecoderHead(NUM_CLASSES, NUM_CLASSES, None, loss_cnn=loss_cnn, decision=decision)
    head.init_weights()
    loss = lambda feats, target: head.loss((feats,), samples_of(target))
    train(head.parameters(), loss, make_toy(512, generator), lr=2e-2)
    assert share_right(head, generator) > 0.98
