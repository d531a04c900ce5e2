"""One `make up` for a folder, and a free port for it."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Generator
from pathlib import Path


class Busy(Exception):
    """Somebody else has it; the message says who, and what to do."""


@contextlib.contextmanager
def sole(file: Path, url: str) -> Generator[None]:
    """Hold the lock `file`, in which `url` can be read meanwhile. It is free again however this process ends.

    Busy when another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(_who(file)) from None
        held.truncate(0)
        held.write(json.dumps({"pid": os.getpid(), "url": url}))
        held.flush()
        yield
        held.truncate(0)


def _who(file: Path) -> str:
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
        return f"It runs already: {holder['url']} (end it with Ctrl-C in its terminal, or: kill {holder['pid']})."
    except ValueError:
        return "It runs already, and is just starting or ending."


def check_port(port: int) -> None:
    """Busy when the port cannot be listened on. One that was left a moment ago is waited for."""
    problem = ""
    for _ in range(20):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                problem = error.strerror or str(error)
            else:
                return
        time.sleep(0.05)
    raise Busy(f"Port {port} cannot be used ({problem}): make up PORT=... with another one.")


def free_port(wanted: int = 0) -> int:
    """A port that was free just now: the wanted one if it was."""
    for port in (wanted if wanted < 65536 else 0, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Busy("No port of 127.0.0.1 is free.")
