"""The position of a run in its data, as checkpoints store it.

The number of iterations alone is not enough: how many samples they took, and how long an epoch was,
depends on the batch size, the number of processes and the data of the run that counted them. So the
checkpoint stores all of these, and nothing is computed from the settings of the resuming run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mmengine.dist import get_world_size

from ..utils.describing import shorten

KEY = 'data_position'


@dataclass(frozen=True)
class Layout:
    """The division of a pass over the data, which gives a position its meaning.

    Attributes:
        batch_size: Images in a batch of one process.
        num_processes: Number of processes.
        num_images: Size of the training set.
        epoch_length: Batches of a process in an epoch.
        shuffle: Whether the images are shuffled.
    """

    batch_size: int
    num_processes: int
    num_images: int
    epoch_length: int
    shuffle: bool

    @classmethod
    def of(cls, dataloader: Any, sampler: Any) -> 'Layout':
        """Read it from a data loader."""
        return cls(
            batch_size=dataloader.batch_sampler.batch_size,
            num_processes=get_world_size(),
            num_images=len(dataloader.dataset),
            epoch_length=len(dataloader),
            shuffle=bool(sampler.shuffle),
        )

    def differences(self, other: 'Layout') -> str:
        """Name the differences to another layout."""
        pairs = {
            field.name: (getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
        }
        return ', '.join(
            f'{name} {before} -> {now}' for name, (before, now) in pairs.items() if before != now
        )


@dataclass(frozen=True)
class Position:
    """A place in the data.

    Attributes:
        passes: Whole passes over the data before this one.
        seen: Samples that each process has taken in this one.
        layout: How the passes were divided.
    """

    passes: int
    seen: int
    layout: Layout

    def to_meta(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return dict(passes=self.passes, seen=self.seen, **asdict(self.layout))


def read_position(meta: Mapping[str, Any]) -> Position | None:
    """Read the position out of a checkpoint's ``meta``.

    Returns:
        The position, or None if the checkpoint has none.

    Raises:
        ValueError: If the stored value is not a position.
    """
    values = meta.get(KEY)
    if values is None:
        return None

    numbers = {'passes': 0, 'seen': 0, 'batch_size': 1, 'num_processes': 1, 'num_images': 1}
    numbers['epoch_length'] = 1
    for name, least in numbers.items():
        value = values.get(name) if isinstance(values, Mapping) else None
        if type(value) is not int or not least <= value < 1 << 48:
            raise ValueError(
                f'`meta.{KEY}.{name}` should be a whole number of at least {least}, but got '
                f'{shorten(value)}'
            )

    if type(values.get('shuffle')) is not bool:
        raise ValueError(f'`meta.{KEY}.shuffle` should be true or false')

    layout = Layout(**{field.name: values[field.name] for field in fields(Layout)})
    return Position(values['passes'], values['seen'], layout)
