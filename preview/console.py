"""Text for a terminal: aligned columns, a tree's lines, and colours where they can be seen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_ESCAPE = re.compile(r"\x1b\[\d+m")


@dataclass(frozen=True, slots=True)
class Style:
    """Without colours every text stays as it is."""

    colours: bool

    def __call__(self, text: str, kind: str) -> str:
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if self.colours and text else text

    def title(self, text: str) -> str:
        return self(text, "bold")


def plain(text: str) -> str:
    """Without its colours."""
    return _ESCAPE.sub("", text)


def table(style: Style, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines under heads; a column that is empty in every row is left out."""
    used = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    cells = [[row[place] for place in used] for row in rows]
    names = [heads[place] for place in used]
    widths = [max(len(plain(row[place])) for row in [names, *cells]) for place in range(len(used))]
    head = _padded([style(name, "dim") for name in names], widths)
    return [f"  {head}", *(f"  {_padded(row, widths)}" for row in cells)]


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell + " " * (width - len(plain(cell))) for cell, width in zip(row, widths, strict=True)).rstrip()
