"""Aligned columns of text: the only adapter to tabulate."""

from collections.abc import Sequence


def format_columns(
    lines: Sequence[Sequence[object]],
    headers: Sequence[str],
    align: Sequence[str],
    style: str = "plain",
) -> str:
    """Format lines and headers as columns; numbers are shown as they are.

    Args:
        lines: the values of each line.
        headers: one per column.
        align: "left" or "right" for each column.
        style: "plain", or "pipe" for a table in Markdown.
    """
    from tabulate import tabulate

    return tabulate(lines, headers, tablefmt=style, colalign=align, disable_numparse=True)
