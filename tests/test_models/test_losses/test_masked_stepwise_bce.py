import pytest
import torch
from helpers import load_golden, naive_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from morn_plugin.models import MaskedStepwiseBCELoss, masked_stepwise_bce
from morn_plugin.models.losses.masked_stepwise_bce import MASKS, STEPS

ALL_VARIANTS = [(mask, steps) for mask in MASKS for steps in STEPS]


def make_case(seed=0, num_images=4, num_steps=4, num_classes=5, ignored=True):
    """Logits, picks with repeats and a target in which the first image has no label and the second all."""
    torch.manual_seed(seed)
    logits = 3 * torch.randn(num_images, num_steps, num_classes, dtype=torch.float64)
    labels = torch.randint(num_classes, (num_images, num_steps))
    labels[-1] = labels[-1, 0]  # one label, again and again
    target = torch.randint(2, (num_images, num_classes)).double()
    target[0] = 0
    if num_images > 1:
        target[1] = 1
    if ignored:
        target[torch.rand_like(target) < 0.2] = -1
    return logits.requires_grad_(), labels, target


@pytest.mark.parametrize('weighted', [False, True], ids=['plain', 'pos_weight'])
@pytest.mark.parametrize('ignored', [False, True], ids=['full', 'ignored'])
@pytest.mark.parametrize(('mask', 'steps'), ALL_VARIANTS)
def test_value_and_gradient_are_those_of_naive_loops(mask, steps, ignored, weighted):
    logits, labels, target = make_case(ignored=ignored)
    pos_weight = torch.tensor([0.5, 1.0, 2.0, 3.0, 7.0]).double() if weighted else None
    loss = masked_stepwise_bce(logits, labels, target, mask, steps, pos_weight)
    expected = naive_loss(logits, labels, target, mask, steps, pos_weight)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    (grad,) = torch.autograd.grad(loss * 1.7, logits)
    (expected_grad,) = torch.autograd.grad(expected * 1.7, logits)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-12, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_images=st.integers(1, 3),
    num_steps=st.integers(1, 5),
    num_classes=st.integers(1, 4),
    variant=st.sampled_from(ALL_VARIANTS),
    weight=st.floats(0.1, 10),
)
def test_any_shape_agrees_with_naive_loops(
    seed, num_images, num_steps, num_classes, variant, weight
):
    logits, labels, target = make_case(seed, num_images, num_steps, num_classes)
    pos_weight = torch.full((num_classes,), weight, dtype=torch.float64)
    loss = masked_stepwise_bce(logits, labels, target, *variant, pos_weight)
    expected = naive_loss(logits, labels, target, *variant, pos_weight)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        *torch.autograd.grad(loss, logits), *torch.autograd.grad(expected, logits)
    )


@pytest.mark.parametrize(('mask', 'steps'), ALL_VARIANTS)
def test_gradcheck(mask, steps):
    logits, labels, target = make_case(num_images=2)
    weight = torch.rand(5, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(
        lambda z: masked_stepwise_bce(z, labels, target, mask, steps, weight), (logits,)
    )


def test_a_case_done_by_hand():
    """All logits 0, where every term is log 2: only what is counted differs, the sum is over labels and steps."""
    logits = torch.zeros(2, 3, 4)
    labels = torch.tensor([[0, 0, 1], [2, 3, 3]])
    target = torch.tensor([[1, 1, 0, 0], [0, 0, 1, -1]])
    log2 = torch.tensor(2.0).log()
    assert masked_stepwise_bce(logits, labels, target) == pytest.approx(float(log2 * (12 + 9) / 2))
    # the first image has two labels and so two steps, the second one label and one step of three
    # counted classes
    assert masked_stepwise_bce(logits, labels, target, steps='num_labels') == pytest.approx(
        float(log2 * (8 + 3) / 2)
    )


@pytest.mark.parametrize(
    ('mask', 'negatives'),
    [('previous', {(1, 0), (2, 1)}), ('cumulative', {(1, 0), (2, 0), (2, 1)}), ('none', set())],
)
def test_what_is_masked(mask, negatives):
    """The sign of the gradient tells a positive from a negative."""
    logits = torch.zeros(1, 3, 3, requires_grad=True)
    masked_stepwise_bce(logits, torch.tensor([[0, 1, 2]]), torch.ones(1, 3), mask).backward()
    assert {tuple(place) for place in (logits.grad[0] > 0).nonzero().tolist()} == negatives


def test_a_label_picked_twice_is_right_again_after_a_gap():
    logits = torch.zeros(1, 4, 2, requires_grad=True)
    masked_stepwise_bce(logits, torch.tensor([[0, 1, 1, 0]]), torch.tensor([[1, 0]])).backward()
    assert (logits.grad[0, :, 0] < 0).tolist() == [True, False, True, True]


@pytest.mark.parametrize('mask', MASKS)
def test_the_last_pick_is_not_used(mask):
    logits, labels, target = make_case()
    other = labels.clone()
    other[:, -1] = (other[:, -1] + 1) % 5
    assert masked_stepwise_bce(logits, labels, target, mask) == masked_stepwise_bce(
        logits, other, target, mask
    )


def test_without_mask_it_is_binary_cross_entropy():
    logits, labels, target = make_case(ignored=False)
    wide = target.unsqueeze(1).expand_as(logits)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, wide, reduction='sum'
    ) / len(logits)
    torch.testing.assert_close(masked_stepwise_bce(logits, labels, target, 'none'), expected)


def test_soft_targets_of_mixed_images():
    logits, labels, _ = make_case()
    target = torch.rand(4, 5, dtype=torch.float64)
    for mask in MASKS:
        torch.testing.assert_close(
            masked_stepwise_bce(logits, labels, target, mask),
            naive_loss(logits, labels, target, mask, 'all'),
        )


def test_images_without_labels_add_nothing_to_the_release_loss_but_count_in_the_mean():
    logits, labels, target = make_case(ignored=False)
    target[0] = 0
    alone = masked_stepwise_bce(logits[1:], labels[1:], target[1:], 'cumulative', 'num_labels')
    together = masked_stepwise_bce(logits, labels, target, 'cumulative', 'num_labels')
    torch.testing.assert_close(together, alone * 3 / 4)
    together.backward()
    assert not logits.grad[0].any()


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[[1e4, -1e4, 1e4], [-1e4, 1e4, 1e4]]], requires_grad=True)
    loss = masked_stepwise_bce(logits, torch.tensor([[0, 1]]), torch.tensor([[1, 1, 0]]))
    # step 1: true 1e4 costs nothing, true -1e4 and false 1e4 cost 1e4 each; step 2: label 0 has
    # become false, so that -1e4 is right; label 1 is right; label 2 is false at 1e4
    assert loss.item() == pytest.approx(3e4)
    loss.backward()
    assert logits.grad.isfinite().all()


def test_half_precision_logits_are_summed_in_float32():
    logits, labels, target = make_case()
    half = logits.detach().bfloat16().requires_grad_()
    loss = masked_stepwise_bce(half, labels, target)
    assert loss.dtype == torch.float32
    expected = naive_loss(half.detach().double(), labels, target, 'previous', 'all')
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert half.grad.dtype == torch.bfloat16


class CountLarge(TorchDispatchMode):
    """Collects the operators that give a tensor of at least so many elements in memory of its own."""

    def __init__(self, numel):
        super().__init__()
        self.numel = numel
        self.names = []
        self.alive = []  # everything seen, so that no memory is given out twice

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.alive += _tensors((args, kwargs))
        known = {_memory(tensor) for tensor in self.alive}
        out = func(*args, **(kwargs or {}))
        self.names += [
            str(func)
            for tensor in _tensors(out)
            if tensor.numel() >= self.numel and _memory(tensor) not in known
        ]
        self.alive += _tensors(out)
        return out


def _tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()


@pytest.mark.parametrize('weighted', [False, True], ids=['plain', 'pos_weight'])
@pytest.mark.parametrize(('mask', 'steps'), ALL_VARIANTS)
def test_nothing_of_the_size_of_the_logits_is_made_but_the_gradient(mask, steps, weighted):
    num_images = 3
    num_steps = 4
    num_classes = 50
    logits = torch.randn(num_images, num_steps, num_classes, requires_grad=True)
    labels = torch.randint(num_classes, (num_images, num_steps))
    target = torch.randint(2, (num_images, num_classes)).float()
    pos_weight = torch.rand(num_classes) + 1 if weighted else None
    with CountLarge(logits.numel()) as forward:
        loss = masked_stepwise_bce(logits, labels, target, mask, steps, pos_weight)
    assert forward.names == []
    with CountLarge(logits.numel()) as backward:
        torch.autograd.grad(loss, logits)
    assert len(backward.names) == 1  # the gradient itself


def test_the_count_of_large_tensors_can_fail():
    logits = torch.randn(3, 4, 50)
    target = torch.zeros(3, 1, 50)
    with CountLarge(logits.numel()) as counted:
        _ = (logits.sigmoid() - target).sum()
        _ = (logits.exp() * target).sum()

    assert counted.names == [
        'aten.sigmoid.default',
        'aten.sub.Tensor',
        'aten.exp.default',
        'aten.mul.Tensor',
    ]


@pytest.mark.parametrize(
    ('mask', 'steps', 'name'),
    [
        ('cumulative', 'num_labels', 'mask=cumulative,length_mask=1'),
        ('cumulative', 'all', 'mask=cumulative,length_mask=0'),
        ('previous', 'num_labels', 'mask=previous,length_mask=1'),
        ('previous', 'all', 'mask=previous,length_mask=0'),
        ('none', 'num_labels', 'mask=none,length_mask=1'),
        ('none', 'all', 'mask=none,length_mask=0'),
    ],
)
def test_registered_class_gives_the_fixture_of_its_variant(mask, steps, name):
    golden = load_golden('small_N16_C20_H32_M16_T5')
    loss = MODELS.build(dict(type='MaskedStepwiseBCELoss', mask=mask, steps=steps))
    logits, labels, target = (
        torch.tensor(golden[key]) for key in ('train_step_logits', 'train_argmax', 'labels')
    )
    assert loss(logits, labels, target).item() == pytest.approx(
        float(golden[f'np64_loss/{name}']), rel=1e-5
    )


def test_registered_class_defaults_to_the_paper():
    logits, labels, target = make_case()
    expected = naive_loss(logits, labels, target, 'previous', 'all')
    torch.testing.assert_close(
        MODELS.build(dict(type='MaskedStepwiseBCELoss'))(logits, labels, target), expected
    )


@pytest.mark.parametrize('pos_weight', [2.5, [0.5, 1, 2, 3, 7]])
def test_registered_class_weights(pos_weight):
    logits, labels, target = make_case()
    loss = MaskedStepwiseBCELoss(pos_weight=pos_weight, loss_weight=0.3)
    expected = naive_loss(
        logits, labels, target, 'previous', 'all', torch.tensor(pos_weight).double().expand(5)
    )
    torch.testing.assert_close(loss(logits, labels, target), 0.3 * expected)
    assert not loss.state_dict()


@pytest.mark.parametrize(
    'options',
    [
        dict(mask='prev'),
        dict(steps='some'),
        dict(pos_weight=0),
        dict(pos_weight=[1, -1]),
        dict(pos_weight=float('nan')),
        dict(pos_weight=[[1.0]]),
    ],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MaskedStepwiseBCELoss(**options)


@pytest.mark.parametrize(
    ('name', 'shapes'),
    [
        ('step_logits', [(2, 5), (2, 3), (2, 5)]),
        ('step_logits', [(2, 0, 5), (2, 0), (2, 5)]),
        ('step_labels', [(2, 3, 5), (3, 2), (2, 5)]),
        ('target', [(2, 3, 5), (2, 3), (2, 4)]),
    ],
)
def test_wrong_shapes_are_named(name, shapes):
    logits, labels, target = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=f'`{name}`'):
        masked_stepwise_bce(logits, labels.long(), target)


def test_wrong_number_of_weights_is_named():
    with pytest.raises(ValueError, match='`pos_weight`'):
        MaskedStepwiseBCELoss(pos_weight=[1.0, 2.0])(
            torch.zeros(1, 1, 3), torch.zeros(1, 1).long(), torch.zeros(1, 3)
        )


def test_integer_logits_are_refused():
    with pytest.raises(ValueError, match='floating-point'):
        masked_stepwise_bce(
            torch.zeros(1, 1, 3).long(), torch.zeros(1, 1).long(), torch.zeros(1, 3)
        )
