"""A stranger's .onnx file: refused with file and reason, in little time and memory."""

import json

import numpy as np
import pytest
from hostile_files import in_bounds
from test_utils.test_describing import shared_nest
from test_utils.test_schemas import PREPROCESSING, VALID

from morn_plugin.deploy.onnx_check import KEY
from morn_plugin.deploy.onnx_model import OnnxModel
from morn_plugin.utils.schemas import ExportMetadata

onnx = pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

IMAGES = np.zeros((2, 3, 8, 8), dtype=np.float32)
METADATA = VALID[ExportMetadata] | dict(preprocessing=PREPROCESSING)
NAN = float('nan')


def tensor(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def value(name, kind=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def node(*args, **kwargs):
    return helper.make_node(*args, **kwargs)


# The mean of each channel, of which two are taken for the two classes.
MEAN = node('ReduceMean', ['images', 'axes'], ['means'], keepdims=0)
SCORES = [MEAN, node('Gather', ['means', 'two'], ['scores'], axis=1)]
WEIGHTS = [tensor('axes', [2, 3], np.int64), tensor('two', [0, 1], np.int64)]


def make_model(nodes=(), weights=(), outputs=None, inputs=None, **options):
    """Make a model of two classes, with more operations and weights."""
    graph = helper.make_graph(
        [*SCORES, *nodes],
        'graph',
        inputs or [value('images', shape=('N', 3, 8, 8))],
        outputs or [value('scores', shape=('N', 2))],
        [*WEIGHTS, *weights],
    )
    options = dict(opset_imports=[helper.make_opsetid('', 20)], ir_version=10) | options
    return helper.make_model(graph, **options)


def describe_by(model, text):
    helper.set_model_props(model, {KEY: text if isinstance(text, str) else json.dumps(text)})
    return model


def write(path, model, text=METADATA):
    path.write_bytes(describe_by(model, text).SerializeToString())
    return path


def subgraph(kind):
    """A model with an operation that holds another graph: an endless loop, for one."""
    if kind == 'Loop':
        body = helper.make_graph(
            [node('Identity', ['go'], ['go_on']), node('Identity', ['x'], ['y'])],
            'body',
            [value('i', TensorProto.INT64, ()), value('go', TensorProto.BOOL, ()), value('x')],
            [value('go_on', TensorProto.BOOL, ()), value('y')],
        )
        loop = node('Loop', ['', 'true', 'scores'], ['out'], body=body)
    elif kind == 'If':
        branch = helper.make_graph([node('Identity', ['scores'], ['b'])], 'b', [], [value('b')])
        loop = node('If', ['true'], ['out'], then_branch=branch, else_branch=branch)
    else:
        body = helper.make_graph([node('Identity', ['x'], ['y'])], 'b', [value('x')], [value('y')])
        loop = node('Scan', ['scores'], ['out'], body=body, num_scan_inputs=1)

    return make_model([loop], [tensor('true', True, bool)])


def with_function():
    function = helper.make_function(
        'own', 'F', ['x'], ['y'], [node('Identity', ['x'], ['y'])], [helper.make_opsetid('', 20)]
    )
    return make_model(functions=[function])


def with_external_weights(in_attribute=False):
    weights = tensor('w', [1.0])
    weights.ClearField('raw_data')
    weights.data_location = TensorProto.EXTERNAL
    for key, text in dict(location='/etc/hostname', offset='0', length='4').items():
        weights.external_data.add(key=key, value=text)
    if in_attribute:
        return make_model([node('Constant', [], ['c'], value=weights)])
    return make_model(weights=[weights])


def with_two_descriptions():
    model = describe_by(make_model(), METADATA)
    model.metadata_props.add(key=KEY, value='{}')
    return model


GRAPHS = {
    'an endless loop': (lambda: subgraph('Loop'), "'Loop', which may never end"),
    'a condition': (lambda: subgraph('If'), "'If', which may never end"),
    'a scan': (lambda: subgraph('Scan'), "'Scan', which may never end"),
    'a function': (with_function, 'functions'),
    'an operation of others': (
        lambda: make_model([node('Evil', ['scores'], ['e'], domain='evil')]),
        r"those of \['evil'\]",
    ),
    'a domain of others': (
        lambda: make_model(opset_imports=[helper.make_opsetid('com.microsoft', 1)]),
        'com.microsoft',
    ),
    'weights elsewhere': (with_external_weights, 'weights in the file'),
    'a constant elsewhere': (lambda: with_external_weights(True), 'weights in the file'),
    'many operations': (
        lambda: make_model([node('Identity', ['scores'], [f'x{i}']) for i in range(100_001)]),
        'at most 100,000 operations',
    ),
    'another input': (lambda: make_model(inputs=[value('other')]), "input 'images'"),
    'two inputs': (
        lambda: make_model(inputs=[value('images'), value('other')]),
        "input 'images'",
    ),
    'an input of words': (
        lambda: make_model(inputs=[value('images', TensorProto.STRING)]),
        "'images' of FLOAT, but got STRING",
    ),
    'no scores': (lambda: make_model(outputs=[value('means')]), 'outputs of'),
    'more outputs': (lambda: make_model(outputs=[value('scores'), value('means')]), 'outputs of'),
    'scores of truth values': (
        lambda: make_model(outputs=[value('scores', TensorProto.BOOL)]),
        "'scores' of FLOAT, but got BOOL",
    ),
    'complex scores': (
        lambda: make_model(outputs=[value('scores', TensorProto.COMPLEX64)]),
        'but got COMPLEX64',
    ),
    'an unknown operation': (
        lambda: make_model([node('Nothing', ['scores'], ['e'])]),
        'cannot be loaded',
    ),
    'a circle': (
        lambda: make_model([node('Add', ['a', 'b'], ['b']), node('Add', ['b', 'b'], ['a'])]),
        'cannot be loaded',
    ),
    'two descriptions': (with_two_descriptions, 'metadata'),
}
DESCRIPTIONS = {
    'none': ({}, '`classes`: expected a value'),
    'no JSON': ('{', 'expected JSON'),
    'NaN': ('{"thr": NaN}', 'contains NaN'),
    'a nest': ('[' * 100_000, 'nested too deeply'),
    'a key twice': ('{"thr": 1, "thr": 2}', 'repeats the key'),
    'half a character': ('{"classes": ["\\ud800"]}', 'lone surrogate'),
    'a list': ([1], 'expected named fields'),
    'no classes': ({k: v for k, v in METADATA.items() if k != 'classes'}, '`classes`'),
    'classes of a wrong kind': (METADATA | dict(classes='ab'), 'classes'),
    'classes that look the same': (
        METADATA | dict(classes=['a', 'a\u200b']),
        'invisible characters',
    ),
    'a deviation of 0': (
        METADATA | dict(preprocessing=PREPROCESSING | dict(std=[0.0, 1.0, 1.0])),
        '`std` to be above 0',
    ),
    'a threshold as text': (METADATA | dict(thr='0.5'), '`thr`'),
    'a threshold of truth values': (METADATA | dict(thr=[True, False]), r'thr\[0\]'),
    'few thresholds': (METADATA | dict(thr=[0.5]), '`thr` to contain one number for each of the 2'),
    'a huge picture': (
        METADATA
        | dict(
            preprocessing=PREPROCESSING
            | dict(transforms=[dict(type='resize', scale=[10**6, 10**6], backend='cv2')])
        ),
        'scale',
    ),
}


def assert_refused(path, reason, start=OnnxModel):
    with in_bounds(), pytest.raises(ValueError, match=reason) as caught:
        start(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_what_is_right_runs(tmp_path):
    model = OnnxModel(write(tmp_path / 'm.onnx', make_model()))
    assert model.run(IMAGES)['scores'].shape == (2, 2)
    assert model.classes == ['a', 'b']
    assert model.preprocessing == PREPROCESSING


@pytest.mark.parametrize('name', GRAPHS)
def test_a_graph_that_is_no_straight_line(name, tmp_path):
    build, reason = GRAPHS[name]
    path = tmp_path / 'm.onnx'
    model = build()
    if name == 'two descriptions':
        path.write_bytes(model.SerializeToString())
    else:
        write(path, model)
    assert_refused(path, reason)


@pytest.mark.parametrize('name', DESCRIPTIONS)
def test_a_description_that_is_wrong(name, tmp_path):
    text, reason = DESCRIPTIONS[name]
    assert_refused(write(tmp_path / 'm.onnx', make_model(), text), reason)


def test_a_model_without_a_description(tmp_path):
    (tmp_path / 'm.onnx').write_bytes(make_model().SerializeToString())
    assert_refused(tmp_path / 'm.onnx', "metadata under 'morn_plugin'")


@pytest.mark.parametrize(
    'content', [b'', b'garbage', b'\x08' * 1000, b'PK\x03\x04', b'\xff' * 50], ids=repr
)
def test_a_file_that_is_none(content, tmp_path):
    (tmp_path / 'm.onnx').write_bytes(content)
    assert_refused(tmp_path / 'm.onnx', 'loaded as an ONNX model|metadata|input')


@pytest.mark.parametrize('share', [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut(share, tmp_path):
    content = write(tmp_path / 'm.onnx', make_model()).read_bytes()
    (tmp_path / 'm.onnx').write_bytes(content[: int(share * len(content))])
    assert_refused(tmp_path / 'm.onnx', 'loaded as an ONNX model|metadata|input')


def run_with(**limits):
    return lambda path: OnnxModel(path, **limits).run(IMAGES)


def repeating(shape):
    """A model that repeats its scores (2, 2) and takes their mean away again."""
    steps = [
        node('Expand', ['scores', 'shape'], ['many']),
        node('ReduceMean', ['many', 'first'], ['mean'], keepdims=0),
        node('Sub', ['scores', 'mean'], ['cnn_scores']),
    ]
    weights = [tensor('shape', shape, np.int64), tensor('first', [0, 1], np.int64)]
    return make_model(steps, weights, [value('scores'), value('cnn_scores')])


def with_output(operation):
    """A model whose ``cnn_scores`` are what the operation gives."""
    model = make_model([operation], [tensor('three', [0, 1, 2], np.int64)])
    model.graph.output.append(value('cnn_scores'))
    return model


def test_memory_has_a_limit_that_gives_way(tmp_path):
    path = write(tmp_path / 'm.onnx', repeating([1000, 1000, 2, 2]))
    assert_refused(path, 'needs more than 5 MB.*--max-memory', run_with(max_memory=5_000_000))
    assert np.allclose(run_with(max_memory=500_000_000)(path)['cnn_scores'], 0, atol=1e-4)
    path = write(tmp_path / 'm.onnx', repeating([100_000, 100_000, 2, 2]))
    assert_refused(path, 'needs more than 4,000 MB', run_with())


def test_time_has_a_limit_that_gives_way(tmp_path):
    """A chain of matrix products of constants: computed when the model runs, not when it loads."""
    steps = [node('ConstantOfShape', ['square'], ['x0'])]
    steps += [node('MatMul', [f'x{i}', f'x{i}'], [f'x{i + 1}']) for i in range(60)]
    steps += [
        node('ReduceMean', ['x60'], ['mean'], keepdims=0),
        node('Add', ['scores', 'mean'], ['cnn_scores']),
    ]
    model = make_model(
        steps,
        [tensor('square', [600, 600], np.int64)],
        outputs=[value('scores', shape=('N', 2)), value('cnn_scores', shape=('N', 2))],
    )
    path = write(tmp_path / 'm.onnx', model)
    assert_refused(path, 'took more than 0.05 seconds.*--max-seconds', run_with(max_seconds=0.05))
    assert np.allclose(run_with(max_seconds=300)(path)['cnn_scores'], 0)


OUTPUTS = {
    'of one class': (node('ReduceMax', ['scores'], ['cnn_scores'], keepdims=0), r'but got \(\)'),
    'of three classes': (
        node('Gather', ['means', 'three'], ['cnn_scores'], axis=1),
        r'`cnn_scores` of shape \(2, 2\), but got \(2, 3\)',
    ),
    'of images the other way': (node('Transpose', ['means'], ['cnn_scores']), r'but got \(3, 2\)'),
}


@pytest.mark.parametrize('name', OUTPUTS)
def test_arrays_of_other_shapes(name, tmp_path):
    operation, reason = OUTPUTS[name]
    assert_refused(write(tmp_path / 'm.onnx', with_output(operation)), reason, run_with())


def test_steps_and_labels_must_fit(tmp_path):
    kinds = dict(
        step_scores=(TensorProto.FLOAT, [[[0.1, 0.9]] * 3] * 2),
        step_labels=(TensorProto.INT64, [[1, 0, -1]] * 2),
    )

    def build(**change):
        given = {name: (kind, change.get(name, values)) for name, (kind, values) in kinds.items()}
        weights = [
            tensor(f'{name}_0', values, np.int64 if name == 'step_labels' else np.float32)
            for name, (_, values) in given.items()
        ]
        steps = [node('Identity', [f'{name}_0'], [name]) for name in given]
        outputs = [value('scores'), *(value(name, kind) for name, (kind, _) in given.items())]
        return write(tmp_path / 'm.onnx', make_model(steps, weights, outputs))

    assert run_with()(build())['step_labels'].tolist() == [[1, 0, -1]] * 2
    assert_refused(build(step_labels=[[1, 0, 7]] * 2), r'in -1\.\.1, but got 0\.\.7', run_with())
    assert_refused(build(step_labels=[[1, 0]] * 2), 'step_labels', run_with())
    assert_refused(build(step_scores=[[0.1, 0.9]] * 2), 'step_', run_with())


def test_scores_that_are_no_numbers_are_an_error_of_the_image(tmp_path):
    """0 / 0: the record has the error in place of labels."""
    nodes = [node('Sub', ['scores', 'scores'], ['zero']), node('Div', ['zero', 'zero'], ['nan'])]
    model = make_model(nodes)
    model.graph.node.append(node('Identity', ['nan'], ['cnn_scores']))
    model.graph.output.append(value('cnn_scores'))
    picture = np.zeros((9, 9, 3), dtype=np.uint8)
    (record,) = OnnxModel(write(tmp_path / 'm.onnx', model)).predict([picture])
    assert record.keys() == {'img_path', 'error'}
    assert '2 of its 2 `cnn_scores` are not finite' in record['error']
    json.dumps(record, allow_nan=False)


def test_a_nest_of_shared_lists_is_no_metadata():
    from morn_plugin.deploy.onnx_check import read_metadata

    text = json.dumps(dict(METADATA, classes=shared_nest(levels=4)))
    with pytest.raises(ValueError, match=r'm\.onnx.*classes\[0\]') as caught:
        read_metadata([(KEY, text)], 'm.onnx')
    assert len(str(caught.value)) < 500
