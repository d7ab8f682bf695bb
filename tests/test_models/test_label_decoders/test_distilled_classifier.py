"""A student of labels and of a window detector: who learns what, and from what."""

import pytest
import torch
import torch.nn.functional as F

from morn_plugin.models.label_decoders.distilled_classifier import DistilledClassifier

C, D = 3, 5


def build(**options):
    torch.manual_seed(0)
    return DistilledClassifier(C, D, teacher=dict(embed_dims=4), **options)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    target = torch.tensor([[1.0, 0, 1], [0, 1, -1]])
    maps = torch.rand(2, D, 3, 3)
    return dict(features=maps.mean((2, 3)), feature_map=maps, target=target)


def test_losses_by_hand(batch):
    decoder = build(scale=0.5)
    losses = decoder.loss(**batch)
    assert set(losses) == {'loss_detector', 'loss_labels', 'loss_teacher'}
    logits = decoder.classifier(batch['features'])
    taught = decoder.teacher.predict(batch['feature_map'])['pred_score'].detach()
    bce = lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction='none')
    known = batch['target'] >= 0
    expected = bce(0.5 * logits, taught)[known].sum() / 2
    torch.testing.assert_close(losses['loss_teacher'], expected)
    expected = bce(logits, batch['target'].clamp(min=0))[known].sum() / 2
    torch.testing.assert_close(losses['loss_labels'], expected)


@pytest.mark.parametrize(
    ('train', 'losses', 'learning'),
    [
        ('teacher', {'loss_detector'}, {'teacher'}),
        ('student', {'loss_labels', 'loss_teacher'}, {'classifier', 'scale'}),
        (
            'both',
            {'loss_detector', 'loss_labels', 'loss_teacher'},
            {'teacher', 'classifier', 'scale'},
        ),
    ],
)
def test_it_trains_in_stages(train, losses, learning, batch):
    decoder = build(train=train)
    found = decoder.loss(**batch)
    assert found.keys() == losses
    sum(found.values()).backward()
    moved = {name.split('.')[0] for name, p in decoder.named_parameters() if p.grad is not None}
    assert moved == learning
    assert moved == {n.split('.')[0] for n, p in decoder.named_parameters() if p.requires_grad}


def test_the_student_does_not_teach_the_teacher(batch):
    decoder = build()
    decoder.loss(**batch)['loss_teacher'].backward()
    assert all(parameter.grad is None for parameter in decoder.teacher.parameters())


def test_the_student_answers_without_the_map(batch):
    del batch['target']
    decoder = build().eval()
    scores = decoder.predict(**batch)['pred_score']
    torch.testing.assert_close(scores, decoder.classifier(batch['features']).sigmoid())
    teacher = build(train='teacher').eval()
    expected = teacher.teacher.predict(batch['feature_map'])['pred_score']
    torch.testing.assert_close(teacher.predict(**batch)['pred_score'], expected)


def test_the_joint_form_takes_the_cnns_logits(batch):
    decoder = build(student='cnn')
    assert decoder.inputs == ('logits', 'feature_map')
    del batch['features']
    logits = torch.randn(2, C, requires_grad=True)
    losses = decoder.loss(logits=logits, **batch)
    assert set(losses) == {'loss_detector', 'loss_teacher'}  # cross-entropy is the head's
    losses['loss_teacher'].backward()
    assert logits.grad[0].any()
    assert logits.grad[1, 2] == 0  # what is ignored is not taught
