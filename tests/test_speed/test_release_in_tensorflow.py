"""The peer in TensorFlow computes what the authors' own code computed; skipped where it is not installed."""

import sys

import numpy as np
import pytest
from helpers import NETWORKS, close, load_golden, under

from morn_plugin.speed import release_in_tensorflow
from morn_plugin.speed.release_in_tensorflow import (
    compare_release,
    draw_variables,
    make_release,
)
from morn_plugin.speed.steps import Sizes

RUN = 'rmsprop_small_lr5e-2'


@pytest.fixture
def tensorflow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TF_CPP_MIN_LOG_LEVEL', '3')
        return pytest.importorskip('tensorflow')


@pytest.mark.parametrize('name', NETWORKS)
def test_loss_and_gradients_are_the_releases(tensorflow, name):
    golden = load_golden(name)
    images, *_, steps = map(int, golden['shape_N_C_H_M_T'])
    made = make_release(under(golden, 'var/'), images, steps, threads=1)
    feeds = {made.feeds['scores']: golden['init_prob'], made.feeds['target']: golden['labels']}
    with made.session.graph.as_default():
        dense = {key: tensorflow.convert_to_tensor(value) for key, value in made.gradients.items()}
    loss, gradients = made.session.run([made.fetches['loss'], dense], feeds)

    close(loss, golden['loss'])
    expected = under(golden, 'grad/')
    assert gradients.keys() == expected.keys()
    for key, gradient in gradients.items():
        close(gradient, expected[key])


def test_five_updates_are_the_releases(tensorflow):
    golden = load_golden(RUN)
    variables, batches = under(golden, 'var/'), golden['init_prob']
    made = make_release(variables, len(batches[0]), 5, 1, lr=float(golden['learning_rate']))
    losses = [made.train(*batch) for batch in zip(batches, golden['labels'], strict=True)]
    close(np.array(losses), golden['losses'])
    after = under(golden, 'after5/')
    for key, value in made.session.run({key: made.variables[key] for key in after}).items():
        close(value, after[key])


def test_the_table_compares_three_steps_of_the_same_loss(tensorflow, monkeypatch):
    sizes = Sizes(images=4, labels=5, cells=8, width=6, steps=3)
    table = compare_release(sizes, rounds=1, threads=1)
    assert len(table.rows) == 3
    assert table.rows[0][2:] == ['1.00', '1.00-1.00']

    monkeypatch.setattr(release_in_tensorflow, 'EPS_OF_NORM', 0.1)
    with pytest.raises(ValueError, match='equal losses'):
        compare_release(sizes, rounds=1, threads=1)


def test_the_drawn_variables_have_the_releases_names_and_shapes():
    golden = load_golden('tiny_N4_C5_H8_M6_T3')
    drawn = draw_variables(Sizes(images=4, labels=5, cells=8, width=6, steps=3))
    expected = {name: array.shape for name, array in under(golden, 'var/').items()}
    assert {name: array.shape for name, array in drawn.items()} == expected


def test_without_tensorflow_an_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    with pytest.raises(ImportError, match=r"pip install 'morn-plugin\[tensorflow\]'"):
        make_release(draw_variables(Sizes()), 32, 5, 1)
