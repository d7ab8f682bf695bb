"""Cells of CSV files that no spreadsheet mistakes for a formula."""

#: What Excel, LibreOffice and others begin a formula with; tab and line end are cut off before.
FORMULA_STARTS = ('=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠')  # noqa: RUF001


def safe_cell(text: str) -> str:
    """Put an apostrophe in front of a text that a spreadsheet would compute.

    A label or a file name may come from a stranger, and ``=HYPERLINK(...)`` in a cell sends its
    neighbours to anyone. Spreadsheets themselves mark text by the apostrophe.

    Examples:
        >>> safe_cell('=1+1'), safe_cell('cat')
        ("'=1+1", 'cat')
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
