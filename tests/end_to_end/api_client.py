"""A script that uses MLflow's tracking and registry API, without artifacts, and prints its results as JSON.

It runs as a child process, with MLflow 3 and with MLflow 2.
"""

import json
import sys
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag


def main(name: str) -> None:
    """Log a run, register a model called `name`, and read both back."""
    tracking: Any = mlflow
    tracking.set_experiment(name)
    with mlflow.start_run(run_name="it's a+b & 100%") as run:
        mlflow.log_param("learning rate", 0.1)
        mlflow.log_metrics({"loss": 0.5}, step=1)
        mlflow.log_metric("loss", 0.25, step=2)
        mlflow.set_tag("équipe", "a=b&c d+e")
    run_id = run.info.run_id
    client: Any = MlflowClient()
    client.log_batch(
        run_id, [Metric("f1", 0.9, 0, 0)], [Param("ünïcode/key", "it's 100% + more")], [RunTag("a b", "c")]
    )
    found: Any = client.search_runs(
        [run.info.experiment_id], "params.`learning rate` = '0.1' and tags.`a b` = 'c' and metrics.loss < 0.3"
    )
    client.create_registered_model(name, tags={"kind": "probe"})
    version = client.create_model_version(name, "s3://bucket/model", run_id)
    client.set_registered_model_alias(name, "best", version.version)
    client.set_model_version_tag(name, version.version, "a/b", "c d")
    by_alias = client.get_model_version_by_alias(name, "best")
    for model in (f"{name}-a", f"{name}-b"):
        client.create_registered_model(model)
        for _ in range(2):
            client.create_model_version(model, "s3://bucket/model")
    # A repeated query parameter, whose order matters.
    ordered = client.search_model_versions(f"name LIKE '{name}-%'", order_by=["version_number DESC", "name ASC"])
    output: dict[str, Any] = {
        "version": mlflow.__version__,
        "found": [item.info.run_id for item in found] == [run_id],
        "params": client.get_run(run_id).data.params,
        "tag": client.get_run(run_id).data.tags["équipe"],
        "history": [metric.value for metric in client.get_metric_history(run_id, "loss")],
        "model": [by_alias.version, by_alias.tags],
        "models": [model.name for model in client.search_registered_models(f"name = '{name}'")],
        "ordered": [f"{version.name[-1]}{version.version}" for version in ordered],
    }
    if mlflow.__version__ >= "3":
        with mlflow.start_span(name="outer") as span:
            span.set_inputs({"question": "it's 1+1?"})
            span.set_outputs({"answer": 2})
        mlflow.flush_trace_async_logging()
        traces: Any = client.search_traces(locations=[run.info.experiment_id])
        output["traces"] = [[trace.info.state, [span.name for span in trace.data.spans]] for trace in traces]
    client.delete_run(run_id)
    for model in (name, f"{name}-a", f"{name}-b"):
        client.delete_registered_model(model)
    print(json.dumps(output))


if __name__ == "__main__":
    main(sys.argv[1])
