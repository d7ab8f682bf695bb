"""Near-duplicates of pictures: a perceptual hash, pairs, and the groups that pairs form.

Pictures that are nearly the same must not be on both sides of a split: the test side would then
measure memory. Hashing is exact arithmetic on the decoded pixels, without a library's way of
shrinking or rounding, so every machine finds the same pairs.

Shapes: N pictures, B bits of a hash.
"""

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

HASH_SIZE = 16  # 2 * 16 * 16 bits
HASH_MARGIN = 2  # of 255 grey levels, which the eye hardly sees: a smaller step sets no bit
HASH_LUMA = (299, 587, 114)  # of red, green and blue, in thousandths (ITU-R BT.601)

# On clip art, pairs up to 0.3 are variants of one drawing (recoloured, another sign in the same
# triangle, cards of one deck). The largest chain of Open Clip Art is then of 48 out of 5,244
# distinct pictures, the cards of one deck; at 0.35 it is of 168, of several decks.
NEAR_DISTANCE = 0.3


def fingerprint(picture: Image.Image) -> np.ndarray:
    """Compute the perceptual hash of a picture: dHash across and down.

    dHash lays a grid of ``HASH_SIZE`` by ``HASH_SIZE + 1`` equal cells over the
    picture and compares the mean grey of neighbours. Pillow's releases shrink
    pictures differently by a grey level, so that libraries which hash what it
    has shrunk differ as well; here all sums are of integers and exact, and
    every machine gets the same bits.

    Args:
        picture: At its own size, transparent or not.

    Returns:
        bool array (B,), true where it gets brighter by more than ``HASH_MARGIN``.
    """
    pixels = np.asarray(picture.convert('RGBA'))  # (H, W, 4)
    wide_grid, high_grid = (HASH_SIZE, HASH_SIZE + 1), (HASH_SIZE + 1, HASH_SIZE)
    wide, high = _cell_sums(pixels, wide_grid, high_grid)

    margin = HASH_MARGIN * sum(HASH_LUMA) * picture.width * picture.height  # of sums over a cell
    across = np.diff(wide, axis=1) > margin
    down = np.diff(high, axis=0) > margin
    return np.concatenate([across.ravel(), down.ravel()])


def _cell_sums(pixels: np.ndarray, *grids: tuple[int, int]) -> list[np.ndarray]:
    """Sum the grey values of (H, W, 4) pixels over equal cells.

    Each cell is H times W parts of pixels large.

    All numbers are integers and, up to a hundred billion pixels, below 2 ** 53, so that float64
    holds each of them and the order of adding them makes no difference.

    Returns:
        The sums of each grid, (rows, columns).
    """
    height, width = pixels.shape[:2]
    sums = [np.zeros(grid) for grid in grids]
    down = [_overlaps(rows, height) for rows, _ in grids]
    across = [_overlaps(columns, width) for _, columns in grids]

    for top in range(0, height, 512):  # bounds the memory
        some = slice(top, top + 512)
        grey = _grey_on_white(pixels[some])
        for index, total in enumerate(sums):
            total += down[index][:, some] @ (grey @ across[index].T)

    return sums


def _overlaps(cells: int, side: int) -> np.ndarray:
    """Compute how much each of ``cells`` equal cells overlaps each of ``side`` pixels.

    Returns:
        float64 array (cells, side), in parts of 1 / cells of a pixel.
    """
    pixel = np.arange(side) * cells
    cell = np.arange(cells)[:, None] * side
    overlap = np.minimum(pixel + cells, cell + side) - np.maximum(pixel, cell)  # (cells, side)
    return overlap.clip(min=0).astype(np.float64)


def _grey_on_white(pixels: np.ndarray) -> np.ndarray:
    """Lay (H, W, 4) pixels on white.

    Returns:
        Their grey values, whole numbers in 0..255,000, float64 (H, W).
    """
    alpha = pixels[..., 3].astype(np.int32)
    grey = np.zeros(alpha.shape, dtype=np.int32)
    for channel, weight in enumerate(HASH_LUMA):
        value = pixels[..., channel].astype(np.int32)
        on_white = 255 + (value - 255) * alpha // 255
        grey += weight * on_white

    return grey.astype(np.float64)


def near_duplicates(hashes: np.ndarray, distance: float = NEAR_DISTANCE) -> np.ndarray:
    """Find the pairs of near-duplicates.

    The distance of two hashes is Jaccard's: of the bits that at least one has
    set, the share in which they differ. Clip art is mostly flat, and flat
    pixels leave bits unset, so that Hamming's distance takes any two thin
    drawings for near-duplicates and chains hundreds of them together.

    Args:
        hashes: bool array (N, B).
        distance: The largest distance of near-duplicates, 0-1.

    Returns:
        Integer array (P, 2) of index pairs, first below second, sorted.
    """
    bits = hashes.astype(np.float32)
    ones = bits.sum(axis=1)  # (N,)
    chunk = max(1, 2**22 // max(len(bits), 1))  # bounds the memory

    pairs = []
    for start in range(0, len(bits), chunk):
        both = bits[start : start + chunk] @ bits[start:].T  # (chunk, N - start)
        either = ones[start : start + chunk, None] + ones[None, start:] - both
        alike = either - both <= distance * either  # no bits at all: nothing differs
        first, second = np.nonzero(np.triu(alike, k=1))
        pairs.append(np.stack([first + start, second + start], axis=1))

    return np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)


def group_near_duplicates(
    hashes: np.ndarray, distance: float = NEAR_DISTANCE, min_bits: int = 0
) -> np.ndarray:
    """Number the groups that chains of near-duplicates form.

    Args:
        hashes: bool array (N, B).
        distance: The largest distance of near-duplicates, 0-1.
        min_bits: Pictures with fewer bits set are too flat to compare; each is a group of its own.

    Returns:
        Integer array (N,), the group of every picture.
    """
    compared = np.flatnonzero(hashes.sum(axis=1) >= min_bits)
    pairs = compared[near_duplicates(hashes[compared], distance)]  # (P, 2)
    return connect(len(hashes), pairs)


def connect(count: int, pairs: np.ndarray) -> np.ndarray:
    """Number the groups that chains of pairs form.

    Args:
        count: N, how many there are to group.
        pairs: Integer array (P, 2) of indices.

    Returns:
        Integer array (N,), the group of each.

    Examples:
        >>> connect(4, np.array([[0, 2], [2, 3]])).tolist()
        [0, 1, 0, 0]
    """
    first, second = pairs.reshape(-1, 2).T
    edges = (np.ones(len(first)), (first, second))
    graph = coo_matrix(edges, shape=(count, count))
    return connected_components(graph, directed=False)[1]
