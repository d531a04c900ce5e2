"""How a child process tells the one that started it that it listens."""

import json


def announce(url: str) -> None:
    """Print the line that processes.Child waits for; `url` is the child's origin."""
    print(json.dumps({"event": "ready", "url": url}), flush=True)


def announced(line: str) -> str | None:
    """The origin in such a line; None when it is another line."""
    if not line.startswith('{"event": "ready"'):
        return None
    return str(json.loads(line)["url"])
