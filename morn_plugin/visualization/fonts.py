"""Text in pictures: fonts for every script, and substitutes for names that no font can show."""

import unicodedata
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from matplotlib import font_manager, rcParams
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

from ..utils.text import escape_surrogates

CJK = ('CJK', 'HIRAGANA', 'KATAKANA', 'HANGUL', 'IDEOGRAPHIC', 'BOPOMOFO', 'FULLWIDTH', 'KANGXI')
# Debian's packages. matplotlib draws only outlines, so a font of coloured emoji does not help.
CJK_PACKAGE = 'fonts-noto-cjk'
SYMBOL_PACKAGE = 'fonts-symbola'
OTHER_PACKAGE = 'fonts-noto-core'
BOLD = 600  # the smallest weight that counts as bold
_said: set[str] = set()  # packages that were already named
# The family of a character; '' for matplotlib's own font, None if no font has it.
_font_of: dict[str, str | None] = {}


@dataclass(frozen=True)
class Fonts:
    """Fonts that together can show the given texts.

    Attributes:
        families: For ``fontfamily`` of matplotlib, which searches them in order for each character.
        missing: Characters that none of them has.
    """

    families: tuple[str, ...]
    missing: frozenset[str] = frozenset()

    def clean(self, text: str) -> str:
        """Replace characters that cannot be shown by their code, and remove invisible ones."""
        return ''.join(self._show(character) for character in make_readable(text))

    def _show(self, character: str) -> str:
        if character not in self.missing:
            return character
        return '' if _is_invisible(character) else _code(character)

    def width(self, text: str, size: float) -> float:
        """Measure text in bold, in points."""
        font = FontProperties(family=list(self.families), size=size, weight='bold')
        return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]

    def shorten(
        self,
        text: str,
        room: float,
        size: float,
    ) -> str:
        """Clean text, and shorten it in the middle if it is wider than ``room`` points.

        Names often differ at the end.
        """
        return _shorten(self, text, room, size)


@lru_cache(maxsize=10_000)  # a name is in many cells of a table
def _shorten(
    fonts: Fonts,
    text: str,
    room: float,
    size: float,
) -> str:
    text = fonts.clean(text)
    if fonts.width(text, size) <= room:
        return text

    def is_too_wide(kept: int) -> bool:
        return fonts.width(_cut(text, kept), size) > room

    # More characters are wider, so the numbers that fit are 0 up to the one wanted.
    numbers = range(1, len(text))
    return _cut(text, bisect_left(numbers, True, key=is_too_wide))


def _cut(text: str, kept: int) -> str:
    """Keep so many characters, two thirds of them from the start."""
    end = kept // 3
    return f'{text[: kept - end]}…{text[len(text) - end :]}'


def choose_fonts(texts: Iterable[str]) -> Fonts:
    """Choose installed fonts that show the texts.

    matplotlib's own font comes first, and is enough for most scripts. Names each package of fonts
    that would help, once.
    """
    needed = {character for text in texts for character in make_readable(text)}
    _look_up(needed - _font_of.keys())

    families = dict.fromkeys(rcParams['font.family'])
    families |= dict.fromkeys(filter(None, (_font_of[item] for item in sorted(needed))))
    missing = frozenset(item for item in needed if _font_of[item] is None)
    _say_missing(missing)
    return Fonts(tuple(families), missing)


def _look_up(characters: set[str]) -> None:
    """Find the font of each character and store it in ``_font_of``."""
    if not characters:
        return

    default = font_manager.findfont(FontProperties())
    found = _drawable(default, characters)
    _font_of.update(dict.fromkeys(found, ''))

    missing = characters - found
    for path in _installed_fonts() if missing else ():
        found = _drawable(path, missing)
        if found:
            _font_of.update(dict.fromkeys(found, _register(path)))
            missing -= found

        if not missing:
            break

    _font_of.update(dict.fromkeys(missing))


def make_readable(text: str) -> str:
    r"""Replace characters without a glyph, and bytes of file names that are not text.

    Examples:
        >>> print(make_readable('a\nb\udcff'))
        a b\xff
    """
    return ''.join(map(_readable, escape_surrogates(text)))


def _readable(character: str) -> str:
    if character.isspace():
        return ' '
    return _code(character) if unicodedata.category(character) == 'Cc' else character


def _code(character: str) -> str:
    return character.encode('unicode_escape').decode()


def _is_invisible(character: str) -> bool:
    """Return whether a character is a joiner or variation selector, which chooses among glyphs."""
    return unicodedata.category(character) == 'Cf' or '\ufe00' <= character <= '\ufe0f'


def _say_missing(characters: frozenset[str]) -> None:
    visible = sorted(character for character in characters if not _is_invisible(character))
    packages = sorted({_package_of(character) for character in visible} - _said)
    if not packages:
        return

    _said.update(packages)
    warnings.warn(
        f'No installed font shows {len(visible)} of the characters to be drawn, such as '
        f'{" ".join(visible[:5])}: their codes are drawn instead. On Debian and Ubuntu: apt-get '
        f'install {" ".join(packages)}',
        stacklevel=4,
    )


def _package_of(character: str) -> str:
    if unicodedata.name(character, '').startswith(CJK):
        return CJK_PACKAGE
    if unicodedata.category(character) in ('So', 'Sk', 'Sm') or ord(character) >= 0x1F000:
        return SYMBOL_PACKAGE
    return OTHER_PACKAGE


def _installed_fonts() -> Iterator[str]:
    """Yield the font files of this machine, plain ones of Noto first.

    The fonts are listed each time, because matplotlib's own list is a file that lacks later fonts.
    """
    yield from sorted(font_manager.findSystemFonts(), key=_preference)


def _preference(path: str) -> tuple[bool, bool, str]:
    name = Path(path).stem
    return not name.startswith('NotoSans'), 'Regular' not in name, name


def _drawable(path: str, characters: set[str]) -> set[str]:
    """Return those of the characters that matplotlib can draw with a font."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError, ValueError):
        return set()
    if not font.scalable or 'Last Resort' in font.family_name:  # the latter has boxes for all
        return set()
    return {character for character in characters if font.get_char_index(ord(character))}


def _register(path: str) -> str:
    """Make a font known to matplotlib, and return its family.

    Bold text also gets it if the family has no bold: matplotlib would use it anyway, but log a
    message each time.
    """
    manager = font_manager.fontManager
    if all(entry.fname != path for entry in manager.ttflist):
        manager.addfont(path)

    family = FT2Font(path).family_name
    of_family = [entry for entry in manager.ttflist if entry.name == family]
    if of_family and all(_is_light(entry.weight) for entry in of_family):
        manager.ttflist.append(replace(of_family[0], weight='bold'))
    return family


def _is_light(weight: str | int) -> bool:
    return (
        font_manager.weight_dict.get(str(weight), 0 if isinstance(weight, str) else weight) < BOLD
    )
