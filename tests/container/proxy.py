"""The proxy's container from outside: its settings, its tokens, its answers."""

import http.client
from collections.abc import Mapping
from pathlib import Path

from tests.container.engine import Engine


def environment(settings: Mapping[str, str]) -> list[str]:
    """The flags that hand the settings to a container."""
    return [part for name, text in settings.items() for part in ("--env", f"{name}={text}")]


def make_token(engine: Engine, image: str, folder: Path, role: str) -> tuple[Path, str]:
    """Have the image make a token for ``ann`` in ``folder``/tokens.json; the folder and the token."""
    # The proxy's user must be able to write there, whoever runs the tests.
    folder.chmod(0o777)
    command = ("token", "new", "--name", "ann", "--role", role, "--file", "/tokens/tokens.json")
    token = engine.run("run", "--rm", "--volume", f"{folder}:/tokens", image, *command).strip()
    assert token
    return folder, token


def status(port: int, path: str, token: str = "") -> int:
    """The answer's status; 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
