"""Text for a terminal: aligned columns and colours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_CODES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "cyan": "36"}
_ESCAPE = re.compile(r"\x1b\[\d+m")


@dataclass(frozen=True, slots=True)
class Style:
    """Adds ANSI escape codes to a text if ``colours`` is true."""

    colours: bool

    def __call__(self, text: str, colour: str) -> str:
        """The text in a color of _CODES; unchanged if ``colours`` is false or the text is empty."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colours and text else text


def plain(text: str) -> str:
    """Return the text without escape codes."""
    return _ESCAPE.sub("", text)


def table(style: Style, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines below the headings, without columns that are empty in every row."""
    used = [column for column in range(len(headings)) if any(row[column] for row in rows)]
    cells = [[row[column] for column in used] for row in rows]
    names = [headings[column] for column in used]
    widths = [max(len(plain(row[column])) for row in [names, *cells]) for column in range(len(used))]
    heading = _pad([style(name, "dim") for name in names], widths)
    return [f"  {heading}", *(f"  {_pad(row, widths)}" for row in cells)]


def _pad(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell + " " * (width - len(plain(cell))) for cell, width in zip(row, widths, strict=True)).rstrip()
