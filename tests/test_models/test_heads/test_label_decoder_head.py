import numpy as np
import pytest
import torch
from helpers import make_sample, naive_loss
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from morn_plugin.models import (
    LabelDecoder,
    LabelDecoderHead,
    MultiOrderLSTM,
    MultiOrderLSTMHead,
    masked_stepwise_bce,
)
from morn_plugin.models.heads.label_decoder_head import cnn_loss, select_labels
from morn_plugin.speed.plain_decoder import PlainDecoder

C = 6
D = 5
T = 3


def build(**options):
    return MODELS.build(
        dict(
            type='MultiOrderLSTMHead',
            num_classes=C,
            in_channels=D,
            embed_dims=8,
            hidden_dims=9,
            num_steps=T,
        )
        | options
    )


def build_sequence(**options):
    head = MODELS.build(
        dict(
            type='LabelDecoderHead',
            num_classes=C,
            in_channels=D,
            decoder=dict(type='LabelSequenceLSTM', order='rare_first', embed_dims=8, hidden_dims=9),
        )
        | options
    )
    head.decoder.prepare([f'label {i}' for i in range(C)], np.tril(np.ones((C, C), dtype=np.int8)))
    return head


def build_cnn(**options):
    return MODELS.build(
        dict(type='LabelDecoderHead', num_classes=C, in_channels=D, decoder=None) | options
    )


def make_batch(num_images=3):
    feats = (torch.randn(num_images, D, requires_grad=True),)
    return feats, [make_sample(labels) for labels in ([0, 2], [], [5])[:num_images]]


class Constant(LabelDecoder):
    """A decoder that decides itself: the first label, always."""

    def loss(self, scores, target):
        return dict(loss_constant=scores.sum() * 0)

    def predict(self, scores):
        mask = torch.zeros_like(scores, dtype=torch.bool)
        mask[:, 0] = True
        return dict(pred_score=scores, pred_label=mask)


def test_the_full_contract_of_the_default_head():
    head = MODELS.build(
        dict(
            type='MultiOrderLSTMHead',
            num_classes=80,
            in_channels=64,
            embed_dims=256,
            hidden_dims=512,
            num_steps=5,
        )
    )
    assert isinstance(head, MultiOrderLSTMHead)
    feats = (torch.randn(2, 64),)
    assert set(head.loss(feats, [make_sample([1]), make_sample([2, 3])])) == {
        'loss_cnn',
        'loss_multi_order',
    }

    for sample in head.eval().predict(feats):
        shapes = {
            name: tuple(sample.get(name).shape)
            for name in ('pred_score', 'cnn_score', 'step_scores', 'step_labels')
        }
        assert shapes == dict(
            pred_score=(80,), cnn_score=(80,), step_scores=(5, 80), step_labels=(5,)
        )
        for name in ('pred_score', 'cnn_score', 'step_scores'):
            assert ((sample.get(name) >= 0) & (sample.get(name) <= 1)).all()

        assert torch.equal(sample.pred_score, sample.step_scores.max(0).values)
        assert torch.equal(sample.step_labels, sample.step_scores.argmax(1))
        assert sample.pred_label.tolist() == (sample.pred_score > 0.5).nonzero().flatten().tolist()


def test_losses_are_those_of_the_paper():
    head = build()
    feats, samples = make_batch()
    target = torch.tensor([[1, 0, 1, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 0, 1]]).float()
    losses = head.loss(feats, samples)
    probability = (feats[0] @ head.fc.weight.t() + head.fc.bias).sigmoid()
    terms = target * probability.log() + (1 - target) * (1 - probability).log()
    torch.testing.assert_close(losses['loss_cnn'], -terms.sum() / 3)
    logits, labels = head.decoder(probability)
    torch.testing.assert_close(
        losses['loss_multi_order'], naive_loss(logits, labels, target, 'previous', 'all')
    )


def test_loss_cnn_is_that_of_mmpretrain():
    head = build_cnn()
    feats, samples = make_batch()
    theirs = MODELS.build(
        dict(
            type='MultiLabelLinearClsHead',
            num_classes=C,
            in_channels=D,
            loss=dict(type='CrossEntropyLoss', use_sigmoid=True),
        )
    )
    # strict: the CNN alone has the same weights under the same names
    head.load_state_dict(theirs.state_dict())
    one_hot = [
        make_sample(labels, score)
        for labels, score in (
            ([0, 2], [1, 0, 1, 0, 0, 0]),
            ([], [0] * 6),
            ([5], [0, 0, 0, 0, 0, 1]),
        )
    ]
    torch.testing.assert_close(
        head.loss(feats, samples)['loss_cnn'], theirs.loss(feats, one_hot)['loss']
    )


def test_weights_of_the_first_stage_load_into_the_second():
    first = build_cnn()
    second = build()
    missing, unexpected = second.load_state_dict(first.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith('decoder.') for name in missing)
    assert torch.equal(first.fc.weight, second.fc.weight)


def test_without_decoder_it_is_the_cnn_alone():
    head = build_cnn()
    feats, samples = make_batch()
    assert list(head.loss(feats, samples)) == ['loss_cnn']
    assert torch.equal(head(feats), head.fc(feats[0]))
    for sample, logits in zip(head.predict(feats), head.fc(feats[0]), strict=True):
        assert torch.equal(sample.pred_score, logits.sigmoid())
        assert torch.equal(sample.cnn_score, logits.sigmoid())
        assert 'step_scores' not in sample


@pytest.mark.parametrize('detach', [True, False])
@pytest.mark.parametrize(
    'name', ['multi_order', 'sequence']
)  # the second without detaching is SR-CNN-RNN
def test_detach_scores(name, detach):
    head = dict(multi_order=build, sequence=build_sequence)[name](detach_scores=detach)
    feats, samples = make_batch()
    losses = head.loss(feats, samples)
    gradients = torch.autograd.grad(
        losses[f'loss_{name}'], [feats[0], head.fc.weight], allow_unused=True, retain_graph=True
    )
    assert all((grad is None) == detach for grad in gradients)
    if not detach:
        assert all(grad.any() for grad in gradients)
    assert torch.autograd.grad(losses['loss_cnn'], feats[0])[0].any()


def test_joint_gradient_of_the_features_is_that_of_plain_pytorch():
    head = build(detach_scores=False)
    feats, samples = make_batch()
    target = torch.tensor([[1, 0, 1, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 0, 1]]).float()
    logits, labels = PlainDecoder(head.decoder)(head.fc(feats[0]).sigmoid())
    expected = (
        naive_loss(logits, labels, target, 'previous', 'all')
        + torch.nn.functional.binary_cross_entropy_with_logits(
            head.fc(feats[0]), target, reduction='sum'
        )
        / 3
    )
    variables = [feats[0], head.fc.weight, head.fc.bias]
    ours = torch.autograd.grad(sum(head.loss(feats, samples).values()), variables)
    for gradient, wanted in zip(ours, torch.autograd.grad(expected, variables), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)


def test_the_last_of_several_stages_is_used():
    head = build()
    feats, samples = make_batch()
    # as of a ViT or a CNN with several stages out
    several = (
        torch.randn(3, 17),
        torch.randn(3, 2, 4, 4),
        *feats,
    )
    assert torch.equal(
        head.loss(several, samples)['loss_cnn'], head.loss(feats, samples)['loss_cnn']
    )


def test_a_wrong_width_names_the_right_number():
    with pytest.raises(ValueError, match=r'in_channels=5.*7 features.*in_channels=7'):
        build().loss((torch.randn(3, 7),), make_batch()[1])


def test_features_that_were_not_pooled_name_the_neck():
    with pytest.raises(ValueError, match='GlobalAveragePooling'):
        build().predict((torch.randn(3, D, 2, 2),))


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (dict(), [[1, 2], [], [0, 1, 2, 3]]),
        (dict(thr=0.6), [[2], [], [0, 1, 2, 3]]),
        (dict(thr=0.0), [[0, 1, 2], [0, 1], [0, 1, 2, 3]]),
        (dict(thr=1.0), [[], [], []]),
        (dict(topk=1), [[2], [0], [0]]),
        (dict(topk=2), [[1, 2], [0, 1], [0, 1]]),
        (dict(topk=4), [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]),
    ],
)
def test_thr_and_topk(given, expected):
    """Strictly greater, and of equal scores the lower index."""
    scores = torch.tensor([[0.5, 0.6, 0.9, 0.0], [0.5, 0.5, 0.0, 0.0], [0.75, 0.75, 0.75, 0.75]])
    head = build_cnn(num_classes=4, **given)
    assert [sample.pred_label.tolist() for sample in head.predict_scores(scores)] == expected


def test_topk_of_many_ties_is_stable():
    assert (
        select_labels(torch.full((2, 500), 0.3), None, 7).nonzero()[:, 1].tolist()
        == [*range(7)] * 2
    )


def test_more_labels_than_there_are_cannot_be_the_best():
    with pytest.raises(ValueError, match='topk'):
        build(topk=C + 1)
    with pytest.raises(ValueError, match='topk'):
        select_labels(torch.rand(2, 3), None, 4)


@pytest.mark.parametrize(
    'options',
    [
        dict(thr=50),
        dict(thr=-0.1),
        dict(thr=float('nan')),
        dict(topk=0),
        dict(topk=1.5),
        dict(num_classes=0),
        dict(in_channels=-1),
    ],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=f'`{next(iter(options))}`'):
        build(**options)


def test_thr_and_topk_exclude_each_other():
    with pytest.raises(ValueError, match='either `thr` or `topk`'):
        build(thr=0.5, topk=3)


@pytest.mark.parametrize('options', [dict(thr=0.5), dict(topk=2)])
def test_a_decoder_without_threshold_refuses_one(options):
    with pytest.raises(
        ValueError, match=r'LabelSequenceLSTM decides itself.*leave out `thr` and `topk`'
    ):
        build_sequence(**options)


def test_given_samples_are_filled_and_keep_what_they_have():
    head = build()
    feats, samples = make_batch()
    predicted = head.predict(feats, samples)
    assert all(a is b for a, b in zip(predicted, samples, strict=True))
    assert samples[0].gt_label.tolist() == [0, 2]
    assert all(
        'pred_label' in sample for sample in head.predict(feats, [None, DataSample(), samples[0]])
    )


def test_a_score_vector_with_ignored_labels():
    head = build()
    feats, _ = make_batch(1)
    losses = head.loss(feats, [make_sample([0], [1, -1, 0, 0, 0, -1])])
    logits = head.fc(feats[0])[0, [0, 2, 3, 4]]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.tensor([1.0, 0, 0, 0]), reduction='sum'
    )
    torch.testing.assert_close(losses['loss_cnn'], expected)
    (gradient,) = torch.autograd.grad(losses['loss_cnn'], head.fc.bias)
    assert (gradient == 0).tolist() == [False, True, False, False, False, True]


def test_repeated_labels_count_once():
    head = build()
    feats, _ = make_batch(1)
    once, twice = (head.loss(feats, [make_sample(labels)]) for labels in ([3], [3, 3]))
    assert once == twice


def test_a_label_out_of_range_names_the_image():
    head = build()
    feats, _ = make_batch(1)
    for labels in ([C], [-1]):
        with pytest.raises(ValueError, match=r'0\.\.5.*dogs/7\.jpg'):
            head.loss(feats, [make_sample(labels, img_path='dogs/7.jpg')])

    with pytest.raises(ValueError, match=r'6 classes.*\(2,\).*dogs/7\.jpg'):
        head.loss(feats, [make_sample(score=[0, 1], img_path='dogs/7.jpg')])
    with pytest.raises(ValueError, match=r'neither.*dogs/7\.jpg'):
        head.loss(feats, [make_sample(img_path='dogs/7.jpg')])


def test_all_targets_ignored_cost_nothing():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = cnn_loss(logits, torch.full((2, 3), -1.0))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_a_decoder_that_decides_itself():
    head = LabelDecoderHead(C, D, Constant(C), thr=0.9)
    assert [sample.pred_label.tolist() for sample in head.predict(make_batch()[0])] == [[0]] * 3
    assert set(head.loss(*make_batch())) == {'loss_cnn', 'loss_constant'}


def test_decoder_options_and_loss_options_reach_the_decoder():
    head = build(
        pooling='mean',
        test_feedback='unpicked',
        output_layer='mlp',
        loss=dict(
            type='MaskedStepwiseBCELoss', mask='cumulative', steps='num_labels', loss_weight=2.0
        ),
    )
    assert isinstance(head.decoder, MultiOrderLSTM)
    assert (head.decoder.pooling, head.decoder.test_feedback, head.decoder.num_classes) == (
        'mean',
        'unpicked',
        C,
    )
    logits = torch.randn(2, T, C)
    labels = torch.randint(C, (2, T))
    target = torch.randint(2, (2, C))
    torch.testing.assert_close(
        head.decoder.step_loss(logits, labels, target),
        2 * masked_stepwise_bce(logits, labels, target, 'cumulative', 'num_labels'),
    )


def test_init_weights_starts_the_classifier_and_leaves_the_decoder():
    head = build(in_channels=400)
    before = {name: tensor.clone() for name, tensor in head.decoder.state_dict().items()}
    head.init_weights()
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not head.fc.bias.any()
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in head.decoder.state_dict().items()
    )


def test_scores_stay_probabilities_under_autocast():
    head = build()
    feats, samples = make_batch()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = head.loss(feats, samples)
        predicted = head.predict(feats)

    sum(losses.values()).backward()
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    assert predicted[0].pred_score.dtype == torch.float32
