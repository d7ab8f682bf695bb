"""Which tables a page has, by the methods and by what was run of them."""

from pathlib import Path

from morn_plugin.benchmark.runner.groups import list_groups
from morn_plugin.benchmark.runner.methods import Method

PLAIN = Method('plain', Path('plain.py'), 'features', 'Plain')
MORN = Method('morn', Path('morn.py'), 'scores', 'MORN', ('sequences',))
JOINT = Method('joint', Path('joint.py'), 'joint', 'Joint')
LINEAR = Method('cnn-linear', Path('linear.py'), 'features', 'Linear')
MAPS = Method('maps', Path('maps.py'), 'maps', 'Maps')
VIEWS = Method('views', Path('views.py'), 'joint', 'Views', views=4, control='control')


def list_all(methods, *has_runs):
    return list_groups(methods, 'cnn', 6, lambda name: name in has_runs)


def test_methods_on_cached_inputs_have_one_table_and_no_note():
    (group,) = list_all([PLAIN], 'plain')
    assert (group.name, group.reference, group.note) == ('methods', 'cnn', '')


def test_sequences_are_compared_with_the_multi_order_rnn_too():
    assert len(list_all([PLAIN, MORN])) == 1, 'there is no run of it'
    _, group = list_all([PLAIN, MORN], 'morn')
    assert (group.reference, group.members) == ('morn', ['morn'])


def test_features_and_maps_are_compared_with_a_linear_classifier_too():
    assert len(list_all([LINEAR, MAPS])) == 1, 'there is no run of it'
    assert len(list_all([LINEAR, MORN], 'cnn-linear')) == 1, 'nothing to compare'
    _, group = list_all([LINEAR, PLAIN, MAPS, MORN], 'cnn-linear')
    assert (group.reference, group.members) == ('cnn-linear', ['cnn-linear', 'plain', 'maps'])
    on_frozen = list_groups([LINEAR, PLAIN], 'cnn-linear', 6, lambda name: True)
    assert len(on_frozen) == 1, 'it is the reference of all methods'


def test_a_row_of_one_view_has_the_passes_of_the_cnn():
    (group,) = list_all([PLAIN, JOINT])
    assert '6 epochs of one view' in group.note
    assert '6 passes an image for each of them' in group.note
    assert list_all([PLAIN, VIEWS])[0].note == ''


def test_rows_of_several_views_stand_beside_their_control():
    assert len(list_all([VIEWS])) == 1, 'there is no run of the control'
    _, group = list_all([VIEWS], 'control')
    assert (group.name, group.reference, group.members) == ('4 views', 'control', ['cnn'])
    assert '2 epochs, 8 passes an image, next to 6 of the CNN' in group.note
