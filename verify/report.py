"""The table, with a row printed as soon as its step has ended, and the text around it."""

import contextlib
import enum
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TextIO

WIDTH = 110
GREEN, RED, YELLOW, PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[0m"


class Status(enum.Enum):
    """The result of a step: the word, its mark (if the encoding has it), and its color."""

    OK = ("ok", "\u2713", GREEN)
    FAILED = ("FAILED", "\u2717", RED)
    SKIPPED = ("skipped", "-", YELLOW)
    NOT_RUN = ("not run", "-", YELLOW)


class Row(NamedTuple):
    """A step that has ended. The note of a step that has not passed says why."""

    via: str
    title: str
    status: Status
    milliseconds: float
    note: str


class Report:
    """Writes to one stream; when its reader ends (`| head`), the verification continues without output."""

    def __init__(self, stream: TextIO, titles: Iterable[str], environ: Mapping[str, str]) -> None:
        self.stream = stream
        self.widest = max(map(len, titles))
        self.counts = Counter[Status]()
        self.rows: list[Row] = []
        self.color = stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self.marks = _can_encode(stream, "".join(status.value[1] for status in Status))

    def heading(self) -> None:
        """Print the head of the table."""
        self.line(f"{'via':<6}  {'step':<{self.widest}}  {'status':<11}  {'ms':>6}")
        self.line(f"{'-' * 6}  {'-' * self.widest}  {'-' * 11}  {'-' * 6}")

    def row(self, via: str, title: str, status: Status, milliseconds: float, note: str = "") -> None:
        """Print a row. The note of a passed step is in the row; that of another one is below it, in full."""
        self.counts[status] += 1
        self.rows.append(Row(via, title, status, milliseconds, note))
        word, mark, color = status.value
        cell = f"{f'{mark} {word}' if self.marks else word:<11}"
        if self.color:
            cell = f"{color}{cell}{PLAIN}"
        beside = f"  {note}" if status is Status.OK and note else ""
        self.line(f"{via:<6}  {title:<{self.widest}}  {cell}  {milliseconds:>6.0f}{beside}")
        if note and not beside:
            self.paragraph(note, indent=" " * 8)

    def not_run(self, steps: int) -> None:
        """Count steps that have no row because an earlier step aborted the verification."""
        self.counts[Status.NOT_RUN] += steps

    def paragraph(self, text: str, indent: str = "") -> None:
        """Print text wrapped to WIDTH; words and URLs are not broken."""
        for line in text.splitlines():
            self.line(
                textwrap.fill(
                    line,
                    WIDTH,
                    initial_indent=indent,
                    subsequent_indent=indent,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )

    def line(self, text: str = "") -> None:
        """Print one line; characters that the encoding lacks are escaped."""
        encoding = self.stream.encoding or "ascii"
        try:
            print(text.encode(encoding, "backslashreplace").decode(encoding), file=self.stream, flush=True)
        except BrokenPipeError:
            # Redirect the stream, since Python flushes its buffer at exit.
            with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), self.stream.fileno())


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
