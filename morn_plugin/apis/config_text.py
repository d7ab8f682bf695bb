"""Reads the text of a config as data, without executing or importing anything."""

import ast
from typing import Any, TypeVar

from mmengine.config import Config


def parse_config(text: str, source: str) -> Config:
    """Read the config text that MMEngine wrote into a checkpoint, as data.

    Nothing is executed or imported. MMEngine itself would run it as a Python file.

    Raises:
        ValueError: If it contains more than assignments of plain values.

    Examples:
        >>> parse_config('model = dict(type="A", depth=-1)', 'a text').model
        {'type': 'A', 'depth': -1}
        >>> parse_config('import os', 'a text')
        Traceback (most recent call last):
        ValueError: a text: expected assignments of plain values, but line 1 is: import os
    """
    return make_config(parse_values(text, source), source)


Kind = TypeVar('Kind', bound=Config)


def make_config(
    values: dict[str, Any],
    source: str,
    kind: type[Kind] = Config,
) -> Kind:
    """Make a config from values, see :func:`parse_config`."""
    try:
        return kind(values)
    except KeyError as error:  # a name reserved by MMEngine
        raise ValueError(f'{source}: {error.args[0]}.') from error


def parse_values(text: str, source: str) -> dict[str, Any]:
    """Read assignments of plain values, see :func:`parse_config`."""
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = str(error) or 'it is nested too deeply'
        raise ValueError(f'{source}: expected a config, but {reason[:200]}.') from error

    values = {}
    for statement in statements:
        try:
            name, value = _read_assignment(statement)
        except (ValueError, TypeError, RecursionError) as error:
            line = text.splitlines()[statement.lineno - 1][:80]
            raise ValueError(
                f'{source}: expected assignments of plain values, but line {statement.lineno} is: '
                f'{line}'
            ) from error

        values[name] = value

    if not values:
        raise ValueError(f'{source}: expected a config, but it has no settings.')

    return values


def _read_assignment(statement: ast.stmt) -> tuple[str, Any]:
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        raise ValueError('not an assignment')
    (target,) = statement.targets
    if not isinstance(target, ast.Name):
        raise ValueError('not an assignment to a name')
    return target.id, _evaluate(statement.value)


def _evaluate(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return _evaluate_dict_call(node)
    if isinstance(node, ast.Dict):
        return {
            _evaluate(key): _evaluate(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key
        }
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_evaluate(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):  # as MMEngine prints them
        return float(node.id)

    return ast.literal_eval(node)


def _evaluate_dict_call(node: ast.Call) -> dict[Any, Any]:
    named = [word for word in node.keywords if word.arg is not None]
    unpacked = [word.value for word in node.keywords if word.arg is None]

    merged: dict[Any, Any] = {}
    for part in [*node.args, *unpacked]:
        value = _evaluate(part)
        if not isinstance(value, dict):
            raise ValueError('not a dict')
        merged |= value

    for word in named:
        merged[word.arg] = _evaluate(word.value)
    return merged
