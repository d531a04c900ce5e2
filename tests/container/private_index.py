"""A package index that requires a password and redirects to the index of the base image."""

import base64
import contextlib
import http.server
import re
import threading
from collections.abc import Generator

from tests.container.engine import NETWORK, Engine

PASSWORD = "index-password-4f8a2b6c"
_ALLOWED = "Basic " + base64.b64encode(f"builder:{PASSWORD}".encode()).decode()


def default_index(engine: Engine, base: str) -> str:
    """The default index URL of pip in this image, from its help."""
    command = "python3 -m venv /pip && COLUMNS=500 /pip/bin/python -m pip install --help"
    text = engine.run("run", "--rm", *NETWORK, "--entrypoint", "sh", base, "-c", command)
    found = re.search(r"--index-url.*?\(default:? (https?://\S+?)\)", text, re.DOTALL)
    assert found, text
    return found[1].rstrip("/")


@contextlib.contextmanager
def private_index(behind: str) -> Generator[tuple[str, list[str]]]:
    """The index's URL with the password, and the paths that were requested with it."""
    requested: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] == _ALLOWED:
                requested.append(self.path)
                self.send_response(302)
                self.send_header("Location", behind + self.path.removeprefix("/simple"))
            else:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://builder:{PASSWORD}@127.0.0.1:{server.server_port}/simple", requested
        finally:
            server.shutdown()
            thread.join()
