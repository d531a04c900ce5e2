"""A lock that allows one `make up` per folder."""

import contextlib
import fcntl
import json
import os
from collections.abc import Generator
from pathlib import Path


class AlreadyRunningError(Exception):
    """Another process holds the lock; the message names its URL and process id."""


@contextlib.contextmanager
def single_instance(file: Path, url: str) -> Generator[None]:
    """Hold the lock `file`, which contains `url` meanwhile. The kernel releases it however this process ends.

    AlreadyRunningError when another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as locked:
        try:
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(_describe_owner(file)) from None
        locked.truncate(0)
        locked.write(json.dumps({"pid": os.getpid(), "url": url}))
        locked.flush()
        yield
        locked.truncate(0)


def _describe_owner(file: Path) -> str:
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        return f"make up is already running at {owner['url']}. Stop it: Ctrl-C in its terminal, or kill {owner['pid']}"
    except ValueError:
        return "make up is already running, and is starting or stopping right now."
