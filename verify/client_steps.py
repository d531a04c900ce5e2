"""The same steps with the MLflow Python client, which is imported here and not before: that takes seconds."""

import importlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from verify.failures import Failed, NotTried, Skipped, Stop, explain, plain, unkept_status
from verify.made import Made
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
OVER_HTTP = frozenset({"mlflow-artifacts", "http", "https"})
WITHOUT_S3 = "needs S3 credentials until artifacts go through the proxy"


class ClientSteps:
    """Steps that share one experiment and one run, in an environment that target.py prepared."""

    def __init__(self, url: str, made: Made) -> None:
        self.url = url
        self.made = made
        self.client: Any = None
        self.entities: Any = None

    def start(self) -> str:
        """Import MLflow and make its client."""
        # Its own warnings concern its makers, not the deployment.
        warnings.simplefilter("ignore")
        try:
            mlflow = importlib.import_module("mlflow")
            self.entities = importlib.import_module("mlflow.entities")
            credentials: Any = importlib.import_module("mlflow.utils.credentials")
        except Exception as error:
            raise Stop(f"MLflow cannot be imported here; `make verify` installs it: {plain(repr(error))}") from error
        # A user name in ~/.mlflow/credentials would win over the token, and no setting turns that off.
        credentials._get_credentials_path = lambda: os.devnull
        self.client = mlflow.MlflowClient(tracking_uri=self.url)
        return f"MLflow {mlflow.__version__}"

    def steps(self) -> list[Step]:
        return [
            Step(title, self._explained(run))
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
                ("read the run back", self.read_back),
                ("list artifacts", self.list_artifacts),
                ("delete run", self.delete_run),
                ("delete experiment", self.delete_experiment),
            )
        ]

    def _explained(self, run: Callable[[], str | None]) -> Callable[[], str | None]:
        """The step with what the client raises turned into words."""

        def explained() -> str | None:
            try:
                return run()
            except (Failed, Skipped, NotTried):
                raise
            except Exception as error:
                if reason := explain(error, self.url):
                    raise Stop(reason) from error
                if status := unkept_status(error):
                    raise Failed(f"The answer: {status}; MLflow's client does not keep what it says.") from error
                refused = getattr(error, "error_code", "") == "PERMISSION_DENIED"
                hint = f"The token's role is too weak for this; it must be {ROLE}. " if refused else ""
                raise Failed(f"{hint}MLflow's client says: {plain(str(error))}") from error

        return explained

    def create_experiment(self) -> None:
        self.made.asked = True
        self.made.experiment_id = str(self.client.create_experiment(self.made.name, tags=dict([NOTE])))

    def search_experiments(self) -> None:
        found = self.client.search_experiments(filter_string=f"name = '{self.made.name}'")
        ids = [str(experiment.experiment_id) for experiment in found]
        expect("The list of experiments found by name", [self.made.the_experiment()], ids)

    def get_experiment(self) -> None:
        experiment = self.client.get_experiment(self.made.the_experiment())
        expect("The experiment's name", self.made.name, experiment.name)
        expect("The experiment's lifecycle_stage", "active", experiment.lifecycle_stage)
        same_values("tag", dict([NOTE]), experiment.tags)

    def create_run(self) -> None:
        run = self.client.create_run(self.made.the_experiment(), run_name=self.made.name)
        self.made.run_id = str(run.info.run_id)
        expect("The run's experiment", self.made.the_experiment(), run.info.experiment_id)

    def log_param(self) -> None:
        self.client.log_param(self.made.the_run(), *PARAM)

    def log_metric(self) -> None:
        key, value, step = METRIC
        self.client.log_metric(self.made.the_run(), key, value, step=step)

    def log_batch(self) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.made.the_run(),
            metrics=[self.entities.Metric(key, value, now, step) for key, value, step in BATCH_METRICS],
            params=[self.entities.Param(*BATCH_PARAM)],
            tags=[self.entities.RunTag(*BATCH_TAG)],
        )

    def set_tag(self) -> None:
        self.client.set_tag(self.made.the_run(), *TAG)

    def read_back(self) -> None:
        run = self.client.get_run(self.made.the_run())
        expect("The run's name", self.made.name, run.info.run_name)
        same_values("parameter", WRITTEN_PARAMS, run.data.params)
        same_values("metric", WRITTEN_METRICS, run.data.metrics)
        same_values("tag", WRITTEN_TAGS, run.data.tags)

    def list_artifacts(self) -> None:
        """The client asks the server only where the artifacts are, and lists them there itself."""
        uri = str(self.client.get_run(self.made.the_run()).info.artifact_uri)
        scheme = urlsplit(uri).scheme
        if scheme in OVER_HTTP:
            files = self.client.list_artifacts(self.made.the_run())
        elif scheme == "s3":
            files = _with_s3(lambda: self.client.list_artifacts(self.made.the_run()))
        else:
            raise Skipped(
                f"needs access to where the server keeps artifacts ({scheme or 'file'}:) until they go through the "
                f"proxy"
            )
        expect("The run's list of artifacts", [], files)

    def delete_run(self) -> None:
        self.client.delete_run(self.made.the_run())
        self.made.run_deleted = True
        expect("The run's lifecycle_stage", "deleted", self.client.get_run(self.made.the_run()).info.lifecycle_stage)

    def delete_experiment(self) -> None:
        self.client.delete_experiment(self.made.the_experiment())
        experiment = self.client.get_experiment(self.made.the_experiment())
        expect("The experiment's lifecycle_stage", "deleted", experiment.lifecycle_stage)
        self.made.deleted = True


def _with_s3(list_artifacts: Callable[[], object]) -> object:
    """List with this machine's AWS credentials; Skipped when it has none that S3 accepts."""
    try:
        boto3: Any = importlib.import_module("boto3")
        botocore_exceptions: Any = importlib.import_module("botocore.exceptions")
        botocore_session: Any = importlib.import_module("botocore.session")
        config: Any = importlib.import_module("botocore.config")
    except ImportError as error:
        raise Skipped(f"{WITHOUT_S3}, and boto3") from error
    try:
        # MLflow makes its client from the default session, whose own patience is five minutes.
        session = botocore_session.get_session()
        session.set_default_client_config(
            config.Config(connect_timeout=S3_SECONDS, read_timeout=S3_SECONDS, retries={"total_max_attempts": 1})
        )
        boto3.setup_default_session(botocore_session=session)
        if session.get_credentials() is None:
            raise Skipped(WITHOUT_S3)
        return list_artifacts()
    except (botocore_exceptions.BotoCoreError, botocore_exceptions.ClientError) as error:
        raise Skipped(f"{WITHOUT_S3}; with those of this machine: {plain(str(error))}") from error
