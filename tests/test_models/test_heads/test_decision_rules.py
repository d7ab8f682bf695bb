"""Decision rules in a head: honoured in prediction, test-time augmentation, export and merging."""

from pathlib import Path

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from morn_plugin.apis.exporting import ExportModel
from morn_plugin.apis.merging import merge
from morn_plugin.engine.kept_thresholds import read_thresholds
from morn_plugin.models import DecisionHead, LabelDecoderHead
from morn_plugin.utils.files import sha256

ROOT = Path(__file__).parents[3]
NUM_CLASSES, WIDTH = 4, 16
RULES = {
    'threshold': dict(type='FixedThreshold', thr=[0.2, 0.4, 0.6, 0.8]),
    'top labels': dict(type='TopLabels', number=2),
    'score map': dict(type='ScoreMap', slope=2.0, offset=-0.5, thr=0.4),
    'quantity': dict(type='LabelQuantity', in_channels=WIDTH, hidden_dims=(8,)),
    'count': dict(type='LabelCount', in_channels=WIDTH, most=3, hidden_dims=(8,)),
    'thresholds': dict(type='LearntThresholds', in_channels=WIDTH, hidden_dims=(8,)),
}
PLAIN = ['threshold', 'top labels', 'score map']
LOOKING = sorted(RULES.keys() - set(PLAIN))
every = pytest.mark.parametrize('name', RULES)


def build(name, **head):
    """A small CNN whose scores spread, and whose learnt rules do not all say the same."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='MultiLabelClassifier',
            backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=2),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LabelDecoderHead',
                num_classes=NUM_CLASSES,
                in_channels=WIDTH,
                decoder=None,
                decision=RULES[name],
                **head,
            ),
        )
    )
    torch.nn.init.normal_(model.head.fc.weight, std=1.0)
    if name == 'quantity':
        torch.nn.init.constant_(model.head.decision.regressor[-1].bias, 1.5)
    return model.eval()


def images(number=6):
    return torch.randn(number, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def masks(samples):
    mask = torch.zeros(len(samples), NUM_CLASSES, dtype=torch.bool)
    for row, sample in zip(mask, samples, strict=True):
        row[sample.pred_label] = True
    return mask


def predict(model, batch):
    with torch.no_grad():
        return model(batch, [DataSample() for _ in batch], mode='predict')


@every
def test_prediction_follows_the_rule(name):
    model = build(name)
    samples = predict(model, images())
    with torch.no_grad():
        features = model.extract_feat(images())[-1]
        scores = model.head.fc(features).sigmoid()
        rule = model.head.decision
        expected = rule(scores, dict(features=features))

    assert (masks(samples) == expected).all()
    assert 0 < expected.sum() < expected.numel()
    shown = torch.stack([sample.pred_score for sample in samples])
    torch.testing.assert_close(shown, rule.map_scores(scores).detach())


@pytest.mark.parametrize('name', PLAIN)
def test_a_plain_rule_is_the_same_from_the_scores_that_are_shown(name):
    model = build(name)
    samples = predict(model, images())
    tta = MODELS.build(dict(type='AverageScoresTTA', module=model))
    merged = tta.merge_preds([[sample, sample.clone()] for sample in samples])
    assert (masks(merged) == masks(samples)).all()


@pytest.mark.parametrize('name', LOOKING)
def test_views_vote_on_a_rule_that_looks_at_the_image(name):
    model = build(name)
    first = predict(model, images())
    second = predict(model, images().flip(3))
    tta = MODELS.build(dict(type='AverageScoresTTA', module=model))
    views = [list(pair) for pair in zip(first, second, first, strict=True)]
    assert (masks(tta.merge_preds(views)) == masks(first)).all()


@every
def test_given_thresholds_replace_the_rule(name):
    """They are of the scores that are shown; the rule keeps its map of them."""
    model = build(name)
    before = predict(model, images())
    shown = torch.stack([sample.pred_score for sample in before])
    thr = shown.median(dim=0).values.tolist()
    model.head.use_threshold(thr)
    samples = predict(model, images())
    after = torch.stack([sample.pred_score for sample in samples])
    torch.testing.assert_close(after, shown)
    assert (masks(samples) == (shown > torch.tensor(thr))).all()
    assert (masks(samples) != masks(before)).any()

    tta = MODELS.build(dict(type='AverageScoresTTA', module=model))
    merged = tta.merge_preds([[sample, sample.clone()] for sample in samples])
    assert (masks(merged) == masks(samples)).all()


@pytest.mark.parametrize('name', PLAIN)
def test_an_exported_model_gives_the_scores_that_the_rule_is_for(name):
    model = build(name)
    (scores,) = ExportModel(model)(images())
    rule = model.head.decision.as_plain()
    samples = predict(model, images())
    shown = torch.stack([sample.pred_score for sample in samples])
    torch.testing.assert_close(scores.detach(), shown)

    if 'thr' in rule:
        assert ((shown > torch.tensor(rule['thr'])) == masks(samples)).all()
    else:
        assert (masks(samples).sum(dim=1) == rule['topk']).all()


@pytest.mark.parametrize('name', LOOKING)
def test_an_exported_model_gives_the_labels_of_a_rule_that_looks_at_the_image(name):
    model = build(name)
    exported = ExportModel(model)
    assert exported.outputs == ('scores', 'labels')
    scores, labels = exported(images())
    samples = predict(model, images())
    torch.testing.assert_close(
        scores.detach(), torch.stack([sample.pred_score for sample in samples])
    )
    assert (labels == masks(samples)).all()


@every
def test_merging_keeps_what_the_rule_has_learnt(name, tmp_path):
    torch.manual_seed(3)
    head = DecisionHead(
        NUM_CLASSES, dict(type='LinearClassifier', in_channels=WIDTH), decision=RULES[name]
    )
    weights = {f'head.{key}': value for key, value in head.state_dict().items()}
    classes = list('abcd')
    cnn = dict(
        state_dict=dict(build(name).state_dict()), meta=dict(dataset_meta=dict(classes=classes))
    )
    torch.save(cnn, tmp_path / 'cnn.pth')
    meta = dict(classes=classes, cnn_checkpoint_sha256=sha256(tmp_path / 'cnn.pth'))
    decoder = dict(state_dict=weights, meta=dict(dataset_meta=meta))
    merged = merge(cnn, decoder, str(tmp_path / 'cnn.pth'), 'decoder.pth')
    assert 'calibrated_thr' not in merged['meta']
    for key, value in weights.items():
        assert torch.equal(merged['state_dict'][key], value)

    assert 'head.fc.weight' in merged['state_dict']


@pytest.mark.parametrize(
    ('own', 'expected'), [(0.2, 0.2), (None, 0.4)], ids=['the decoders', 'the CNNs']
)
def test_merging_keeps_the_threshold_of_the_cnn(own, expected, tmp_path):
    """Validation on the cached scores chose one, or else the CNN's own training."""
    classes = list('abcd')
    thresholds = lambda thr: {} if thr is None else dict(calibrated_thr={'cnn-calibrated': thr})
    cnn = dict(state_dict={}, meta=dict(dataset_meta=dict(classes=classes), **thresholds(0.4)))
    torch.save(cnn, tmp_path / 'cnn.pth')
    meta = dict(classes=classes, cnn_checkpoint_sha256=sha256(tmp_path / 'cnn.pth'))
    decoder = dict(
        state_dict={'head.decoder.fc.bias': torch.zeros(4)},
        meta=dict(dataset_meta=meta, **thresholds(own)),
    )
    merged = merge(cnn, decoder, str(tmp_path / 'cnn.pth'), 'decoder.pth')
    assert read_thresholds(merged) == {'cnn-calibrated': expected}


def test_whether_scores_are_probabilities_is_for_the_loss_of_the_cnn_to_say():
    ranks = lambda loss: not LabelDecoderHead(4, 8, None, loss_cnn=loss).has_probability
    assert ranks(dict(type='WARPLoss'))
    assert ranks(dict(type='LSEPLoss'))
    assert not ranks(dict(type='ZLPRLoss'))
    assert not ranks(None)
    head = LabelDecoderHead(
        4, 8, dict(type='LinearClassifier', in_channels=8, loss=dict(type='WARPLoss'))
    )
    assert not head.has_probability
