"""The directories of TIFF and EXIF data, looked at before Pillow copies what they name."""

import struct
from collections.abc import Iterator

MAX_NUMBERS = 2**21  # enough for tiles of 16 x 16 in 100 megapixels
# Bytes of a value of each type: BYTE, ASCII, SHORT, LONG, RATIONAL, ...
UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
POINTERS = (0x8769, 0x8825, 0xA005)  # tags of further directories: EXIF, GPS, interoperability


def check_directories(data: bytes) -> None:
    """Refuse data whose entries name the same bytes again and again.

    Each of 65,535 entries may point to the same megabytes, and Pillow copies them for every one.
    An entry that points outside is left to Pillow, which stops there.

    Args:
        data: A TIFF file, or EXIF data from their byte order on.

    Raises:
        ValueError: If the entries name more bytes than there are, or too many numbers.
    """
    named = numbers = 0
    for count, unit in _Reader(data).entries():
        named += count * unit
        if named > len(data) + 4096:
            raise ValueError(
                f'its TIFF directories name more bytes than the {len(data)} that there are'
            )

        numbers += count if unit > 1 else 0
        if numbers > MAX_NUMBERS:
            raise ValueError(f'its TIFF directories contain more than {MAX_NUMBERS} numbers')


class _Reader:
    """Walks through the directories that Pillow reads, by the rules that it reads them by."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = '<' if data[:2] == b'II' else '>'
        self.big = data[2:3] == b'\x2b'  # BigTIFF: 64 bits in place of 32

        self.word = self.order + ('Q' if self.big else 'I')
        self.head = self.order + ('Q' if self.big else 'H')
        self.entry = self.order + ('HHQ8s' if self.big else 'HHI4s')

    def entries(self) -> Iterator[tuple[int, int]]:
        """Yield count and unit size of all entries whose values lie in the data."""
        waiting = [self._unpack(self.word, 8 if self.big else 4)]
        seen: set[int] = set()
        while waiting:
            found = waiting.pop()
            if found is None or found[0] in seen:
                continue

            seen.add(found[0])

            for tag, unit, count, field in self._directory(found[0]):
                if tag in POINTERS and count == 1:
                    waiting.append((self._number(field[:unit]),))
                size = count * unit
                if size <= len(field) or self._number(field) + size <= len(self.data):
                    yield count, unit

    def _directory(self, place: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield tag, unit size, count and field of each entry of a known type."""
        (number,) = self._unpack(self.head, place) or (0,)
        start = place + struct.calcsize(self.head)
        step = struct.calcsize(self.entry)

        for index in range(number):
            found = self._unpack(self.entry, start + index * step)
            if found is None:
                return

            tag, kind, count, field = found
            if kind in UNITS:
                yield tag, UNITS[kind], count, field

    def _number(self, field: bytes) -> int:
        return int.from_bytes(field, 'little' if self.order == '<' else 'big')

    def _unpack(self, layout: str, place: int) -> tuple | None:
        if place + struct.calcsize(layout) > len(self.data):
            return None
        return struct.unpack_from(layout, self.data, place)
