"""TCP ports on 127.0.0.1."""

import contextlib
import socket
import time


class PortInUseError(Exception):
    """No port can be listened on; the message names the port and the remedy."""


def check_port(port: int) -> None:
    """PortInUseError when the port cannot be listened on; retries for a second while it is being released."""
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
    raise PortInUseError(f"Port {port} is not available ({problem}). Choose another one: make up PORT=8081")


def free_port(preferred: int = 0) -> int:
    """A free port: `preferred` if it is free, else any other one. PortInUseError when none is free."""
    for port in (preferred if preferred < 65536 else 0, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise PortInUseError("No port of 127.0.0.1 is free.")
