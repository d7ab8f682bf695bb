"""Writes records of a stream of images to a file: starts, continues, finishes, merges."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .labels import shorten_record
from .record_files import RecordFile, record_file
from .run_notes import RunNote, load_note
from .shards import find_shards, take_in_turn
from .sources import name_record

MAX_NAMED = 1000  # of the images that could not be read


@dataclass
class Outcome:
    """The outcome for the images.

    Attributes:
        images: How many were looked at, those of earlier runs included.
        failed: How many of them could not be read.
        examples: The first records of those that failed now.
    """

    images: int = 0
    failed: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def count(self, record: dict[str, Any]) -> None:
        """Count the record of an image."""
        self.images += 1
        if 'error' in record:
            self.failed += 1
            if len(self.examples) < MAX_NAMED:
                self.examples.append(record)


def begin(
    file: RecordFile,
    note: RunNote,
    resume: bool,
    sources: Iterator[Any],
) -> Outcome:
    """Open a file for the records of images.

    Args:
        file: The file.
        note: How the records are made.
        resume: Keep what is there. Otherwise the file is started again.
        sources: The images; those that are in the file are taken from it.

    Returns:
        What is in the file already.

    Raises:
        ValueError: If it is of other images, or was made with different settings; the file then
            stays unchanged.
        FileNotFoundError: If nothing says how it was made.
    """
    outcome = Outcome()
    if resume and file.path.exists():
        advice = 'drop --resume to start again, or choose another --out'
        note.require_same(load_note(file.path), file.path, advice)
        outcome = _pass_over(file, sources)
        file.go_on()
    else:
        file.start()

    note.save(file.path)
    return outcome


def _pass_over(file: RecordFile, sources: Iterator[Any]) -> Outcome:
    """Take the images that are in a file from the sources."""
    outcome = Outcome()
    for raw in file.records():
        written = file.describe(raw)
        source = next(sources, None)
        expected = None if source is None else file.shown_path(name_record(source))
        if written.img_path != expected:
            raise ValueError(
                f'{file.path}: record {outcome.images + 1} is of {written.img_path}, but that '
                f'image is now {expected}: expected the same inputs in the same order. '
                'Drop --resume to start again, or choose another --out.'
            )

        outcome.images += 1
        outcome.failed += written.failed

    if file.is_torn:
        print(f'{file.path}: the last record was incomplete and is written again.', file=sys.stderr)
    return outcome


def write_records(
    records: Iterable[dict[str, Any]],
    write: Callable[[dict[str, Any]], object],
    outcome: Outcome,
    all_scores: bool,
) -> None:
    """Write every record, and count it.

    Args:
        records: As models yield them.
        write: Takes one.
        outcome: What there is already; counted on.
        all_scores: Write the scores of all labels and steps, not those of the predicted alone.
    """
    for record in records:
        outcome.count(record)
        write(record if all_scores or 'error' in record else shorten_record(record))


def merge_records(out: str | Path) -> Outcome:
    """Merge the shards of a result, in the order of the images.

    Args:
        out: The result, such as ``labels.jsonl``.

    Raises:
        FileNotFoundError: If a shard is missing.
        ValueError: If one is not finished, was made with other settings than the first, or does
            not have its share.
    """
    paths = find_shards(out)
    notes = load_finished(paths)
    expected = sum(note.images or 0 for note in notes)
    partial = Path(out).with_name(f'.merging-{Path(out).name}')

    try:
        outcome = _merge(paths, partial, expected)
        _remove(Path(out))
        os.replace(partial, out)
    finally:
        _remove(partial)

    RunNote(notes[0].settings, images=outcome.images).save(out)
    return outcome


def _merge(
    paths: list[Path],
    out: Path,
    expected: int,
) -> Outcome:
    files = [record_file(path) for path in paths]
    outcome = Outcome()
    whole = record_file(out)
    whole.start()

    with whole:
        for raw in take_in_turn([file.records() for file in files], paths):
            outcome.images += 1
            outcome.failed += whole.describe(raw).failed
            whole.copy(raw)

    if outcome.images != expected:
        torn = ', '.join(str(file.path) for file in files if file.is_torn)
        raise ValueError(
            f'Expected {expected} records, but the shards have {outcome.images} whole ones. Run '
            f'those again with --resume: {torn or "all"}.'
        )

    return outcome


def _remove(path: Path) -> None:
    """Remove a file, or the folder of a Parquet result, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def load_finished(paths: list[Path]) -> list[RunNote]:
    """Load the notes beside shards, all of which must be finished, and made in the same way.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If one is not finished, or differs; names it.
    """
    notes = [load_note(path) for path in paths]
    unfinished = [str(path) for path, note in zip(paths, notes, strict=True) if note.images is None]
    if unfinished:
        raise ValueError(
            f'{len(unfinished)} of {len(paths)} shards are not finished: '
            f'{", ".join(unfinished[:5])}. Run them to the end, with --resume.'
        )

    for path, note in zip(paths, notes, strict=True):
        notes[0].require_same(note, path, f'expected the settings of {paths[0]}')

    return notes
