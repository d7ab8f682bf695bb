"""Files for the tests: pictures of every kind, and what pretends to be one."""

import gzip
import io
import struct
import zlib

import numpy as np
from PIL import Image


def gradient(width=24, height=16):
    """A picture of which no two parts are the same."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 10, y * 15, x + y], -1).astype(np.uint8))


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height, *chunks, colour=0):
    """A PNG file of a few bytes that claims any size; ``chunks`` come before the pixels."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, colour, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + b''.join(chunk(*pair) for pair in chunks)
        + chunk(b'IDAT', zlib.compress(bytes(1000)))
        + chunk(b'IEND', b'')
    )


def tiff(entries, data=b''):
    """A TIFF file of one directory: ``entries`` of tag, type, count and value, then ``data``."""
    packed = b''.join(struct.pack('<HHII', *entry) for entry in sorted(entries))
    return b'II*\0' + struct.pack('<IH', 8, len(entries)) + packed + bytes(4) + data


def picture_tags(width, height, compression=1, **more):
    """Entries of a grey picture whose one strip begins at byte 0 of the file."""
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1, 278: height}
    tags |= {273: 8, 279: 16}
    return [(tag, 4, 1, value) for tag, value in tags.items()]


def tiled_tiff(side, tile):
    """A grey TIFF file of few pixels in one large tile, which is packed well."""
    packer = zlib.compressobj(9)
    row = bytes(tile)
    packed = b''.join(packer.compress(row) for _ in range(tile)) + packer.flush()
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile}
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {324: start, 325: len(packed)}
    return tiff([(tag, 4, 1, value) for tag, value in tags.items()], packed)


def greedy_directory(number=4000, size=60_000, prefix=b''):
    """EXIF data whose entries all name the same bytes."""
    start = 8 + 2 + 12 * number + 4
    entries = [(tag + 1, 7, size, start) for tag in range(number)]
    return prefix + tiff(entries, bytes(size))


def icon(*pictures, number=None):
    """An ICO file of encoded pictures."""
    head = struct.pack('<HHH', 0, 1, len(pictures) if number is None else number)
    place = 6 + 16 * len(pictures)
    entries = b''
    for data in pictures:
        entries += struct.pack('<BBBBHHII', 0, 0, 0, 0, 1, 32, len(data), place)
        place += len(data)
    return head + entries + b''.join(pictures)


def bitmap(width, height, bits=8, compression=0, data=b''):
    """A BMP file with a grey palette."""
    palette = b''.join(bytes([grey, grey, grey, 0]) for grey in range(256)) if bits == 8 else b''
    start = 14 + 40 + len(palette)
    head = struct.pack(
        '<IiiHHIIiiII', 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0
    )
    return b'BM' + struct.pack('<IHHI', start + len(data), 0, 0, start) + head + palette + data


def gif(screen, frame):
    """A GIF file that claims the size of its screen and of its only frame."""
    head = b'GIF89a' + struct.pack('<HHBBB', *screen, 0x80, 0, 0) + bytes(6)
    return head + b',' + struct.pack('<HHHHB', 0, 0, *frame, 0) + b'\x02\x02\x44\x01\x00;'


def webp(width, height):
    """The beginning of an extended WebP file."""
    size = (width - 1).to_bytes(3, 'little') + (height - 1).to_bytes(3, 'little')
    chunk = b'VP8X' + struct.pack('<I', 10) + bytes(4) + size
    return b'RIFF' + struct.pack('<I', 4 + len(chunk)) + b'WEBP' + chunk


def jpeg_header(width, height):
    """A JPEG file whose scan never comes."""
    whole = encode(gradient(), 'JPEG')
    place = whole.index(b'\xff\xc0') + 5
    return whole[:place] + struct.pack('>HH', height, width) + whole[place + 4 : -20]


def many_scans(number, side=400):
    """A progressive JPEG file whose last scan is repeated."""
    whole = encode(Image.new('RGB', (side, side), (7, 8, 9)), 'JPEG', progressive=True)
    last = whole[whole.rindex(b'\xff\xda') : -2]
    return whole[:-2] + last * number + b'\xff\xd9'


def with_exif(exif):
    """A JPEG file with EXIF data, in as many segments as they take."""
    whole = encode(gradient(), 'JPEG')
    parts = [exif[place : place + 65_000] for place in range(0, len(exif), 65_000)]
    segments = [b'Exif\0\0' + part for part in parts]
    return (
        whole[:2]
        + b''.join(b'\xff\xe1' + struct.pack('>H', len(part) + 2) + part for part in segments)
        + whole[2:]
    )


def avif_with_exif(exif):
    """An AVIF file with EXIF data; Pillow would read them while it writes, so they come in later."""
    plain = b'II*\0' + struct.pack('<IHI', 8, 0, 0) + bytes(len(exif) - 14)
    return encode(gradient(), 'AVIF', exif=plain).replace(plain, exif)


def jp2(width, height):
    """A JPEG 2000 file that claims another size in its box and, if there, in its codestream."""
    whole = bytearray(encode(gradient(), 'JPEG2000'))
    place = whole.index(b'ihdr') + 4
    whole[place : place + 8] = struct.pack('>II', height, width)
    return bytes(whole)


def j2k(width, height):
    """A JPEG 2000 codestream that claims any size."""
    whole = bytearray(encode(gradient(), 'JPEG2000', no_jp2=True))
    whole[8:16] = struct.pack('>II', width, height)
    return bytes(whole)


def fits_gz(megabytes=8):
    """A FITS file whose table is a gzip stream of zeros."""
    packed = gzip.compress(bytes(megabytes * 1_000_000))
    first = [
        'SIMPLE  =                    T',
        'BITPIX  =                    8',
        'NAXIS   =                    0',
    ]
    second = [
        "XTENSION= 'BINTABLE'",
        'BITPIX  =                    8',
        'NAXIS   =                    2',
        f'NAXIS1  = {len(packed):20d}',
        'NAXIS2  =                    1',
        'PCOUNT  =                    0',
        'ZIMAGE  =                    T',
        "ZCMPTYPE= 'GZIP_1  '",
        'ZBITPIX =                    8',
        'ZNAXIS  =                    2',
        'ZNAXIS1 =                 1000',
        'ZNAXIS2 =                 1000',
    ]
    cards = [''.join(f'{card:80}' for card in [*block, 'END']) for block in (first, second)]
    blocks = b''.join(text.encode() + b' ' * (-len(text) % 2880) for text in cards)
    return blocks + packed


def eps(command):
    """An EPS file that does something when Ghostscript runs it."""
    return (
        '%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n'
        f'{command}\nshowpage\n%%EOF\n'
    ).encode()
