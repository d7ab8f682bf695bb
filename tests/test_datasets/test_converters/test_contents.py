import hashlib

import numpy as np
import pytest
from miniatures import noise
from PIL import Image

from morn_plugin.datasets.converters.contents import (
    Content,
    find_copies,
    find_near_copies,
    group_contents,
    read_contents,
)
from morn_plugin.datasets.near_duplicates import fingerprint


@pytest.fixture
def folder(tmp_path):
    noise(0).save(tmp_path / 'a.png')
    noise(0).save(tmp_path / 'b.png')  # the same bytes
    noise(0, side=64).save(tmp_path / 'c.jpg', quality=80)  # the same picture
    noise(1).save(tmp_path / 'd.png')
    (tmp_path / 'e.png').write_bytes(b'no picture')
    Image.new('RGB', (40, 40), 'white').save(tmp_path / 'f.png')
    Image.new('RGB', (40, 40), 'black').save(tmp_path / 'g.png')
    return tmp_path


NAMES = ['a.png', 'b.png', 'c.jpg', 'd.png', 'e.png', 'f.png', 'g.png', 'gone.png']


def test_contents(folder):
    contents = read_contents(folder, NAMES, 2)
    for name, content in zip(NAMES[:-1], contents, strict=False):
        assert content.digest == hashlib.sha256((folder / name).read_bytes()).digest()
    assert contents[-1] == Content(hashlib.sha256(b'gone.png').digest())
    with Image.open(folder / 'c.jpg') as picture:
        assert np.array_equal(contents[2].bits, fingerprint(picture))
    assert contents[4].bits is None
    assert 'e.png cannot be decoded' in contents[4].problem


def test_copies(folder):
    contents = read_contents(folder, NAMES, 2)
    assert find_copies(contents).tolist() == [[0, 1]]
    # Flat pictures are not compared: white and black have no bit set.
    assert find_near_copies(contents).tolist() == [[0, 2], [1, 2]]
    assert len(find_near_copies(contents, 0)) == 0
    groups = group_contents(contents).tolist()
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups)) == len(NAMES) - 2
    assert len(set(group_contents(contents, 0).tolist())) == len(NAMES) - 1


def test_no_decoding_where_bytes_alone_count(folder):
    contents = read_contents(folder, NAMES, 1, perceptual=False)
    assert all(content.bits is None and not content.problem for content in contents)


def test_large_pictures_are_shrunk_first(tmp_path):
    picture = noise(3, side=2600)
    picture.save(tmp_path / 'large.png')
    (content,) = read_contents(tmp_path, ['large.png'], 1)
    differing = content.bits ^ fingerprint(picture)
    assert differing.mean() < 0.02
