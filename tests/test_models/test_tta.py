import numpy as np
import pytest
import torch
from helpers import make_sample
from mmpretrain.registry import MODELS
from torch import nn

from morn_plugin.models import AverageScoresTTA, LabelDecoderHead


@pytest.fixture
def model():
    module = nn.Module()
    module.head = LabelDecoderHead(3, 2, None)
    # its base wants a whole classifier, of which only the head matters
    tta = AverageScoresTTA.__new__(AverageScoresTTA)
    nn.Module.__init__(tta)
    tta.module = module
    return tta


def view(pred, steps=None, **fields):
    sample = make_sample(
        [1], pred_score=torch.tensor(pred), cnn_score=torch.tensor(pred[::-1]), **fields
    )
    sample.set_pred_label(2)
    if steps is not None:
        sample.set_field(torch.tensor(steps), 'step_scores')
        sample.set_field(torch.zeros(len(steps), dtype=torch.long), 'step_labels')
    return sample


def test_scores_are_averaged_and_labels_decided_anew(model):
    views = [
        view([0.9, 0.1, 0.6], [[0.9, 0.1, 0.2], [0.0, 0.0, 0.6]]),
        view([0.5, 0.3, 0.2], [[0.5, 0.3, 0.2], [0.4, 0.2, 0.2]]),
    ]
    (merged,) = model.merge_preds([views])
    torch.testing.assert_close(merged.pred_score, torch.tensor([0.7, 0.2, 0.4]))
    torch.testing.assert_close(merged.cnn_score, torch.tensor([0.4, 0.2, 0.7]))
    torch.testing.assert_close(merged.step_scores, torch.tensor([[0.7, 0.2, 0.2], [0.2, 0.1, 0.4]]))
    assert merged.pred_label.tolist() == [0]
    assert merged.gt_label.tolist() == [1]
    assert 'step_labels' not in merged  # those of one view would not belong to the averaged scores


def test_the_options_of_the_head_decide(model):
    model.module.head.topk = 2
    (merged,) = model.merge_preds([[view([0.1, 0.3, 0.2]), view([0.1, 0.1, 0.2])]])
    assert merged.pred_label.tolist() == [1, 2]


def test_views_stay_as_they_are(model):
    views = [view([0.9, 0.1, 0.6]), view([0.5, 0.3, 0.2])]
    model.merge_preds([views])
    assert views[0].pred_score.tolist() == pytest.approx([0.9, 0.1, 0.6])


def test_it_wraps_a_real_classifier():
    classifier = dict(
        type='MultiLabelClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=2),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='MultiOrderLSTMHead',
            num_classes=4,
            in_channels=16,
            embed_dims=3,
            hidden_dims=5,
            num_steps=2,
        ),
    )
    tta = MODELS.build(dict(type='AverageScoresTTA', module=MODELS.build(classifier))).eval()
    images = torch.randint(255, (2, 3, 32, 32), dtype=torch.uint8)
    flipped = images.flip(3)

    views = dict(
        inputs=[list(images), list(flipped)],
        data_samples=[[make_sample([0]) for _ in images] for _ in range(2)],
    )
    with torch.no_grad():
        merged = tta.test_step(views)
        single = [
            tta.module(batch.float(), [make_sample([0]) for _ in images], mode='predict')
            for batch in (images, flipped)
        ]

    for result, one, other in zip(merged, *single, strict=True):
        torch.testing.assert_close(result.pred_score, (one.pred_score + other.pred_score) / 2)


def test_a_decoder_without_threshold_decides_from_the_averaged_probabilities():
    head = dict(
        type='LabelDecoderHead',
        num_classes=4,
        in_channels=16,
        decoder=dict(type='LabelSequenceLSTM', order='frequent_first', embed_dims=3, hidden_dims=5),
    )
    module = MODELS.build(
        dict(
            type='MultiLabelClassifier',
            head=head,
            neck=dict(type='GlobalAveragePooling'),
            backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=2),
        )
    )
    torch.nn.init.normal_(module.head.fc.weight, std=3)
    module.head.decoder.prepare(['a', 'b', 'c', 'd'], np.ones((1, 4), dtype=np.int8))
    tta = MODELS.build(dict(type='AverageScoresTTA', module=module)).eval()
    images = torch.randint(255, (5, 3, 32, 32), dtype=torch.uint8)
    flipped = images.flip(3)

    views = dict(
        inputs=[list(images), list(flipped)],
        data_samples=[[make_sample([0]) for _ in images] for _ in range(2)],
    )
    with torch.no_grad():
        merged = tta.test_step(views)
        mean = (
            sum(
                module.head.classify(module.extract_feat(batch.float())).sigmoid()
                for batch in (images, flipped)
            )
            / 2
        )
        expected = module.head.decoder.predict(mean)

    for n, sample in enumerate(merged):
        assert sample.pred_label.tolist() == expected['pred_label'][n].nonzero()[:, 0].tolist()
        assert sample.step_labels.tolist() == expected['step_labels'][n].tolist()
        for name, wanted in (
            ('cnn_score', mean),
            *((name, expected[name]) for name in ('pred_score', 'step_scores')),
        ):
            torch.testing.assert_close(sample.get(name), wanted[n])

        assert sample.gt_label.tolist() == [0]
