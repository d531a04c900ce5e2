"""Artifacts through the proxy, and boto3's transfer manager straight to the same S3 server (versitygw)."""

import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import machine, peers
from bench.bulk import BLOCK
from bench.certificates import make_chain
from bench.processes import Server, serving, workdir
from bench.text import goal, table
from local.ports import free_port

RATIO = 0.7
ABOVE_MIB = 64
BUCKET = "bench"
_KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}
_REGION = peers.TARGET_ARN.split(":")[3]
_FILE = "body.bin"
_PROXY, _PRESIGNED = "proxy", "presigned"


@dataclass(frozen=True)
class Plan:
    """``size`` is in MiB."""

    size: int = 1024
    rounds: int = 3


@dataclass(frozen=True)
class Way:
    """A way to transfer a file: ``up`` from a path, ``down`` to a path."""

    name: str
    up: Callable[[Path], None]
    down: Callable[[Path], None]


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print the table, and return the raw results. BenchmarkError without versitygw."""
    with workdir() as folder, _storage(folder) as storage, _s3(folder, storage) as s3:
        chain = make_chain(folder)
        tokens, token = peers.new_token(folder)
        source, target = storage / "source", storage / "target"
        with source.open("wb") as file:
            for _ in range(plan.size):
                file.write(BLOCK)
        # SageMaker is not asked in a transfer.
        setup = peers.ServerSetup(folder, chain, f"https://127.0.0.1:{free_port()}", os.sched_getaffinity(0))
        settings = {
            **_KEYS,
            "MLFLOW_PROXY_ARTIFACTS_URI": f"s3://{BUCKET}/artifacts",
            "MLFLOW_PROXY_PRESIGNED_TRANSFERS": "true",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3.port}",
        }
        with peers.proxy(setup, tokens, extra=settings) as server:
            ways = (_boto3(s3.port), _mlflow(_PROXY, server, token), _mlflow(_PRESIGNED, server, token))
            return {"transfers": _measure(plan, ways, server, source, target)}


def _measure(plan: Plan, ways: tuple[Way, ...], server: Server, source: Path, target: Path) -> list[dict[str, Any]]:
    seconds: dict[tuple[str, str], list[float]] = {}
    above: dict[tuple[str, str], list[float]] = {}
    for _ in range(plan.rounds):
        for way in ways:
            for direction, move, file in (("up", way.up, source), ("down", way.down, target)):
                machine.reset_peak(server.pids)
                idle = machine.resident_mib(server.pids)
                began = time.monotonic()
                move(file)
                seconds.setdefault((way.name, direction), []).append(time.monotonic() - began)
                above.setdefault((way.name, direction), []).append(machine.peak_mib(server.pids) - idle)
            if source.stat().st_size != target.stat().st_size:
                raise machine.BenchmarkError(f"{way.name}: the file came back with another size")
    rows: list[list[str]] = []
    raw: list[dict[str, Any]] = []
    for (name, direction), each in seconds.items():
        direct = seconds[ways[0].name, direction]
        ratio = median(theirs / ours for theirs, ours in zip(direct, each, strict=True))
        memory = max(above[name, direction])
        row = [name, direction, f"{plan.size / median(each):.0f}"]
        if name != ways[0].name:
            # Presigned parts do not pass the proxy: their speed is that of MLflow's client.
            least = RATIO if name == _PROXY else None
            row += [f"{ratio:.2f}", *goal(ratio, least=least), f"{memory:.1f}", *goal(memory, most=ABOVE_MIB)]
        rows.append(row + [""] * (9 - len(row)))
        raw.append({"way": name, "direction": direction, "seconds": each, "ratio": ratio, "above_mib": memory})
    print(table(["transfer", "", "MiB/s", "speed / direct", "goal", "", "peak above idle", "goal", ""], rows))
    return raw


@contextmanager
def _storage(folder: Path) -> Generator[Path]:
    """A folder for the objects: in memory, since the speed of a disk is not measured."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else folder
    with TemporaryDirectory(dir=parent) as name:
        yield Path(name)


def _s3(folder: Path, storage: Path) -> AbstractContextManager[Server]:
    (storage / "s3" / BUCKET).mkdir(parents=True)
    port = free_port()
    options = ["--quiet", "--keep-alive", "--port", f"127.0.0.1:{port}", "--region", _REGION]
    keys = ["--access", _KEYS["AWS_ACCESS_KEY_ID"], "--secret", _KEYS["AWS_SECRET_ACCESS_KEY"]]
    program = machine.find("versitygw")
    if program is None:
        raise machine.BenchmarkError(
            "versitygw is missing: go install github.com/versity/versitygw/cmd/versitygw@latest"
        )
    command = [program, *options, *keys, "posix", str(storage / "s3")]
    return serving("versitygw", command, port=port, folder=folder, on=os.sched_getaffinity(0))


def _boto3(port: int) -> Way:
    import boto3

    untyped: Any = boto3
    client = untyped.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=_REGION,
        aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    key = f"direct/{_FILE}"
    return Way(
        "boto3, direct",
        lambda source: client.upload_file(str(source), BUCKET, key),
        lambda target: client.download_file(BUCKET, key, str(target)),
    )


def _mlflow(name: str, server: Server, token: str) -> Way:
    """MLflow's client; ``presigned``: it transfers parts of the file itself."""
    settings = {
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "1",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": str(name == _PRESIGNED).lower(),
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": str(name == _PRESIGNED).lower(),
    }

    def repository() -> Any:
        from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        os.environ.update(settings)
        return MlflowArtifactsRepository(f"mlflow-artifacts:/{name}", f"http://127.0.0.1:{server.port}")

    def up(source: Path) -> None:
        repository().log_artifact(str(source))

    def down(target: Path) -> None:
        # Not download_artifacts, which first lists the folder.
        repository()._download_file("source", str(target))

    return Way(name, up, down)
