"""The search for the nearest images, against all differences at once."""

import pytest
import torch

from morn_plugin.models.label_decoders.neighbours import search


@pytest.fixture(params=[1, 40, 2**20], ids=['one-by-one', 'some', 'all-at-once'])
def in_blocks(request, monkeypatch):
    """Makes blocks of all sizes, which must not show in the results."""
    monkeypatch.setattr(search, 'BLOCK', request.param)
    monkeypatch.setattr(search, 'CACHED', request.param)


@pytest.mark.usefixtures('in_blocks')
def test_neighbours_are_those_of_all_distances():
    generator = torch.Generator().manual_seed(0)
    queries, memory = (torch.randn(n, 5, generator=generator) for n in (7, 11))
    distances, rows = search.nearest(queries, memory, 4)
    every = (queries[:, None] - memory).square().sum(2).sqrt()  # (Q, N)
    expected = every.sort(dim=1)
    assert torch.equal(rows, expected.indices[:, :4])
    torch.testing.assert_close(distances, expected.values[:, :4])


@pytest.mark.usefixtures('in_blocks')
def test_no_image_is_its_own_neighbour():
    memory = torch.tensor([[0.0], [1.0], [3.0]])
    distances, rows = search.nearest(memory, memory, 1, exclude=torch.arange(3))
    assert rows.tolist() == [[1], [0], [1]]
    assert distances.tolist() == [[1.0], [1.0], [2.0]]
