"""MLflow's client in a separate process, for the errors that it raises.

    python -m tests.doubles.client_process

reads lines of JSON {"url", "token", "call", "arguments"} from standard input, where `call` is a method of MlflowClient,
or `http` for a call of an endpoint with MLflow's REST functions. It writes a line {"error", "code", "text"} for each.
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
# The client's default settings retry for minutes.
_SHORT_RETRIES = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclasses.dataclass(frozen=True, slots=True)
class CallResult:
    """The class, error code and message of the client's exception; empty if there was none."""

    error: str
    code: str
    text: str


class ClientProcess:
    """A running client process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def running(cls, home: Path) -> Generator[Self]:
        """Start the process with an empty home folder."""
        with subprocess.Popen(
            (sys.executable, "-W", "ignore", "-m", "tests.doubles.client_process"),
            cwd=_ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "PYTHONPYCACHEPREFIX": str(_ROOT / ".local/cache/pyc"),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
                **_SHORT_RETRIES,
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
        """Make the call in a thread, since the proxy may run in this event loop."""
        return CallResult(
            **await asyncio.to_thread(self._send, {"url": url, "token": token, "call": call, "arguments": arguments})
        )

    def error_codes(self) -> set[str]:
        """All error codes of this version of MLflow."""
        return set(self._send({"call": "codes"})["text"].split())

    def _send(self, command: dict[str, Any]) -> dict[str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _main() -> None:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode
    from mlflow.utils import rest_utils

    rest: Any = rest_utils
    for line in sys.stdin:
        command = json.loads(line)
        result = CallResult("", "", "")
        try:
            if command["call"] == "codes":
                result = CallResult("", "", " ".join(ErrorCode.keys()))
            elif command["call"] == "http":
                endpoint, method, body = command["arguments"]
                creds = rest.MlflowHostCreds(command["url"], token=command["token"])
                rest.verify_rest_response(rest.http_request(creds, endpoint, method, json=body), endpoint)
            else:
                os.environ["MLFLOW_TRACKING_TOKEN"] = command["token"]
                client = mlflow.MlflowClient(tracking_uri=command["url"])
                getattr(client, command["call"])(*command["arguments"])
        except MlflowException as error:
            result = CallResult(type(error).__name__, str(error.error_code), str(error))
        print(json.dumps(dataclasses.asdict(result)), flush=True)


if __name__ == "__main__":
    _main()
