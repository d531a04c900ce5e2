"""An upstream's answer that is there as a whole: head and body go to the caller in one write.

aiohttp's own response takes a head apart, looks into each header and puts it together again, which is an eighth of all
the work that a small request makes; see `make bench`.
"""

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web


class WholeAnswer(web.StreamResponse):
    """Has a body, if only an empty one: neither for HEAD nor for 204 and 304.

    ``headers`` go down as they are, and hold none that frame the answer. ValueError, as aiohttp's own, for a line
    break in them.
    """

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        super().__init__(status=status, reason=reason)
        lines = [b"%b: %b\r\n" % header for header in headers]
        if body and b"content-type" not in [name.lower() for name, _ in headers]:
            # As aiohttp does, so that no browser guesses.
            lines.append(b"Content-Type: application/octet-stream\r\n")
        self._head = head = b"%d %b\r\n%b" % (status, reason.encode("latin-1"), b"".join(lines))
        # The upstream's parser let none through; a second line in a header would be an answer of somebody else's.
        if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * (len(lines) + 1):
            raise ValueError("A header of the upstream's answer holds a line break")
        self._whole = body
        self._sent = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it, once: whoever makes it need not wait until aiohttp comes to it."""
        if self._sent:
            return
        self._sent = True
        if self.keep_alive is None:
            self._keep_alive = request.keep_alive
        newer = request.version >= HttpVersion11
        said = b""
        if self.keep_alive is not newer:  # not what the version does when nothing is said
            said = b"Connection: close\r\n" if newer else b"Connection: keep-alive\r\n"
        writer = request.writer
        await writer.write(
            b"HTTP/1.%d %b%bDate: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (newer, self._head, said, _date(int(time.time())), len(self._whole), self._whole)
        )
        # However short: a caller may ask again and again and take none of the answers.
        await writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        pass


@lru_cache(maxsize=2)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
