"""Child processes: environment, logs, startup and shutdown."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.startup_message import parse_startup_message

ROOT = Path(__file__).resolve().parent.parent
_WATCHDOG = Path(__file__).with_name("watchdog.py")
# Children inherit no other variable: no AWS profile, no HTTP_PROXY, no MLFLOW_PROXY_* setting.
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class ChildError(Exception):
    """A child process ended unexpectedly or did not start; the message holds the last lines of its output."""


def child_environ(scratch: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process whose home and temporary folder are in `scratch`, plus `extra`."""
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
    """Rotate the log of the previous start to `<name>.1`, create the folder, and return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    return path


class Child:
    """A Python child process that ends with this one, however this one ends.

    `arguments` are those of `python`. Each line of output goes to the file `log` and to `on_line`. `on_end` is called
    when the process ends without `stop`. Both are called in threads of this object.
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
        self._startup_finished = threading.Event()
        self._log = new_log(log).open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WATCHDOG), sys.executable, *arguments],
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
        """The process id of the watchdog, whose process group contains the child itself."""
        return self._process.pid

    def wait_for_url(self, seconds: float) -> str:
        """The origin that the child listens on. ChildError when it ends first, or after `seconds`."""
        if not self._startup_finished.wait(seconds):
            raise ChildError(f"{self.name} did not start within {seconds:.0f} s.\n{self.last_lines()}")
        if self._url is None:
            raise self.error()
        return self._url

    def error(self) -> ChildError:
        """The error for a child that ended unexpectedly; waits for its end."""
        return ChildError(f"{self.name} ended with exit code {self._process.wait()}.\n{self.last_lines()}")

    def last_lines(self) -> str:
        """The last 20 lines of output, indented."""
        return "\n".join(f"  {line}" for line in self._last) or "  (no output)"

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self, grace: float) -> None:
        """Send SIGTERM, and SIGKILL after `grace` seconds. Returns when the process has ended."""
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
        """Send SIGKILL to the process group."""
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
                if self._url is None and (url := parse_startup_message(line)):
                    self._url = url
                    self._startup_finished.set()
                    continue
                self._last.append(line)
                if self._on_line:
                    self._on_line(line)

    def _wait(self) -> None:
        self._process.wait()
        self.kill()  # the rest of the group, in case only the watchdog was killed
        self._reader.join()
        self._startup_finished.set()
        if self._on_end:
            self._on_end(self)
