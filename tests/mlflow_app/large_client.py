"""A script that uploads and downloads files. It prints a line of JSON for each.

    python large_client.py '[["NAME", SIZE, {"VARIABLE": "VALUE"}], ...]'

The variables are set during the upload of their file only. An upload that fails gives the error's text.
"""

import hashlib
import json
import os
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

_BLOCK = 1 << 20


def write(path: Path, size: int) -> str:
    """Write `size` bytes, each block of them different from all others; returns their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number, start in enumerate(range(0, size, _BLOCK)):
            block = (f"{number:08}".encode() * (_BLOCK // 8))[: size - start]
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(files: list[tuple[str, int, dict[str, str]]]) -> None:
    client: Any = MlflowClient()
    run_id: str = client.create_run(client.create_experiment(uuid.uuid4().hex)).info.run_id
    for name, size, variables in files:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, name)
            expected = write(source, size)
            before = {key: os.environ[key] for key in variables if key in os.environ}
            os.environ.update(variables)
            try:
                client.log_artifact(run_id, str(source), "model")
                after = {
                    key: value for key, value in os.environ.items() if "PROXY_MULTIPART" in key or "_MINIMUM_" in key
                }
                result = {"name": name, "variables": after}
                # MLflow's client cannot request other names.
                if not set(name) & set("#?%"):
                    target = Path(folder, "downloaded")
                    target.mkdir()
                    downloaded = Path(client.download_artifacts(run_id, f"model/{name}", str(target)))
                    result |= {"size": downloaded.stat().st_size, "same": sha256(downloaded) == expected}
            except (MlflowException, requests.RequestException) as error:
                result = {"name": name, "error": f"{type(error).__name__}: {error}"}
            for key in variables:
                del os.environ[key]
            os.environ.update(before)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
