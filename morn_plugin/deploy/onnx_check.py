"""Checks the content of an .onnx file before onnxruntime loads it.

An exported model is a straight line of standard operations on data in the file. Loops and
conditions may never end, functions may expand without limit, operations of other domains can do
anything, and external weights can be any file.
"""

from collections.abc import Iterable
from typing import Any

from ..utils.extras import require_extra
from ..utils.fields import CHOSEN, PREDICTION_FIELDS, SCORES, STEP_LABELS
from ..utils.schemas import ExportMetadata, check_schema
from ..utils.strict_json import parse_json

KEY = 'morn_plugin'
INPUT = 'images'
DOMAINS = ('', 'ai.onnx')
MAX_NODES = 100_000


def read_onnx(content: bytes, source: str) -> tuple[Any, ExportMetadata]:
    """Parse an .onnx file and check graph and metadata, without running it.

    Args:
        content: The file's bytes.
        source: Its name, for the error.

    Returns:
        The ``onnx`` model, and the checked metadata.

    Raises:
        ValueError: If it is not a model from ``tools/export.py``; gives the reason.
        ImportError: If ``onnx`` is missing; gives the pip command.
    """
    onnx = require_extra('onnx', 'export')
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own kinds
        reason = str(error).strip().splitlines()[:1]
        raise ValueError(
            f'{source} cannot be loaded as an ONNX model: {" ".join(reason)[:200]}'
        ) from error

    problem = _find_problem(onnx, model)
    if problem:
        raise ValueError(f'{source} is refused: {problem}.')

    return model, read_metadata([(item.key, item.value) for item in model.metadata_props], source)


def read_metadata(properties: Iterable[tuple[str, str]], source: str) -> ExportMetadata:
    """Check the metadata that ``tools/export.py`` writes.

    Args:
        properties: Names and texts.
        source: The file's name, for the error.

    Raises:
        ValueError: If they are missing, or not valid; names file and field.
    """
    listed = list(properties)
    texts = [text for name, text in listed if name == KEY]
    if len(texts) != 1:
        names = sorted({name[:40] for name, _ in listed})[:10]
        raise ValueError(
            f'{source}: expected metadata under {KEY!r} once, as tools/export.py writes, but got '
            f'{names}.'
        )

    where = f'{source}: the metadata {KEY!r}'
    return check_schema(ExportMetadata, parse_json(texts[0], where), where)


def _find_problem(onnx: Any, model: Any) -> str | None:
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        return f'expected at most {MAX_NODES:,} operations, but got {len(graph.node):,}'
    if model.functions or graph.sparse_initializer:
        return 'expected plain operations and dense weights, but it has functions or sparse weights'

    domains = {item.domain for item in [*model.opset_import, *graph.node]}
    others = sorted(domains - set(DOMAINS))
    if others:
        return f"expected ONNX's own operations, but it uses those of {others[:3]}"

    weights = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField('g') or attribute.graphs:
                return (
                    f'expected a model without loops and conditions, but it has the operation '
                    f'{node.op_type!r}, which may never end'
                )

            weights += [attribute.t] if attribute.HasField('t') else []
            weights += attribute.tensors

    if any(item.data_location or item.external_data for item in weights):
        return 'expected all weights in the file, but some are in another one'

    return _find_wrong_interface(onnx, graph)


def _find_wrong_interface(onnx: Any, graph: Any) -> str | None:
    kinds = onnx.TensorProto
    initial = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in initial]
    if [item.name for item in inputs] != [INPUT]:
        return f'expected the input {INPUT!r}, but got {[item.name[:40] for item in inputs][:5]}'

    outputs = {item.name: item.type.tensor_type.elem_type for item in graph.output}
    known = {
        field.array: kinds.INT64 if field == STEP_LABELS else kinds.FLOAT
        for field in PREDICTION_FIELDS
    } | {CHOSEN: kinds.BOOL}
    if SCORES.array not in outputs or not outputs.keys() <= known.keys():
        return f'expected outputs of {sorted(known)}, but got {sorted(outputs)[:5]}'

    expected = {INPUT: kinds.FLOAT} | {name: known[name] for name in outputs}
    found = {INPUT: inputs[0].type.tensor_type.elem_type} | outputs
    wrong = next((name for name, kind in expected.items() if found[name] != kind), None)
    if wrong is not None:
        names = [kinds.DataType.Name(item) for item in (expected[wrong], found[wrong])]
        return f'expected {wrong!r} of {names[0]}, but got {names[1]}'

    return None
