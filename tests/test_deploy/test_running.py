"""Reading ahead."""

import pytest

from morn_plugin.deploy.running import count_readers


@pytest.mark.parametrize(
    ('asked', 'on_cpu', 'expected'),
    [(None, True, 0), (None, False, 2), (0, False, 0), (3, True, 3)],
)
def test_threads_are_those_asked_for_or_none_on_a_cpu(asked, on_cpu, expected):
    assert count_readers(asked, on_cpu) == expected
