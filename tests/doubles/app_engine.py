"""A fake of the front end of App Engine's flexible environment: it refuses large requests, and forwards the others.

https://cloud.google.com/appengine/docs/flexible/how-requests-are-handled: requests around 32 MB and larger are answered
with 413. The last public sources of the environment have nginx with `client_max_body_size 32m`, which answers before it
reads the body, and closes the connection after it has discarded what still arrives.
"""

import contextlib
import http.client
import http.server
import threading
import time
from collections.abc import Generator
from typing import cast
from urllib.parse import urlsplit

LIMIT = 32 * 1024 * 1024
_PAGE = (
    b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n"
    b"<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
# nginx's lingering_time and lingering_timeout, shortened.
_LINGERING_SECONDS = 5.0
_CHUNK = 1 << 16
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}


class FrontEnd(http.server.ThreadingHTTPServer):
    """In front of `upstream`, a URL. `refused` and `forwarded` have (method, path, length) of each request."""

    daemon_threads = True

    def __init__(self, upstream: str, limit: int = LIMIT) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.limit = limit
        self.refused: list[tuple[str, str, int]] = []
        self.forwarded: list[tuple[str, str, int]] = []

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"http://127.0.0.1:{self.server_port}"

    def largest_forwarded(self) -> int:
        """The length of the largest forwarded request body."""
        return max(length for _, _, length in self.forwarded)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a client may close the connection while it sends a body that is refused."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _do(self) -> None:
        front = cast("FrontEnd", self.server)
        length = int(self.headers["Content-Length"] or 0)
        chunked = self.headers["Transfer-Encoding"] == "chunked"
        if length > front.limit:
            self._refuse(front, length)
            return
        body = self._chunks(front.limit) if chunked else self.rfile.read(length)
        if body is None:
            self._refuse(front, front.limit + 1)
            return
        front.forwarded.append((self.command, self.path, len(body)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection(front.upstream, timeout=200)
        try:
            connection.request(self.command, self.path, body, headers)
            self._answer(connection.getresponse())
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - as the base class calls them

    def _chunks(self, limit: int) -> bytes | None:
        """A chunked body; None if it is above the limit."""
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            if len(body) + size > limit:
                return None
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _refuse(self, front: FrontEnd, length: int) -> None:
        front.refused.append((self.command, self.path, length))
        self.send_response(413)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(_PAGE)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(_PAGE)
        self.close_connection = True
        end = time.monotonic() + _LINGERING_SECONDS
        self.connection.settimeout(1)
        with contextlib.suppress(OSError):
            while time.monotonic() < end and self.rfile.read1(_CHUNK):  # type: ignore[attr-defined]
                pass

    def _answer(self, response: http.client.HTTPResponse) -> None:
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in {*_HOP_BY_HOP, "server", "date"}:
                self.send_header(name, value)
        length = response.getheader("Content-Length")
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        while data := response.read(_CHUNK):
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


@contextlib.contextmanager
def running(upstream: str, limit: int = LIMIT) -> Generator[FrontEnd]:
    """Run the front end on a free loopback port."""
    with FrontEnd(upstream, limit) as front:
        thread = threading.Thread(target=front.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield front
        finally:
            front.shutdown()
            thread.join()
