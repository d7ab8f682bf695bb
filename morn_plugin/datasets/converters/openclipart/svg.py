"""Reads the keywords of an untrusted SVG."""

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from .errors import MalformedSvgError, UnsafeSvgError

MAX_SVG_BYTES = 64 * 2**20  # 38 times the largest SVG of the collection
MAX_ENTITY_CHARS = 256  # the collection's hold namespace URLs of at most 47
_RDF_ITEM = 'http://www.w3.org/1999/02/22-rdf-syntax-ns# li'
_DC_SUBJECT = 'http://purl.org/dc/elements/1.1/ subject'


@dataclass(frozen=True)
class Svg:
    """The data of an SVG that the converter needs.

    Attributes:
        keywords: The unchanged items of the ``dc:subject`` bag, in order.
        gzipped: Whether the file was compressed.
        num_entities: How many internal entities its DTD declares.
    """

    keywords: tuple[str, ...]
    gzipped: bool
    num_entities: int


def read_svg(path: Path) -> Svg:
    """Read the keywords of an SVG, plain or gzipped.

    Nothing outside the file is fetched. Internal entities are allowed only as drawing programs use
    them: for a short text without further entities, so that the text cannot blow up.

    Raises:
        MalformedSvgError: If it is not well-formed XML or not valid gzip.
        UnsafeSvgError: If it is huge or declares any other entity.
    """
    with path.open('rb') as file:
        gzipped = file.read(2) == b'\x1f\x8b'
    try:
        with gzip.open(path) if gzipped else path.open('rb') as file:
            text = file.read(MAX_SVG_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MalformedSvgError(f'{path}: expected a gzipped SVG, but {error}.') from error

    if len(text) > MAX_SVG_BYTES:
        raise UnsafeSvgError(
            f'{path}: expected at most {MAX_SVG_BYTES} bytes of XML, but got more.'
        )

    reader = _SubjectReader(path)
    try:
        reader.parser.Parse(text, True)
    except (
        expat.ExpatError,
        LookupError,
    ) as error:  # LookupError: an encoding that Python does not know
        raise MalformedSvgError(f'{path}: expected well-formed XML, but {error}.') from error

    return Svg(tuple(reader.keywords), gzipped, reader.num_entities)


class _SubjectReader:
    """Collects every ``rdf:li`` within ``dc:subject``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keywords: list[str] = []
        self.num_entities = 0
        self._subject_depth = 0
        self._item: list[str] | None = None
        self.parser = expat.ParserCreate(namespace_separator=' ')
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._entity

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._subject_depth += name == _DC_SUBJECT
        if name == _RDF_ITEM and self._subject_depth:
            self._item = []

    def _end(self, name: str) -> None:
        self._subject_depth -= name == _DC_SUBJECT
        if name == _RDF_ITEM and self._item is not None:
            self.keywords.append(''.join(self._item))
            self._item = None

    def _text(self, text: str) -> None:
        if self._item is not None:
            self._item.append(text)

    def _entity(
        self,
        name: str,
        is_parameter: bool,
        value: str | None,
        *external: str | None,
    ) -> None:
        if (
            is_parameter
            or value is None
            or '&' in value
            or '%' in value
            or len(value) > MAX_ENTITY_CHARS
        ):
            raise UnsafeSvgError(
                f'{self.path}: expected entities to be plain internal texts of at most '
                f'{MAX_ENTITY_CHARS} characters, but {name!r} is not.'
            )

        self.num_entities += 1
