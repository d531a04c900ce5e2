"""Runs the container's two processes, the proxy and MLflow behind it; if one exits, the other is stopped."""

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
from .settings import MLFLOW_SHUTDOWN_SECONDS, Settings, proxy_environment

# MLflow's keep-alive is longer than the proxy's: it never closes a connection that the proxy is about to use.
_KEEPALIVE_MARGIN_SECONDS = 10.0
_MAX_LINE_BYTES = 1024 * 1024
# Without MLflow the proxy cannot finish its requests.
_PROXY_STOP_SECONDS = 2.0
# How long to read the output of a process that has exited.
_OUTPUT_SECONDS = 1.0
_STDERR = 2
EXIT_INVALID_SETTINGS = 2

Convert = Callable[..., str]


async def supervise(settings: Settings, proxy_settings: ProxySettings, environ: Mapping[str, str]) -> int:
    """Run both processes until SIGTERM or SIGINT, or until one exits; returns the container's exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Bound, which reserves the port, but not listening: until MLflow listens, the proxy's connections are refused.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # The proxy first: it answers liveness checks while MLflow prepares the schema.
        proxy = _Process("The proxy", logs.convert_proxy_line)
        await proxy.start(["proxy_app"], proxy_environment(environ, settings, listener.getsockname()[1]))
        mlflow = _Process("MLflow", logs.convert_mlflow_line)
        await mlflow.start(
            [
                "mlflow_app.server",
                str(listener.fileno()),
                str(proxy_settings.upstream_keepalive + _KEEPALIVE_MARGIN_SECONDS),
            ],
            {name: text for name, text in environ.items() if not name.startswith("MLFLOW_PROXY_")},
            pass_fds=[listener.fileno()],
        )
    await _wait_for_any(stop.wait(), proxy.ended.wait(), mlflow.ended.wait())
    if stop.is_set():
        return await _stop(proxy, mlflow, settings, proxy_settings)
    return await _stop_after_exit(proxy, mlflow)


async def _stop(proxy: "_Process", mlflow: "_Process", settings: Settings, proxy_settings: ProxySettings) -> int:
    """Stop the proxy when it has finished its requests, then MLflow."""
    deadline = asyncio.get_running_loop().time() + settings.shutdown_timeout - 0.5
    _log("INFO", "Stopping: the proxy first, then MLflow")
    await proxy.stop(proxy_settings.grace + 0.5)
    await mlflow.stop(max(1.0, deadline - asyncio.get_running_loop().time()))
    _log("INFO", "Stopped")
    return 0


async def _stop_after_exit(proxy: "_Process", mlflow: "_Process") -> int:
    exited = proxy if proxy.ended.is_set() else mlflow
    _log("CRITICAL", f"{exited.name} exited unexpectedly, {exited.exit_description}: the container stops")
    await asyncio.gather(proxy.stop(_PROXY_STOP_SECONDS), mlflow.stop(MLFLOW_SHUTDOWN_SECONDS))
    return EXIT_INVALID_SETTINGS if exited.code == EXIT_INVALID_SETTINGS else 1


class _Process(asyncio.SubprocessProtocol):
    """A Python module in a child process; its output is converted and written to this process's output.

    asyncio's Process reports an exit only when the output is closed, which children of the process may hold open;
    SubprocessProtocol reports it at once.
    """

    def __init__(self, name: str, convert: Convert) -> None:
        self.name = name
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
                _log("WARNING", f"{self.name} did not exit within {seconds:.0f} s and is killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
        await _wait_for_any(self._output_closed.wait(), seconds=_OUTPUT_SECONDS)


def _log(severity: str, message: str) -> None:
    sys.stdout.write(logs.format_entry(severity, message, "container"))


async def _wait_for_any(*waits: Coroutine[Any, Any, object], seconds: float | None = None) -> None:
    """Wait until one of them is done, or for this time."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
