"""The steps with the MLflow Python client, which is imported by the first step, since that takes seconds."""

import importlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from verify.artifact_steps import NOT_PROXIED, PROXIED_SCHEMES, ArtifactSteps
from verify.created_objects import CreatedObjects
from verify.errors import (
    StepFailed,
    StepNotRun,
    StepSkipped,
    VerificationAborted,
    describe_connection_error,
    retried_status,
    sanitize,
)
from verify.steps import (
    BATCH_METRICS,
    BATCH_PARAM,
    BATCH_TAG,
    METRIC,
    NOTE,
    PARAM,
    TAG,
    WRITTEN_METRICS,
    WRITTEN_PARAMS,
    WRITTEN_TAGS,
    Step,
    expect,
    same_values,
)
from verify.target import ROLE

S3_SECONDS = 10
S3_REQUIRED = f"requires S3 credentials: {NOT_PROXIED}"


class ClientSteps:
    """The steps with MLflow's client, on one experiment and one run; target.prepare_environment must have run.

    Each step raises StepFailed for an unexpected response, and StepNotRun when the experiment or run does not exist.
    """

    def __init__(self, url: str, created: CreatedObjects) -> None:
        self.url = url
        self.created = created
        self.client: Any = None
        self.entities: Any = None
        self.version = "not known"
        self.artifacts = ""
        self.with_artifacts = ArtifactSteps(url, created)

    def start(self) -> str:
        """Import MLflow and create its client; returns its version."""
        # MLflow's own warnings do not concern the deployment.
        warnings.simplefilter("ignore")
        try:
            mlflow = importlib.import_module("mlflow")
            self.entities = importlib.import_module("mlflow.entities")
            credentials: Any = importlib.import_module("mlflow.utils.credentials")
        except Exception as error:
            raise VerificationAborted(
                f"Cannot import MLflow, which `make verify` installs: {sanitize(repr(error))}"
            ) from error
        # A user name in ~/.mlflow/credentials takes precedence over the token, and no setting disables that.
        credentials._get_credentials_path = lambda: os.devnull
        self.with_artifacts.mlflow = mlflow
        self.version = str(mlflow.__version__)
        self.client = mlflow.MlflowClient(tracking_uri=self.url)
        return f"MLflow {self.version}"

    def steps(self) -> list[Step]:
        """All steps, in the order in which they run."""
        return [
            Step(title, self._with_described_errors(run))
            for title, run in (
                ("start", self.start),
                ("create experiment", self.create_experiment),
                ("search experiments", self.search_experiments),
                ("get experiment", self.get_experiment),
                ("create run", self.create_run),
                ("log parameter", self.log_param),
                ("log metric", self.log_metric),
                ("log batch", self.log_batch),
                ("set tag", self.set_tag),
                ("read the run", self.read_run),
                ("list artifacts", self.list_artifacts),
                *self.with_artifacts.steps(),
                ("delete run", self.delete_run),
                ("delete experiment", self.delete_experiment),
            )
        ]

    def _with_described_errors(self, run: Callable[[], str | None]) -> Callable[[], str | None]:
        """The step, with the client's exceptions translated into StepFailed or VerificationAborted."""

        def described() -> str | None:
            """Run the step, and translate its exceptions."""
            try:
                return run()
            except (StepFailed, StepSkipped, StepNotRun):
                raise
            except Exception as error:
                if reason := describe_connection_error(error, self.url):
                    raise VerificationAborted(reason) from error
                if status := retried_status(error):
                    raise StepFailed(f"Response: {status}; MLflow's client does not keep the body.") from error
                denied = getattr(error, "error_code", "") == "PERMISSION_DENIED"
                hint = f"The token's role does not allow this; expected {ROLE}. " if denied else ""
                raise StepFailed(f"{hint}MLflow's client: {sanitize(str(error))}") from error

        return described

    def create_experiment(self) -> None:
        """Create the experiment with a tag, and record its id."""
        self.created.creation_requested = True
        self.created.experiment_id = str(self.client.create_experiment(self.created.name, tags=dict([NOTE])))

    def search_experiments(self) -> None:
        """Search by name, and compare the ids with the created one."""
        found = self.client.search_experiments(filter_string=f"name = '{self.created.name}'")
        ids = [str(experiment.experiment_id) for experiment in found]
        expect("The list of experiments found by name", [self.created.require_experiment_id()], ids)

    def get_experiment(self) -> None:
        """Get the experiment, and compare name, lifecycle stage and tag."""
        experiment = self.client.get_experiment(self.created.require_experiment_id())
        expect("The experiment's name", self.created.name, experiment.name)
        expect("The experiment's lifecycle_stage", "active", experiment.lifecycle_stage)
        same_values("tag", dict([NOTE]), experiment.tags)

    def create_run(self) -> None:
        """Create the run, record its id, and compare its experiment."""
        run = self.client.create_run(self.created.require_experiment_id(), run_name=self.created.name)
        self.created.run_id = str(run.info.run_id)
        expect("The run's experiment", self.created.require_experiment_id(), run.info.experiment_id)

    def log_param(self) -> None:
        """Log one parameter."""
        self.client.log_param(self.created.require_run_id(), *PARAM)

    def log_metric(self) -> None:
        """Log one metric with a step."""
        key, value, step = METRIC
        self.client.log_metric(self.created.require_run_id(), key, value, step=step)

    def log_batch(self) -> None:
        """Log metrics, a parameter and a tag in one request."""
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.created.require_run_id(),
            metrics=[self.entities.Metric(key, value, now, step) for key, value, step in BATCH_METRICS],
            params=[self.entities.Param(*BATCH_PARAM)],
            tags=[self.entities.RunTag(*BATCH_TAG)],
        )

    def set_tag(self) -> None:
        """Set one tag of the run."""
        self.client.set_tag(self.created.require_run_id(), *TAG)

    def read_run(self) -> None:
        """Get the run, and compare its name, parameters, metrics and tags with those written."""
        run = self.client.get_run(self.created.require_run_id())
        expect("The run's name", self.created.name, run.info.run_name)
        same_values("parameter", WRITTEN_PARAMS, run.data.params)
        same_values("metric", WRITTEN_METRICS, run.data.metrics)
        same_values("tag", WRITTEN_TAGS, run.data.tags)

    def list_artifacts(self) -> None:
        """The client gets the artifact URI from the server, and lists the artifacts in that storage itself."""
        uri = str(self.client.get_run(self.created.require_run_id()).info.artifact_uri)
        scheme = self.artifacts = urlsplit(uri).scheme
        if scheme in PROXIED_SCHEMES:
            files = self.client.list_artifacts(self.created.require_run_id())
        elif scheme == "s3":
            files = _with_s3(lambda: self.client.list_artifacts(self.created.require_run_id()))
        else:
            raise StepSkipped(f"{NOT_PROXIED} ({scheme or 'file'}:)")
        expect("The run's list of artifacts", [], files)

    def delete_run(self) -> None:
        """Delete the run, and compare its lifecycle stage."""
        self.client.delete_run(self.created.require_run_id())
        self.created.run_deleted = True
        expect(
            "The run's lifecycle_stage",
            "deleted",
            self.client.get_run(self.created.require_run_id()).info.lifecycle_stage,
        )

    def delete_experiment(self) -> None:
        """Delete the experiment, and compare its lifecycle stage."""
        self.client.delete_experiment(self.created.require_experiment_id())
        experiment = self.client.get_experiment(self.created.require_experiment_id())
        expect("The experiment's lifecycle_stage", "deleted", experiment.lifecycle_stage)
        self.created.deleted = True


def _with_s3(list_artifacts: Callable[[], object]) -> object:
    """List with the AWS credentials of the environment; StepSkipped when there are none or S3 rejects them."""
    try:
        boto3: Any = importlib.import_module("boto3")
        botocore_exceptions: Any = importlib.import_module("botocore.exceptions")
        botocore_session: Any = importlib.import_module("botocore.session")
        config: Any = importlib.import_module("botocore.config")
    except ImportError as error:
        raise StepSkipped(f"{S3_REQUIRED}, and boto3") from error
    try:
        # MLflow's S3 client uses the default session, which would retry for five minutes.
        session = botocore_session.get_session()
        session.set_default_client_config(
            config.Config(connect_timeout=S3_SECONDS, read_timeout=S3_SECONDS, retries={"total_max_attempts": 1})
        )
        boto3.setup_default_session(botocore_session=session)
        if session.get_credentials() is None:
            raise StepSkipped(S3_REQUIRED)
        return list_artifacts()
    except (botocore_exceptions.BotoCoreError, botocore_exceptions.ClientError) as error:
        raise StepSkipped(f"{S3_REQUIRED}; with the current credentials: {sanitize(str(error))}") from error
