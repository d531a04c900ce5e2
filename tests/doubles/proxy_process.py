"""The proxy as a separate process, `python -m proxy_app`, as in production."""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from proxy_app.setting_values import Address

from .raw_client import RawClient, RawResponse
from .running_proxy import Tokens

ROOT = Path(__file__).parents[2]
_SERVED = re.compile(r"Serving .* on http://([\d.]+):(\d+); metrics on http://([\d.]+):(\d+)/metrics")


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a proxy with these settings, on free ports, without this machine's AWS configuration."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(ROOT / ".local/cache/pyc"),
        "PYTHONWARNINGS": "error",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_PROXY_LISTEN": "127.0.0.1:0",
        "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0",
        **settings,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class CompletedProcess:
    """The exit code and output of a process."""

    code: int
    out: str
    err: str


async def run(folder: Path, *arguments: str, **settings: str) -> CompletedProcess:
    """Run a command that exits by itself."""
    process = await _start(folder, arguments, settings)
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    finally:
        _kill(process)
    assert process.returncode is not None
    return CompletedProcess(process.returncode, out.decode(), err.decode())


class ProxyProcess:
    """A proxy that serves requests. `out` and `err` are the lines that it has written so far."""

    def __init__(self, process: asyncio.subprocess.Process, tokens: Tokens) -> None:
        self._process = process
        self.tokens = tokens
        self.out: list[str] = []
        self.err: list[str] = []
        self.address = self.metrics_address = Address("", 0)

    @classmethod
    @contextlib.asynccontextmanager
    async def serving(cls, folder: Path, tokens: Tokens, **settings: str) -> AsyncGenerator["ProxyProcess"]:
        """Start a proxy, and wait until it listens."""
        settings = {"MLFLOW_PROXY_TOKENS_FILE": str(tokens.file), **settings}
        proxy = cls(await _start(folder, (), settings), tokens)
        readers = [asyncio.create_task(proxy._read(pipe)) for pipe in ("stdout", "stderr")]
        try:
            async with asyncio.timeout(30):
                while not proxy.address.port:
                    assert proxy._process.returncode is None, proxy.err
                    await asyncio.sleep(0.02)
            yield proxy
        finally:
            _kill(proxy._process)
            await proxy._process.wait()
            await asyncio.gather(*readers)

    async def _read(self, pipe: str) -> None:
        stream: asyncio.StreamReader = getattr(self._process, pipe)
        while line := (await stream.readline()).decode():
            getattr(self, pipe.removeprefix("std")).append(line)
            if found := _SERVED.search(line):
                self.metrics_address = Address(found[3], int(found[4]))
                self.address = Address(found[1], int(found[2]))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of standard output, each of which must be JSON."""
        return [json.loads(line) for line in self.out]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The access log."""
        return [line for line in self.lines if line["event"] == "request"]

    def connect(self, *, buffer: int = 0) -> contextlib.AbstractAsyncContextManager[RawClient]:
        return RawClient.connected(self.address, buffer=buffer)

    async def send(self, data: bytes) -> RawResponse:
        async with self.connect() as client:
            return await client.round_trip(data)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self, within: float = 10) -> int:
        """Wait for the exit; returns the exit code."""
        async with asyncio.timeout(within):
            return await self._process.wait()


async def _start(folder: Path, arguments: tuple[str, ...], settings: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy_app", *arguments),
        cwd=folder,
        env=environment(folder, **settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
