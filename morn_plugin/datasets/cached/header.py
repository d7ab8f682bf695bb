"""Reads the header of a cached file: its arrays with type and position.

safetensors has checked that the arrays fill the file. This module checks that they belong to a
cached file: a type that NumPy lacks, or an array without dimensions, is refused.
"""

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt

from ...utils.files import PathLike
from ...utils.schemas import Schema, check_schema
from ...utils.strict_json import parse_json

MAX_BYTES = 100_000_000  # of the header, as safetensors has it
#: NumPy's names of the types in a cached file.
KINDS = dict(F16='float16', F32='float32', U8='uint8', I32='int32', I64='int64')
#: Others, named for the error.
OTHER_KINDS = dict(
    F64='float64', BF16='bfloat16', BOOL='bool', I8='int8', I16='int16', U16='uint16'
)
#: Kind and number of dimensions of the arrays that every cached file has.
ARRAYS = dict(
    scores=('float32', 2),
    img_paths=('uint8', 1),
    labels=('int32', 1),
    labels_start=('int64', 1),
    difficult=('int32', 1),
    difficult_start=('int64', 1),
)


class ArrayEntry(Schema):
    """One array in the header."""

    dtype: Annotated[str, Field(max_length=20)]
    shape: Annotated[list[NonNegativeInt], Field(max_length=8)]
    data_offsets: Annotated[list[NonNegativeInt], Field(min_length=2, max_length=2)]

    @property
    def kind(self) -> str:
        """NumPy's name of the kind, or the header's where there is none."""
        return KINDS.get(self.dtype, OTHER_KINDS.get(self.dtype, self.dtype))


def read_header(path: PathLike, error: type[ValueError]) -> tuple[dict[str, ArrayEntry], int]:
    """Read the header of a complete safetensors file.

    Args:
        path: The file.
        error: The type of error to raise.

    Returns:
        The arrays by name, and the byte position from which their offsets count.

    Raises:
        ValueError: If the header is not strict JSON, or an entry is invalid.
    """
    with open(path, 'rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > MAX_BYTES:
            raise error(
                f'{path}: expected a header of at most {MAX_BYTES:,} bytes, but got {length:,}.'
            )

        text = file.read(length).decode(errors='replace')

    content: Any = parse_json(text, f'{path}: the header', error)
    entries = {
        name: check_schema(ArrayEntry, entry, f'{path}: `{name}` in the header', error)
        for name, entry in content.items()
        if name != '__metadata__'
    }
    return entries, 8 + length


def check_arrays(
    entries: dict[str, ArrayEntry],
    source: str,
    error: type[ValueError],
) -> None:
    """Require the arrays that every cached file has, each with its type.

    Raises:
        ValueError: Names the file, and the array that is missing or has a wrong type.
    """
    for name, (kind, dims) in ARRAYS.items():
        if name not in entries:
            raise error(f'{source}: the array `{name}` is missing; got {sorted(entries)[:20]}.')

        found = entries[name]
        if found.kind != kind:
            raise error(f'{source}: expected `{name}` of {kind}, but got {found.kind}.')
        if len(found.shape) != dims:
            raise error(
                f'{source}: expected `{name}` to have {dims} dimensions, but got the shape '
                f'{tuple(found.shape)}.'
            )


def read_class_names(
    text: str | None,
    source: str,
    error: type[ValueError],
) -> list[Any]:
    """Read the class names of the header, a JSON list.

    Raises:
        ValueError: If it is not one.
    """
    try:
        classes = parse_json(text or '', source)
    except ValueError as problem:
        reason = str(problem).removeprefix(f'{source}: expected JSON, but ')
        raise error(
            f'{source}: expected `classes` in the header to be a JSON list, but {reason}'
        ) from problem

    if not isinstance(classes, list):
        raise error(
            f'{source}: expected `classes` in the header to be a JSON list, but got '
            f'{type(classes).__name__}.'
        )

    return classes
