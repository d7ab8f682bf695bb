"""Small elementwise work takes one thread, and leaves the number of threads as it was."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from morn_plugin.utils.small_work import LIMIT, SmallWork


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(('numel', 'inside'), [(1, 1), (LIMIT, 1), (LIMIT + 1, 3)])
def test_threads_by_size(three_threads, numel, inside):
    with SmallWork(numel):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 3


def test_threads_return_after_an_error(three_threads):
    with pytest.raises(ZeroDivisionError), SmallWork(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


def test_work_within_work_stays_small(three_threads):
    with SmallWork(1):
        with SmallWork(1):
            pass
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_other_threads_keep_theirs(three_threads):
    def count():
        before = torch.get_num_threads()
        with SmallWork(1):
            return before, torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        before, inside = pool.submit(count).result()
    assert inside == before


def test_compiled_code_keeps_its_threads(three_threads, monkeypatch):
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    with SmallWork(1):
        assert torch.get_num_threads() == 3
