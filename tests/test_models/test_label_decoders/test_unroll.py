"""The recurrence and its hand-written gradient, against plain PyTorch and gradcheck."""

from functools import partial

import pytest
import torch

from morn_plugin.models import MultiOrderLSTM, masked_stepwise_bce
from morn_plugin.models.label_decoders import unroll
from morn_plugin.models.label_decoders.unroll import LSTMWeights, unroll_labels
from morn_plugin.speed.plain_decoder import PlainDecoder

# images, classes, steps; the table of input gates is made where C + 1 <= N T
TABLE, LOOKUPS = (6, 5, 4), (2, 40, 3)
SIZES = pytest.mark.parametrize(
    'size',
    [TABLE, LOOKUPS, (1, 4, 5), (3, 1, 2), (5, 7, 1)],
    ids=['table', 'lookups', 'one-image', 'one-class', 'one-step'],
)


def build(size, **options):
    """A decoder in float64 that has large weights, so that gates and picks vary, and scores for it."""
    num_images, num_classes, num_steps = size
    options = dict(embed_dims=6, hidden_dims=7, num_steps=num_steps) | options
    decoder = MultiOrderLSTM(num_classes, masked_stepwise_bce, **options).double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(3)
    scores = torch.rand(num_images, num_classes, dtype=torch.float64, requires_grad=True)
    return decoder, scores


def random_weights(size, hidden):
    num_images, num_classes, _ = size
    random = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    cells, width = 3, 4
    weights = LSTMWeights(
        random(num_classes + 1, width),
        random(4 * cells, width),
        random(4 * cells, cells),
        random(4 * cells),
        random(width, cells) if hidden else None,
        random(width) if hidden else None,
        random(num_classes, width if hidden else cells),
        random(num_classes),
    )
    return (random(num_images, cells), random(num_images, cells)), weights


@pytest.mark.parametrize('output_layer', ['linear', 'mlp'])
@SIZES
def test_value_and_gradients_are_those_of_plain_pytorch(size, output_layer):
    decoder, scores = build(size, output_layer=output_layer, forget_bias=1.0)
    plain = PlainDecoder(decoder)
    plain_scores = scores.detach().clone().requires_grad_()
    logits, labels = decoder(scores)
    expected, expected_labels = plain(plain_scores)
    exact = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    assert labels.tolist() == expected_labels.tolist()
    exact(logits, expected)
    gradient = torch.randn_like(logits)
    logits.backward(gradient)
    expected.backward(gradient)
    exact(scores.grad, plain_scores.grad)
    named = dict(decoder.named_parameters())
    expected_gradients = plain.gradients()
    assert named.keys() == expected_gradients.keys()

    for name, parameter in named.items():
        exact(
            parameter.grad, expected_gradients[name], msg=lambda text, name=name: f'{name}: {text}'
        )


def test_the_sizes_reach_both_branches_of_the_input_gates():
    for size, has_table in ((TABLE, True), (LOOKUPS, False)):
        num_images, num_classes, num_steps = size
        _, weights = random_weights(size, hidden=False)
        assert (unroll._input_table(weights, num_images * num_steps) is not None) == has_table
        assert (num_classes + 1 <= num_images * num_steps) == has_table


@pytest.mark.parametrize('size', [TABLE, LOOKUPS], ids=['table', 'lookups'])
def test_without_gradients_the_numbers_are_the_same(size):
    decoder, scores = build(size)
    logits, labels = decoder(scores)
    with torch.no_grad():
        plain_logits, plain_labels = decoder(scores)
    assert torch.equal(logits.detach(), plain_logits)
    assert torch.equal(labels, plain_labels)


@pytest.mark.parametrize('hidden', [False, True], ids=['linear', 'mlp'])
@pytest.mark.parametrize('size', [(3, 4, 2), (1, 6, 3)], ids=['table', 'lookups'])
def test_gradcheck(size, hidden):
    state, weights = random_weights(size, hidden)
    given = [tensor for tensor in (*state, *weights) if tensor is not None]

    def run(*tensors):
        tensors = iter(tensors)
        h, c, *filled = (None if slot is None else next(tensors) for slot in (*state, *weights))
        return unroll_labels((h, c), LSTMWeights(*filled), size[2])[0]

    # a perturbation must not turn an argmax: the labels are constants for the gradient
    top = run(*given).topk(2, dim=2).values
    assert (top[..., 0] - top[..., 1]).min() > 1e-4
    assert torch.autograd.gradcheck(run, given)


@pytest.mark.parametrize('size', [TABLE, LOOKUPS], ids=['table', 'lookups'])
def test_sparse_gradient_of_the_embedding_equals_the_dense_one(size):
    grads = []
    for sparse in (True, False):
        torch.manual_seed(3)
        decoder, scores = build(size, sparse_embedding=sparse)
        logits, labels = decoder(scores)
        logits.square().sum().backward()
        grads.append({name: parameter.grad for name, parameter in decoder.named_parameters()})

    sparse, dense = (grad.pop('embedding.weight') for grad in grads)
    assert sparse.is_sparse
    assert not dense.is_sparse
    torch.testing.assert_close(sparse.to_dense(), dense, rtol=1e-12, atol=1e-12)
    # START and what was picked before the last step
    fed = {
        0,
        *(labels[:, :-1] + 1).flatten().tolist(),
    }
    assert set(sparse.coalesce().indices()[0].tolist()) == fed
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-12, atol=1e-12)


def test_the_label_fed_back_carries_no_gradient():
    """A row that was not fed has no gradient, though its label's logits have."""
    decoder, scores = build(LOOKUPS)
    logits, labels = decoder(scores)
    logits.sum().backward()
    never = sorted(set(range(1, 41)) - set((labels[:, :-1] + 1).flatten().tolist()))
    assert never
    assert not decoder.embedding.weight.grad[never].any()


def test_the_gradient_can_be_asked_for_one_weight_alone():
    decoder, scores = build(TABLE)
    full = torch.autograd.grad(decoder(scores)[0].sum(), decoder.weight_hh)[0]
    for parameter in decoder.parameters():
        parameter.requires_grad_(parameter is decoder.weight_hh)
    decoder(scores.detach())[0].sum().backward()
    torch.testing.assert_close(decoder.weight_hh.grad, full)


def test_backward_twice_through_a_kept_graph_gives_the_same():
    decoder, scores = build(TABLE)
    logits, _ = decoder(scores)
    first = torch.autograd.grad(logits.sum(), list(decoder.parameters()), retain_graph=True)
    second = torch.autograd.grad(logits.sum(), list(decoder.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize('output_layer', ['linear', 'mlp'])
def test_autocast_stays_near_full_precision(output_layer):
    """bfloat16 keeps 8 bits: with weights of usual size logits agree to 0.05, gradients to 5 % of their norm."""
    decoder = MultiOrderLSTM(20, masked_stepwise_bce, 16, 32, output_layer=output_layer)
    scores = torch.rand(64, 20)
    target = torch.randint(2, (64, 20)).float()

    def run():
        decoder.zero_grad()
        logits, labels = decoder(scores)
        decoder.step_loss(logits, labels, target).backward()
        return (
            logits,
            labels,
            {name: parameter.grad.clone() for name, parameter in decoder.named_parameters()},
        )

    logits, labels, grads = run()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        low_logits, low_labels, low_grads = run()
    assert low_logits.dtype == torch.float32
    assert 0 < (low_logits - logits).abs().max() < 0.05
    assert (low_labels == labels).float().mean() > 0.9

    for name, grad in low_grads.items():
        assert grad.dtype == torch.float32
        assert grad.isfinite().all()
        assert (grad - grads[name]).norm() < 0.05 * grads[name].norm(), name


def test_the_unrolled_steps_are_used_only_where_a_gradient_is_wanted():
    decoder, scores = build(TABLE)
    assert decoder(scores)[0].requires_grad
    decoder.requires_grad_(False)
    assert not decoder(scores.detach())[0].requires_grad
    assert decoder(scores)[0].requires_grad  # the scores alone ask for one
