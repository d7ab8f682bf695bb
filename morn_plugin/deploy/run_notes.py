"""The note beside a result, ``RESULT.run.json``: how it was made, and whether it is finished.

Records of two models in one file look alike. So a run that continues a file, and a merge of shards,
first compare how they were made.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..utils.schemas import RunContent, check_schema
from ..utils.strict_json import parse_json, write_json

SUFFIX = '.run.json'
MAX_BYTES = 64_000_000


@dataclass
class RunNote:
    """How a result is made.

    Attributes:
        settings: All that must be the same for results that are put together: plain values.
        shard: Which share of the images it is of, ``'1/1'`` for all.
        images: How many images were looked at; None until the run has ended.
        failed: Places in the shard, from 0, of images that have no row in the result; only where
            the result has no place for them.
    """

    settings: dict[str, Any]
    shard: str = '1/1'
    images: int | None = None
    failed: list[int] = field(default_factory=list)

    def save(self, result: str | Path) -> None:
        """Write it beside a result."""
        content = dict(
            settings=self.settings, shard=self.shard, images=self.images, failed=self.failed
        )
        write_json(note_path(result), content, indent=1)

    def require_same(
        self,
        other: 'RunNote',
        source: str | Path,
        advice: str,
    ) -> None:
        """Raise unless another result was made alike.

        Args:
            other: How that was made.
            source: Its name, for the error.
            advice: What to do, for the error.

        Raises:
            ValueError: Names all settings that differ.
        """
        mine = self.settings
        theirs = other.settings
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        if names:
            lines = [
                f'\n- {name}: {theirs.get(name)!r} there, {mine.get(name)!r} here' for name in names
            ]
            raise ValueError(
                f'{source} was made with different settings: {advice}.{"".join(lines)}'
            )


def note_path(result: str | Path) -> Path:
    """Return the file beside a result.

    Examples:
        >>> note_path('out/labels.csv').as_posix()
        'out/labels.csv.run.json'
    """
    return Path(f'{result}{SUFFIX}')


def load_note(result: str | Path) -> RunNote:
    """Read the note beside a result.

    Raises:
        FileNotFoundError: If nothing does.
        ValueError: If it is not valid; names file and field.
    """
    path = note_path(result)
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} does not exist: nothing says how {result} was made. Move it away, or choose '
            'another name.'
        )
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f'{path}: expected at most {MAX_BYTES:,} bytes.')

    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: expected JSON, but byte {error.start} is not UTF-8.') from error

    return RunNote(**dict(check_schema(RunContent, parse_json(text, str(path)), str(path))))
