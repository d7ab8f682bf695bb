"""What every decoder makes of images and training sets that are out of the ordinary: a right answer, or a clear error."""

import copy

import numpy as np
import pytest
import torch

from morn_plugin.models import masked_stepwise_bce
from morn_plugin.models.label_decoders import find_decoders
from morn_plugin.models.label_decoders.adversarial import AdversarialClassifier
from morn_plugin.models.label_decoders.attention_sequence import AttentionSequenceLSTM
from morn_plugin.models.label_decoders.base import MAP_INPUTS
from morn_plugin.models.label_decoders.cma import CMA, MultiScaleCMA
from morn_plugin.models.label_decoders.csra import CSRA
from morn_plugin.models.label_decoders.distilled_classifier import DistilledClassifier
from morn_plugin.models.label_decoders.label_orders import LEARNT_ORDERS
from morn_plugin.models.label_decoders.label_sequence import LabelSequenceLSTM
from morn_plugin.models.label_decoders.label_set_embedding import LabelSetEmbedding
from morn_plugin.models.label_decoders.linear_classifier import LinearClassifier
from morn_plugin.models.label_decoders.ml_decoder import MLDecoder
from morn_plugin.models.label_decoders.multi_order_lstm import MultiOrderLSTM
from morn_plugin.models.label_decoders.multi_scale_fusion import MultiScaleFusion
from morn_plugin.models.label_decoders.neighbours import TagProp, TwoPassKNN
from morn_plugin.models.label_decoders.query2label import Query2Label
from morn_plugin.models.label_decoders.recurrent_attention import RecurrentAttention
from morn_plugin.models.label_decoders.srn import SRN
from morn_plugin.models.label_decoders.window_detector import WindowDetector
from morn_plugin.models.losses import LSEPLoss, TwoWayLoss, WARPLoss, ZLPRLoss

C, D = 4, 8
LSTM = dict(embed_dims=4, hidden_dims=8)
CRITIC = dict(embed_dims=4, hidden_dims=(8,))

BUILDERS = {
    'MultiOrderLSTM': lambda: MultiOrderLSTM(C, masked_stepwise_bce, num_steps=3, **LSTM),
    **{
        f'LabelSequenceLSTM, {order}': lambda order=order: LabelSequenceLSTM(C, order, **LSTM)
        for order in ('rare_first', *LEARNT_ORDERS)
    },
    **{
        f'AttentionSequenceLSTM, {order}': lambda order=order: AttentionSequenceLSTM(
            C, D, order, attention_dims=8, dropout=0.0, **LSTM
        )
        for order in ('pla', 'pool')
    },
    'CMA': lambda: CMA(C, D, embed_dims=8),
    'MultiScaleCMA': lambda: MultiScaleCMA(C, (D, D), embed_dims=8),
    'CSRA': lambda: CSRA(C, D, num_heads=2, lam=0.5),
    'MLDecoder': lambda: MLDecoder(C, D, embed_dims=16),
    'Query2Label': lambda: Query2Label(C, D, embed_dims=16, dropout=0.0),
    'SRN': lambda: SRN(C, (D, D), map_size=4, embed_dims=8, num_filters=2),
    'MultiScaleFusion': lambda: MultiScaleFusion(C, (D, D), embed_dims=8),
    **{
        f'RecurrentAttention, {kind}': lambda kind=kind: RecurrentAttention(
            C, D, kind, embed_dims=8, hidden_dims=8
        )
        for kind in ('transformer', 'sampled')
    },
    'WindowDetector': lambda: WindowDetector(C, D, embed_dims=8),
    **{
        f'DistilledClassifier, {train}': lambda train=train: DistilledClassifier(
            C, D, train=train, teacher=dict(embed_dims=8)
        )
        for train in ('both', 'teacher')
    },
    'TagProp': lambda: TagProp(C, num_neighbours=3),
    'TwoPassKNN': lambda: TwoPassKNN(C, num_neighbours=2, normalize_labels='training'),
    'LinearClassifier': lambda: LinearClassifier(C, D, feature_norm=dict()),
    **{
        f'LinearClassifier, {type(loss).__name__}': lambda loss=loss: LinearClassifier(C, D, loss)
        for loss in (WARPLoss(), WARPLoss(rank='sampled'), LSEPLoss(), ZLPRLoss(), TwoWayLoss())
    },
    'AdversarialClassifier': lambda: AdversarialClassifier(C, D, critic=CRITIC),
    'LabelSetEmbedding': lambda: LabelSetEmbedding(C, D, embed_dims=4, hidden_dims=(8,)),
}
each = pytest.mark.parametrize('name', BUILDERS)

#: Label 3 is in one image, label 2 in none but the one that has all; no label, all, and ignored only.
TRAINING = np.array(
    [[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0] * C, [1] * C, [-1] * C, [1, 1, -1, 0]],
    dtype=np.int8,
)
TARGETS = {
    'no label': [[0] * C] * 3,
    'all labels': [[1] * C] * 3,
    'ignored only': [[-1] * C] * 3,
    'one of each': [[0] * C, [1] * C, [-1] * C],
    'true and ignored': [[1, -1, -1, -1]] * 3,
    'false and ignored': [[0, -1, -1, 0]] * 3,
}


def see(decoder, number=3, size=4, seed=0, width=D):
    """Draw what a decoder looks at."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(number, width, size, size, generator=generator)
    logits = torch.randn(number, C, generator=generator)
    offered = dict(
        scores=logits.sigmoid(),
        logits=logits,
        features=maps.mean((2, 3)),
        feature_map=maps,
        stage_maps=(maps, maps[..., ::2, ::2]),
    )
    return {name: offered[name] for name in decoder.inputs}


def build(name):
    torch.manual_seed(0)
    decoder = copy.deepcopy(BUILDERS[name]())
    names = [f'label {index}' for index in range(C)]
    wanted = {
        key: value.numpy()
        for key, value in see(decoder, len(TRAINING), seed=1).items()
        if key in decoder.prepares_from
    }
    if decoder.needs_training_labels:
        decoder.prepare(names, TRAINING, **wanted)
    return decoder


def check_predictions(predictions, number):
    scores = predictions['pred_score']
    assert scores.shape == (number, C)
    assert bool(((scores >= 0) & (scores <= 1)).all())
    if 'pred_label' in predictions:
        assert predictions['pred_label'].shape == (number, C)


def test_every_decoder_is_here():
    assert {name.split(',')[0] for name in BUILDERS} == {kind.__name__ for kind in find_decoders()}


@each
@pytest.mark.parametrize('kind', TARGETS)
def test_targets_out_of_the_ordinary(name, kind):
    decoder = build(name)
    target = torch.tensor(TARGETS[kind])
    losses = decoder.loss(target=target.float(), **see(decoder))
    total = torch.stack(list(losses.values())).sum()
    assert total.isfinite()
    if total.requires_grad:
        total.backward()
    gradients = [part.grad for part in decoder.parameters() if part.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    if kind == 'ignored only':
        assert all(not gradient.any() for gradient in gradients), 'what is ignored has taught'


@each
def test_one_image_alone(name):
    decoder = build(name).train()
    target = torch.tensor([[1.0, 0, 0, 1]])
    losses = decoder.loss(target=target, **see(decoder, 1))
    assert all(loss.isfinite() for loss in losses.values())
    check_predictions(decoder.eval().predict(**see(decoder, 1)), 1)


@each
def test_copies_of_a_picture_get_the_same_answer(name):
    """Also copies of the training images, at distance 0 for methods that look for neighbours."""
    decoder = build(name).eval()
    seen = see(decoder, len(TRAINING), seed=1)
    twice = {
        key: tuple(torch.cat([part, part]) for part in value)
        if isinstance(value, tuple)
        else torch.cat([value, value])
        for key, value in seen.items()
    }
    with torch.no_grad():
        predictions = decoder.predict(**twice)
    check_predictions(predictions, 2 * len(TRAINING))
    first, second = predictions['pred_score'].chunk(2)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


MAPPED = [name for name in BUILDERS if set(MAP_INPUTS) & set(BUILDERS[name]().inputs)]


@pytest.mark.parametrize('name', MAPPED)
def test_a_map_of_one_place(name):
    decoder = build(name)
    check_predictions(decoder.eval().predict(**see(decoder, size=1)), 3)
    target = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]])
    losses = decoder.train().loss(target=target, **see(decoder, size=1))
    assert all(loss.isfinite() for loss in losses.values())


@each
def test_a_target_of_other_classes_is_named(name):
    decoder = build(name)
    with pytest.raises(ValueError, match=r'\(3, 4\).*\(3, 3\)'):
        decoder.loss(target=torch.zeros(3, C - 1), **see(decoder))


@each
def test_another_backbone_is_named(name):
    decoder = build(name)
    seen = see(decoder, width=5)
    if 'scores' in seen and len(seen) == 1:
        seen = dict(scores=torch.rand(3, 5))
    with pytest.raises(ValueError, match='expected'):
        decoder.predict(**seen)


TRAINED = [name for name in BUILDERS if BUILDERS[name]().needs_training_labels]


@pytest.mark.parametrize('name', TRAINED)
def test_a_training_set_of_other_classes_is_named(name):
    decoder = BUILDERS[name]()
    wanted = {
        key: value.numpy()
        for key, value in see(decoder, len(TRAINING)).items()
        if key in decoder.prepares_from
    }
    with pytest.raises(ValueError, match=r'num_classes=4.*name 3 classes'):
        decoder.prepare(['a', 'b', 'c'], TRAINING[:, :3], **wanted)


@pytest.mark.parametrize('kind', [TagProp, TwoPassKNN])
def test_more_neighbours_than_training_images(kind):
    decoder = kind(C, num_neighbours=len(TRAINING) + 1)
    features = see(LinearClassifier(C, D), len(TRAINING))['features'].numpy()
    with pytest.raises(ValueError, match=rf'num_neighbours.*{len(TRAINING)}'):
        decoder.prepare([f'label {index}' for index in range(C)], TRAINING, features=features)
