"""The seeded sampler: its order, its seeds, and where it can start."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader, Dataset

from morn_plugin.datasets.samplers.seeded import SeededSampler, Visit, seed_all


class Draws(Dataset):
    """Each sample is its index with what the three generators draw."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        assert type(index) is int
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


class WholeBatches(Draws):
    """Loads batches at once."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def draw_now():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def load(dataset, epoch=0, start=0, seed=5, **options):
    sampler = SeededSampler(dataset, seed=seed)
    sampler.set_epoch(epoch)
    sampler.start_at(start)
    loader = DataLoader(dataset, 3, sampler=sampler, collate_fn=list, **options)
    return [sample for batch in loader for sample in batch]


def test_seeds_follow_from_every_number_of_the_key():
    """Python's, NumPy's and torch's own generators, seeded with the words of NumPy's hash."""
    seed_all(3, 1, 7)
    found = draw_now()
    words = np.random.SeedSequence((3, 1, 7)).generate_state(4)
    python = random.Random(int(words[0]))
    numpy = np.random.RandomState(words[1])
    generator = torch.Generator().manual_seed(int(words[2]) * 2**32 + int(words[3]))
    assert found == (python.random(), numpy.rand(), float(torch.rand((), generator=generator)))

    draws = set()
    for key in [(3, 1, 7), (3, 1, 8), (3, 2, 7), (4, 1, 7), (3, 7, 1)]:
        seed_all(*key)
        draws.add(draw_now())

    assert len(draws) == 5


def test_the_order_is_that_of_mmengine():
    dataset = Draws()
    for epoch in range(3):
        ours = SeededSampler(dataset, seed=5)
        theirs = DefaultSampler(dataset, seed=5)
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        assert list(ours) == list(theirs)
    assert list(SeededSampler(dataset, shuffle=False, seed=5)) == list(range(10))


def test_a_sample_depends_on_seed_pass_and_index_alone():
    whole = load(Draws())
    for index, *values in whole:
        seed_all(5, 0, index)
        assert tuple(values) == draw_now()

    assert load(Draws(), num_workers=2) == whole
    assert load(Draws(), start=4) == whole[4:]
    assert len({tuple(values) for _, *values in whole}) == 10
    assert set(load(Draws(), epoch=1)).isdisjoint(whole)
    assert set(load(Draws(), seed=6)).isdisjoint(whole)


def test_a_data_set_of_whole_batches_is_seeded_by_the_first_of_each():
    batches = load(WholeBatches())
    order = [index for index, *_ in load(Draws())]
    assert [index for index, *_ in batches] == order
    for first in range(0, 10, 3):
        seed_all(5, 0, order[first])
        for place in range(first, min(first + 3, 10)):
            assert tuple(batches[place][1:]) == draw_now()


def test_a_data_set_is_wrapped_once():
    dataset = WholeBatches()
    SeededSampler(dataset, seed=5)
    fetch = dataset.__getitems__
    SeededSampler(dataset, seed=6)
    assert dataset.__getitems__ is fetch
    assert [index for index, *_ in fetch([Visit(4, (5, 0)), Visit(2, (5, 0))])] == [4, 2]


def test_a_start_is_for_the_next_iteration_alone():
    sampler = SeededSampler(Draws(), seed=5)
    whole = list(sampler)
    sampler.start_at(7)
    assert list(sampler) == whole[7:]
    assert list(sampler) == whole


@pytest.mark.parametrize('position', [0, 4, 10, 23])
def test_without_end_it_goes_on_with_the_next_pass(position):
    dataset = Draws()
    passes = []
    for epoch in range(4):
        sampler = SeededSampler(dataset, seed=5)
        sampler.set_epoch(epoch)
        passes += list(sampler)

    endless = SeededSampler(dataset, seed=5)
    endless.start_at(position, infinite=True)
    found = [visit for visit, _ in zip(endless, range(15), strict=False)]
    assert found == passes[position : position + 15]
    place = position + len(found) - 1
    assert found[-1].key == (5, place // 10)


def test_a_visit_is_its_index_and_survives_a_process():
    visit = pickle.loads(pickle.dumps(Visit(3, (5, 1))))  # noqa: S301  our own
    assert (visit, visit.key, type(visit)) == (3, (5, 1), Visit)
    assert [10, 20, 30, 40][visit] == 40
