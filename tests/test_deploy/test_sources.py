"""Pictures in memory: read, or refused by their kind."""

import io

import numpy as np
import picture_files as make
import pytest
import torch
from PIL import Image

from morn_plugin.deploy.images import ImageError
from morn_plugin.deploy.sources import list_sources, read_memory

PIXELS = np.asarray(make.gradient())
CONTENT = make.encode(make.gradient(), 'PNG')


@pytest.mark.parametrize(
    'source',
    [
        make.gradient(),
        CONTENT,
        bytearray(CONTENT),
        memoryview(CONTENT),
        io.BytesIO(CONTENT),
        PIXELS,
    ],
    ids=lambda source: type(source).__name__,
)
def test_every_kind_gives_the_same_pixels(source):
    assert len(list_sources(source)) == 1
    (found,) = list_sources([source])
    assert found is source
    assert np.array_equal(read_memory(source), PIXELS)


def test_an_open_file_and_a_picture_that_is_not_decoded_yet(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(CONTENT)
    with path.open('rb') as file:
        assert np.array_equal(read_memory(file), PIXELS)
    with Image.open(path) as image:
        assert np.array_equal(read_memory(image), PIXELS)


def test_modes_of_pillow_and_its_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(make.encode(make.gradient(), 'PNG', exif=exif))) as turned:
        assert np.array_equal(read_memory(turned), np.rot90(PIXELS, 3))
    clear = Image.new('RGBA', (3, 2), (9, 9, 9, 0))
    assert (read_memory(clear, background=40) == 40).all()
    assert (read_memory(Image.new('L', (3, 2), 77)) == 77).all()


@pytest.mark.parametrize(
    ('item', 'name'),
    [
        (torch.zeros(3, 8, 8), r'torch\.Tensor of shape \(3, 8, 8\)'),
        (0.5, 'float'),
        (None, 'NoneType'),
        ([PIXELS], 'list'),
        (dict(img=PIXELS), 'dict'),
    ],
)
def test_other_kinds_are_named(item, name):
    with pytest.raises(TypeError, match=rf'PIL\.Image, or a NumPy array .* but got a {name}'):
        list_sources([item])


def test_one_that_is_no_list_either():
    with pytest.raises(TypeError, match='but got a int'):
        list_sources(5)


def test_what_cannot_be_read_is_named_as_well_as_can_be(tmp_path):
    with pytest.raises(ImageError, match=r'Image in memory cannot be decoded \(4 bytes\)'):
        read_memory(b'text')
    (tmp_path / 'a.txt').write_text('text')
    with (
        (tmp_path / 'a.txt').open() as file,
        pytest.raises(TypeError, match=r'a\.txt to be opened for bytes'),
    ):
        read_memory(file)

    with pytest.raises(
        ValueError, match=r'shape \(H, W, 3\) and type uint8, but got \(16, 24, 3\) and float64'
    ):
        read_memory(PIXELS / 255)

    with pytest.raises(ImageError, match='24 x 16 pixels: expected at most 100 '):
        read_memory(make.gradient(), max_pixels=100)


def test_a_picture_that_would_run_a_program_is_not_decoded(monkeypatch):
    """Pillow opens EPS without a question, and starts Ghostscript when the pixels are asked for."""
    image = Image.open(io.BytesIO(make.eps('')))
    monkeypatch.setattr(type(image), 'load', lambda self: pytest.fail('it was decoded'))
    with pytest.raises(ImageError, match='was opened as EPS: expected one of JPEG'):
        read_memory(image)
