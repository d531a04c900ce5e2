"""A script that uses MLflow's client with the sagemaker-mlflow plugin or the proxy; prints its results as JSON."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag


def main(name: str) -> None:
    """Create an experiment, a run, an artifact and a model version called `name`, and read them back."""
    client: Any = MlflowClient()
    experiment = client.create_experiment(name)
    run = client.create_run(experiment, run_name="it's a+b & c=d")
    run_id = run.info.run_id
    client.log_param(run_id, "learning rate", "0.1")
    client.log_batch(
        run_id,
        metrics=[Metric("loss", 1 / step, 0, step) for step in range(1, 4)],
        params=[Param("ünïcode/key", "it's 100% + more")],
        tags=[RunTag("a b", "c")],
    )
    client.log_metric(run_id, "loss", 0.1, step=4)
    found = client.search_runs([experiment], "params.`learning rate` = '0.1' and tags.`a b` = 'c'")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "notes.txt"
        file.write_text("stored in S3")
        client.log_artifact(run_id, str(file), "some folder")
        artifacts = [item.path for item in client.list_artifacts(run_id, "some folder")]
        content = Path(client.download_artifacts(run_id, "some folder/notes.txt", directory)).read_text()
    client.create_registered_model(name)
    version = client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id)
    client.set_registered_model_alias(name, "best", version.version)
    client.set_terminated(run_id)
    print(
        json.dumps(
            {
                "uri": mlflow.get_tracking_uri(),
                "by name": getattr(client.get_experiment_by_name(name), "experiment_id", None) == experiment,
                "found": [item.info.run_id for item in found] == [run_id],
                "history": [metric.value for metric in client.get_metric_history(run_id, "loss")],
                "artifact_uri": run.info.artifact_uri,
                "artifacts": artifacts,
                "content": content,
                "version": client.get_model_version_by_alias(name, "best").version,
                "status": client.get_run(run_id).info.status,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
