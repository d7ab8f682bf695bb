from functools import partial

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from morn_plugin.models import MultiOrderLSTM, masked_stepwise_bce
from morn_plugin.models.label_decoders.lstm import BiasedBatchNorm1d


def build(num_classes=6, **options):
    return MultiOrderLSTM(
        num_classes,
        masked_stepwise_bce,
        **(dict(embed_dims=8, hidden_dims=10, num_steps=4) | options),
    )


def test_shapes_and_names_of_the_prediction():
    prediction = build().eval().predict(torch.rand(3, 6))
    assert {name: tuple(value.shape) for name, value in prediction.items()} == {
        'pred_score': (3, 6),
        'step_scores': (3, 4, 6),
        'step_labels': (3, 4),
    }
    assert all(
        ((value >= 0) & (value <= 1)).all()
        for name, value in prediction.items()
        if name.endswith('scores')
    )


@pytest.mark.parametrize(
    ('pooling', 'pool'),
    [
        ('max', lambda z: z.max(1).values),
        ('mean', lambda z: z.mean(1)),
        ('last', lambda z: z[:, -1]),
    ],
)
def test_pooling_is_of_logits(pooling, pool):
    decoder = build(pooling=pooling).eval()
    scores = torch.rand(3, 6)
    logits, _ = decoder(scores)
    torch.testing.assert_close(decoder.predict(scores)['pred_score'], pool(logits).sigmoid())


def test_argmax_is_fed_back_in_training_and_in_testing():
    decoder = build()
    scores = torch.rand(5, 6)
    train = decoder.train()(scores)
    test = decoder.eval()(scores)
    assert torch.equal(train[0], test[0])
    assert torch.equal(test[1], test[0].argmax(2))


@pytest.mark.parametrize('num_steps', [1, 4, 6])
def test_unpicked_never_repeats_a_label(num_steps):
    decoder = build(num_steps=num_steps, test_feedback='unpicked').eval()
    logits, labels = decoder(torch.rand(20, 6))
    assert all(len(set(row)) == num_steps for row in labels.tolist())
    for t in range(num_steps):  # each is the best of those left
        left = logits[:, t].scatter(1, labels[:, :t], float('-inf'))
        assert torch.equal(left.argmax(1), labels[:, t])


def test_unpicked_is_for_testing_alone():
    decoder = build(test_feedback='unpicked').train()
    scores = torch.rand(20, 6)
    logits, labels = decoder(scores)
    assert torch.equal(labels, logits.argmax(2))
    # so that the two feedbacks do differ here
    assert any(len(set(row)) < 4 for row in labels.tolist())


def test_unpicked_needs_a_label_for_every_step():
    with pytest.raises(ValueError, match='no label would be left'):
        build(num_classes=3, test_feedback='unpicked')
    build(num_classes=3, test_feedback='unpicked', picked_logit=-9.0).eval()(torch.rand(2, 3))


@pytest.mark.parametrize(
    ('num_images', 'options'),
    [
        (1, {}),
        (4, dict(num_steps=1)),
        (4, dict(num_classes=1)),
        (1, dict(num_classes=1, num_steps=1)),
        (1, dict(state_norm=dict(eps=1e-3, momentum=0.05))),
    ],
)
def test_smallest_sizes_train_and_test(num_images, options):
    decoder = build(**options).train()
    scores = torch.rand(num_images, decoder.num_classes)
    loss = decoder.loss(scores, torch.ones_like(scores))
    assert list(loss) == ['loss_multi_order']
    loss['loss_multi_order'].backward()
    assert all(parameter.grad.isfinite().all() for parameter in decoder.parameters())
    assert decoder.eval().predict(scores)['pred_score'].shape == scores.shape


def test_images_do_not_see_each_other():
    decoder = build().eval()
    scores = torch.rand(5, 6)
    together = decoder(scores)[0]
    torch.testing.assert_close(together, torch.cat([decoder(row[None])[0] for row in scores]))


def test_linear_initial_state_has_no_tanh():
    decoder = build(init_state='linear')
    scores = torch.rand(3, 6)
    torch.testing.assert_close(decoder.start(scores)[0][0], decoder.init_h(scores))
    squashed = build(init_state='tanh')
    torch.testing.assert_close(squashed.start(scores)[0][1], squashed.init_c(scores).tanh())


def test_forget_bias_is_added_to_the_forget_gate_alone():
    plain = build()
    biased = build(forget_bias=2.0)
    biased.load_state_dict(plain.state_dict())
    with torch.no_grad():
        plain.bias[10:20] += 2.0  # rows of the forget gate: input, forget, output, candidate
    scores = torch.rand(3, 6)
    torch.testing.assert_close(plain(scores)[0], biased(scores)[0])


def test_start_of_the_weights():
    decoder = build(num_classes=80, embed_dims=64, hidden_dims=100)
    assert decoder.embedding.weight.shape == (81, 64)
    assert decoder.embedding.weight.abs().max() <= 1
    assert decoder.embedding.weight.std().item() == pytest.approx(3**-0.5, rel=0.05)
    assert decoder.weight_hh.abs().max() <= 0.1
    assert decoder.weight_hh.std().item() == pytest.approx(0.1 * 3**-0.5, rel=0.05)


@pytest.mark.parametrize(
    'options',
    [
        dict(num_classes=0),
        dict(embed_dims=0),
        dict(hidden_dims=-1),
        dict(num_steps=0),
        dict(num_steps=2.0),
        dict(init_state='relu'),
        dict(output_layer='deep'),
        dict(test_feedback='sample'),
        dict(pooling='min'),
    ],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=f'`{next(iter(options))}`'):
        build(**options)


@pytest.mark.parametrize('shape', [(6,), (3, 5), (3, 6, 1)])
def test_scores_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r'scores of shape \(N, 6\)'):
        build()(torch.rand(shape))


def test_batch_norm_is_torchs_but_for_the_biased_variance():
    ours = BiasedBatchNorm1d(5, eps=1e-3, momentum=0.05)
    torchs = torch.nn.BatchNorm1d(5, eps=1e-3, momentum=0.05)
    torch.nn.init.uniform_(ours.weight)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(8, 5)
    torch.testing.assert_close(ours(x), torchs(x))
    torch.testing.assert_close(ours.running_mean, torchs.running_mean)
    torch.testing.assert_close(ours.running_var, 0.95 + 0.05 * x.var(0, unbiased=False))
    torch.testing.assert_close(
        ours.eval()(x), (x - ours.running_mean) / (ours.running_var + 1e-3).sqrt() * ours.weight
    )


def test_batch_norm_takes_a_single_image():
    """The last batch of an epoch may be one image: its normalised value is the bias, and nothing becomes NaN."""
    norm = BiasedBatchNorm1d(3, momentum=0.5)
    torch.nn.init.normal_(norm.bias)
    x = torch.rand(1, 3, requires_grad=True)
    out = norm(x)
    torch.testing.assert_close(out, norm.bias[None])
    out.sum().backward()
    assert not x.grad.any()
    torch.testing.assert_close(norm.running_var, torch.full((3,), 0.5))


@pytest.mark.parametrize('grad_enabled', [True, False])
@pytest.mark.parametrize(
    'options', [{}, dict(output_layer='mlp', test_feedback='unpicked')], ids=['paper', 'release']
)
def test_export_with_a_free_batch_size(options, grad_enabled):
    decoder = build(**options).eval()
    with torch.set_grad_enabled(grad_enabled):
        program = torch.export.export(
            decoder, (torch.rand(3, 6),), dynamic_shapes=({0: torch.export.Dim('N')},)
        )

    for num_images in (2, 7):
        scores = torch.rand(num_images, 6)
        logits, labels = program.module()(scores)
        expected_logits, expected_labels = decoder(scores)
        torch.testing.assert_close(logits, expected_logits)
        assert torch.equal(labels, expected_labels)


class LossOnly(torch.nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, scores, target):
        return self.decoder.loss(scores, target)['loss_multi_order']


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('sparse', [False, True])
def test_distributed_training_takes_sparse_gradients(process_group, sparse):
    decoder = build(sparse_embedding=sparse)
    scores = torch.rand(3, 6)
    target = torch.ones(3, 6)
    alone = torch.autograd.grad(LossOnly(decoder)(scores, target), list(decoder.parameters()))
    DistributedDataParallel(LossOnly(decoder))(scores, target).backward()
    assert decoder.embedding.weight.grad.is_sparse == sparse
    for parameter, expected in zip(decoder.parameters(), alone, strict=True):
        torch.testing.assert_close(parameter.grad.to_dense(), expected.to_dense())


def test_the_loss_is_that_of_the_labels_the_decoder_picked():
    decoder = build()
    scores = torch.rand(3, 6)
    target = torch.randint(2, (3, 6))
    logits, labels = decoder(scores)

    for mask in ('previous', 'cumulative'):
        decoder.step_loss = partial(masked_stepwise_bce, mask=mask)
        expected = masked_stepwise_bce(logits, logits.argmax(2), target, mask)
        torch.testing.assert_close(decoder.loss(scores, target)['loss_multi_order'], expected)

    assert torch.equal(labels, logits.argmax(2))
