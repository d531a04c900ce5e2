"""The line with which a child process reports that it listens, and its parser."""

import json


def print_startup_message(url: str) -> None:
    """Print the line that processes.Child waits for; `url` is the child's origin."""
    print(json.dumps({"event": "ready", "url": url}), flush=True)


def parse_startup_message(line: str) -> str | None:
    """The origin in a startup message; None for any other line."""
    if not line.startswith('{"event": "ready"'):
        return None
    return str(json.loads(line)["url"])
