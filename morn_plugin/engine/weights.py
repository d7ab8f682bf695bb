"""Loads the tensors of a checkpoint into a model, and reports those that do not fit.

MMEngine loads the tensors that fit and logs the rest in one line, so a wrong checkpoint silently
leaves random weights.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.model import BaseTTAModel
from torch import Tensor, nn

from .distributed import unwrap

# Buffers that weights need not contain: counters, or values that follow from the architecture.
DERIVED = ('num_batches_tracked', 'relative_position_index', 'attn_mask')
WRAPPED = re.compile(r'^module\.')  # MMEngine strips these, too
MISMATCH = re.compile(r'size mismatch for ([^:]+): .*?Size\((.*?)\).*?Size\((.*?)\)', re.DOTALL)


@dataclass
class Misfits:
    """Differences between a checkpoint and a model.

    Attributes:
        missing: Tensors of the model that the checkpoint lacks.
        unexpected: Tensors of the checkpoint that the model lacks.
        shapes: Tensors with different shapes, each with a line that describes them.
        matching: The number of tensors that fit.
    """

    missing: list[str]
    unexpected: list[str]
    shapes: dict[str, str]
    matching: int

    @property
    def unset(self) -> list[str]:
        """The tensors of the model that loading does not change."""
        return [*self.missing, *self.shapes]

    def within(self, parts: Iterable[str]) -> list[str]:
        """Return the tensors of some submodules that loading does not change."""
        prefixes = tuple(f'{part}.' for part in parts)
        return [name for name in self.unset if name.startswith(prefixes)]

    def describe(self, names: Iterable[str]) -> list[str]:
        """Write one line for all missing tensors among ``names``, and one for each other shape."""
        names = list(names)
        missing = [name for name in names if name not in self.shapes]
        lines = [f'it lacks {summarize(missing)}'] if missing else []
        return lines + [self.shapes[name] for name in names if name in self.shapes]


def bare_model(model: nn.Module) -> Any:
    """Return the model inside wrappers that distribute it or average its views."""
    inner: Any = unwrap(model)
    while isinstance(inner, BaseTTAModel):
        inner = unwrap(inner.module)
    return inner


def load_weights(model: nn.Module, state_dict: Mapping[str, Any]) -> Misfits:
    """Load the tensors that fit, as MMEngine does, and return the others.

    Modules take part in loading: some rename tensors of older versions, resize position embeddings
    or accept buffers of any size.

    Args:
        model: The model, possibly inside a wrapper.
        state_dict: The checkpoint's.
    """
    saved = {WRAPPED.sub('', str(name)): value for name, value in state_dict.items()}
    tensors = {name: value for name, value in saved.items() if isinstance(value, Tensor)}
    found = getattr(state_dict, '_metadata', None)
    metadata = found if isinstance(found, Mapping) else {}
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []

    def load(
        module: nn.Module,
        local: dict[str, Any],
        prefix: str,
    ) -> None:
        own = metadata.get(prefix[:-1], {})
        module._load_from_state_dict(local, prefix, own, True, missing, unexpected, errors)
        for name, child in module.named_children():
            start = f'{prefix}{name}.'
            load(child, {key: local[key] for key in local if key.startswith(start)}, start)

    inner = bare_model(model)
    load(inner, tensors, '')
    shapes = dict(_read_error(error) for error in errors)
    missing = [name for name in missing if not name.endswith(DERIVED)]
    unexpected = [name for name in unexpected if not name.endswith(DERIVED)]
    unexpected += sorted(saved.keys() - tensors.keys())
    wanted = {name for name in inner.state_dict() if not name.endswith(DERIVED)}
    matching = len(wanted - set(missing) - set(shapes))
    return Misfits(missing, unexpected, shapes, matching)


def _read_error(error: str) -> tuple[str, str]:
    found = MISMATCH.search(error)
    if found is None:
        return error, error

    name, saved, own = found.groups()
    return name, f'its `{name}` has the shape {_shape(saved)}, but that of the model {_shape(own)}'


def _shape(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r'\d+', text)))


def summarize(names: Iterable[str], shown: int = 4) -> str:
    """Summarise the names of tensors by submodule.

    Examples:
        >>> summarize(['head.fc.weight', 'head.fc.bias', 'scale'])
        'head.fc.* (2 tensors), scale'
    """
    parts = Counter(name.rpartition('.')[0] for name in names)
    if len(parts) > shown:  # whole branches then
        parts = Counter('.'.join(name.split('.')[:2]) for name in parts.elements())
    if len(parts) > shown:
        parts = Counter(name.split('.')[0] for name in parts.elements())

    single = {name.rpartition('.')[0]: name for name in names}
    written = [
        f'{part}.* ({number} tensors)' if number > 1 or part not in single else single[part]
        for part, number in parts.items()
    ]
    more = len(written) - shown
    if more > 0:
        written[shown:] = [f'... ({more} more)']
    return ', '.join(written)
