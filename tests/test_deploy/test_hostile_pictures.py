"""Hostile and odd picture files: each is read right, or refused with file and reason; nothing is run."""

import io
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import picture_files as make
import pytest
from PIL import Image, features

from morn_plugin.deploy.images import ImageError, decode_image, read_image

pytestmark = pytest.mark.slow  # starts processes

ROOT = Path(__file__).parents[2]
BIG = 30_000  # pixels a side: more than are allowed
RED = (200, 30, 40)

# What it is, and the bytes of the file. Every one is called cat.jpg.
REFUSED = {
    'EPS': make.eps('(ran) (w) file closefile'),
    'PostScript': b'%!PS-Adobe-3.0\nshowpage\n',
    'EPS behind a DOS header': b'\xc5\xd0\xd3\xc6' + struct.pack('<II', 32, 100) + bytes(24) + make.eps(''),
    'PDF': b'%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF',
    'FITS with gzip': make.fits_gz(),
    'WMF': b'\xd7\xcd\xc6\x9a\0\0' + struct.pack('<hhhhHIH', 0, 0, 100, 100, 72, 0, 0) + bytes(40),
    'EMF': struct.pack('<II', 1, 88) + bytes(32) + b' EMF' + bytes(60),
    'SVG': b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    'HTML': b'<!doctype html><html><img src="http://example.com/a.jpg"></html>',
    'XBM': b'#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {0xff};\n',
    'XPM': b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #ff0000", "a"};\n',
    'PSD': b'8BPS\0\1' + bytes(6) + struct.pack('>HIIHH', 3, BIG, BIG, 8, 3) + bytes(12),
    'PCX': b'\x0a\x05\x01\x08' + struct.pack('<HHHH', 0, 0, 60_000, 60_000) + bytes(120),
    'SGI': b'\x01\xda\x00\x01\x00\x03' + struct.pack('>HHH', 60_000, 60_000, 3) + bytes(500),
    'DDS': b'DDS ' + struct.pack('<IIII', 124, 0, BIG, BIG) + bytes(112),
    'ICNS': b'icns' + struct.pack('>I', 16) + b'ic10' + struct.pack('>I', 8),
    'FLI': struct.pack('<IHHHHHH', 128, 0xAF11, 1, 100, 100, 8, 3) + bytes(120),
    'cursor': b'\0\0\2\0' + make.icon(make.png(8, 8))[4:],
    'MP4': b'\0\0\0\x18ftypisom\0\0\0\0isommp42' + bytes(100),
    'gzip': b'\x1f\x8b\x08\0' + bytes(100),
    'text that begins as a bitmap': b'BMW is a make of cars. ' * 9,
    'nothing': b'',
    'zeros': bytes(4096),
    'PNG bomb': make.png(BIG, BIG),
    'PNG without pixels': make.png(0, 7),
    'PNG with negative size': make.png(2**31 + 5, 1),
    'PNG of text bombs': make.png(
        8, 8, *[(b'zTXt', b'a\0\0' + zlib.compress(bytes(2_000_000)))] * 40
    ),
    'PNG with greedy EXIF': make.png(8, 8, (b'eXIf', make.greedy_directory())),
    'JPEG bomb': make.jpeg_header(65_500, 65_500),
    'JPEG without pixels': make.jpeg_header(0, 16),
    'JPEG of many scans': make.many_scans(20_000),
    'JPEG with greedy EXIF': make.with_exif(make.greedy_directory()),
    'GIF bomb': make.gif((65_535, 65_535), (65_535, 65_535)),
    'GIF frame beyond its screen': make.gif((8, 8), (65_535, 65_535)),
    'GIF without a frame': b'GIF89a' + struct.pack('<HHBBB', 8, 8, 0, 0, 0) + b';',
    'BMP bomb': make.bitmap(BIG, BIG),
    'BMP of a long row and skips': make.bitmap(90_000_000, 1, compression=1, data=b'\0\2\xff\xff' * 9),
    'BMP of negative width': make.bitmap(-8, 8, data=bytes(64)),
    'TIFF bomb': make.tiff(make.picture_tags(BIG, BIG)),
    'TIFF of a large tile': make.tiled_tiff(16, 12_000),
    'TIFF with greedy directory': make.greedy_directory(),
    'TIFF of too many numbers': make.tiff(
        [*make.picture_tags(4, 4), (338, 3, 2_200_000, 200)], bytes(4_500_000)
    ),
    'raw file of a camera': make.tiff([(254, 4, 1, 1), *make.picture_tags(4, 4)]),
    'WebP bomb': make.webp(2**24, 256),
    'WebP cut off': make.webp(8, 8),
    'WebP with greedy EXIF': make.encode(make.gradient(), 'WEBP', exif=make.greedy_directory()),
    'AVIF with greedy EXIF': make.avif_with_exif(make.greedy_directory()),
    'AVIF cut off': b'\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf' + bytes(9),
    'HEIC cut off': b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(9),
    'JPEG 2000 bomb': make.jp2(BIG, BIG),
    'JPEG 2000 codestream bomb': make.j2k(BIG, BIG),
    'JPEG 2000 of two sizes': make.jp2(2000, 2000),
    'JPEG 2000 without boxes': b'\0\0\0\x0cjP  \r\n\x87\n' + bytes(8),
    'PPM bomb': b'P6 %d %d 255\n' % (BIG, BIG),
    'PGM bomb of text': b'P2\n5000 5000\n255\n1 2 3',
    'PGM of endless number': b'P2\n2 2\n255\n' + b'1' * 100_000,
    'PBM without pixels': b'P4\n0 0\n',
    'icon of a bomb': make.icon(make.png(BIG, BIG)),
    'icon of a bitmap bomb': make.icon(make.bitmap(4096, 8192)[14:]),
    'icon in an icon': make.icon(make.icon(make.icon(make.png(8, 8)))),
    'icon without pictures': make.icon(),
    'icon of 65,535 pictures': make.icon(make.png(8, 8), number=65_535),
    'icon that points outside': make.icon(make.png(8, 8))[:60],
}  # fmt: skip


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fail the test at the first program, whichever way it is started."""

    def refuse(*args, **kwargs):
        pytest.fail(f'a program was started: {args}')

    for name in ('Popen', 'run', 'call', 'check_call', 'check_output'):
        monkeypatch.setattr(subprocess, name, refuse)
    for name in ('system', 'popen', 'fork', 'posix_spawn', 'execv'):
        monkeypatch.setattr(os, name, refuse)


@pytest.mark.parametrize('name', REFUSED)
def test_refused_with_file_and_reason(name, nothing_runs):
    with pytest.raises(ImageError, match=r'^Image cat\.jpg .{15,}'):
        decode_image(REFUSED[name], 'cat.jpg')


CHILD = """
import json, os, resource, sys, time
from pathlib import Path
from morn_plugin.deploy.images import read_image
started = []
watched = ('subprocess.Popen', 'os.exec', 'os.posix_spawn', 'os.system', 'os.fork', 'socket.connect')
sys.addaudithook(lambda event, args: started.append(event) if event in watched else None)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
resource.setrlimit(resource.RLIMIT_DATA, (2_000_000_000,) * 2)
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        said = str(read_image(str(path)).shape)
    except Exception as error:
        said = f'{type(error).__name__}: {error}'
    print(json.dumps([path.name, said, time.process_time() - start, started]), flush=True)
print(json.dumps(peak() - before))
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='limits and peaks of memory as Linux has them')
def test_in_two_gigabytes_and_ten_seconds_each(tmp_path):
    """In a process of its own, whose memory is limited, and which says whatever it starts."""
    for index, content in enumerate(REFUSED.values()):
        (tmp_path / f'{index:03d}.jpg').write_bytes(content)

    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', CHILD, str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    *lines, more = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(lines) == len(REFUSED)

    for name, said, seconds, started in lines:
        assert said.startswith('ImageError: '), (name, said)
        assert seconds < 10, (name, said)
        assert not started, (name, started)

    assert more < 300_000  # kilobytes


def test_ghostscript_would_have_run(tmp_path):
    """The EPS file is a real one: Pillow's own door hands it to Ghostscript where that is installed."""
    with Image.open(io.BytesIO(REFUSED['EPS'])) as image:
        assert image.format == 'EPS'


# What is no regular file


def make_place(kind, folder):
    path = folder / 'cat.jpg'
    if kind == 'folder':
        path.mkdir()
    elif kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'link to a device':
        path.symlink_to('/dev/zero')
    elif kind == 'link to itself':
        path.symlink_to(path)
    elif kind == 'link to nothing':
        path.symlink_to(folder / 'gone.jpg')
    elif kind == 'socket':
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == 'huge':
        path.touch()
        os.truncate(path, 5_000_000_000)  # a hole: no byte of it is on the disk

    return path


@pytest.mark.skipif(sys.platform == 'win32', reason='POSIX files')
@pytest.mark.parametrize(
    ('kind', 'reason'),
    [
        ('folder', 'is a folder'),
        ('pipe', 'is no regular file'),
        ('link to a device', 'is no regular file'),
        ('link to itself', 'symbolic links'),
        ('link to nothing', 'does not exist'),
        ('socket', 'is no regular file'),
        ('huge', 'has more than 800000000 bytes'),
    ],
)
def test_what_is_no_regular_file_is_named(kind, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = make_place(kind, Path())
    with pytest.raises((ImageError, OSError), match=rf'(?s)cat\.jpg.*{reason}|{reason}.*cat\.jpg'):
        read_image(str(path))


def test_paths_that_no_file_can_have():
    for path in ('a\0b.jpg', 'x' * 5000 + '.jpg'):
        with pytest.raises(OSError, match=r'does not exist|too long'):
            read_image(path)


# What is read right


def solid(mode='RGB', colour=RED, size=(24, 16)):
    return Image.new(mode, size, colour)


def palette(transparent=None):
    image = Image.new('P', (24, 16), 1)
    image.putpalette([9, 9, 9, *RED])
    if transparent is not None:
        image.info['transparency'] = transparent
    return image


def animated(kind):
    frames = [solid(), solid(colour=(0, 0, 255)), solid(colour=(0, 255, 0))]
    options = dict(lossless=True) if kind == 'WEBP' else {}
    return make.encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def rgb16(kind):
    """RGB of 16 bits a channel, which Pillow cannot write."""
    pixels = np.broadcast_to(np.array(RED, '>u2') * 257, (16, 24, 3)).astype('>u2').tobytes()
    if kind == 'PPM':
        return b'P6 24 16 65535\n' + pixels

    rows = b''.join(b'\0' + pixels[row * 144 : row * 144 + 144] for row in range(16))
    content = bytearray(make.png(24, 16, colour=2))
    content[24] = 16  # bits
    content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
    start = content.index(b'IDAT') - 4
    packed = zlib.compress(rows)
    chunk = b'IDAT' + packed
    end = struct.pack('>I', len(packed)) + chunk + struct.pack('>I', zlib.crc32(chunk))
    return bytes(content[:start]) + end + b'\0\0\0\0IEND\xaeB`\x82'


def two_pictures():
    """An MPO file as cameras for three dimensions write it."""
    return make.encode(solid(), 'MPO', save_all=True, append_images=[solid(colour=(0, 0, 255))])


READ = {
    'JPEG': lambda: make.encode(solid(), 'JPEG', quality=95),
    'progressive JPEG': lambda: make.encode(solid(), 'JPEG', quality=95, progressive=True),
    'CMYK JPEG': lambda: make.encode(solid().convert('CMYK'), 'JPEG', quality=95),
    'JPEG with broken EXIF': lambda: make.with_exif(b'MM\0*\0\0\0\x08\xff\xff' + b'\x01\x12' * 40),
    'JPEG whose EXIF points outside': lambda: make.with_exif(make.tiff([(271, 2, 900, 70_000)])),
    'MPO': two_pictures,
    'PNG': lambda: make.encode(solid(), 'PNG'),
    'animated PNG': lambda: animated('PNG'),
    '16-bit PNG': lambda: rgb16('PNG'),
    'palette': lambda: make.encode(palette(), 'PNG'),
    'palette with transparency': lambda: make.encode(palette(0), 'PNG'),
    'RGBA': lambda: make.encode(solid('RGBA', (*RED, 255)), 'PNG'),
    'GIF': lambda: make.encode(palette(), 'GIF'),
    'animated GIF': lambda: animated('GIF'),
    'WebP': lambda: make.encode(solid(), 'WEBP', lossless=True),
    'animated WebP': lambda: animated('WEBP'),
    'BMP': lambda: make.encode(solid(), 'BMP'),
    'TIFF': lambda: make.encode(solid(), 'TIFF'),
    'TIFF with LZW': lambda: make.encode(solid(), 'TIFF', compression='tiff_lzw'),
    'TIFF with JPEG': lambda: make.encode(solid(), 'TIFF', compression='jpeg', quality=95),
    'BigTIFF': lambda: make.encode(solid(), 'TIFF', big_tiff=True),
    'TIFF of pages': lambda: animated('TIFF'),
    'CMYK TIFF': lambda: make.encode(solid().convert('CMYK'), 'TIFF'),
    'AVIF': lambda: make.encode(solid(), 'AVIF', quality=100),
    'JPEG 2000': lambda: make.encode(solid(), 'JPEG2000'),
    'JPEG 2000 codestream': lambda: make.encode(solid(), 'JPEG2000', no_jp2=True),
    'PPM': lambda: make.encode(solid(), 'PPM'),
    'PPM of text': lambda: b'P3\n# a comment\n24 16\n255\n' + b'%d %d %d\n' % RED * (24 * 16),
    'PPM of 16 bits': lambda: rgb16('PPM'),
    'icon of PNG': lambda: make.encode(solid('RGBA', (*RED, 255)), 'ICO', sizes=[(24, 16)]),
    'icon of a bitmap': lambda: make.encode(
        solid('RGBA', (*RED, 255)), 'ICO', sizes=[(24, 16)], bitmap_format='bmp'
    ),
}
LOSSY = ('JPEG', 'AVIF', 'MPO', 'CMYK')


@pytest.mark.parametrize('name', READ)
def test_read_right_by_its_content(name, nothing_runs):
    """All are called cat.png, and all but those with other pixels are one colour."""
    if name == 'AVIF' and not features.check('avif'):
        pytest.skip('this Pillow was built without AVIF')
    image = decode_image(READ[name](), 'cat.png').astype(int)
    assert image.shape == (16, 24, 3)
    if 'EXIF' not in name:
        tolerance = 6 if any(kind in name for kind in LOSSY) else 0
        assert np.abs(image - RED).max() <= tolerance


def test_directories_that_point_to_themselves_end():
    entries = [(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), *make.picture_tags(4, 4)]
    assert decode_image(make.tiff(entries), 'a.tif').shape == (4, 4, 3)


def test_heic_needs_its_plugin(monkeypatch):
    heif = pytest.importorskip('pillow_heif', reason='pillow-heif is not installed: the extra heic')
    buffer = io.BytesIO()
    heif.from_pillow(make.gradient(64, 48)).save(buffer, quality=95)
    found = decode_image(buffer.getvalue(), 'a.heic').astype(int)
    assert found.shape == (48, 64, 3)
    assert np.abs(found - np.asarray(make.gradient(64, 48))).mean() < 12
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    with pytest.raises(ImageError, match=r"a\.heic .*pip install 'morn-plugin\[heic\]'"):
        decode_image(buffer.getvalue(), 'a.heic')


def test_the_largest_picture_of_an_icon_whatever_its_directory_says():
    """Windows' directory ends at 256 pixels; icons of 512 are common."""
    small, large = (make.encode(solid('RGBA', (*colour, 255), (side, side)), 'PNG')
                    for colour, side in (((0, 0, 9), 16), (RED, 512)))  # fmt: skip
    image = decode_image(make.icon(small, large), 'a.ico')
    assert image.shape == (512, 512, 3)
    assert (image == RED).all()


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF', 'AVIF'])
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_upright_in_every_kind(kind, orientation):
    """Red above, blue below, turned as a camera would store it."""
    if kind == 'AVIF' and not features.check('avif'):
        pytest.skip('this Pillow was built without AVIF')
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16], upright[16:] = (230, 0, 0), (0, 0, 230)
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]  # counterclockwise, to undo what is applied
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright, turns)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = make.encode(stored, kind, exif=exif, **({} if kind == 'TIFF' else dict(quality=100)))
    found = decode_image(content, 'a')
    assert found.shape == upright.shape
    assert found[4, 24].argmax() == 0
    assert found[28, 24].argmax() == 2


LIMITED = ('JPEG', 'PNG', 'GIF', 'WEBP', 'BMP', 'TIFF', 'AVIF', 'JPEG2000', 'PPM')


@pytest.mark.parametrize('kind', LIMITED)
def test_a_limit_gives_way_when_it_is_raised_as_the_message_says(kind, monkeypatch):
    """Also beyond the limit that Pillow has for the whole process."""
    if kind == 'AVIF' and not features.check('avif'):
        pytest.skip('this Pillow was built without AVIF')
    content = make.encode(make.gradient(), kind)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50)
    with pytest.raises(
        ImageError, match=r'24 x 16 pixels.*raise \S+ of LoadCheckedImage'
    ) as caught:
        decode_image(content, 'a', max_pixels=24 * 16 - 1)

    needed = int(str(caught.value).rstrip('.').rsplit(' ', 1)[1])
    with pytest.raises(ImageError, match='24 x 16 pixels'):
        decode_image(content, 'a', max_pixels=needed - 1)
    assert decode_image(content, 'a', max_pixels=needed).shape == (16, 24, 3)
