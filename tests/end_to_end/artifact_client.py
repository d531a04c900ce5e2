"""A script that logs, lists, downloads and deletes artifacts, and prints its results as JSON.

It runs as a child process, with MLflow 3 and with MLflow 2, without AWS credentials.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient


def main(name: str, folder: Path, names: list[str], large: int) -> None:
    """Log files with these names and, with MLflow 3, a model; read them back. `large`: bytes of the largest file."""
    untyped: Any = mlflow
    untyped.set_experiment(name)
    client: Any = MlflowClient()
    source = folder / "source"
    source.mkdir()
    for file in names:
        (source / file).write_bytes(file.encode())
    (source / "empty").write_bytes(b"")
    (source / "rows.csv.gz").write_bytes(bytes([31, 139]) + os.urandom(1000))
    (source / "large.bin").write_bytes(os.urandom(large))
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(source), "files")
        mlflow.log_text("text", "notes/text.txt")
    run_id = run.info.run_id
    target = Path(untyped.artifacts.download_artifacts(run_id=run_id, artifact_path="files", dst_path=str(folder)))
    output: dict[str, Any] = {
        "version": mlflow.__version__,
        "uri": client.get_run(run_id).info.artifact_uri.partition("/")[0],
        "root": sorted([item.path, item.is_dir] for item in client.list_artifacts(run_id)),
        "same": {path.name: (target / path.name).read_bytes() == path.read_bytes() for path in source.iterdir()},
        "listed": {Path(item.path).name: item.file_size for item in client.list_artifacts(run_id, "files")},
        "text": untyped.artifacts.load_text(f"runs:/{run_id}/notes/text.txt"),
    }
    if mlflow.__version__ >= "3":
        output |= model(name, run_id)
    print(json.dumps(output))


def model(name: str, run_id: str) -> dict[str, Any]:
    """Log and register a scikit-learn model, and load it by both names."""
    from sklearn import linear_model

    untyped: Any = mlflow
    models: Any = linear_model
    fitted = models.LinearRegression().fit([[1.0], [2.0]], [2.0, 4.0])
    with mlflow.start_run(run_id=run_id):
        logged = untyped.sklearn.log_model(fitted, name="model", registered_model_name=name, pip_requirements=[])
    predictions = [
        round(float(untyped.sklearn.load_model(uri).predict([[3.0]])[0]), 3)
        for uri in (logged.model_uri, f"models:/{name}/1")
    ]
    return {"predictions": predictions}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
