"""The format of the table in terminals, logs and pipes."""

import io

import pytest

from verify.report import Report, Status


class Stream(io.StringIO):
    """A text stream with a given encoding, optionally a terminal."""

    def __init__(self, encoding: str, *, terminal: bool = False) -> None:
        super().__init__()
        self._encoding = encoding
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def table(encoding: str = "utf-8", *, terminal: bool = False, **environ: str) -> str:
    stream = Stream(encoding, terminal=terminal)
    report = Report(stream, ["short", "a longer title"], environ)
    report.heading()
    report.row("HTTP", "short", Status.OK, 12.4, "401")
    report.row("client", "a longer title", Status.FAILED, 1234.5, "It \u2026 broke.")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("encoding", "ok", "failed"), [("utf-8", "\u2713 ok", "\u2717 FAILED"), ("ascii", "ok", "FAILED")]
)
def test_rows_are_aligned_and_marked_if_encoding_allows(encoding: str, ok: str, failed: str) -> None:
    heading, rule, first, second, reason = table(encoding).splitlines()
    status, end = heading.index("status"), heading.index("ms") + 2
    assert first[status:end] == f"{ok:<11}  {12:>6}"
    assert first[end:] == "  401"
    assert second[status:end] == f"{failed:<11}  {1234:>6}"
    assert len(second) == len(rule) == end
    assert reason.strip() == ("It \u2026 broke." if encoding == "utf-8" else "It \\u2026 broke.")


def test_color_is_used_in_terminals_unless_disabled() -> None:
    assert "\033[32m" in table(terminal=True)
    assert "\033[" not in table(terminal=True, NO_COLOR="1")
    assert "\033[" not in table(terminal=True, TERM="dumb")
    assert "\033[" not in table()


def test_long_text_is_wrapped_without_breaking_names() -> None:
    stream = Stream("utf-8")
    report = Report(stream, ["step"], {})
    name = "verify-20260101T000000Z-01234567-client"
    report.paragraph(f"{'words ' * 14}{name} {'words ' * 14}{name}\nanother line", indent="  ")
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 110 for line in lines)
    assert sum(name in line for line in lines) == 2
    assert lines[-1] == "  another line"
