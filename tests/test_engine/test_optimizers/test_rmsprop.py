"""RMSProp of TensorFlow 1, against the authors' run and its own formula; the fused one against torch's."""

import copy

import pytest
import torch
from helpers import close, load_golden, under
from mmpretrain.registry import OPTIM_WRAPPERS

from morn_plugin.engine import FusedRMSprop, TFRMSprop
from morn_plugin.models import decoder_from_release
from morn_plugin.models.label_decoders.release import state_dict_from_release

RUN = 'rmsprop_small_lr5e-2'
STATISTICS = ('state_norm.running_mean', 'state_norm.running_var', 'state_norm.num_batches_tracked')


def ours(variables):
    """Name and lay out arrays of the release as our parameters; statistics, which have no slots, are left out."""
    absent = {
        f'cnn_rnn_att/init_prob_batch_norm/{name}': load_golden(RUN)[
            f'var/cnn_rnn_att/init_prob_batch_norm/{name}'
        ]
        for name in ('moving_mean', 'moving_variance')
    }
    state, _ = state_dict_from_release(absent | variables)
    return {name: tensor for name, tensor in state.items() if name not in STATISTICS}


def test_five_steps_of_the_release():
    """Weights after 1 and 5 steps, slots, losses and picks, to 1e-5 (relative above 1: losses are near 20)."""
    golden = load_golden(RUN)
    decoder = decoder_from_release(under(golden, 'var/')).train()
    optimiser = TFRMSprop(
        decoder.parameters(),
        lr=float(golden['learning_rate']),
        alpha=float(golden['rms_decay']),
        momentum=float(golden['momentum']),
        eps=float(golden['epsilon']),
    )

    for step in range(int(golden['steps'])):
        scores = torch.tensor(golden['init_prob'][step])
        target = torch.tensor(golden['labels'][step])
        with torch.no_grad():
            statistics = {name: decoder.state_dict()[name].clone() for name in STATISTICS}
            assert decoder(scores)[1].tolist() == golden['train_argmax'][step].tolist()
            decoder.load_state_dict(statistics, strict=False)  # as if that look had not been

        loss = decoder.loss(scores, target)['loss_multi_order']
        close(loss.detach(), golden['losses'][step])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

        if step in (0, 4):
            expected, _ = state_dict_from_release(under(golden, f'after{step + 1}/'))
            for name, tensor in decoder.state_dict().items():
                if name != 'state_norm.num_batches_tracked':
                    close(tensor, expected[name])

    slots = under(golden, 'slots_after5/')
    for slot, key in (('RMSProp', 'mean_square'), ('RMSProp_1', 'momentum')):
        expected = ours(
            {
                name.removesuffix(f'/{slot}'): array
                for name, array in slots.items()
                if name.endswith(f'/{slot}')
            }
        )
        for name, parameter in decoder.named_parameters():
            close(optimiser.state[parameter][key], expected[name])


def test_rows_never_looked_up_stay_bit_for_bit():
    golden = load_golden(RUN)
    never = ~torch.tensor(golden['embedding_rows_ever_looked_up'])
    assert never.any()
    decoder = decoder_from_release(under(golden, 'var/')).train()
    before = decoder.embedding.weight.detach().clone()
    optimiser = TFRMSprop(decoder.parameters(), lr=0.05)

    for scores, target in zip(golden['init_prob'], golden['labels'], strict=True):
        optimiser.zero_grad()
        decoder.loss(torch.tensor(scores), torch.tensor(target))['loss_multi_order'].backward()
        optimiser.step()

    after = decoder.embedding.weight
    assert torch.equal(after[never], before[never])
    assert torch.equal((optimiser.state[after]['mean_square'] == 1).all(1), never)


def test_two_steps_by_hand():
    weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimiser = TFRMSprop([weight], lr=0.1, alpha=0.8, momentum=0.5, eps=2.0)
    w = 1.0
    s = 1.0
    m = 0.0
    for gradient in (3.0, -2.0):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        s = 0.8 * s + 0.2 * gradient**2
        m = 0.5 * m + 0.1 * gradient / (s + 2.0) ** 0.5
        w = w - m
        assert weight.item() == pytest.approx(w, abs=1e-15)


def test_repeated_rows_of_a_sparse_gradient_are_summed_first():
    """A square of a sum is not the sum of squares."""
    dense, sparse = (torch.zeros(3, 2, requires_grad=True) for _ in range(2))
    sparse.grad = torch.sparse_coo_tensor(
        [[1, 1]], [[1.0, 2.0], [3.0, 4.0]], (3, 2), check_invariants=True
    )
    dense.grad = torch.tensor([[0.0, 0.0], [4.0, 6.0], [0.0, 0.0]])
    TFRMSprop([sparse], lr=0.1).step()
    TFRMSprop([dense], lr=0.1).step()
    torch.testing.assert_close(sparse, dense)


def test_momentum_moves_a_row_with_a_dense_gradient_of_zero_but_not_one_without_entry():
    dense, sparse = (torch.ones(2, 1, requires_grad=True) for _ in range(2))
    optimiser = TFRMSprop([dense, sparse], lr=0.1)
    for row in (0, 1):
        sparse.grad = torch.sparse_coo_tensor([[row]], [[1.0]], (2, 1), check_invariants=True)
        dense.grad = sparse.grad.to_dense()
        optimiser.step()
    assert sparse[0] == sparse[1]  # each saw one step
    assert dense[0] < dense[1]  # the first went on by its momentum


def test_state_survives_saving():
    def run(reload):
        weight = torch.ones(3, requires_grad=True)
        optimiser = TFRMSprop([weight], lr=0.1)
        for step in range(4):
            weight.grad = torch.tensor([1.0, -2.0, 0.5]) * (step + 1)
            optimiser.step()
            if reload:
                state = optimiser.state_dict()
                optimiser = TFRMSprop([weight], lr=0.7)
                optimiser.load_state_dict(state)

        return weight

    assert torch.equal(run(True), run(False))


def test_parameters_without_gradient_stay_and_a_closure_gives_the_loss():
    weight = torch.ones(1, requires_grad=True)
    idle = torch.ones(1, requires_grad=True)
    optimiser = TFRMSprop([weight, idle])

    def closure():
        loss = (3 * weight).sum()
        loss.backward()
        return loss

    assert optimiser.step(closure) == 3
    assert idle == 1
    assert weight < 1


@pytest.mark.parametrize('name', ['lr', 'alpha', 'momentum', 'eps'])
@pytest.mark.parametrize('value', [-1, float('nan')])
def test_negative_options_are_named(name, value):
    with pytest.raises(ValueError, match=f'`{name}`'):
        TFRMSprop([torch.ones(1, requires_grad=True)], **{name: value})


def test_a_config_builds_it():
    from mmengine.optim import build_optim_wrapper

    wrapper = build_optim_wrapper(
        torch.nn.Linear(2, 2),
        dict(
            type=OPTIM_WRAPPERS.get('OptimWrapper'),
            optimizer=dict(type=TFRMSprop, lr=1e-4, eps=1.0),
        ),
    )
    assert isinstance(wrapper.optimizer, TFRMSprop)


@pytest.mark.parametrize('options', [dict(), dict(alpha=0.9, eps=1e-3, weight_decay=0.1)])
def test_fused_rmsprop_is_torchs(options):
    start = torch.randn(7, 5)
    ours = torch.nn.Parameter(start.clone())
    theirs = torch.nn.Parameter(start.clone())
    optimizers = (
        FusedRMSprop([ours], lr=0.01, **options),
        torch.optim.RMSprop([theirs], lr=0.01, **options),
    )

    for _ in range(20):
        grad = torch.randn(7, 5)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = grad.clone()
            optimizer.step()

        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)

    assert not torch.equal(ours, torch.nn.Parameter(start))


def test_fused_rmsprop_goes_on_after_loading():
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    first, second = (FusedRMSprop([parameter], lr=0.1) for parameter in parameters)
    for step in range(4):
        if step == 2:
            second.load_state_dict(copy.deepcopy(first.state_dict()))

        for parameter, optimizer in zip(parameters, (first, second), strict=True):
            if parameter is parameters[0] or step >= 2:
                parameter.grad = torch.full((3,), step + 1.0)
                optimizer.step()

        if step == 1:
            parameters[1].data.copy_(parameters[0].data)

    assert torch.equal(*parameters)


def test_tensorflows_has_no_weight_decay():
    weights = [torch.nn.Parameter(torch.ones(2))]
    TFRMSprop(weights, weight_decay=0.0)
    with pytest.raises(ValueError, match=r'no weight decay: expected `weight_decay` 0.*0\.1'):
        TFRMSprop(weights, weight_decay=0.1)


@pytest.mark.parametrize('weight_decay', [0.0, 0.1])
def test_a_step_leaves_the_gradient_and_shares_it_where_nothing_is_added(weight_decay):
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = FusedRMSprop([parameter], weight_decay=weight_decay)
    for _ in range(2):
        grad = parameter.grad = torch.tensor([1.0, -2.0, 0.0])
        optimizer.step()
        assert grad.tolist() == [1.0, -2.0, 0.0]
    is_shared = optimizer.state[parameter]['exp_avg'].data_ptr() == grad.data_ptr()
    assert is_shared == (weight_decay == 0)


def test_a_gradient_that_overflowed_does_not_end_up_in_the_state():
    """In mixed precision such a step is left out, and a checkpoint may be saved right after it."""
    parameter = torch.nn.Parameter(torch.ones(4))
    optimizer = FusedRMSprop([parameter], lr=0.1)
    parameter.grad = torch.full((4,), float('inf'))
    # as GradScaler does
    optimizer.grad_scale = torch.ones(())
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert (parameter == 1).all()

    state = copy.deepcopy(optimizer.state_dict())
    assert all(torch.isfinite(value).all() for value in state['state'][0].values())
    FusedRMSprop([parameter], lr=0.1).load_state_dict(state)


def test_the_state_holds_no_part_of_a_larger_buffer():
    """Gradients may be views of one, as in distributed training."""
    parameter = torch.nn.Parameter(torch.ones(4))
    buffer = torch.ones(100)
    optimizer = FusedRMSprop([parameter], lr=0.1)
    parameter.grad = buffer[:4]
    optimizer.step()
    for value in optimizer.state_dict()['state'][0].values():
        assert value.untyped_storage().nbytes() == value.nbytes
