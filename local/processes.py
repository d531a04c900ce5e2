"""Child processes: their environment, their logs, their end."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.announce import announced

ROOT = Path(__file__).resolve().parent.parent
_GUARD = Path(__file__).with_name("guard.py")
# Nothing else of the developer's environment reaches a child: no AWS profile, no proxy, no setting of the proxy.
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class ChildError(Exception):
    """A child ended that should not have, or did not get ready; the message holds its last lines."""


def child_environ(scratch: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that writes nowhere but in `scratch` and what `extra` tells it."""
    home, temporary = scratch / "home", scratch / "tmp"
    for directory in (home, temporary):
        directory.mkdir(parents=True, exist_ok=True)
    environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environ |= {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPYCACHEPREFIX": sys.pycache_prefix or str(ROOT / ".local/cache/pyc"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    return {**environ, **extra}


def new_log(path: Path) -> Path:
    """The path, free for a new file: the log of the start before is kept beside it as <name>.1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    return path


class Child:
    """A Python module that runs as a process of its own and dies with this one, however that ends.

    `arguments` go to `python`; output goes to the file `log`, line by line, and to `on_line`, which is called in
    a thread of this object, as is `on_end`.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        *,
        on_line: Callable[[str], None] | None = None,
        on_end: Callable[["Child"], None] | None = None,
    ) -> None:
        self.name = name
        self._on_line = on_line
        self._on_end = on_end
        self._last: collections.deque[str] = collections.deque(maxlen=20)
        self._url: str | None = None
        self._settled = threading.Event()
        self._log = new_log(log).open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), sys.executable, *arguments],
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._reader.start()
        self._waiter = threading.Thread(target=self._wait, name=f"{name}-end", daemon=True)
        self._waiter.start()

    @property
    def pid(self) -> int:
        """The guard's; the module itself is in its process group."""
        return self._process.pid

    def wait_announced(self, seconds: float) -> str:
        """The origin that the child listens on; ChildError when it ends or the time is over before."""
        if not self._settled.wait(seconds):
            raise ChildError(f"{self.name} did not start within {seconds:.0f} s.\n{self.last_lines()}")
        if self._url is None:
            raise self.error()
        return self._url

    def error(self) -> ChildError:
        """What to say of a child that ended by itself."""
        return ChildError(f"{self.name} ended with exit code {self._process.wait()}.\n{self.last_lines()}")

    def last_lines(self) -> str:
        return "\n".join(f"  {line}" for line in self._last) or "  (it said nothing)"

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL when it still runs after `grace` seconds. Returns when it is gone."""
        self._on_end = None
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._waiter.join(5)
        if self._process.stdin:
            self._process.stdin.close()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        with self._log, self._process.stdout or contextlib.nullcontext([]) as lines:
            for line in lines:
                self._log.write(line)
                self._log.flush()
                line = line.rstrip("\n")
                if self._url is None and (url := announced(line)):
                    self._url = url
                    self._settled.set()
                    continue
                self._last.append(line)
                if self._on_line:
                    self._on_line(line)

    def _wait(self) -> None:
        self._process.wait()
        self.kill()  # what is left of the group, should only the guard have been killed
        self._reader.join()
        self._settled.set()
        if self._on_end:
            self._on_end(self)
