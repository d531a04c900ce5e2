"""Fills a database with a run and a model, with the packages of MLflow 2:

.local/mlflow2/bin/python tests/mlflow_app/old_database.py URI
"""

import sys
import time
from typing import Any


def main(uri: str) -> None:
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    store: Any = Tracking(uri, "gs://old-bucket/artifacts")
    experiment = store.create_experiment("created by MLflow 2")
    now = int(time.time() * 1000)
    run = store.create_run(experiment, "ann", now, [RunTag("team", "blau & weiß")], "old run")
    run_id = run.info.run_id
    metrics = [Metric("loss", 1 / (step + 1), now + step, step) for step in range(50)]
    store.log_batch(run_id, metrics, [Param("depth", "3")], [])
    registry: Any = Registry(uri)
    registry.create_registered_model("old model")
    registry.create_model_version("old model", f"gs://old-bucket/artifacts/{run_id}/model", run_id)
    registry.set_registered_model_alias("old model", "champion", 1)


if __name__ == "__main__":
    main(sys.argv[1])
