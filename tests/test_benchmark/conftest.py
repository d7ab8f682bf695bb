"""Results of made-up methods.

They are made by a module that is imported late: the process that hands the tests out reads this
file too.
"""

from dataclasses import replace

import pytest


@pytest.fixture(scope='session')
def results():
    from made_up_runs import make_results

    return make_results()


@pytest.fixture(scope='session')
def info():
    from made_up_runs import make_info

    return make_info()


@pytest.fixture(scope='session')
def save_runs():
    from made_up_runs import save_runs

    return save_runs


@pytest.fixture(scope='session')
def folder(results, info, save_runs, tmp_path_factory):
    """The files of all runs, at different depths."""
    place = tmp_path_factory.mktemp('results')
    save_runs(place, info, results)
    return place


@pytest.fixture(scope='session')
def small_folder(results, info, save_runs, tmp_path_factory):
    """Two methods with two seeds each, in one group."""
    place = tmp_path_factory.mktemp('small')
    few = [run for run in results if run.method in ('cnn', 'better') and run.seed < 2]
    save_runs(place, replace(info, groups=info.groups[:1]), few)
    return place
