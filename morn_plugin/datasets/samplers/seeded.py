"""A sampler that lets training continue exactly where it was interrupted.

Nothing has to be saved for it. The order of a pass over the data is a function of (seed, pass), the
randomness of a sample's transforms one of (seed, pass, index). So it does not matter which process
loads a sample, when, or what it loaded before.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmpretrain.registry import DATA_SAMPLERS
from torch.utils.data import Dataset


def seed_all(*key: int) -> None:
    """Seed Python, NumPy and torch, on CPU and CUDA, with a hash of non-negative integers.

    ``torch.manual_seed`` would take half a millisecond: it records a stack trace for every unused
    device.
    """
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    seed = (int(words[2]) << 32) | int(words[3])
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


class Visit(int):
    """The index of a sample, with the seed of this visit to it.

    It is an ``int`` so that every data set takes it.
    """

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> 'Visit':
        """Make an index of one visit."""
        self = super().__new__(cls, index)
        self.key = key
        return self

    def __reduce__(self) -> tuple:
        return Visit, (int(self), self.key)


class _SeededFetch:
    """Replaces ``dataset[index]`` in a DataLoader's workers or in the main process.

    A data set without random steps declares ``is_random = False`` and is not seeded.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.is_random = getattr(dataset, 'is_random', True)
        # of a data set that loads batches at once
        self.whole_batch = getattr(dataset, '__getitems__', None)

    def __call__(self, visits: Sequence[Visit]) -> Any:
        if self.whole_batch is not None:
            if self.is_random:
                seed_all(*visits[0].key, int(visits[0]))
            return self.whole_batch([int(visit) for visit in visits])
        return [self._fetch(visit) for visit in visits]

    def _fetch(self, visit: Visit) -> Any:
        seed_all(*visit.key, int(visit))
        return self.dataset[int(visit)]


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """``DefaultSampler`` with the same order, which can start anywhere and seeds every sample.

    Args:
        dataset: The data set. Loading from it is seeded from here on.
        shuffle: Whether to shuffle each pass.
        seed: The seed, the same in all processes.
        round_up: Whether to repeat some samples so that all processes get equally many.
    """

    def __init__(
        self,
        dataset: Dataset,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        super().__init__(dataset, shuffle, seed, round_up)
        self.start = 0
        self.infinite = False
        if not isinstance(getattr(dataset, '__getitems__', None), _SeededFetch):
            dataset.__getitems__ = _SeededFetch(dataset)  # type: ignore[attr-defined]

    def start_at(self, position: int, infinite: bool = False) -> None:
        """Start the next iteration this many samples (of this process) later, once.

        Args:
            position: Number of samples to leave out.
            infinite: Whether to continue with the next pass by itself, for ``IterBasedTrainLoop``.
                The position then counts from the first pass.
        """
        self.start = position
        self.infinite = infinite

    def __iter__(self) -> Iterator[int]:
        """Iterate over the visits of one pass, or of all."""
        start = self.start
        self.start = 0
        if not self.infinite:
            return itertools.islice(self._one_pass(), start, None)
        first, rest = divmod(start, self.num_samples)
        return itertools.islice(self._passes(first), rest, None)

    def _passes(self, first: int) -> Iterator[Visit]:
        for self.epoch in itertools.count(first):
            yield from self._one_pass()

    def _one_pass(self) -> Iterator[Visit]:
        key = (self.seed, self.epoch)
        for index in super().__iter__():
            yield Visit(index, key)
