"""Analyses what the pickle of a checkpoint would build, without building it.

torch loads only tensors and plain containers. But a few hundred bytes can describe more than anyone
can traverse: a list that holds one list ten times, which holds another ten times, and so on. As a
dict key, such nested tuples even block loading, which must hash them. Some allowed functions also
allocate a given size.
"""

import pickletools
import re
from collections.abc import Iterator
from typing import IO, Any

# Total objects if shared ones were copied, per existing object.
MAX_COPIES = 10
SPARE_COPIES = 1_000_000
MAX_DEPTH = 100
LARGEST = 1 << 60  # above this the exact number does not matter
# Globals that no checkpoint needs, or that allocate or convert any requested amount.
REFUSED = re.compile(
    r'builtins bytearray|torch(\.\w+)* \w*Tensor'
    r'|torch\._utils _rebuild_(device_tensor_\w+|xla_tensor|wrapper_subclass|nested_tensor)'
)
ENCODINGS = ('latin1', 'latin-1', 'ascii', 'utf-8')  # others may be slow
POPPED = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
INTO_TOP = {'APPEND': 1, 'SETITEM': 2, 'BUILD': 1}
MARKED_INTO_TOP = ('APPENDS', 'SETITEMS')
CALLS = ('REDUCE', 'NEWOBJ')


class _Node:
    """An object of the pickle, with its parts."""

    __slots__ = ('parts', 'text')

    def __init__(self, parts: 'list[_Node]', text: str = '') -> None:
        self.parts = parts
        self.text = text  # of a global, or a short string


class _ScanError(ValueError):
    """The pickle is refused; says why."""


def find_unbounded(stream: IO[bytes], pickles: int = 1) -> str | None:
    """Look for content that takes more time or memory than the file's size justifies.

    Args:
        stream: Positioned at the beginning of a pickle.
        pickles: Number of consecutive pickles.

    Returns:
        The problem, or None. Pickles that torch cannot read are left for torch to refuse.
    """
    try:
        for _ in range(pickles):
            root = _build(stream)
            if root is None:
                return None

            _measure(root)
    except _ScanError as error:
        return str(error)
    except Exception:  # pickletools raises many kinds of errors for invalid pickles
        return None

    return None


def _build(stream: IO[bytes]) -> _Node | None:
    """Follow the opcodes with stand-ins for the objects; None if torch does not know one."""
    stack: list[_Node | None] = []  # None is a mark
    memo: dict[int, _Node | None] = {}
    argument: Any

    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name == 'STOP':
            return stack.pop()

        if name == 'MARK':
            stack.append(None)
        elif name == 'GLOBAL':
            stack.append(_Node([], _check_global(str(argument))))
        elif name in ('BINGET', 'LONG_BINGET'):
            stack.append(memo[argument])
        elif name in ('BINPUT', 'LONG_BINPUT'):
            memo[argument] = stack[-1]
        elif name in CALLS:
            arguments, function = _pop(stack, 2)
            _check_call(function, arguments)
            stack.append(_Node([arguments]))
        elif name == 'TUPLE' or name in POPPED:
            parts = _pop(stack, POPPED[name]) if name in POPPED else _pop_marked(stack)
            stack.append(_Node(parts))
        elif name in INTO_TOP or name in MARKED_INTO_TOP:
            parts = _pop(stack, INTO_TOP[name]) if name in INTO_TOP else _pop_marked(stack)
            _top(stack).parts.extend(parts)
        elif name == 'BINPERSID':
            _pop(stack, 1)
            stack.append(_Node([]))
        elif not opcode.stack_before and len(opcode.stack_after) == 1:  # a constant
            stack.append(_Node([], str(argument)[:100] if isinstance(argument, str) else ''))
        elif name != 'PROTO':
            return None

    return None


def _top(stack: list[_Node | None]) -> _Node:
    node = stack[-1]
    if node is None:
        raise IndexError('a mark in place of an object')
    return node


def _pop(stack: list[_Node | None], number: int) -> list[_Node]:
    """Take objects from the stack, the last one first."""
    popped = []
    for _ in range(number):
        popped.append(_top(stack))
        stack.pop()
    return popped


def _pop_marked(stack: list[_Node | None]) -> list[_Node]:
    popped = []
    while (node := stack.pop()) is not None:
        popped.append(node)
    return popped


def _check_global(name: str) -> str:
    name = re.sub(r'^__builtin__ ', 'builtins ', name)
    if REFUSED.fullmatch(name):
        raise _ScanError(f'it names {name.replace(" ", ".")}, which no checkpoint needs')
    return name


def _check_call(function: _Node, arguments: _Node) -> None:
    if function.text == 'numpy ndarray':
        raise _ScanError('it makes an array of a size, which no checkpoint does')
    encodings = [part.text for part in arguments.parts[:1]]  # the last argument stands first
    if function.text == '_codecs encode' and not set(encodings) <= set(ENCODINGS):
        raise _ScanError(f'it encodes text as {encodings}, which no checkpoint does')


def _measure(root: _Node) -> None:
    """Require that the objects of the pickle can be traversed: no cycle, not deep, few copies.

    Raises:
        _ScanError: If it cannot.
    """
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    open_nodes = {id(root)}
    walk: list[tuple[_Node, Iterator[_Node]]] = [(root, iter(root.parts))]
    while walk:
        node, rest = walk[-1]
        part = next((part for part in rest if id(part) not in sizes), None)
        if part is not None:
            if id(part) in open_nodes:
                raise _ScanError('its content refers to itself')

            open_nodes.add(id(part))
            walk.append((part, iter(part.parts)))
        else:
            size = 1 + sum(sizes[id(part)] for part in node.parts)
            sizes[id(node)] = min(size, LARGEST)
            depths[id(node)] = 1 + max((depths[id(part)] for part in node.parts), default=0)
            open_nodes.remove(id(node))
            walk.pop()

        if len(walk) > MAX_DEPTH or depths.get(id(node), 0) > MAX_DEPTH:
            raise _ScanError(f'its content is nested more than {MAX_DEPTH} deep')

    limit = MAX_COPIES * len(sizes) + SPARE_COPIES
    if sizes[id(root)] > limit:
        raise _ScanError(
            f'its content is a nest of shared parts: {len(sizes):,} objects stand for more than '
            f'{limit:,}'
        )
