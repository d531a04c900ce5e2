"""Large bodies over plain sockets: one known MiB again and again, compared byte by byte where it arrives."""

import contextlib
import random
import socket
import time
from dataclasses import dataclass

MIB = 1024 * 1024
BLOCK = random.Random(20).randbytes(MIB)


class Broken(Exception):
    """The other side did not do what HTTP or the benchmark asks."""


@dataclass(frozen=True)
class Head:
    """A request or status line, and headers by lower-case name."""

    start: str
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return int(self.start.split()[1])


class Wire:
    """One HTTP/1.1 connection, from either end. Bodies are counted in bytes and hold BLOCK repeated."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(MIB)
        self._early = b""

    def send_head(self, *lines: str) -> None:
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def send_body(self, size: int) -> None:
        for _ in range(size // MIB):
            self._sock.sendall(BLOCK)
        if rest := size % MIB:
            self._sock.sendall(BLOCK[:rest])

    def read_head(self) -> Head | None:
        """None when the other side has closed the connection."""
        while b"\r\n\r\n" not in self._early:
            more = self._sock.recv(65536)
            if not more:
                return None
            self._early += more
        text, _, self._early = self._early.partition(b"\r\n\r\n")
        start, *lines = text.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Head(start, {name.strip().lower(): value.strip() for name, _, value in pairs})

    def read_line(self) -> bytes:
        while b"\r\n" not in self._early:
            more = self._sock.recv(65536)
            if not more:
                raise Broken("closed within a chunk's size")
            self._early += more
        line, _, self._early = self._early.partition(b"\r\n")
        return line

    def read_body(self, headers: dict[str, str]) -> int:
        """Its size. Broken when it is cut short or holds anything but BLOCK."""
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
            # As bytes: comparing memoryviews goes item by item, and slicing all of BLOCK copies nothing.
            if bytes(view[start:end]) != BLOCK[start:end]:
                raise Broken("a body arrived with other bytes than were sent")
            at += end - start
            size -= end - start

    def _fill(self, view: memoryview) -> None:
        early, self._early = self._early[: len(view)], self._early[len(view) :]
        view[: len(early)] = early
        view = view[len(early) :]
        while view:
            got = self._sock.recv_into(view)
            if not got:
                raise Broken("a body was cut short")
            view = view[got:]


@dataclass(frozen=True)
class Transfer:
    """What came of one large request. ``status`` is 0 when no answer came."""

    status: int
    seconds: float
    problem: str = ""


def transfer(port: int, token: str, method: str, target: str, size: int, *, patience: float = 120) -> Transfer:
    """Upload or download ``size`` bytes of BLOCK on a connection of its own, and check what comes back."""
    began = time.monotonic()
    upload = method in {"PUT", "POST"}
    head = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {token}"]
    if upload:
        head += [f"Content-Length: {size}", "Content-Type: application/octet-stream"]
    status = 0
    try:
        with socket.create_connection(("127.0.0.1", port), patience) as sock:
            wire = Wire(sock)
            wire.send_head(*head)
            if upload:
                # A server that refuses may answer and close before it has read everything.
                with contextlib.suppress(ConnectionError):
                    wire.send_body(size)
            answer = wire.read_head()
            if answer is None:
                raise Broken("no answer")
            status = answer.status
            if status == 200:
                got = wire.read_body(answer.headers)
                if got != (0 if upload else size):
                    raise Broken(f"{got} bytes came instead of {size}")
    except (Broken, OSError) as error:
        return Transfer(status, time.monotonic() - began, str(error) or type(error).__name__)
    return Transfer(status, time.monotonic() - began, "" if status == 200 else f"status {status}")
