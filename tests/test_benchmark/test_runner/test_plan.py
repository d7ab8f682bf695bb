"""How many runs there are, how long they take, and what goes where the time is short."""

from pathlib import Path

import pytest

from morn_plugin.benchmark.runner.methods import LEARNING_RATE, Method
from morn_plugin.benchmark.runner.plan import (
    Costs,
    describe_plan,
    estimate_seconds,
    fit_plan,
    make_plan,
)

RATES = {LEARNING_RATE: (0.1, 0.01, 0.001)}
CHEAP = Method('cheap', Path('cheap.py'), 'features', 'Cheap', search=RATES)
DEAR = Method('dear', Path('dear.py'), 'scores', 'Dear', search={**RATES, 'k': (1, 2, 3)})
MAPS = Method('maps', Path('maps.py'), 'maps', 'Maps')
COSTS = Costs(dict(cheap=10.0, dear=100.0, maps=30.0), cnn=50.0, bytes=2e9)


@pytest.fixture
def whole():
    return make_plan((CHEAP, DEAR, MAPS), 5)


def fit(plan, seconds):
    return fit_plan(plan, COSTS, 1, seconds / 3600, 'cheap')


def test_runs_are_counted(whole):
    assert whole.seeds == dict(cheap=5, dear=5, maps=3)
    # The best trial is the run of the first seed.
    assert [whole.count_runs(method) for method in whole.methods] == [3 + 4, 6 + 4, 1 + 2]
    assert whole.total_runs() == 20


def test_seconds_are_those_of_all_runs(whole):
    runs = 7 * 10 + 10 * 100 + 3 * 30
    assert estimate_seconds(whole, COSTS, 1) == 50 + runs
    assert estimate_seconds(whole, COSTS, 2) == 50 + runs / 2


def test_a_plan_that_fits_is_whole(whole):
    assert fit(whole, 1210) is whole


def test_what_is_cut_first(whole):
    # The dearest loses two seeds, and that is enough.
    shorter = fit(whole, 1209)
    assert shorter.seeds == dict(cheap=5, dear=3, maps=3)
    assert shorter.cut == ('dear: 3 seeds in place of 5',)
    assert shorter.searches_own

    # 50 + 5 * 10 + (3 + 2) * 100 + 90: without the own search of the dearest.
    shorter = fit(whole, 690)
    assert shorter.seeds == dict(cheap=3, dear=3, maps=3)
    assert not shorter.searches_own
    assert shorter.methods == (CHEAP, DEAR, MAPS)

    shorter = fit(whole, 689)
    assert shorter.methods == (CHEAP, MAPS)
    assert shorter.cut[-1] == 'dear: not run'


def test_the_reference_stays_to_the_end(whole):
    shorter = fit(whole, 0)
    assert shorter.methods == (CHEAP,)
    assert shorter.seeds['cheap'] == 1


def test_methods_that_train_the_cnn_have_few_seeds_and_go_with_their_control():
    views = Method('views', Path('views.py'), 'joint', 'Views', views=4, control='control')
    control = Method('control', Path('control.py'), 'joint', 'Control', views=4, control='control')
    plan = make_plan((CHEAP, views, control), 5)
    assert plan.seeds == dict(cheap=5, views=3, control=3)

    costs = Costs(dict(cheap=10.0, views=100.0, control=101.0))
    shorter = fit_plan(plan, costs, 1, 100 / 3600, 'cheap')
    assert shorter.methods == (CHEAP,)
    assert shorter.cut[-2:] == ('views: not run', 'control: not run')


def test_the_plan_says_what_it_leaves_out(whole):
    text = describe_plan(fit(whole, 1209), COSTS, 2)
    assert '18 runs, 2 at a time: about 9 min' in text
    assert '2.0 GB' in text
    assert 'Left out for want of time: dear: 3 seeds in place of 5.' in text
    assert 'Left out' not in describe_plan(whole, COSTS, 2)
