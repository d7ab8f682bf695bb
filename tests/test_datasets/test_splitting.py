import hashlib

import numpy as np

from morn_plugin.datasets.splitting import assign_sides, draw_groups


def test_sides_follow_the_content():
    digests = [hashlib.sha256(str(i).encode()).digest() for i in range(4000)]
    groups = [i // 2 for i in range(4000)]
    sides = assign_sides(digests, groups, 'a', 0.7)
    assert sides[::2] == sides[1::2]
    assert abs(np.mean(sides) - 0.7) < 4 * (0.21 / 2000) ** 0.5
    # Neither order, nor group numbers, nor copies matter; the name of the draw does.
    assert assign_sides(digests[::-1], [9999 - g for g in groups[::-1]], 'a', 0.7) == sides[::-1]
    assert assign_sides(digests + digests[:1], [*groups, 0], 'a', 0.7) == [*sides, sides[0]]
    other = assign_sides(digests, groups, 'b', 0.7)
    assert abs(np.mean(np.equal(sides, other)) - 0.58) < 0.06


def test_draw_of_a_group_is_the_hash_of_its_contents():
    # First 48 of the 256 bits, as a share of 2 ** 48.
    expected = int(hashlib.sha256(b'saltab').hexdigest()[:12], 16) / 16**12
    assert draw_groups([b'b', b'a', b'b'], [7, 7, 7], 'salt') == {7: expected}


def test_an_image_more_moves_no_other():
    digests = [hashlib.sha256(str(i).encode()).digest() for i in range(100)]
    sides = assign_sides(digests, range(100), 'a', 0.5)
    assert assign_sides(digests[:60], range(60), 'a', 0.5) == sides[:60]
