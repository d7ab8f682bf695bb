"""Makes text printable."""


def escape_surrogates(text: str) -> str:
    r"""Escape bytes of a file name that are not text, and other halves of characters.

    Neither log files nor fonts accept them.

    Examples:
        >>> print(escape_surrogates('a\udcff \ud800'))
        a\xff \ud800
    """
    return ''.join(map(_escape, text))


def _escape(character: str) -> str:
    if '\udc80' <= character <= '\udcff':
        return f'\\x{ord(character) - 0xDC00:02x}'
    if '\ud800' <= character <= '\udfff':
        return f'\\u{ord(character):04x}'
    return character
