"""Makes CSV cells that no spreadsheet mistakes for a formula."""

#: First characters of a formula in Excel, LibreOffice and others; they strip tab and line end.
FORMULA_STARTS = ('=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠')  # noqa: RUF001


def safe_cell(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would evaluate.

    A label or file name may come from a stranger, and ``=HYPERLINK(...)`` can send other cells to
    anyone. Spreadsheets themselves mark text with an apostrophe.

    Examples:
        >>> safe_cell('=1+1'), safe_cell('cat')
        ("'=1+1", 'cat')
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
