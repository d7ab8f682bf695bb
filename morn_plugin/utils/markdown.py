"""Lays out tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table: text in the first column, numbers in the others.

    Args:
        header: Titles of the columns.
        rows: Cells as text, one sequence per row.

    Examples:
        >>> print(markdown_table(['', 'images'], [['train', '763']]))
        |  | images |
        |---|--:|
        | train | 763 |
    """
    rule = '|---|' + '--:|' * (len(header) - 1)
    return '\n'.join([table_row(header), rule, *map(table_row, rows)])


def table_row(cells: Iterable[str]) -> str:
    """Lay out one row, for a table that is printed while it grows.

    Examples:
        >>> table_row(['test', '383'])
        '| test | 383 |'
    """
    return f'| {" | ".join(cells)} |'
