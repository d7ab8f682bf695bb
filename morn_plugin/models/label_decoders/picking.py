"""Rules that choose the label fed to the next step of a recurrent decoder.

A rule maps the logits of a step and the earlier picks to the current pick, without gradient. Beam
search, which keeps several sequences at once, is in ``beam_search.py``.

N images, C labels, S symbols: the C labels, and END (C) if the decoder has one.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Picker(Protocol):
    """Picks the symbol fed to the next step."""

    def __call__(self, logits: Tensor, picked: list[Tensor]) -> Tensor:
        """Map logits (N, S) and the symbols picked so far, each (N,), to symbols (N,)."""


def pick_argmax(logits: Tensor, picked: list[Tensor]) -> Tensor:
    """Pick the symbol with the highest score (Eq. 4), whether picked before or not."""
    return logits.argmax(dim=1)


def pick_unpicked(
    logits: Tensor,
    picked: list[Tensor],
    picked_logit: float = float('-inf'),
    end: int | None = None,
) -> Tensor:
    """Pick the best symbol that was not picked before.

    Args:
        logits: (N, S).
        picked: The symbols of the previous steps, each (N,).
        picked_logit: The value that overwrites the logits of those; above -inf they can still be
            picked.
        end: After this symbol nothing else is picked. Defaults to None, no such symbol.

    Examples:
        >>> logits = torch.tensor([[1.0, 3.0, 2.0]])
        >>> pick_unpicked(logits, [torch.tensor([1])]), pick_unpicked(logits, [torch.tensor([2])])
        (tensor([2]), tensor([1]))
        >>> pick_unpicked(logits, [torch.tensor([2])], end=2)
        tensor([2])
    """
    if not picked:
        return logits.argmax(dim=1)

    best = logits.scatter(1, torch.stack(picked, dim=1), picked_logit).argmax(dim=1)
    if end is None:
        return best
    return torch.where(picked[-1] == end, end, best)


def pick_until_end(
    logits: Tensor,
    picked: list[Tensor],
    end: int,
) -> Tensor:
    """Pick the best symbol, whether picked before or not; after END pick only END.

    Examples:
        >>> logits = torch.tensor([[1.0, 3.0, 2.0]])
        >>> pick_until_end(logits, [torch.tensor([1])], end=2)
        tensor([1])
        >>> pick_until_end(logits, [torch.tensor([2])], end=2)
        tensor([2])
    """
    best = logits.argmax(dim=1)
    return torch.where(picked[-1] == end, end, best) if picked else best


def pick_given(
    logits: Tensor,
    picked: list[Tensor],
    sequences: Tensor,
) -> Tensor:
    """Pick the labels of a given sequence (N, T): teacher forcing, or the result of a search."""
    return sequences[:, len(picked)]


def pick_from_pool(
    logits: Tensor,
    picked: list[Tensor],
    pool: Tensor,
) -> Tensor:
    """Pick the best unpicked label of a pool, or END once none is left.

    Args:
        logits: (N, C + 1).
        picked: The symbols of the previous steps, each (N,).
        pool: Boolean (N, C), the candidates of the first step.

    Examples:
        >>> logits, pool = torch.tensor([[1.0, 3.0, 2.0, 9.0]]), torch.tensor([[True, False, True]])
        >>> picks = []
        >>> for _ in range(3):
        ...     picks.append(pick_from_pool(logits, picks, pool))
        >>> picks
        [tensor([2]), tensor([0]), tensor([3])]
    """
    candidates = F.pad(pool, (0, 1))  # (N, C + 1)
    if picked:
        candidates = candidates.scatter(1, torch.stack(picked, dim=1), False)

    best = logits.masked_fill(~candidates, float('-inf')).argmax(dim=1)
    return torch.where(candidates.any(dim=1), best, pool.shape[1])


def pick_sampled(logits: Tensor, picked: list[Tensor]) -> Tensor:
    """Sample a symbol from the softmax of the logits, with PyTorch's default generator."""
    return logits.softmax(dim=1).multinomial(1)[:, 0]
