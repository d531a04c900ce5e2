"""The gate as a process of its own, in front of SageMaker's stand-in and a real MLflow."""

import contextlib
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from local import stack
from local.standin import StandIn
from proxy_app.callers import Role
from proxy_app.callers.tokens import Token, dump


@dataclass(frozen=True, slots=True)
class GateProcess:
    """`log` holds what it has written."""

    url: str
    tokens: dict[str, str]
    log: Path


@pytest_asyncio.fixture
async def gate(standin: StandIn, tmp_path: Path) -> AsyncGenerator[GateProcess]:
    """A gate that signs for the stand-in of a tracking server, with a token for each role."""
    made = {role.label: Token.new(role.label, role, 1) for role in Role}
    tokens_file = tmp_path / "tokens.json"
    tokens_file.write_text(dump(token for token, _ in made.values()))
    address, log = f"127.0.0.1:{_free_port()}", tmp_path / "gate.log"
    settings = {
        "GATE_TARGET_ARN": standin.target.arn,
        "GATE_TARGET_ENDPOINT": standin.endpoint,
        "GATE_TOKENS_FILE": str(tokens_file),
        "GATE_LISTEN": address,
        "GATE_METRICS_LISTEN": f"127.0.0.1:{_free_port()}",
        "GATE_DRAIN_SECONDS": "0",
        **standin.environ,
    }
    child = stack.start_gate(tmp_path, settings, log)
    with contextlib.ExitStack() as stack_of_ends:
        stack_of_ends.callback(child.stop, 10)
        await _ready(child, f"http://{address}/readyz")
        yield GateProcess(f"http://{address}", {name: plain for name, (_, plain) in made.items()}, log)


async def _ready(child: stack.Child, url: str) -> None:
    # In a thread: the stand-in answers on this event loop.
    import asyncio

    await asyncio.to_thread(stack.wait_answering, child, url, 60)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
