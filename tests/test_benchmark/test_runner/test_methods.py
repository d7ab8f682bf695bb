"""Every config on cached inputs is a method, and is chosen by name, by group or by its path."""

from pathlib import Path

import pytest

from morn_plugin.benchmark.runner.methods import (
    LEARNING_RATE,
    LINEAR,
    add_controls,
    choose_methods,
    find_methods,
    list_searches,
    read_method,
    search_as_the_cnn,
)

CONFIGS = Path(__file__).parents[3] / 'configs'


@pytest.fixture(scope='module')
def methods():
    return find_methods()


def test_every_cached_config_is_a_method(methods):
    cached = {
        path
        for path in CONFIGS.rglob('*_openclipart.py')
        if "models/cached.py'" in path.read_text() or "models/scores_morn.py'" in path.read_text()
    }
    assert cached <= {method.config for method in methods}
    for names in ([method.name for method in methods], [method.title for method in methods]):
        assert len(set(names)) == len(names)
    assert LINEAR in [method.name for method in methods]


def test_methods_are_searched_alike(methods):
    trained = [method for method in methods if LEARNING_RATE in method.search]
    assert {len(method.search[LEARNING_RATE]) for method in trained} == {3}
    assert {method.name for method in methods if method not in trained} == {'tagprop', '2pknn'}


@pytest.mark.parametrize(
    ('wanted', 'expected'),
    [
        (['neighbours'], {'tagprop', '2pknn'}),
        (['morn', 'zlpr'], {'morn', 'zlpr'}),
        (
            ['fixed-order'],
            {f'cnn-rnn-{order}' for order in ('frequent-first', 'rare-first', 'lexicographic')},
        ),
    ],
)
def test_methods_are_chosen_by_name_and_group(methods, wanted, expected):
    assert {method.name for method in choose_methods(methods, wanted)} == expected


def test_groups_are_the_tiers_as_well(methods):
    assert {method.tier for method in choose_methods(methods, ['map'])} == {'maps'}
    for tier in ('scores', 'joint'):
        assert {method.tier for method in choose_methods(methods, [tier])} == {tier}
    assert choose_methods(methods, []) == methods


def test_an_unknown_name_is_named(methods):
    with pytest.raises(ValueError, match=r"got 'zlrp'\. Did you mean 'zlpr'\?.*Groups: .*losses"):
        choose_methods(methods, ['zlrp'])


def write(folder, name, text=''):
    path = folder / name
    path.write_text(text)
    return path


def test_a_config_of_ones_own_is_one_more_method(methods, tmp_path):
    path = write(tmp_path, 'mine_maps_1xb32-5e_photos.py', "benchmark = dict(title='Mine')")
    *others, mine = choose_methods(methods, ['neighbours', str(path)])
    assert (mine.name, mine.tier, mine.title, mine.search) == ('mine', 'maps', 'Mine', {})
    assert len(others) == 2


def test_a_new_method_is_found_by_being_there(tmp_path):
    (tmp_path / 'mine').mkdir()
    write(tmp_path / 'mine', 'mine_features_1xb32-5e_openclipart.py')
    assert [method.title for method in find_methods(tmp_path)] == ['mine']


def test_a_config_on_images_is_a_method_where_it_says_so(tmp_path):
    (tmp_path / 'mine').mkdir()
    name = 'mine{}_resnet18_1xb32-6e_openclipart-128px.py'
    write(tmp_path / 'mine', name.format('-not'), 'benchmark = dict(search={})')
    text = "benchmark = dict(tier='joint', views=2, control='mine')"
    path = write(tmp_path / 'mine', name.format(''), text)
    for found in (*find_methods(tmp_path), read_method(path)):
        assert (found.name, found.tier, found.views) == ('mine', 'joint', 2)
        assert found.is_joint


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('m_maps_x.py', "benchmark = dict(tier='maps')", "to be 'joint', .* but got 'maps'"),
        ('m_x.py', "benchmark = dict(tier='joint', views=4)", 'name the method of as many views'),
        ('m_maps_x.py', "benchmark = dict(views=4, control='m')", r'more, .*views=4, control=.m'),
        ('m_x.py', "benchmark = dict(tier='joint', control='m')", 'views=1'),
        ('m_x.py', "benchmark = dict(tier='joint', views='4')", "views='4'"),
        ('mine.py', '', r'whose second part says what the method sees \(scores, features, maps\)'),
        ('m_maps_x.py', "benchmark = dict(titel='M')", r"to hold .*'title'.*but got \['titel'\]"),
        (
            'm_maps_x.py',
            'benchmark = dict(search=dict(a=[1, 2, 3, 4]))',
            'at most 2 settings .* 3 values',
        ),
        ('m_maps_x.py', 'benchmark = dict(search=dict(a=[1], b=[1], c=[1]))', 'at most 2 settings'),
    ],
)
def test_a_config_that_says_too_much_is_refused(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_method(write(tmp_path, name, text))


def test_a_name_that_is_taken_is_refused(methods, tmp_path):
    path = write(tmp_path, 'zlpr_features_x.py')
    with pytest.raises(ValueError, match=r"names that no other method has, but got \['zlpr'\]"):
        choose_methods(methods, ['losses', str(path)])


def test_the_learning_rate_is_searched_first(tmp_path):
    text = f"benchmark = dict(search={{'k': [1, 2], '{LEARNING_RATE}': [0.1]}})"
    method = read_method(write(tmp_path, 'm_scores_x.py', text))
    assert list_searches(method) == [(LEARNING_RATE, (0.1,)), ('k', (1, 2))]


def test_a_method_of_several_views_brings_its_control_along(methods, tmp_path):
    (acfs,) = choose_methods(methods, ['acfs'])
    assert [method.name for method in add_controls([acfs])] == ['acfs', 'four-views']

    text = "benchmark = dict(tier='joint', views=4, control='nothing')"
    mine = read_method(write(tmp_path, 'mine_resnet18_x.py', text))
    with pytest.raises(ValueError, match=r"control` to be a method, but got 'nothing'"):
        add_controls([mine])


def test_what_trains_the_cnn_is_searched_as_the_cnn(methods, tmp_path):
    acfs, zlpr = (choose_methods(methods, [name])[0] for name in ('acfs', 'zlpr'))
    assert search_as_the_cnn(acfs, (0.5,)).search[LEARNING_RATE] == (0.5,)
    assert search_as_the_cnn(zlpr, (0.5,)) is zlpr

    said = f"benchmark = dict(tier='joint', search={{'{LEARNING_RATE}': [0.1]}})"
    own = read_method(write(tmp_path, 'own_resnet18_x.py', said))
    assert search_as_the_cnn(own, (0.5,)) is own
