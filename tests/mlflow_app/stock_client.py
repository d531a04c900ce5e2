"""A user's program with MLflow's client: log, search, upload, download, register. It prints the results as JSON.

    python stock_client.py NAME

It uses MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN only, and for direct artifacts the bucket's variables.
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
        sent = Path(folder, "model")
        sent.mkdir()
        (sent / "MLmodel").write_text("flavors: {}\n")
        (sent / "weights ü.bin").write_bytes(LARGE)
        (sent / "empty").touch()
        client.log_artifacts(run_id, str(sent), "model")
        listed = [(file.path, file.file_size or 0) for file in client.list_artifacts(run_id, "model")]
        got = Path(client.download_artifacts(run_id, "model", folder + "/.."))
        same = {path.name for path in sent.iterdir() if (got / path.name).read_bytes() == path.read_bytes()}
    client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id)
    client.set_registered_model_alias(name, "champion", "1")
    result = {
        "version": mlflow.__version__,
        "found": [each.info.run_id for each in found] == [run_id],
        "history": [metric.value for metric in client.get_metric_history(run_id, "loss")],
        "artifact_uri": run.info.artifact_uri,
        "listed": listed,
        "same": sorted(same),
        "champion": client.get_model_version_by_alias(name, "champion").version,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
