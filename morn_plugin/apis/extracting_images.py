"""Caches a CNN's outputs for images without a data set, and merges shards."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.annotations import Annotations
from ..datasets.cached.file import ScoreFile, flatten_inputs, load_scores
from ..datasets.cached.writer import CachedFileWriter
from ..deploy.image_streams import ImageStream
from ..deploy.recording import MAX_NAMED, Outcome, load_finished
from ..deploy.run_notes import RunNote
from ..deploy.running import batched, read_ahead, show_progress
from ..deploy.shards import Shard, find_shards
from ..deploy.sources import name_source
from ..evaluation.metrics.dump_scores import stack_input
from ..evaluation.metrics.image_metric import stack_scores
from ..utils.limits import MAX_GB
from .extracting import score_item
from .inferencer import MultiLabelInferencer

ROWS_AT_ONCE = 256  # copied from one file to another


def extract_images(
    inferencer: MultiLabelInferencer,
    stream: ImageStream,
    out: str | Path,
    inputs: Sequence[str],
    provenance: dict[str, str],
    batch_size: int = 32,
    max_gb: float = MAX_GB,
) -> Outcome:
    """Write scores and further outputs of images into a cached file without labels.

    An image that cannot be read has no row; the note next to the file gives its place. Results wait
    on disk, not in memory, until the number of rows is known.

    Args:
        inferencer: The CNN.
        stream: The images.
        out: The file of the stream's shard.
        inputs: Outputs to store in addition to the scores, see :class:`DumpScores`.
        provenance: The origin, stored in the file.
        batch_size: Images at once.
        max_gb: Refuse to write a file larger than this.

    Raises:
        ScoreFileError: If a value is invalid, or the file would be too large.
        FileNotFoundError: If an input has no images.
    """
    if inputs:
        inferencer.model.keep_inputs(inputs)
    total = stream.count()
    outcome = Outcome()
    paths: list[str] = []
    failed: list[int] = []
    Path(out).parent.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory(prefix='.extract-', dir=Path(out).parent) as folder:
        with closing(_Spool(Path(folder))) as spool:
            found = show_progress(_run(inferencer, stream, inputs, batch_size, spool), total)
            for source, error in found:
                name = name_source(source)
                outcome.count(dict(img_path=name) | (dict(error=str(error)) if error else {}))
                if error:
                    failed.append(outcome.images - 1)
                else:
                    paths.append(name)

            arrays = spool.read(len(paths))

        annotations = Annotations(
            inferencer.classes, [dict(img_path=path, gt_label=[]) for path in paths]
        )
        with CachedFileWriter(out, annotations, provenance, max_gb) as writer:
            _copy(arrays, np.arange(len(paths)), writer)

    RunNote(provenance, str(stream.shard), outcome.images, failed).save(out)
    return outcome


def _run(
    inferencer: MultiLabelInferencer,
    stream: ImageStream,
    inputs: Sequence[str],
    batch_size: int,
    spool: '_Spool',
) -> Iterator[tuple[Any, Exception | None]]:
    """Yield each image, with the error if it cannot be read; outputs go to the spool."""
    item = score_item(inferencer.model)
    loaded = read_ahead(_prepare(inferencer), stream, inferencer.num_workers, 2 * batch_size)

    with closing(loaded):
        for batch in batched(loaded, batch_size):
            good = [data for _, data in batch if not isinstance(data, Exception)]
            if good:
                predicted = inferencer.forward(inferencer.collate_fn(good))
                samples = [sample.to_dict() for sample in predicted]
                arrays = dict(scores=stack_scores(samples, item).numpy())
                for name in inputs:
                    arrays |= flatten_inputs({name: stack_input(samples, name)})

                spool.write(arrays)

            for source, data in batch:
                yield source, data if isinstance(data, Exception) else None


def _prepare(inferencer: MultiLabelInferencer) -> Any:
    def prepare(source: Any) -> Any:
        if '\n' in name_source(source):
            raise ValueError(f'Image {name_source(source)!r} has a line feed in its name.')
        return inferencer.prepare(source)

    return prepare


class _Spool:
    """Arrays that grow on disk, row by row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        self._stack = ExitStack()

    def write(self, arrays: dict[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            if name not in self._files:
                file = self._stack.enter_context((self._folder / name).open('wb'))
                self._files[name] = file
                self._kinds[name] = array.dtype, array.shape[1:]
            self._files[name].write(np.ascontiguousarray(array).tobytes())

    def read(self, rows: int) -> dict[str, np.ndarray]:
        for file in self._files.values():
            file.flush()
        return {
            name: np.memmap(self._folder / name, dtype, 'r', 0, (rows, *shape))
            for name, (dtype, shape) in self._kinds.items()
        }

    def close(self) -> None:
        self._stack.close()


def _copy(
    arrays: dict[str, np.ndarray],
    rows: np.ndarray,
    writer: CachedFileWriter,
) -> None:
    """Write the rows of mapped arrays to these places of a file."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        writer.write(rows[part], {name: array[part] for name, array in arrays.items()})


def merge_scores(out: str | Path, max_gb: float = MAX_GB) -> Outcome:
    """Merge the shards of a cached file, in the order of the images.

    Args:
        out: The file, such as ``scores.safetensors`` of ``scores-1-of-8.safetensors`` and so on.
        max_gb: Refuse to write a file larger than this.

    Raises:
        FileNotFoundError: If a shard is missing.
        ValueError: If one is not finished, was made with different settings, or is not a complete
            shard.
    """
    paths = find_shards(out)
    notes = load_finished(paths)
    total = sum(note.images or 0 for note in notes)
    # A file without rows cannot be loaded: none of its images could be read.
    files = [
        load_scores(path) if note.images != len(note.failed) else None
        for path, note in zip(paths, notes, strict=True)
    ]
    if not any(files):
        raise ValueError(f'{out}: expected an image that could be read, but no shard has one.')

    places = []  # in the whole, of the rows of each shard
    failed: list[int] = []
    for number, (path, note, file) in enumerate(zip(paths, notes, files, strict=True)):
        shard = Shard(number + 1, len(paths))
        _check_share(path, note, file, shard.count(total), total)
        read = np.setdiff1d(np.arange(note.images or 0), note.failed)
        places.append(read * len(paths) + number)
        failed += [place * len(paths) + number for place in note.failed]

    rows = _number_rows(places)
    filled = [(file, own) for file, own in zip(files, rows, strict=True) if file]
    _write_merged(out, filled, max_gb)
    RunNote(notes[0].settings, images=total, failed=sorted(failed)).save(out)
    return Outcome(total, len(failed))


def _check_share(
    path: Path,
    note: RunNote,
    file: ScoreFile | None,
    share: int,
    total: int,
) -> None:
    rows = len(file.scores) if file else 0
    if note.images != share or rows + len(note.failed) != share:
        raise ValueError(
            f'{path}: expected {share} images, its share of {total}, but it has {note.images}, '
            f'of which {rows} have a row and {len(note.failed)} could not be read.'
        )


def _number_rows(places: list[np.ndarray]) -> list[np.ndarray]:
    """Return the rows of each shard in the merged file, which skips images without a row."""
    order = np.argsort(np.concatenate(places))
    row_of = np.empty_like(order)
    row_of[order] = np.arange(len(order))

    lengths = [len(part) for part in places]
    return np.split(row_of, np.cumsum(lengths)[:-1])


def _write_merged(
    out: str | Path,
    parts: list[tuple[ScoreFile, np.ndarray]],
    max_gb: float,
) -> None:
    """Write the rows of each file to their places in the whole."""
    items: list[Any] = [None] * sum(len(rows) for _, rows in parts)
    for file, rows in parts:
        for row, item in zip(rows.tolist(), file.annotations.data_list, strict=True):
            items[row] = item

    first = parts[0][0]
    annotations = Annotations(first.annotations.classes, items)
    with CachedFileWriter(out, annotations, first.provenance, max_gb) as writer:
        for file, rows in parts:
            _copy(dict(scores=file.scores, **flatten_inputs(file.inputs)), rows, writer)


def report(outcome: Outcome) -> None:
    """Name the images that could not be read on stderr."""
    for record in outcome.examples[:MAX_NAMED]:
        print(f'Not read: {record["img_path"]}: {record["error"]}', file=sys.stderr)
