from fractions import Fraction

import numpy as np
import pytest
from miniatures import noise
from PIL import Image

from morn_plugin.datasets.converters.openclipart.pictures import MAX_PIXELS
from morn_plugin.datasets.near_duplicates import (
    HASH_LUMA,
    HASH_SIZE,
    connect,
    fingerprint,
    group_near_duplicates,
    near_duplicates,
)


def jaccard(a, b):
    """Share of differing bits, straight from sets."""
    a = set(np.flatnonzero(a))
    b = set(np.flatnonzero(b))
    return len(a ^ b) / len(a | b) if a | b else 0.0


def test_near_duplicates_are_what_sets_say():
    rng = np.random.default_rng(0)
    hashes = rng.random((60, 30)) < rng.random((60, 1))
    hashes[:2] = False  # two without any bit
    expected = [
        [i, j] for i in range(60) for j in range(i + 1, 60) if jaccard(hashes[i], hashes[j]) <= 0.5
    ]
    assert len(expected) > 10
    assert [0, 1] in expected
    assert near_duplicates(hashes, 0.5).tolist() == expected


def test_groups_are_chains():
    bits = np.zeros((5, 20), dtype=bool)
    bits[0, :10] = bits[1, 1:11] = bits[2, 2:12] = True  # 0-1 and 1-2 at 2 / 11, 0-2 at 4 / 12
    bits[3, 15:] = bits[4, 10:15] = True
    groups = group_near_duplicates(bits, 0.2)
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_thin_drawings_are_not_near_duplicates_of_each_other():
    # Both nearly empty: few bits differ in all, yet nothing is alike.
    pictures = [Image.new('RGB', (160, 160), 'white') for _ in range(2)]
    pictures[0].paste('black', (10, 10, 20, 90))
    pictures[1].paste('black', (120, 60, 150, 70))
    hashes = np.array([fingerprint(picture) for picture in pictures])
    assert (hashes[0] ^ hashes[1]).mean() < 0.15
    assert len(near_duplicates(hashes)) == 0


def test_recoloured_and_rescaled_are_near_duplicates():
    picture = noise(0, cells=6, side=240)
    variants = [picture, picture.resize((100, 100)), picture.convert('L').convert('RGB')]
    assert len(near_duplicates(np.array([fingerprint(variant) for variant in variants]))) == 3


@pytest.mark.parametrize('size', [(34, 51), (40, 23), (9, 11)])
def test_fingerprint_compares_exact_means_of_equal_cells(size):
    # By naive sums of fractions, on sides that the cells divide, do not divide, and that have fewer
    # pixels than cells.
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 4)).astype(np.uint8)

    def grey(x, y):
        red, green, blue, alpha = (int(value) for value in pixels[y, x])
        on_white = [255 - (-((colour - 255) * alpha // 255)) for colour in (red, green, blue)]
        return Fraction(299 * on_white[0] + 587 * on_white[1] + 114 * on_white[2], 1000)

    def share(cell, cells, side, pixel):  # of a cell that a pixel covers
        start = Fraction(cell * side, cells)
        end = Fraction((cell + 1) * side, cells)
        return max(min(end, pixel + 1) - max(start, pixel), Fraction(0)) * Fraction(cells, side)

    def mean(column, columns, row, rows):
        across = [(x, share(column, columns, size[0], x)) for x in range(size[0])]
        down = [(y, share(row, rows, size[1], y)) for y in range(size[1])]
        return sum(
            part * other * grey(x, y) for x, part in across if part for y, other in down if other
        )

    expected = [
        mean(x + 1, 17, y, 16) - mean(x, 17, y, 16) > 2 for y in range(16) for x in range(16)
    ]
    expected += [
        mean(x, 16, y + 1, 17) - mean(x, 16, y, 17) > 2 for y in range(16) for x in range(16)
    ]
    assert fingerprint(Image.fromarray(pixels)).tolist() == expected


def test_fingerprint_is_exact_up_to_the_largest_picture():
    # Sums of whole numbers below 2 ** 53 are exact in float64.
    assert 255 * sum(HASH_LUMA) * (HASH_SIZE + 1) * HASH_SIZE * MAX_PIXELS < 2**53


def test_pictures_that_are_too_flat_are_not_compared():
    bits = np.zeros((4, 20), dtype=bool)
    bits[:2, :3] = True
    bits[2:, 5:10] = True
    assert group_near_duplicates(bits, 0.3).tolist() == [0, 0, 1, 1]
    assert group_near_duplicates(bits, 0.3, min_bits=4).tolist() == [0, 1, 2, 2]


def test_many_pictures_are_compared_in_blocks():
    # Blocks are of one picture where 2 ** 22 are compared; here of 2 ** 22 // 5000.
    rng = np.random.default_rng(0)
    hashes = rng.random((5000, 64)) < 0.5
    copies = [(3, 4999), (837, 840), (838, 839), (1676, 1680)]  # within and across blocks
    for first, second in copies:
        hashes[second] = hashes[first]
    assert near_duplicates(hashes, 0.0).tolist() == [list(pair) for pair in copies]


def test_chains_of_pairs():
    assert connect(5, np.zeros((0, 2), dtype=np.int64)).tolist() == [0, 1, 2, 3, 4]
    groups = connect(5, np.array([[0, 1], [1, 2], [3, 4]]))
    assert groups[0] == groups[1] == groups[2] != groups[3] == groups[4]
