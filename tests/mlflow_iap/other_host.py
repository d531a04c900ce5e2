"""An MLflow client that downloads a file from a host other than its tracking server."""

import sys
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient

client: Any = MlflowClient()
client.search_experiments(max_results=1)
artifacts: Any = mlflow.artifacts
print(Path(artifacts.download_artifacts(artifact_uri=sys.argv[1])).read_text())
