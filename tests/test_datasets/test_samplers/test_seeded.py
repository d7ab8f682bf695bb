"""The order of the data and the randomness of each sample are functions of seed, pass and index."""

import copy
import itertools
import random

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from morn_plugin.datasets.cached import ScoreDataset
from morn_plugin.datasets.samplers import SeededSampler, Visit, seed_all


def draw():
    """Draw from every generator that a transform may use."""
    return random.random(), np.random.random(), torch.rand(1).item()


@pytest.mark.parametrize('key', [(0,), (3, 1, 7), (2**32 - 1, 0)])
def test_all_generators_are_seeded_by_numpys_hash_of_the_key(key):
    words = [int(word) for word in np.random.SeedSequence(key).generate_state(4)]
    seed_all(*key)
    assert torch.initial_seed() == words[2] * 2**32 + words[3]
    expected = torch.Generator().manual_seed(words[2] * 2**32 + words[3])
    assert torch.rand(3).tolist() == torch.rand(3, generator=expected).tolist()
    assert np.random.random() == np.random.RandomState(words[1]).random_sample()
    assert random.random() == random.Random(words[0]).random()


def test_other_keys_give_other_numbers():
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]  # of one length: NumPy fills up with zeros
    drawn = []
    for key in keys:
        seed_all(*key)
        drawn.append(draw())
    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == len(keys)


class Drawing(Dataset):
    """Gives random numbers with each sample."""

    def __init__(self, size=10):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        assert type(index) is int  # a plain one, for whatever looks at the type
        return (index, *draw())


class WholeBatches(Drawing):
    """The same for a data set that loads batches at once."""

    def __getitems__(self, indices):
        assert all(type(index) is int for index in indices)
        return [(index, *draw()) for index in indices]


def load(dataset, passes=1, start=0, workers=0, seed=5, batch=3):
    """Load passes over a data set, the first from a position on."""
    sampler = SeededSampler(dataset, shuffle=True, seed=seed)
    loader = DataLoader(
        dataset, batch, sampler=sampler, num_workers=workers, collate_fn=lambda batch: batch
    )

    batches = []
    for number in range(passes):
        sampler.set_epoch(number)
        if number == 0:
            sampler.start_at(start)
        batches += list(loader)

    return batches


def test_each_visit_has_numbers_of_its_own_that_do_not_depend_on_what_was_loaded_before():
    whole = list(itertools.chain(*load(Drawing(), passes=2)))
    assert sorted(sample[0] for sample in whole[:10]) == list(range(10))
    assert [sample[0] for sample in whole[:10]] != [sample[0] for sample in whole[10:]]
    assert len({sample[1:] for sample in whole}) == 20
    seed_all(1)  # whatever else has drawn
    rest = list(itertools.chain(*load(Drawing(), passes=2, start=6)))
    assert rest == whole[6:]
    assert load(Drawing(), workers=2, passes=2) == load(Drawing(), passes=2)
    assert load(Drawing(), seed=6) != load(Drawing(), seed=5)


def test_whole_batches_are_seeded_by_their_first_visit():
    whole = load(WholeBatches(), passes=2)
    assert [len(batch) for batch in whole] == [3, 3, 3, 1] * 2
    assert len({sample[1:] for batch in whole for sample in batch}) == 20
    assert load(WholeBatches(), passes=2, start=6) == whole[2:]

    first = whole[0][0][0]
    seed_all(5, 0, first)
    assert whole[0][0] == (first, *draw())


def test_a_data_set_that_draws_nothing_is_not_seeded():
    dataset = WholeBatches()
    dataset.is_random = False
    seed_all(1)
    before = draw()
    seed_all(1)
    (batch,) = load(dataset, batch=10)
    assert batch[0][1:3] == before[:2]  # the loader itself draws from torch's generator
    assert not ScoreDataset.is_random


def test_sampling_goes_on_through_passes_by_itself():
    dataset = Drawing(7)
    sampler = SeededSampler(dataset, shuffle=True, seed=1)
    sampler.start_at(0, infinite=True)
    visits = list(itertools.islice(iter(sampler), 21))
    assert [sorted(visits[at : at + 7]) for at in (0, 7, 14)] == [list(range(7))] * 3
    assert [visit.key for visit in visits] == [(1, 0)] * 7 + [(1, 1)] * 7 + [(1, 2)] * 7

    again = SeededSampler(dataset, shuffle=True, seed=1)
    again.start_at(10, infinite=True)
    later = list(itertools.islice(iter(again), 11))
    assert later == visits[10:]
    assert [visit.key for visit in later] == [visit.key for visit in visits[10:]]


def test_the_position_counts_for_one_iteration_only():
    sampler = SeededSampler(Drawing(5), shuffle=False, seed=1)
    sampler.start_at(3)
    assert list(sampler) == [3, 4]
    assert list(sampler) == [0, 1, 2, 3, 4]


def test_a_position_beyond_the_end_gives_no_batch():
    sampler = SeededSampler(Drawing(5), shuffle=True, seed=1)
    sampler.start_at(len(sampler))
    assert list(BatchSampler(sampler, 2, drop_last=False)) == []


def test_a_visit_is_an_index_that_keeps_its_key_on_its_way_to_a_worker():
    visit = copy.copy(Visit(3, (5, 1)))  # by the way that pickle goes
    assert visit == 3
    assert visit.key == (5, 1)
    assert ['a', 'b', 'c', 'd'][visit] == 'd'


def test_a_data_set_is_seeded_once_however_many_samplers_it_has():
    dataset = Drawing()
    SeededSampler(dataset, seed=1)
    fetch = dataset.__getitems__
    SeededSampler(dataset, seed=2)
    assert dataset.__getitems__ is fetch
