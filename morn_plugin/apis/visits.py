"""The logic of the web page: reading, predicting, caching and showing images.

Shown images are kept shrunk and for a limited time, in the memory of this process; files are
deleted once read. Nothing else of a visit is kept. No file of this machine is served except the
examples, which are decoded, shrunk and encoded when the page starts.
"""

import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..deploy.image_files import read_file
from ..deploy.images import decode_image
from ..deploy.labels import choose_labels
from ..deploy.limits import Limits
from ..utils.text import escape_surrogates
from ..visualization.cards import SIDE, make_card
from ..visualization.panels import shrink
from ..visualization.records import from_record
from .inferencer import MultiLabelInferencer

MAX_PIXELS_OPTION = '--max-pixels of serve.py'
EXPIRED = 'These pictures are no longer kept here: drop them again.'


@dataclass(frozen=True)
class Shown:
    """The stored data of one image.

    Attributes:
        image: (h, w, 3) uint8, RGB, shrunk.
        name: Name of the file.
        record: Labels and scores, as arrays.
    """

    image: np.ndarray
    name: str
    record: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        arrays = [item for item in self.record.values() if isinstance(item, np.ndarray)]
        return self.image.nbytes + sum(array.nbytes for array in arrays)


class Shelf:
    """Images of visitors under unguessable keys, limited in size and time.

    Args:
        limits: The limits.
        clock: Returns seconds; replaceable for tests.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        # Keys with the time of the last access and the images, oldest access first.
        self._kept: OrderedDict[str, tuple[float, list[Shown]]] = OrderedDict()

    def put(self, shown: list[Shown]) -> str:
        """Store pictures, and return their key."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[key] = self._clock(), shown
            self._expire()
        return key

    def get(self, key: str | None) -> list[Shown] | None:
        """Return the pictures of a key, or None if they are gone."""
        with self._lock:
            self._expire()
            if key is None or key not in self._kept:
                return None
            _, shown = self._kept.pop(key)
            self._kept[key] = self._clock(), shown
            return shown

    def discard(self, key: str | None) -> None:
        """Drop the pictures of a key."""
        with self._lock:
            self._kept.pop(key or '', None)

    def expire(self) -> None:
        """Drop images not viewed for long, and the oldest if there are too many."""
        with self._lock:
            self._expire()

    @property
    def size(self) -> int:
        """Stored bytes."""
        return sum(item.size for _, shown in self._kept.values() for item in shown)

    def _expire(self) -> None:
        oldest = self._clock() - self.limits.lifetime
        while self._kept and next(iter(self._kept.values()))[0] < oldest:
            self._kept.popitem(last=False)
        while self.size > self.limits.kept_megabytes * 1e6:
            self._kept.popitem(last=False)


class Uploads:
    """The folder that Gradio writes uploads into.

    Args:
        folder: An empty folder for this purpose only.
        lifetime: Seconds after which an unused file is deleted.
    """

    def __init__(self, folder: Path, lifetime: float) -> None:
        self.folder = folder
        self.lifetime = lifetime
        self._kept: set[Path] = set()

    def keep(self) -> None:
        """Keep the current files, the examples."""
        self._kept = set(self._files())

    def delete(self, paths: Iterable[str]) -> None:
        """Delete uploads that have been read; nothing outside the folder."""
        root = self.folder.resolve()
        for path in map(Path, paths):
            if path.resolve().is_relative_to(root) and path not in self._kept:
                path.unlink(missing_ok=True)

    def sweep(self, now: float | None = None) -> None:
        """Delete leftover files."""
        oldest = (time.time() if now is None else now) - self.lifetime
        for path in self._files():
            if path not in self._kept and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[Path]:
        return (path for path in self.folder.rglob('*') if path.is_file())


@dataclass
class Visits:
    """The logic of the web page: reading, predicting, showing.

    Attributes:
        inferencer: The model.
        limits: Limits per visitor.
        uploads: The folder of uploaded files.
        shelf: The stored images.
        examples: The offered images.
    """

    inferencer: MultiLabelInferencer
    limits: Limits
    uploads: Uploads
    shelf: Shelf
    examples: list[Shown] = field(default_factory=list)

    def upload(self, files: Sequence[str] | None) -> tuple[str, str]:
        """Predict the dropped images, and delete the files.

        Returns:
            The key of the stored images, and a message about the other files.
        """
        files = list(files or ())
        shown, complaints = [], []
        if len(files) > self.limits.max_images:
            complaints.append(
                f'{len(files)} images were dropped; the first {self.limits.max_images} are shown.'
            )

        try:
            for path in files[: self.limits.max_images]:
                try:
                    shown.append(self._predict(path))
                except (OSError, ValueError) as error:
                    complaints.append(self._complain(path, error))
        finally:
            self.uploads.delete(files)

        return self.shelf.put(shown), '\n\n'.join(complaints)

    def choose_example(self, index: int) -> str:
        """Show an example, and return its key."""
        return self.shelf.put([self.examples[index]])

    def offer(self, paths: Iterable[str]) -> list[str]:
        """Predict the examples once, and return the problems of those left out."""
        complaints = []
        for path in paths:
            try:
                self.examples.append(self._predict(path))
            except (OSError, ValueError) as error:
                complaints.append(escape_surrogates(str(error)))
        return complaints

    def show(self, thr: Any, key: str | None) -> tuple[list[list[str]], str]:
        """Lay out the images of a key at a threshold.

        Args:
            thr: One for all labels, or one per label; None for the model's own labels.
            key: The key from :meth:`upload`; None before the first upload.

        Returns:
            The rows of the table, and the cards of the images as HTML.
        """
        if key is None:
            return [], ''

        shown = self.shelf.get(key)
        if shown is None:
            return [], f'<p>{EXPIRED}</p>'

        rows, cards = [], []
        for item in shown:
            scores = item.record['scores']
            labels = item.record['labels'] if thr is None else choose_labels(scores, thr, None)
            rows.append(self._make_row(item, labels))
            prediction = from_record(item.record, item.image, item.name, list(labels))
            cards.append(make_card(prediction, self.inferencer.classes))

        return rows, ''.join(cards)

    def _make_row(self, item: Shown, labels: Iterable[int]) -> list[str]:
        scores = item.record['scores']
        classes = self.inferencer.classes
        named = [f'{classes[label]} {scores[label]:.2f}' for label in labels]
        path = ' → '.join(item.record.get('path_names', []))
        return [item.name, ', '.join(named) or '(none)', path]

    def _predict(self, path: str) -> Shown:
        """Read and predict one image, and keep only a shrunk copy."""
        name = escape_surrogates(os.path.basename(path))
        if os.path.getsize(path) > self.limits.max_megabytes * 1e6:
            raise ValueError(f'{name} is larger than {self.limits.max_megabytes} MB.')

        limit = self.limits.max_pixels
        image = decode_image(read_file(path, limit), name, 255, limit, MAX_PIXELS_OPTION)
        (record,) = self.inferencer(image[..., ::-1])['predictions']
        return Shown(shrink(image, SIDE).copy(), name, _as_arrays(record))

    def _complain(self, path: str, error: Exception) -> str:
        """Return the error, without the folder of Gradio's upload."""
        return escape_surrogates(str(error).replace(path, os.path.basename(path)))


def _as_arrays(record: dict[str, Any]) -> dict[str, Any]:
    arrays = dict(record)
    for name in ('scores', 'cnn_scores', 'step_scores'):
        if name in record:
            arrays[name] = np.asarray(record[name], dtype=np.float32)
    return arrays
