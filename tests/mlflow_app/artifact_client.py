"""A script that logs a run, uploads and downloads artifacts, and registers a model. It prints its results as JSON.

    python artifact_client.py NAME

It requires MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN, and for direct artifacts also the bucket's variables.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

LARGE = b"0123456789abcdef" * (3 << 16)  # 3 MiB


def main(name: str) -> None:
    client: Any = MlflowClient()
    experiment = client.create_experiment(name)
    run = client.create_run(experiment, tags={"team": "blau & weiß"})
    run_id = run.info.run_id
    for step in range(3):
        client.log_metric(run_id, "loss", 1 / (step + 1), step=step)
    client.log_param(run_id, "depth", "3")
    found = client.search_runs([experiment], "metrics.loss < 0.5 and params.depth = '3'")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "model")
        source.mkdir()
        (source / "MLmodel").write_text("flavors: {}\n")
        (source / "weights ü.bin").write_bytes(LARGE)
        (source / "empty").touch()
        client.log_artifacts(run_id, str(source), "model")
        listed = [(file.path, file.file_size or 0) for file in client.list_artifacts(run_id, "model")]
        downloaded = Path(client.download_artifacts(run_id, "model", folder + "/.."))
        same = {path.name for path in source.iterdir() if (downloaded / path.name).read_bytes() == path.read_bytes()}
    client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id)
    client.set_registered_model_alias(name, "champion", "1")
    result = {
        "version": mlflow.__version__,
        "found": [found_run.info.run_id for found_run in found] == [run_id],
        "history": [metric.value for metric in client.get_metric_history(run_id, "loss")],
        "artifact_uri": run.info.artifact_uri,
        "listed": listed,
        "same": sorted(same),
        "champion": client.get_model_version_by_alias(name, "champion").version,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
