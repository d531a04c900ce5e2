"""The two processes of the container: the proxy for everybody outside, MLflow for the proxy alone. Both or none."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from proxy_app.settings import Settings as ProxySettings

from . import logs
from .settings import MLFLOW_STOP, Settings, proxy_environment

# MLflow keeps a connection longer than the proxy does: it must never close one that the proxy is about to use.
_LONGER = 10.0
_LONGEST_LINE = 1024 * 1024
# When one process has died there is nothing to wait for in the other.
_AT_ONCE = 2.0
# For what a process that has ended has written before.
_LAST_WORDS = 1.0
_STANDARD_ERROR = 2
WRONG_SETTINGS = 2

Translate = Callable[..., str]


async def supervise(settings: Settings, proxy_settings: ProxySettings, environ: Mapping[str, str]) -> int:
    """Run both until SIGTERM or SIGINT, or until one of them dies; the container's exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Bound, so that nobody else gets the port, but not listening: until MLflow does, the proxy is refused.
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        # The proxy first: it says that the container lives while MLflow makes its schema ready.
        proxy = _Process("The proxy", logs.of_the_proxy)
        await proxy.start(["proxy_app"], proxy_environment(environ, settings, door.getsockname()[1]))
        mlflow = _Process("MLflow", logs.of_mlflow)
        await mlflow.start(
            ["mlflow_app.server", str(door.fileno()), str(proxy_settings.upstream_keepalive + _LONGER)],
            {name: text for name, text in environ.items() if not name.startswith("MLFLOW_PROXY_")},
            pass_fds=[door.fileno()],
        )
    await _first(stop.wait(), proxy.ended.wait(), mlflow.ended.wait())
    if stop.is_set():
        return await _stop(proxy, mlflow, settings, proxy_settings)
    return await _give_up(proxy, mlflow)


async def _stop(proxy: "_Process", mlflow: "_Process", settings: Settings, proxy_settings: ProxySettings) -> int:
    """The proxy finishes what it has taken on, then MLflow, which has nothing to do any more, ends."""
    end = asyncio.get_running_loop().time() + settings.stop - 0.5
    _say("INFO", "Stopping: the proxy first, then MLflow")
    await proxy.end(proxy_settings.grace + 0.5)
    await mlflow.end(max(1.0, end - asyncio.get_running_loop().time()))
    _say("INFO", "Stopped")
    return 0


async def _give_up(proxy: "_Process", mlflow: "_Process") -> int:
    dead = proxy if proxy.ended.is_set() else mlflow
    _say("CRITICAL", f"{dead.name} has ended by itself, {dead.end_in_words}: the container stops")
    await asyncio.gather(proxy.end(_AT_ONCE), mlflow.end(MLFLOW_STOP))
    return WRONG_SETTINGS if dead.code == WRONG_SETTINGS else 1


class _Process(asyncio.SubprocessProtocol):
    """A module of Python in a process of its own, whose lines go to our output.

    A protocol, since asyncio's Process only notices its end when nobody holds its output any more, and children of its
    own, which it could not tell any more, do.
    """

    def __init__(self, name: str, translate: Translate) -> None:
        self.name = name
        self.ended = asyncio.Event()
        self._translate = translate
        self._silent = asyncio.Event()
        self._rests: dict[int, bytes] = {}
        self._transport: asyncio.SubprocessTransport | None = None

    async def start(self, arguments: Sequence[str], environ: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            *(sys.executable, "-m", *arguments),
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=pass_fds,
            # A group of its own: SIGKILL has to reach the children, too.
            start_new_session=True,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._rests.get(fd, b"") + data).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._rests[fd] = rest
        for line in lines:
            sys.stdout.write(self._translate(line.decode("utf-8", "replace"), is_error=fd == _STANDARD_ERROR))

    def process_exited(self) -> None:
        # What it said last comes first.
        asyncio.get_running_loop().call_later(_LAST_WORDS, self.ended.set)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self._silent.set()

    @property
    def code(self) -> int:
        return (self._transport.get_returncode() if self._transport else None) or 0

    @property
    def end_in_words(self) -> str:
        return f"exit code {self.code}" if self.code >= 0 else f"killed by {signal.Signals(-self.code).name}"

    async def end(self, within: float) -> None:
        """SIGTERM, and SIGKILL for what is left of it after so many seconds."""
        if self._transport is None:
            return
        if not self.ended.is_set():
            self._transport.terminate()
            await _first(self.ended.wait(), within=within)
            if not self.ended.is_set():
                _say("WARNING", f"{self.name} did not end within {within:.0f} s, and is killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
        await _first(self._silent.wait(), within=_LAST_WORDS)


def _say(severity: str, message: str) -> None:
    sys.stdout.write(logs.entry(severity, message, "container"))


async def _first(*waits: Coroutine[Any, Any, object], within: float | None = None) -> None:
    """Until one of them is over, or for so many seconds."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
