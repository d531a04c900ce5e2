"""Settings, tokens and requests for the proxy's container."""

import http.client
from collections.abc import Mapping
from pathlib import Path

from tests.container.engine import Engine


def environment(settings: Mapping[str, str]) -> list[str]:
    """The flags of `docker run` that set the environment."""
    return [part for name, text in settings.items() for part in ("--env", f"{name}={text}")]


def create_token(engine: Engine, image: str, folder: Path, role: str) -> tuple[Path, str]:
    """Create a token for ``ann`` in ``folder``/tokens.json with the image; returns the folder and the token."""
    # Writable for the user of the container, which is not that of the tests.
    folder.chmod(0o777)
    command = ("token", "new", "--name", "ann", "--role", role, "--file", "/tokens/tokens.json")
    token = engine.run("run", "--rm", "--volume", f"{folder}:/tokens", image, *command).strip()
    assert token
    return folder, token


def status(port: int, path: str, token: str = "") -> int:
    """The response's status; 0 without a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
