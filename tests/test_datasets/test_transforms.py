import io
import struct
import zlib

import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from morn_plugin.datasets.transforms import ImageError
from morn_plugin.datasets.transforms.loading import decode_image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encode(image, format='PNG', **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def from_rows(rows, mode):
    """Make an image of pixels given row by row."""
    image = Image.new(mode, (len(rows[0]), len(rows)))
    image.putdata([pixel for row in rows for pixel in row])
    return image


def load(path, **options):
    return TRANSFORMS.build(dict(type='LoadCheckedImage', **options))(dict(img_path=str(path)))


def pixels(content, **options):
    return [
        [tuple(pixel) for pixel in row]
        for row in decode_image(content, 'image', **options).tolist()
    ]


def test_rgb_becomes_bgr(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(from_rows([[RED, GREEN, BLUE]], 'RGB')))
    results = load(path)
    assert results['img'].tolist() == [[list(RED[::-1]), list(GREEN[::-1]), list(BLUE[::-1])]]
    assert results['img'].dtype == np.uint8
    assert results['img'].flags['C_CONTIGUOUS']
    assert results['img_shape'] == results['ori_shape'] == (1, 3)


def test_grey_and_black_and_white():
    assert pixels(encode(from_rows([[0, 7, 255]], 'L'))) == [[(0,) * 3, (7,) * 3, (255,) * 3]]
    assert pixels(encode(from_rows([[0, 255]], '1'))) == [[(0,) * 3, (255,) * 3]]


@pytest.mark.parametrize('format', ['PNG', 'GIF'])
def test_palette(format):
    image = Image.new('P', (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([1, 0])
    assert pixels(encode(image, format)) == [[BLUE, RED]]


def test_palette_with_transparency():
    image = Image.new('P', (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([1, 0])
    assert pixels(encode(image, transparency=0), background=9) == [[BLUE, (9, 9, 9)]]


@pytest.mark.parametrize(
    ('background', 'shown'), [(255, (255, 255, 255)), (0, (0, 0, 0)), (40, (40, 40, 40))]
)
def test_the_background_shows_through_transparent_pixels(background, shown):
    rgba = encode(from_rows([[(*RED, 255), (*GREEN, 0)]], 'RGBA'))
    assert pixels(rgba, background=background) == [[RED, shown]]
    grey = encode(from_rows([[(100, 255), (100, 0)]], 'LA'))
    assert pixels(grey, background=background) == [[(100,) * 3, shown]]


def test_half_transparent_pixels_are_mixed():
    ((r, g, b),) = pixels(encode(from_rows([[(200, 0, 0, 128)]], 'RGBA')), background=0)[0]
    assert (abs(r - 100) <= 1, g, b) == (True, 0, 0)


@pytest.mark.parametrize('mode', ['I;16', 'I'])
def test_16_bit_grey_keeps_the_upper_byte(mode):
    values = np.array([[0, 255, 256, 0x1234, 0xFFFF]])
    image = Image.fromarray(values.astype(np.uint16 if mode == 'I;16' else np.int32))
    assert image.mode == mode
    assert pixels(encode(image, 'TIFF' if mode == 'I' else 'PNG')) == [
        [(v,) * 3 for v in (0, 0, 1, 0x12, 0xFF)]
    ]


def test_float_images_are_refused_with_their_name():
    content = encode(Image.fromarray(np.array([[0.5]], dtype=np.float32)), 'TIFF')
    with pytest.raises(ImageError, match=r'depth\.tif.*8 or 16 bits.*mode F'):
        decode_image(content, 'depth.tif')
    content = encode(Image.fromarray(np.array([[70000]], dtype=np.int32)), 'TIFF')
    with pytest.raises(ImageError, match=r'depth\.tif.*8 or 16 bits.*70000'):
        decode_image(content, 'depth.tif')


def test_cmyk_jpeg():
    content = encode(Image.new('CMYK', (8, 8), (0, 255, 255, 0)), 'JPEG', quality=100)
    assert np.abs(decode_image(content, 'a.jpg').astype(int) - RED).max() <= 3


@pytest.mark.parametrize(
    ('orientation', 'expected'),
    [
        (1, 'RG/BK'),
        (2, 'GR/KB'),
        (3, 'KB/GR'),
        (4, 'BK/RG'),
        (5, 'RB/GK'),
        (6, 'BR/KG'),
        (7, 'KG/BR'),
        (8, 'GK/RB'),
    ],
)
def test_exif_orientation_is_applied(orientation, expected):
    """Red green over blue black, as the EXIF standard turns it for a viewer."""
    colours = dict(R=RED, G=GREEN, B=BLUE, K=(0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(from_rows([[RED, GREEN], [BLUE, colours['K']]], 'RGB'), exif=exif)
    assert pixels(content) == [[colours[letter] for letter in row] for row in expected.split('/')]


def test_the_first_frame_of_an_animation():
    frames = [Image.new('RGB', (2, 2), colour) for colour in (RED, BLUE)]
    assert (
        pixels(encode(frames[0], 'GIF', save_all=True, append_images=frames[1:])) == [[RED] * 2] * 2
    )


@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'GIF'])
def test_a_truncated_file_is_refused(format):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    content = encode(noise, format)
    decode_image(content, 'whole')
    with pytest.raises(ImageError, match=r'half.*cannot be decoded'):
        decode_image(content[: len(content) // 2], 'half')


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'', '0 bytes'),
        (b'<html>404</html>', 'cannot be decoded'),
        (b'\x89PNG\r\n\x1a\n', 'cannot be decoded'),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, match):
    path = tmp_path / 'broken.jpg'
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf'broken\.jpg.*{match}'):
        load(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / 'nowhere.jpg', tmp_path):
        with pytest.raises(FileNotFoundError, match=path.name):
            load(path)


def test_too_many_pixels_are_refused(tmp_path):
    path = tmp_path / 'large.png'
    path.write_bytes(encode(Image.new('L', (11, 10))))
    load(path, max_pixels=110)
    with pytest.raises(ImageError, match=r'large\.png.*11 x 10.*109'):
        load(path, max_pixels=109)


def test_a_bomb_is_refused_before_it_is_decoded():
    """A PNG whose header claims so many pixels, and nothing behind it."""
    chunk = lambda kind, data: (
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    )
    header = struct.pack('>IIBBBBB', 12_000, 12_000, 8, 2, 0, 0, 0)
    content = (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(b''))
        + chunk(b'IEND', b'')
    )
    with pytest.raises(ImageError, match='12000 x 12000 pixels'):
        decode_image(content, 'bomb.png')
    giant = content.replace(header, struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0))
    with pytest.raises(ImageError, match='bomb'):
        decode_image(giant, 'bomb.png')


def test_options_show_in_the_pipeline():
    assert repr(TRANSFORMS.build(dict(type='LoadCheckedImage', background=3))) == (
        'LoadCheckedImage(background=3, max_pixels=100000000)'
    )


@pytest.mark.parametrize('options', [dict(background=256), dict(background=-1), dict(max_pixels=0)])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=f'`{next(iter(options))}`'):
        TRANSFORMS.build(dict(type='LoadCheckedImage', **options))
