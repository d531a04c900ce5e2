"""Starts S3, MLflow and the proxy as child processes; used by `make up` and by test fixtures."""

import http.client
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from local import s3
from local.processes import Child, ChildError, child_environ


def start_s3(scratch: Path, data: Path, log: Path, port: int = 0, **hooks: Callable[..., None]) -> Child:
    """Start S3 with its objects in the folder `data`; port 0: any free one. `hooks`: on_line and on_end of Child."""
    arguments = ["-m", "local.s3", "--data", str(data), "--port", str(port)]
    # moto keeps larger objects in temporary files; TMPDIR places them in `scratch`.
    return Child("S3", arguments, child_environ(scratch, {"MOTO_DISABLE_GLOBAL_CORS": "true"}), log, **hooks)


def start_mlflow(scratch: Path, database: Path, s3_url: str, log: Path, **hooks: Callable[..., None]) -> Child:
    """Start a real MLflow server with its records in the SQLite file `database` and its artifacts in S3."""
    database.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["-m", "local.mlflow_server"]
    arguments += ["--backend-store-uri", f"sqlite:///{database}"]
    arguments += ["--default-artifact-root", s3.ARTIFACTS]
    environ = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **s3.client_environ(s3_url)}
    return Child("MLflow", arguments, child_environ(scratch, environ), log, **hooks)


def start_ui(
    scratch: Path, target_arn: str, environ: Mapping[str, str], log: Path, **hooks: Callable[..., None]
) -> Child:
    """Start MLflow's UI for a fake SageMaker. `environ`: its `plugin_environ`."""
    arguments = ["-m", "local.ui_server", "--target-arn", target_arn]
    return Child("MLflow's UI", arguments, child_environ(scratch, environ), log, **hooks)


def start_proxy(scratch: Path, environ: Mapping[str, str], log: Path, **hooks: Callable[..., None]) -> Child:
    """Start the proxy with the settings in `environ`."""
    return Child("The proxy", ["-m", "proxy_app"], child_environ(scratch, environ), log, **hooks)


def wait_until_ready(child: Child, url: str, seconds: float, headers: Mapping[str, str] | None = None) -> int:
    """Request `url` until its status is below 500, and return that status.

    ChildError when the child ends first, or after `seconds`.
    """
    parts = urlsplit(url)
    deadline = time.monotonic() + seconds
    problem = "no response"
    while time.monotonic() < deadline:
        if not child.running:
            raise child.error()
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=seconds)
        try:
            connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""), headers=headers or {})
            response = connection.getresponse()
            body = response.read()
            if response.status < 500:
                return response.status
            problem = f"{response.status} {body[:500].decode('utf-8', 'replace')}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(error)
        finally:
            connection.close()
        time.sleep(0.05)
    raise ChildError(f"{child.name} is not ready after {seconds:.0f} s: {problem}\n{child.last_lines()}")
