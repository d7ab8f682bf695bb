"""Decision rules: which labels are predicted, what a learnt rule learns, what a checkpoint keeps."""

import pytest
import torch
import torch.nn.functional as F

from morn_plugin.models.decisions import find_decisions
from morn_plugin.models.decisions.base import DecisionRule
from morn_plugin.models.decisions.fixed import FixedThreshold, TopLabels, best_labels
from morn_plugin.models.decisions.learnt_thresholds import LearntThresholds
from morn_plugin.models.decisions.quantity import LabelCount, LabelQuantity
from morn_plugin.models.decisions.score_map import ScoreMap

C, D = 5, 4
RULES = {
    'threshold': lambda: FixedThreshold(C, [0.1, 0.3, 0.5, 0.7, 0.9]),
    'top labels': lambda: TopLabels(C, 2),
    'quantity': lambda: LabelQuantity(C, D, hidden_dims=(8,)),
    'count': lambda: LabelCount(C, D, hidden_dims=(8,)),
    'learnt thresholds': lambda: LearntThresholds(C, D, hidden_dims=(8,)),
    'score map': lambda: ScoreMap(C, slope=2.0, offset=-0.3),
}
LEARNT = ['quantity', 'count', 'learnt thresholds']
every = pytest.mark.parametrize('name', RULES)
learnt = pytest.mark.parametrize('name', LEARNT)


def make_batch(num_images=6, seed=0):
    torch.manual_seed(seed)
    target = torch.randint(-1, 2, (num_images, C))
    for row, value in zip(range(num_images), (0, 1, -1), strict=False):
        target[row] = value
    return torch.rand(num_images, C), dict(features=torch.randn(num_images, D)), target


@every
def test_a_mask_of_the_scores_shape_and_a_checkpoint_that_keeps_it(name):
    torch.manual_seed(1)
    rule = RULES[name]()
    scores, inputs, _ = make_batch()
    mask = rule(scores, inputs)
    assert mask.shape == scores.shape
    assert mask.dtype == torch.bool
    seen = {key: inputs[key] for key in rule.inputs}
    assert (rule.decide(scores, **seen) == mask).all()

    torch.manual_seed(2)
    other = RULES[name]()
    other.load_state_dict(rule.state_dict())
    assert (other(scores, inputs) == mask).all()
    assert list(rule.state_dict())  # what it knows is saved


@every
def test_an_empty_batch_has_no_labels(name):
    assert RULES[name]()(torch.zeros(0, C), dict(features=torch.zeros(0, D))).shape == (0, C)


@every
def test_scores_of_another_shape_are_refused(name):
    with pytest.raises(ValueError, match=r'expected scores of shape \(N, 5\).*got \(2, 4\)'):
        RULES[name]()(torch.zeros(2, 4), dict(features=torch.zeros(2, D)))


@pytest.mark.parametrize('name', [name for name in RULES if name not in LEARNT])
def test_a_fixed_rule_has_no_loss(name):
    scores, _, target = make_batch()
    assert RULES[name]().loss(scores, target) == {}


@learnt
def test_images_of_every_kind_give_finite_losses(name):
    rule = RULES[name]()
    scores, inputs, target = make_batch()
    losses = rule.loss(scores=scores, target=target, **inputs)
    assert all(key.startswith('loss_') for key in losses)
    sum(losses.values()).backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in rule.parameters())
    assert any(parameter.grad.any() for parameter in rule.parameters())


@learnt
def test_images_with_ignored_labels_only_add_nothing(name):
    rule = RULES[name]()
    scores, inputs, target = make_batch()
    losses = rule.loss(scores=scores, target=torch.full_like(target, -1), **inputs)
    assert sum(losses.values()).item() == 0


def test_thresholds_by_hand():
    scores = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5], [0.05, 0.2, 0.9, 0.7, 1.0]])
    assert RULES['threshold']().decide(scores).int().tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 0, 1]]
    assert FixedThreshold(C).decide(scores).int().tolist() == [[0] * 5, [0, 0, 1, 1, 1]]


def test_the_best_labels_by_hand():
    scores = torch.tensor([[0.1, 0.9, 0.9, 0.5, 0.0]] * 4)
    numbers = torch.tensor([0, 1, 3, 9])
    assert best_labels(scores, numbers).int().tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    assert TopLabels(C, 2).decide(scores[:1]).int().tolist() == [[0, 1, 1, 0, 0]]


def test_quantity_is_rounded_and_may_be_none():
    rule = LabelQuantity(C, 1, hidden_dims=())
    with torch.no_grad():
        rule.regressor[0].weight.fill_(1)
        rule.regressor[0].bias.zero_()
    quantities = torch.tensor([[-3.0], [0.4], [0.5], [2.49], [9.0]])
    sizes = rule.decide(torch.rand(5, C), features=quantities).sum(dim=1)
    assert sizes.tolist() == [0, 0, 1, 2, 5]


def test_quantity_of_a_constant_is_the_mean_count():
    """Without anything to see the regression finds the mean number of labels."""
    torch.manual_seed(0)
    rule = LabelQuantity(C, 1, hidden_dims=(4,))
    target = (torch.rand(64, C) < 0.5).long()
    features = torch.zeros(64, 1)
    scores = torch.rand(64, C)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.05)

    for _ in range(150):
        optimizer.zero_grad()
        rule.loss(scores=scores, target=target, features=features)['loss_quantity'].backward()
        optimizer.step()

    mean = target.sum(dim=1).float().mean()
    torch.testing.assert_close(rule.quantity(features[:1])[0], mean, atol=0.02, rtol=0)


def test_quantity_loss_by_hand():
    rule = LabelQuantity(3, 1, hidden_dims=())
    with torch.no_grad():
        rule.regressor[0].weight.zero_()
        rule.regressor[0].bias.fill_(1.0)
    target = torch.tensor([[1, 1, 1], [1, 0, -1], [-1, -1, -1]])
    loss = rule.loss(scores=torch.rand(3, 3), target=target, features=torch.zeros(3, 1))
    assert loss['loss_quantity'].item() == pytest.approx(((1 - 3) ** 2 + 0) / 2)


def test_the_count_has_no_class_for_none_and_one_for_many():
    rule = LabelCount(6, 1, most=2, hidden_dims=())
    with torch.no_grad():
        rule.classifier[0].weight.zero_()
        rule.classifier[0].bias.copy_(torch.tensor([0.0, 1.0]))

    target = torch.tensor([[1, 0, 0, 0, 0, 0], [1] * 6, [0] * 6, [-1] * 6])
    features = torch.zeros(4, 1)
    loss = rule.loss(scores=torch.rand(4, 6), target=target, features=features)['loss_count']
    log_probs = torch.tensor([0.0, 1.0]).log_softmax(0)
    assert loss.item() == pytest.approx(-float(log_probs.sum()) / 2)
    assert rule.decide(torch.rand(4, 6), features=features).sum(dim=1).tolist() == [2] * 4


def test_learnt_thresholds_are_cross_entropy_of_margins_that_leave_the_scores_alone():
    rule = RULES['learnt thresholds']()
    scores, inputs, target = make_batch()
    scores.requires_grad_()
    loss = rule.loss(scores=scores, target=target, **inputs)['loss_thresholds']
    margins = scores.logit() - rule.network(inputs['features'])
    values = F.binary_cross_entropy_with_logits(
        margins, target.clamp(min=0).float(), reduction='none'
    )
    torch.testing.assert_close(loss, values[target >= 0].sum() / 6)
    loss.backward()
    assert scores.grad is None


def test_learnt_thresholds_find_where_each_label_begins():
    """Scores of one label are low throughout, and one feature says so."""
    torch.manual_seed(0)
    rule = LearntThresholds(2, 1, hidden_dims=())
    truth = torch.randint(2, (256, 2))
    scores = 0.2 + 0.6 * truth + 0.1 * torch.rand(256, 2)
    scores[:, 1] *= 0.3
    features = torch.ones(256, 1)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.1)

    for _ in range(100):
        optimizer.zero_grad()
        rule.loss(scores=scores, target=truth, features=features)['loss_thresholds'].backward()
        optimizer.step()

    assert (rule.decide(scores, features=features) == truth.bool()).all()
    assert (scores[:, 1] < 0.5).all()


def test_scores_of_exactly_0_and_1_stay_finite():
    rule = LearntThresholds(2, 1)
    loss = rule.loss(
        scores=torch.tensor([[0.0, 1.0]]), target=torch.tensor([[1, 0]]), features=torch.ones(1, 1)
    )
    assert bool(loss['loss_thresholds'].isfinite())


def test_only_a_score_map_changes_scores():
    scores, _, _ = make_batch()
    for name, build in RULES.items():
        mapped = build().map_scores(scores)
        assert (mapped is scores) == (name != 'score map')


def test_one_label():
    scores = torch.tensor([[0.7], [0.2]])
    inputs = dict(features=torch.randn(2, D))
    assert FixedThreshold(1).decide(scores).tolist() == [[True], [False]]
    assert TopLabels(1, 1).decide(scores).tolist() == [[True], [True]]
    assert LabelCount(1, D, most=1).decide(scores, **inputs).tolist() == [[True], [True]]


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match='one for each of 5 labels, but got 2'):
        FixedThreshold(C, [0.5, 0.5])
    with pytest.raises(ValueError, match=r'between 0 and 1, but got 1\.5'):
        FixedThreshold(C, 1.5)
    with pytest.raises(ValueError, match='`number` to be at most num_classes=5, but got 6'):
        TopLabels(C, 6)
    with pytest.raises(ValueError, match='`most` to be at most num_classes=3, but got 4'):
        LabelCount(3, D)
    with pytest.raises(ValueError, match='`hidden_dims` to be a positive integer, but got 0'):
        LabelQuantity(C, D, hidden_dims=(0,))
    with pytest.raises(TypeError, match='abstract'):
        DecisionRule(C)


def test_rules_are_found_by_being_there():
    names = {rule.__name__ for rule in find_decisions()}
    assert {'FixedThreshold', 'TopLabels', 'LabelQuantity'} <= names
    assert 'DecisionRule' not in names
    assert all(issubclass(rule, DecisionRule) for rule in find_decisions())
