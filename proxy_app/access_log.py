"""The access log: one JSON line for each request, on standard output.

A line holds the route's template, never a path, query, header or body: those may contain secrets.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TextIO

from .context import RequestRecord
from .logs import timestamp

# In seconds. A process that is killed loses at most the lines of this time.
_WRITE_DELAY = 0.01


class _LineBuffer:
    """Collects lines for a short time and writes them together: a write for each would delay the next request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        """Collect a line; the first one schedules the write. Needs a running event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_later(_WRITE_DELAY, self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        """Write the collected lines to the stream, if there are any."""
        if self._lines:
            # Removed first: if the write fails because the reader has closed the pipe, they must not accumulate.
            lines, self._lines = self._lines, []
            self._stream.write("".join(lines))


class AccessLog:
    """Writes one line for each request.

    ``write`` receives a line with its line feed; the default is standard output.
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._buffer = _LineBuffer(sys.stdout)
        self._write: Callable[[str], object] = write or self._buffer

    def write_through(self) -> None:
        """Write the buffered lines, and from now on each line at once: the event loop is about to end."""
        self._buffer.flush()
        if self._write is self._buffer:
            self._write = sys.stdout.write

    def record(self, record: RequestRecord) -> None:
        """Write the line of a finished request; its duration ends now."""
        self._write(_line(record, time.perf_counter() - record.started))


def _line(record: RequestRecord, seconds: float) -> str:
    # Formatted by hand, since it is done for every request; every value that a client can choose is quoted.
    principal, route, upstream = record.principal, record.route, record.upstream_seconds
    error = f', "error": "{record.error}"' if record.error else ""
    queue = f'"queue_ms": {record.queue_seconds * 1000:.1f}, ' if record.queue_seconds else ""
    return (
        f'{{"time": "{timestamp()}", "level": "{"info" if record.status < 500 else "error"}", "event": "request", '
        f'"request_id": "{record.request_id}", '
        f'"principal": {_quoted(principal.name) if principal else "null"}, '
        f'"role": {_quoted(principal.role.label) if principal else "null"}, '
        f'"method": {_quoted(record.method)}, "route": {_quoted(route.template) if route else "null"}, '
        f'"status": {record.status}, "bytes_in": {record.bytes_in}, "bytes_out": {record.bytes_out}, '
        f'"duration_ms": {seconds * 1000:.1f}, {queue}'
        f'"upstream_duration_ms": {"null" if upstream is None else f"{upstream * 1000:.1f}"}, '
        f'"attempts": {record.attempts}{error}}}\n'
    )


_quoted = lru_cache(maxsize=4096)(json.dumps)
