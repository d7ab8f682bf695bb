"""The peer's loss; that its network is the decoder's, test_unroll.py shows."""

import torch
from helpers import naive_loss

from morn_plugin.speed.plain_decoder import plain_loss, to_our_gates, to_torch_gates


def test_loss_is_that_of_loops():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 5, dtype=torch.float64), torch.randint(5, (3, 4))
    target = (torch.rand(3, 5) < 0.5).double()
    expected = naive_loss(logits, labels, target, 'previous', 'all')
    torch.testing.assert_close(plain_loss(logits, labels, target), expected)


def test_gates_swap_the_last_two():
    rows = torch.arange(8)
    assert to_torch_gates(rows).tolist() == [0, 1, 2, 3, 6, 7, 4, 5]
    assert torch.equal(to_our_gates(to_torch_gates(rows)), rows)
    assert to_our_gates(None) is None
