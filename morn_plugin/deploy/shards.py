"""Work for several processes: which images are whose, and what their files are called."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

Item = TypeVar('Item')

NAME = re.compile(r'(?P<stem>.+)-(?P<number>\d+)-of-(?P<total>\d+)')
# Environment variables that number the processes: number, first number, total.
LAUNCHERS = (
    ('SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_MIN', 'SLURM_ARRAY_TASK_COUNT'),
    ('RANK', '', 'WORLD_SIZE'),
    ('SLURM_PROCID', '', 'SLURM_NTASKS'),
)


@dataclass(frozen=True)
class Shard:
    """A share of the images: the one at ``number`` of every ``total`` in a row.

    Images taken from the shards in turn have the order of the data set, so the number of images
    need not be known.

    Attributes:
        number: From 1.
        total: How many shards there are.
    """

    number: int = 1
    total: int = 1

    def take(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items of this shard.

        Examples:
            >>> list(Shard(2, 3).take('abcdefgh'))
            ['b', 'e', 'h']
        """
        return islice(items, self.number - 1, None, self.total)

    def count(self, number: int) -> int:
        """Return how many of so many items are of this shard.

        Examples:
            >>> [Shard(number, 3).count(8) for number in (1, 2, 3)]
            [3, 3, 2]
        """
        return len(range(self.number - 1, number, self.total))

    def place(self, index: int) -> int:
        """Return the place in the whole of an item of this shard.

        Examples:
            >>> [Shard(2, 3).place(index) for index in range(3)]
            [1, 4, 7]
        """
        return self.number - 1 + index * self.total

    def path(self, out: str | Path) -> Path:
        """Return the file of this shard; that of the only one has no number.

        Examples:
            >>> Shard(2, 8).path('labels.csv').as_posix(), Shard().path('labels.csv').as_posix()
            ('labels-2-of-8.csv', 'labels.csv')
        """
        out = Path(out)
        if self.total == 1:
            return out
        return out.with_name(f'{out.stem}-{self.number}-of-{self.total}{out.suffix}')

    def __str__(self) -> str:
        return f'{self.number}/{self.total}'


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Read a shard: ``'3/8'``, or ``'auto'``, what torchrun or Slurm say.

    Raises:
        ValueError: If it is neither, or only one process was started.

    Examples:
        >>> parse_shard('3/8')
        Shard(number=3, total=8)
        >>> parse_shard('auto', dict(RANK='0', WORLD_SIZE='2'))
        Shard(number=1, total=2)
        >>> array = dict(SLURM_ARRAY_TASK_ID='4', SLURM_ARRAY_TASK_MIN='1')
        >>> parse_shard('auto', dict(array, SLURM_ARRAY_TASK_COUNT='8', SLURM_PROCID='0'))
        Shard(number=4, total=8)
        >>> parse_shard('0/8')
        Traceback (most recent call last):
        ValueError: expected a shard as I/N with I in 1..N, such as 3/8, or auto, but got '0/8'
    """
    if text == 'auto':
        return _launched_shard(environment)
    found = re.fullmatch(r'(\d{1,9})/(\d{1,9})', text)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return Shard(int(found[1]), int(found[2]))
    raise ValueError(
        f'expected a shard as I/N with I in 1..N, such as 3/8, or auto, but got {text!r}'
    )


def _launched_shard(environment: Mapping[str, str]) -> Shard:
    for number, first, total in LAUNCHERS:
        if number in environment and total in environment:
            place = int(environment[number]) - int(environment.get(first, 0))
            return Shard(place + 1, int(environment[total]))

    names = ', '.join(number for number, _, _ in LAUNCHERS)
    raise ValueError(
        f'expected torchrun or Slurm to say which shard this process has ({names}), but none is '
        'set: give I/N'
    )


def find_shards(out: str | Path) -> list[Path]:
    """Find the files of all shards of one result, in order.

    Args:
        out: The result, such as ``labels.csv``; its shards are ``labels-1-of-8.csv`` and so on.

    Raises:
        FileNotFoundError: If there is none, or some are missing; names them.
        ValueError: If there are those of several divisions.
    """
    out = Path(out)
    totals = set()
    for path in out.parent.glob(f'*-of-*{out.suffix}'):
        name = NAME.fullmatch(path.name.removesuffix(out.suffix))
        if name and name['stem'] == out.stem:
            totals.add(int(name['total']))

    if len(totals) > 1:
        raise ValueError(
            f'{out}: expected shards of one division, but found those of {sorted(totals)}: move '
            'the others away.'
        )
    if not totals:
        example = Shard(1, 8).path(out)
        raise FileNotFoundError(f'{out}: found no shards of it, such as {example}.')

    (total,) = totals
    paths = [Shard(number, total).path(out) for number in range(1, total + 1)]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f'{out}: {len(missing)} of {total} shards are missing: {", ".join(missing[:5])}'
            f'{", ..." if len(missing) > 5 else ""}.'
        )

    return paths


def take_in_turn(shards: list[Iterator[Item]], names: list[Path]) -> Iterator[Item]:
    """Yield the items of all shards in the order of the data set.

    Args:
        shards: The items of each.
        names: What each is called, for the error.

    Raises:
        ValueError: If one has fewer or more than its share.

    Examples:
        >>> ''.join(take_in_turn([iter('adg'), iter('be'), iter('cf')], []))
        'abcdefg'
    """
    end = object()
    ended: int | None = None
    place = 0
    while ended is None or place % len(shards) != ended:
        which = place % len(shards)
        item = next(shards[which], end)
        if item is end:
            ended = which if ended is None else ended
        elif ended is not None:
            raise ValueError(
                f'{names[which]} has more images than its share, or {names[ended]} has fewer: '
                'expected the shards of the same inputs, in the same order.'
            )
        else:
            yield item  # type: ignore[misc]

        place += 1
