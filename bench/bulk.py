"""Large bodies over plain sockets: a known MiB, repeated, and compared on arrival."""

import contextlib
import random
import socket
import time
from dataclasses import dataclass

MIB = 1024 * 1024
TIMEOUT_SECONDS = 120
BLOCK = random.Random(20).randbytes(MIB)


class TransferError(Exception):
    """The peer violated HTTP, or the body is incomplete or changed."""


@dataclass(frozen=True)
class MessageHead:
    """A request or status line, and headers by lower-case name."""

    start: str
    headers: dict[str, str]

    @property
    def status(self) -> int:
        """The status code in the status line of a response."""
        return int(self.start.split()[1])


class HttpConnection:
    """One HTTP/1.1 connection, from either end. Bodies consist of BLOCK, repeated; sizes are in bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(MIB)
        self._early = b""

    def send_head(self, *lines: str) -> None:
        """Send a start line and headers."""
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def send_body(self, size: int) -> None:
        """Send `size` bytes."""
        for _ in range(size // MIB):
            self._sock.sendall(BLOCK)
        if rest := size % MIB:
            self._sock.sendall(BLOCK[:rest])

    def read_head(self) -> MessageHead | None:
        """The next message's start line and headers; None when the peer has closed the connection."""
        while b"\r\n\r\n" not in self._early:
            more = self._sock.recv(65536)
            if not more:
                return None
            self._early += more
        text, _, self._early = self._early.partition(b"\r\n\r\n")
        start, *lines = text.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return MessageHead(start, {name.strip().lower(): value.strip() for name, _, value in pairs})

    def read_line(self) -> bytes:
        """The next line, without its end."""
        while b"\r\n" not in self._early:
            more = self._sock.recv(65536)
            if not more:
                raise TransferError("connection closed within a chunk size")
            self._early += more
        line, _, self._early = self._early.partition(b"\r\n")
        return line

    def read_body(self, headers: dict[str, str]) -> int:
        """Read a body and return its size. TransferError when it is truncated or differs from BLOCK."""
        if headers.get("transfer-encoding", "").lower() != "chunked":
            size = int(headers.get("content-length", "0"))
            self._compare(size, 0)
            return size
        total = 0
        while size := int(self.read_line().partition(b";")[0], 16):
            self._compare(size, total)
            total += size
            self.read_line()
        self.read_line()
        return total

    def _compare(self, size: int, at: int) -> None:
        view = memoryview(self._buffer)
        while size:
            start = at % MIB
            end = min(MIB, start + size)
            self._fill(view[start:end])
            # As bytes: memoryviews are compared item by item; a slice of the whole BLOCK is not copied.
            if bytes(view[start:end]) != BLOCK[start:end]:
                raise TransferError("the body differs from what was sent")
            at += end - start
            size -= end - start

    def _fill(self, view: memoryview) -> None:
        early, self._early = self._early[: len(view)], self._early[len(view) :]
        view[: len(early)] = early
        view = view[len(early) :]
        while view:
            got = self._sock.recv_into(view)
            if not got:
                raise TransferError("the body is truncated")
            view = view[got:]


@dataclass(frozen=True)
class Transfer:
    """The result of one large request; ``status`` is 0 when there was no response."""

    status: int
    seconds: float
    problem: str = ""


def transfer(port: int, token: str, method: str, target: str, size: int) -> Transfer:
    """Upload or download ``size`` bytes on a new connection, and check the response."""
    began = time.monotonic()
    upload = method in {"PUT", "POST"}
    head = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {token}"]
    if upload:
        head += [f"Content-Length: {size}", "Content-Type: application/octet-stream"]
    status = 0
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as sock:
            connection = HttpConnection(sock)
            connection.send_head(*head)
            if upload:
                # A server may reject the request and close before it has read the body.
                with contextlib.suppress(ConnectionError):
                    connection.send_body(size)
            answer = connection.read_head()
            if answer is None:
                raise TransferError("no response")
            status = answer.status
            if status == 200:
                got = connection.read_body(answer.headers)
                if got != (0 if upload else size):
                    raise TransferError(f"got {got} bytes, expected {size}")
    except (TransferError, OSError) as error:
        return Transfer(status, time.monotonic() - began, str(error) or type(error).__name__)
    return Transfer(status, time.monotonic() - began, "" if status == 200 else f"status {status}")
