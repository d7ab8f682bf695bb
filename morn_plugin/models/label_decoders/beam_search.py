"""Beam search over label sequences that never repeat a label."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor | None, Any], tuple[Tensor, Any]]


def beam_search(
    step: Step,
    state: State,
    num_steps: int,
    beam_size: int,
) -> Tensor:
    """Search for the most probable sequence.

    The best sequence has the highest sum of log-probabilities, without length normalisation.

    The last symbol is END. A finished sequence keeps its sum; one that reaches ``num_steps``
    without END counts unchanged. A label that is already in a sequence is excluded, and the
    probabilities of the others are not renormalised.

    Args:
        step: Maps the last symbols (R,), or None at START, and the state of R rows to logits (R, C
            + 1) and a new state.
        state: The state of N images, tensors (N, ...).
        num_steps: T.
        beam_size: Sequences B kept per image.

    Returns:
        The best sequence of each image (N, T), with END from its end on.
    """
    logits, state = step(None, state)
    num_images, num_symbols = logits.shape
    images = torch.arange(num_images, device=logits.device)[:, None]

    # The first step: the best symbols of each image begin its beams.
    kept = min(beam_size, num_symbols)
    sums, symbols = logits.log_softmax(1).topk(kept, dim=1)  # (N, B)
    paths = symbols[..., None]  # (N, B, t)
    rows = images.expand(-1, kept)  # the row of `state` that each beam continues

    for _ in range(num_steps - 1):
        state = tuple(tensor[rows.flatten()] for tensor in state)
        logits, state = step(paths[..., -1].flatten(), state)
        gains = _gains(logits, paths)  # (N, B, C + 1)

        # The best continuations of all beams of an image.
        kept = min(beam_size, gains.shape[1] * num_symbols)
        totals = (sums[..., None] + gains).flatten(1)
        sums, chosen = totals.topk(kept, dim=1)
        beams = chosen // num_symbols
        symbols = chosen % num_symbols

        rows = images * paths.shape[1] + beams
        continued = paths.gather(1, beams[..., None].expand(-1, -1, paths.shape[2]))
        paths = torch.cat([continued, symbols[..., None]], dim=2)

    return paths[:, 0]


def _gains(logits: Tensor, paths: Tensor) -> Tensor:
    """Return the log-probability that each symbol adds to each beam.

    Args:
        logits: (N B, C + 1).
        paths: (N, B, t), the symbols so far.

    Returns:
        (N, B, C + 1); -inf for a symbol that is there already. After END only END follows, and
        adds nothing.
    """
    impossible = float('-inf')
    gains = logits.log_softmax(1).unflatten(0, paths.shape[:2])
    gains = gains.scatter(2, paths, impossible)

    end = logits.shape[1] - 1
    after_end = logits.new_full((end + 1,), impossible)
    after_end[end] = 0
    has_ended = paths[..., -1] == end  # (N, B)
    return torch.where(has_ended[..., None], after_end, gains)
