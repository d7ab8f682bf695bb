"""Exact nearest neighbours, in blocks, without the matrix of all distances.

Q queries, N images of the memory, K neighbours, D features.
"""

import torch
from torch import Tensor

#: Elements of one block of distances: 128 MiB of float32.
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
    squares = _sum_squares(memory)
    size = max(1, BLOCK // max(len(memory), 1))
    distances, rows = [], []
    for start in range(0, len(queries), size):
        block = queries[start : start + size]

        # |q - m|^2 without |q|^2, which is the same for all candidates of a query
        ranks = torch.addmm(squares, block, memory.t(), alpha=-2)  # (B, N)
        if exclude is not None:
            ranks.scatter_(1, exclude[start : start + size, None], float('inf'))
        found = ranks.topk(num_neighbours, dim=1, largest=False).indices  # (B, K)

        exact = distances_to(block, memory, found)
        exact, order = exact.sort(dim=1, stable=True)
        distances.append(exact)
        rows.append(found.gather(1, order))

    if not distances:
        empty = queries.new_empty(0, num_neighbours)
        return empty, empty.long()
    return torch.cat(distances), torch.cat(rows)


def distances_to(queries: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
    """Compute the distances of queries (B, D) to the rows (B, K) of a memory (N, D): (B, K)."""
    # A few queries at a time: gathered rows are subtracted and summed while they are in cache, and
    # the differences of all queries, (B, K, D), would be larger than the memory.
    size = max(1, CACHED // max(rows.shape[1] * memory.shape[1], 1))
    distances = queries.new_empty(rows.shape)
    for start in range(0, len(queries), size):
        some = slice(start, start + size)
        distances[some] = (memory[rows[some]] - queries[some].unsqueeze(1)).norm(dim=2)
    return distances


def _sum_squares(memory: Tensor) -> Tensor:
    """Compute the squared length of each row (N, D), without a copy of the memory: (N,)."""
    # Results are written into one tensor. Many small ones would lie between the freed parts and
    # prevent the reuse of their memory.
    size = max(1, CACHED // max(memory.shape[1], 1))
    squares = memory.new_empty(len(memory))
    for start in range(0, len(memory), size):
        some = slice(start, start + size)
        squares[some] = memory[some].square().sum(1)
    return squares
