"""Exact nearest neighbours, in blocks, without the matrix of all distances.

Q queries, N images of the memory, K neighbours, D features.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

#: Elements of one block, of distances or of labels: 128 MiB of float32.
BLOCK = 2**25
#: Elements of the differences computed at once: 4 MiB of float32, which fit in a cache.
CACHED = 2**20


def nearest(
    queries: Tensor, memory: Tensor, num_neighbours: int, exclude: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Find the nearest images of a memory by Euclidean distance.

    One matrix product per block ranks the candidates. The returned distances are computed from
    differences, because a product loses the digits of small distances.

    Args:
        queries: (Q, D).
        memory: (N, D).
        num_neighbours: K, at most N, or N - 1 with ``exclude``.
        exclude: For each query the row of the memory to leave out (Q,): the query itself.

    Returns:
        Distances (Q, K), ascending, and rows of the memory (Q, K).
    """
    squares = sum_squares(memory)
    distances, rows = [], []

    for some in blocks(queries.shape[0], BLOCK // max(memory.shape[0], 1)):
        block = queries[some]
        ranks = rank_candidates(block, memory, squares)  # (B, N)
        if exclude is not None:
            ranks.scatter_(1, exclude[some, None], float('inf'))
        found = ranks.topk(num_neighbours, dim=1, largest=False).indices  # (B, K)

        exact = distances_to(block, memory, found)
        exact, order = exact.sort(dim=1, stable=True)
        distances.append(exact)
        rows.append(found.gather(1, order))

    if not distances:
        empty = queries.new_empty(0, num_neighbours)
        return empty, empty.long()

    return torch.cat(distances), torch.cat(rows)


def rank_candidates(queries: Tensor, memory: Tensor, squares: Tensor) -> Tensor:
    """Compute what ranks the images of a memory by their distance, in one matrix product.

    |q - m|^2 without |q|^2, which is the same for all candidates of a query.

    Args:
        queries: (Q, D).
        memory: (N, D).
        squares: (N,), see :func:`sum_squares`.

    Returns:
        (Q, N), the lower the nearer.
    """
    return torch.addmm(squares, queries, memory.t(), alpha=-2)


def distances_to(queries: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
    """Compute the distances of queries (B, D) to the rows (B, K) of a memory (N, D): (B, K)."""
    if torch.compiler.is_exporting():
        return _distances(queries, memory, rows)
    # A few queries at a time: gathered rows are subtracted and summed while they are in cache, and
    # the differences of all queries, (B, K, D), would be larger than the memory.
    size = CACHED // max(rows.shape[1] * memory.shape[1], 1)
    distances = queries.new_empty(rows.shape)
    for some in blocks(len(queries), size):
        distances[some] = _distances(queries[some], memory, rows[some])
    return distances


def sum_squares(memory: Tensor) -> Tensor:
    """Compute the squared length of each row (N, D), without a copy of the memory: (N,)."""
    if torch.compiler.is_exporting():
        return memory.square().sum(1)
    # Results are written into one tensor. Many small ones would lie between the freed parts and
    # prevent the reuse of their memory.
    squares = memory.new_empty(len(memory))
    for some in blocks(len(memory), CACHED // max(memory.shape[1], 1)):
        squares[some] = memory[some].square().sum(1)
    return squares


def _distances(queries: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
    return (memory[rows] - queries.unsqueeze(1)).norm(dim=2)


def blocks(number: int, size: int) -> Iterator[slice]:
    """Cut rows into blocks of one or more; an exported model takes any number of them at once."""
    if torch.compiler.is_exporting():
        yield slice(None)
        return
    size = max(1, size)
    yield from (slice(start, start + size) for start in range(0, number, size))
