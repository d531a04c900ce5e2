"""Runs the container's two processes, the proxy and MLflow behind it.

With a database, the container stops if one of them exits. In front of SageMaker, MLflow serves the UI only: it is
started again, and the proxy continues to serve the API meanwhile.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from proxy_app.settings import Settings as ProxySettings

from .logs import LogFormat, log_format
from .settings import MLFLOW_SHUTDOWN_SECONDS, Settings, mlflow_environment, proxy_environment

# MLflow's keep-alive is longer than the proxy's: it never closes a connection that the proxy is about to use.
_KEEPALIVE_MARGIN_SECONDS = 10.0
_MAX_LINE_BYTES = 1024 * 1024
# Without MLflow the proxy cannot finish its requests.
_PROXY_STOP_SECONDS = 2.0
# How long to read the output of a process that has exited.
_OUTPUT_SECONDS = 1.0
_STDERR = 2
# Pauses before MLflow's UI is started again: doubled after each exit, back to the first one after a while without.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _STABLE_SECONDS = 1.0, 60.0, 300.0
EXIT_INVALID_SETTINGS = 2


async def supervise(settings: Settings, proxy_settings: ProxySettings, environ: Mapping[str, str]) -> int:
    """Run both processes until SIGTERM or SIGINT, or until one exits; returns the container's exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    form = log_format(settings.target_arn)
    # Bound, which reserves the port, but not listening: until MLflow listens, the proxy's connections are refused.
    with _bound(0) as listener:
        port: int = listener.getsockname()[1]
        # The proxy first: it answers liveness checks while MLflow starts.
        proxy = _Process("The proxy", form, form.proxy_line)
        await proxy.start(["proxy_app"], proxy_environment(environ, settings, port))
        start_mlflow = _MlflowStarter(settings, proxy_settings, environ, form)
        mlflow = await start_mlflow(listener)
    restarts = _Restarts(loop.time())
    while True:
        await _wait_for_any(stop.wait(), proxy.ended.wait(), mlflow.ended.wait())
        if stop.is_set():
            return await _stop(proxy, mlflow, settings, proxy_settings, form)
        if proxy.ended.is_set() or not settings.target_arn:
            return await _stop_after_exit(proxy, mlflow, form)
        pause = restarts.next_pause(loop.time())
        _log(form, "ERROR", f"MLflow's UI exited, {mlflow.exit_description}: it is started again in {pause:g} s")
        await mlflow.stop(0)
        await _wait_for_any(stop.wait(), proxy.ended.wait(), seconds=pause)
        if not (stop.is_set() or proxy.ended.is_set()):
            with _bound(port) as listener:
                mlflow = await start_mlflow(listener)


class _Restarts:
    """The pauses before restarts, in seconds; ``now`` is a time of the event loop."""

    def __init__(self, now: float) -> None:
        self._next = _FIRST_PAUSE_SECONDS
        self._last = now

    def next_pause(self, now: float) -> float:
        pause = _FIRST_PAUSE_SECONDS if now - self._last > _STABLE_SECONDS else self._next
        self._next, self._last = min(2 * pause, _LONGEST_PAUSE_SECONDS), now
        return pause


class _MlflowStarter:
    """Starts MLflow on a socket that is bound."""

    def __init__(
        self, settings: Settings, proxy_settings: ProxySettings, environ: Mapping[str, str], form: LogFormat
    ) -> None:
        self._module = "mlflow_app.ui" if settings.target_arn else "mlflow_app.server"
        self._environ = mlflow_environment(environ, settings, proxy_settings)
        self._keepalive = proxy_settings.upstream_keepalive + _KEEPALIVE_MARGIN_SECONDS
        self._form = form

    async def __call__(self, listener: socket.socket) -> "_Process":
        mlflow = _Process("MLflow", self._form, self._form.mlflow_line)
        number = listener.fileno()
        await mlflow.start([self._module, str(number), str(self._keepalive)], self._environ, pass_fds=[number])
        return mlflow


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    # The connections of an earlier process may still be closing.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


async def _stop(
    proxy: "_Process", mlflow: "_Process", settings: Settings, proxy_settings: ProxySettings, form: LogFormat
) -> int:
    """Stop the proxy when it has finished its requests, then MLflow."""
    deadline = asyncio.get_running_loop().time() + settings.shutdown_timeout - 0.5
    _log(form, "INFO", "Stopping: the proxy first, then MLflow")
    await proxy.stop(proxy_settings.grace + 0.5)
    await mlflow.stop(max(1.0, deadline - asyncio.get_running_loop().time()))
    _log(form, "INFO", "Stopped")
    return 0


async def _stop_after_exit(proxy: "_Process", mlflow: "_Process", form: LogFormat) -> int:
    exited = proxy if proxy.ended.is_set() else mlflow
    _log(form, "CRITICAL", f"{exited.name} exited unexpectedly, {exited.exit_description}: the container stops")
    await asyncio.gather(proxy.stop(_PROXY_STOP_SECONDS), mlflow.stop(MLFLOW_SHUTDOWN_SECONDS))
    return EXIT_INVALID_SETTINGS if exited.code == EXIT_INVALID_SETTINGS else 1


class _Process(asyncio.SubprocessProtocol):
    """A Python module in a child process; its output is converted and written to this process's output.

    asyncio's Process reports an exit only when the output is closed, which children of the process may hold open;
    SubprocessProtocol reports it at once.
    """

    def __init__(self, name: str, form: LogFormat, convert: Callable[..., str]) -> None:
        self.name = name
        self._form = form
        self.ended = asyncio.Event()
        self._convert = convert
        self._output_closed = asyncio.Event()
        self._partial_lines: dict[int, bytes] = {}
        self._transport: asyncio.SubprocessTransport | None = None

    async def start(self, arguments: Sequence[str], environ: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        """Start `python -m` with these arguments."""
        await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            *(sys.executable, "-m", *arguments),
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=pass_fds,
            # A process group of its own: SIGKILL must reach its children, too.
            start_new_session=True,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._partial_lines.get(fd, b"") + data).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._partial_lines[fd] = rest
        for line in lines:
            sys.stdout.write(self._convert(line.decode("utf-8", "replace"), is_error=fd == _STDERR))

    def process_exited(self) -> None:
        # Its last output is written first.
        asyncio.get_running_loop().call_later(_OUTPUT_SECONDS, self.ended.set)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self._output_closed.set()

    @property
    def code(self) -> int:
        """The exit code; negative for a signal."""
        return (self._transport.get_returncode() if self._transport else None) or 0

    @property
    def exit_description(self) -> str:
        """The exit code or the signal, for a message."""
        return f"exit code {self.code}" if self.code >= 0 else f"killed by {signal.Signals(-self.code).name}"

    async def stop(self, seconds: float) -> None:
        """Send SIGTERM; after this time, SIGKILL to the process group."""
        if self._transport is None:
            return
        if not self.ended.is_set():
            self._transport.terminate()
            await _wait_for_any(self.ended.wait(), seconds=seconds)
            if not self.ended.is_set():
                _log(self._form, "WARNING", f"{self.name} did not exit within {seconds:.0f} s and is killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
        await _wait_for_any(self._output_closed.wait(), seconds=_OUTPUT_SECONDS)


def _log(form: LogFormat, severity: str, message: str) -> None:
    sys.stdout.write(form.entry(severity, message, "container"))


async def _wait_for_any(*waits: Coroutine[Any, Any, object], seconds: float | None = None) -> None:
    """Wait until one of them is done, or for this time."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
