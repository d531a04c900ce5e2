"""The steps with artifacts: files and a scikit-learn model, with MLflow's client, through the deployment alone."""

import importlib
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from verify.created_objects import CreatedObjects
from verify.errors import StepFailed, StepSkipped
from verify.steps import expect

# The schemes of artifacts that clients send to the deployment, not to the storage.
PROXIED_SCHEMES = frozenset({"mlflow-artifacts", "http", "https"})
NOT_PROXIED = "artifacts do not pass through this deployment"
MODEL = "model"
_MIB = 1024 * 1024
# Names that clients and proxies often encode incorrectly, an empty file, and one of several reads.
_FILES = {
    "a file + more/\u00fc 100%.txt": b"created by make verify\n",
    "a file + more/empty": b"",
    "compressed.csv.gz": b"\x1f\x8b\x08\x00 not decompressed on the way",
    "random.bin": secrets.token_bytes(_MIB + 1),
}


class ArtifactSteps:
    """The steps on the run of ``created``; ``mlflow`` is the imported module, set by ClientSteps.

    Each step raises StepFailed, StepNotRun without a run, and StepSkipped where clients access the storage themselves.
    """

    def __init__(self, url: str, created: CreatedObjects) -> None:
        self.url = url
        self.created = created
        self.mlflow: Any = None
        self._uris: list[str] = []

    def steps(self) -> list[tuple[str, Callable[[], str | None]]]:
        """(title, step) in the order in which they run."""
        return [
            ("upload artifacts", self.upload_files),
            ("download artifacts", self.download_files),
            ("log model", self.log_model),
            ("load model", self.load_model),
            ("delete artifacts", self.delete_files),
        ]

    def upload_files(self) -> str:
        """Upload files, and compare the list of artifacts with them."""
        run_id, client = self._run_id(), self._client()
        with tempfile.TemporaryDirectory() as folder:
            for name, content in _FILES.items():
                local = Path(folder, name)
                local.parent.mkdir(exist_ok=True)
                local.write_bytes(content)
            client.log_artifacts(run_id, folder)
        listed = {entry.path: entry.file_size for entry in client.list_artifacts(run_id) if not entry.is_dir}
        for parent in {str(PurePosixPath(name).parent) for name in _FILES} - {"."}:
            listed |= {entry.path: entry.file_size for entry in client.list_artifacts(run_id, parent)}
        expect("The sizes of the run's artifacts", {name: len(content) for name, content in _FILES.items()}, listed)
        return f"{len(_FILES)} files"

    def download_files(self) -> None:
        """Download the files, and compare their content."""
        run_id = self._run_id()
        with tempfile.TemporaryDirectory() as folder:
            self._client().download_artifacts(run_id, "", folder)
            for name, content in _FILES.items():
                local = Path(folder, name)
                if not local.is_file():
                    raise StepFailed(f"The artifact {name!r} was uploaded but not downloaded.")
                if local.read_bytes() != content:
                    raise StepFailed(f"The content of the artifact {name!r} differs from the uploaded one.")

    def log_model(self) -> None:
        """Log a small scikit-learn model."""
        run_id = self._run_id()
        linear: Any = importlib.import_module("sklearn.linear_model")
        sklearn: Any = importlib.import_module("mlflow.sklearn")
        model = linear.LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
        self.mlflow.set_tracking_uri(self.url)
        with self.mlflow.start_run(run_id=run_id):
            # Listed requirements: MLflow would find them out by loading the model in another process.
            info = sklearn.log_model(model, name=MODEL, pip_requirements=["scikit-learn"])
        self.created.model_id = str(info.model_id)
        self._uris.append(str(self._client().get_logged_model(self.created.model_id).artifact_location))

    def load_model(self) -> str:
        """Load the model, and compare its predictions."""
        self._run_id()
        sklearn: Any = importlib.import_module("mlflow.sklearn")
        loaded = sklearn.load_model(f"models:/{self.created.require_model_id()}")
        expect(
            "The prediction of the loaded model", [5.0], [round(float(value), 6) for value in loaded.predict([[2.0]])]
        )
        return "scikit-learn"

    def delete_files(self) -> None:
        """Delete the files of the run and of the model, and list none."""
        registry: Any = importlib.import_module("mlflow.store.artifact.artifact_repository_registry")
        run_id, client = self._run_id(), self._client()
        for uri in [str(client.get_run(run_id).info.artifact_uri), *self._uris]:
            registry.get_artifact_repository(uri).delete_artifacts()
        expect("The run's list of artifacts", [], client.list_artifacts(run_id))

    def _run_id(self) -> str:
        run_id = self.created.require_run_id()
        scheme = urlsplit(str(self._client().get_run(run_id).info.artifact_uri)).scheme
        if scheme not in PROXIED_SCHEMES:
            raise StepSkipped(NOT_PROXIED)
        return run_id

    def _client(self) -> Any:
        return self.mlflow.MlflowClient(tracking_uri=self.url)
