"""Threads that wait sleep, unless somebody has said otherwise."""

import os

import pytest

import morn_plugin  # noqa: F401  sets it
from morn_plugin.utils.threads import POLICY, let_threads_sleep


@pytest.mark.parametrize('name', ['OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'])
def test_what_the_user_set_stays(name):
    environment = {name: '200'}
    let_threads_sleep(environment)
    assert environment == {name: '200'}


def test_importing_the_package_sets_it():
    environment = {}
    let_threads_sleep(environment)
    assert environment == {POLICY: 'passive'}
    assert any(name in os.environ for name in (POLICY, 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'))
