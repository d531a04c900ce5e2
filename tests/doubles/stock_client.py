"""A stock MLflow client in a process of its own: what a person sees in it when the proxy says no.

    python -m tests.doubles.stock_client

reads lines of JSON {"url", "token", "call", "arguments"} from standard input, where `call` is a method of MlflowClient,
or `http` for mlflow's own way to call an endpoint; it answers each with a line {"error", "code", "text"}.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

_ROOT = Path(__file__).parents[2]
# As the client's own, but without its minutes of waiting.
_QUICK = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclasses.dataclass(frozen=True, slots=True)
class CallResult:
    """What the client showed; `error` is the exception's class, empty if there was none."""

    error: str
    code: str
    text: str


class StockClient:
    """The process, seen from a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def running(cls, home: Path) -> Generator[Self]:
        with subprocess.Popen(
            (sys.executable, "-W", "ignore", "-m", "tests.doubles.stock_client"),
            cwd=_ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "PYTHONPYCACHEPREFIX": str(_ROOT / ".local/cache/pyc"),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
                **_QUICK,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    async def call(self, url: str, token: str, call: str, *arguments: Any) -> CallResult:
        """Have it done while the event loop goes on."""
        return CallResult(
            **await asyncio.to_thread(self._ask, {"url": url, "token": token, "call": call, "arguments": arguments})
        )

    def error_codes(self) -> set[str]:
        """All that this MLflow knows."""
        return set(self._ask({"call": "codes"})["text"].split())

    def _ask(self, received: dict[str, Any]) -> dict[str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(received) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _main() -> None:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode
    from mlflow.utils import rest_utils

    rest: Any = rest_utils
    for line in sys.stdin:
        received = json.loads(line)
        shown = CallResult("", "", "")
        try:
            if received["call"] == "codes":
                shown = CallResult("", "", " ".join(ErrorCode.keys()))
            elif received["call"] == "http":
                endpoint, method, body = received["arguments"]
                creds = rest.MlflowHostCreds(received["url"], token=received["token"])
                rest.verify_rest_response(rest.http_request(creds, endpoint, method, json=body), endpoint)
            else:
                os.environ["MLFLOW_TRACKING_TOKEN"] = received["token"]
                client = mlflow.MlflowClient(tracking_uri=received["url"])
                getattr(client, received["call"])(*received["arguments"])
        except MlflowException as error:
            shown = CallResult(type(error).__name__, str(error.error_code), str(error))
        print(json.dumps(dataclasses.asdict(shown)), flush=True)


if __name__ == "__main__":
    _main()
