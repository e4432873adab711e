"""HTML for notebooks: text, bars and tables without scripts, in the colors of the page."""

from collections.abc import Iterable, Sequence
from html import escape

from kubedistill.printing import printable_line

_BAR = (
    '<span style="display:inline-block;width:120px;height:8px;border-radius:4px;background:#8883;overflow:hidden">'
    '<span style="display:block;width:{percent}%;height:8px;background:#2f81f7"></span></span>'
)


def text_html(text: str) -> str:
    """Return text on one line as HTML; escape bidirectional controls, which would reorder the text around them."""
    return escape(printable_line(text))


def bar_html(percent: float) -> str:
    """Return a progress bar."""
    return _BAR.format(percent=percent)


def table_html(heads: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: bool = False) -> str:
    """Return a table, or an empty string without rows; with `escaped`, the cells are already HTML."""
    head = f"<tr>{''.join(f'<th>{text_html(one)}</th>' for one in heads)}</tr>" if heads else ""
    cells = [[one if escaped else text_html(one) for one in row] for row in rows]
    body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in cells)
    return f"<table>{head}{body}</table>" if body else ""
