"""The steps over HTTP: authentication and roles, then the requests that AWS's blog post makes with curl."""

import re
import secrets
import time
import uuid
from typing import Any, cast

from verify.created_objects import CreatedObjects, find_experiments
from verify.errors import StepFailed, StepSkipped, VerificationAborted
from verify.http_api import ApiResponse, MlflowApi, field
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

# Proxies often sign a space, a plus or a non-ASCII letter in a query incorrectly.
FOLDER = "a folder + more/\u00fc"
# The script of MLflow's page, relative to it.
_SCRIPT = re.compile(r"""src=["']\.?/?(static-files/[^"'?#]+\.js)["']""")


class HttpSteps:
    """The steps over HTTP, on one experiment and one run.

    Each step raises StepFailed for an unexpected response, and StepNotRun when the experiment or run does not exist.
    """

    def __init__(self, api: MlflowApi, created: CreatedObjects) -> None:
        self.api = api
        self.created = created
        self.root = ""

    def steps(self) -> list[Step]:
        """All steps, in the order in which they run."""
        return [
            Step("reject a request without a token", self.reject_missing_token),
            Step("reject an invalid token", self.reject_invalid_token),
            Step("accept the token and its role", self.accept_token),
            Step("create experiment", self.create_experiment),
            Step("search experiments", self.search_experiments),
            Step("get experiment", self.get_experiment),
            Step("create run", self.create_run),
            Step("log parameter", self.log_param),
            Step("log metric", self.log_metric),
            Step("log batch", self.log_batch),
            Step("set tag", self.set_tag),
            Step("read the run", self.read_run),
            Step("list artifacts", self.list_artifacts),
            Step("list artifacts of a folder", self.list_folder),
            Step("open the UI", self.open_ui),
            Step("refuse a change by a viewer", self.refuse_viewer),
            Step("delete run", self.delete_run),
            Step("delete experiment", self.delete_experiment),
        ]

    # Authentication and roles

    def reject_missing_token(self) -> str:
        """Expect 401 without a token."""
        return self._expect_401(None, "without a token")

    def reject_invalid_token(self) -> str:
        """Expect 401 with a token of the right form and the wrong value."""
        return self._expect_401(_similar_token(self.api.target.token), "with an invalid token")

    def _expect_401(self, token: str | None, how: str) -> str:
        answer = self.api.request("POST", "experiments/search", {"max_results": 1}, token)
        if answer.status == 200:
            raise StepFailed(f"A request {how} was accepted: {self.api.target.url} is open to anyone who can reach it.")
        if answer.status != 401:
            raise StepFailed(f"A request {how}: expected status 401. Response: {answer}")
        return "401"

    def accept_token(self) -> str:
        """Delete a run that does not exist: detects a role that may not delete, before anything is created.

        Raises VerificationAborted for another role than admin.
        """
        answer = self._request_for_missing_run("runs/delete")
        if answer.status == 403:
            may_write = self._request_for_missing_run("runs/set-tag", key=TAG[0], value=TAG[1]).status != 403
            role = "can read and write but not delete (editor)" if may_write else "can only read (viewer)"
            raise VerificationAborted(
                f"The token {role}. Expected the role {ROLE}, since created objects are deleted at the end. "
                f"Nothing was created. Response: {answer}"
            )
        if answer.error_code != "RESOURCE_DOES_NOT_EXIST":
            # Create nothing before it is certain that it can be deleted.
            self.api.abort_unless_mlflow(answer)
            raise VerificationAborted(
                f"Deleting a missing run: expected RESOURCE_DOES_NOT_EXIST from MLflow. Response: {answer}"
            )
        return ROLE

    def _request_for_missing_run(self, route: str, **fields: str) -> ApiResponse:
        return self.api.request("POST", route, {"run_id": uuid.uuid4().hex, **fields}, self.api.target.token)

    # The steps of AWS's blog post

    def create_experiment(self) -> None:
        """Create the experiment with a tag, and record its id."""
        self.created.creation_requested = True
        answer = self.api.post("experiments/create", name=self.created.name, tags=[_pair(NOTE)])
        self.created.experiment_id = str(field(answer, "experiment_id"))

    def search_experiments(self) -> None:
        """Search by name, and compare the ids with the created one."""
        ids = [str(field(experiment, "experiment_id")) for experiment in find_experiments(self.api, self.created.name)]
        expect("The list of experiments found by name", [self.created.require_experiment_id()], ids)

    def get_experiment(self) -> None:
        """Get the experiment, and compare name, lifecycle stage and tag."""
        experiment = self._experiment()
        expect("The experiment's name", self.created.name, field(experiment, "name"))
        expect("The experiment's lifecycle_stage", "active", field(experiment, "lifecycle_stage"))
        same_values("tag", dict([NOTE]), _dict(experiment, "tags"))

    def create_run(self) -> None:
        """Create the run, record its id, and compare its experiment."""
        answer = self.api.post(
            "runs/create",
            experiment_id=self.created.require_experiment_id(),
            run_name=self.created.name,
            start_time=_now(),
        )
        self.created.run_id = str(field(answer, "run", "info", "run_id"))
        expect(
            "The run's experiment", self.created.require_experiment_id(), field(answer, "run", "info", "experiment_id")
        )

    def log_param(self) -> None:
        """Log one parameter."""
        self.api.post("runs/log-parameter", run_id=self.created.require_run_id(), **_pair(PARAM))

    def log_metric(self) -> None:
        """Log one metric with a step."""
        self.api.post("runs/log-metric", run_id=self.created.require_run_id(), **_metric(*METRIC))

    def log_batch(self) -> None:
        """Log metrics, a parameter and a tag in one request."""
        self.api.post(
            "runs/log-batch",
            run_id=self.created.require_run_id(),
            metrics=[_metric(*metric) for metric in BATCH_METRICS],
            params=[_pair(BATCH_PARAM)],
            tags=[_pair(BATCH_TAG)],
        )

    def set_tag(self) -> None:
        """Set one tag of the run."""
        self.api.post("runs/set-tag", run_id=self.created.require_run_id(), **_pair(TAG))

    def read_run(self) -> None:
        """Get the run, and compare its name, parameters, metrics and tags with those written."""
        run = self._run()
        expect("The run's name", self.created.name, field(run, "info", "run_name"))
        data = field(run, "data")
        same_values("parameter", WRITTEN_PARAMS, _dict(data, "params"))
        same_values("metric", WRITTEN_METRICS, _dict(data, "metrics"))
        same_values("tag", WRITTEN_TAGS, _dict(data, "tags"))

    def list_artifacts(self) -> None:
        """List the artifacts of the run: none; and compare root_uri with the run's artifact_uri."""
        answer = self.api.get("artifacts/list", run_id=self.created.require_run_id())
        self.root = str(field(answer, "root_uri"))
        expect("The run's list of artifacts", [], answer.get("files", []))
        expect("The artifacts' root_uri", field(self._run(), "info", "artifact_uri"), self.root)

    def list_folder(self) -> None:
        """List a folder whose name has to be percent-encoded."""
        answer = self.api.get("artifacts/list", run_id=self.created.require_run_id(), path=FOLDER)
        expect("The folder's list of artifacts", [], answer.get("files", []))

    def open_ui(self) -> str:
        """Get MLflow's page and its script, as a browser does; StepSkipped where the page is another one."""
        response = self.api.page("/", "text/html")
        if response.status_code != 200 or not response.headers.get("Content-Type", "").startswith("text/html"):
            raise StepFailed(f"Expected an HTML page with status 200. Response: {ApiResponse(response)}")
        script = _SCRIPT.search(response.text)
        if script is None:
            raise StepSkipped("the deployment does not serve MLflow's UI")
        response = self.api.page(f"/{script[1]}", "*/*")
        if response.status_code != 200 or "javascript" not in response.headers.get("Content-Type", ""):
            raise StepFailed(f"The page's script {script[1]}: expected status 200. Response: {ApiResponse(response)}")
        return "MLflow's page"

    def refuse_viewer(self) -> str:
        """Search and set a tag with the token of a viewer; StepSkipped without one."""
        token = self.api.target.viewer_token
        if not token:
            raise StepSkipped("set VIEWER_TOKEN=... to the token of a viewer")
        run_id = self.created.require_run_id()
        answer = self.api.request("GET", "runs/get", {"run_id": run_id}, token)
        if answer.status != 200:
            raise StepFailed(f"Reading the run as a viewer: expected status 200. Response: {answer}")
        answer = self.api.request("POST", "runs/set-tag", {"run_id": run_id, **_pair(TAG)}, token)
        if answer.status == 200:
            raise StepFailed("A change with VIEWER_TOKEN was accepted. Is it the token of a viewer?")
        if answer.status != 403:
            raise StepFailed(f"A change by a viewer: expected status 403. Response: {answer}")
        return "403"

    def delete_run(self) -> None:
        """Delete the run, and compare its lifecycle stage."""
        self.api.post("runs/delete", run_id=self.created.require_run_id())
        expect("The run's lifecycle_stage", "deleted", field(self._run(), "info", "lifecycle_stage"))
        self.created.run_deleted = True

    def delete_experiment(self) -> None:
        """Delete the experiment, and compare its lifecycle stage."""
        self.api.post("experiments/delete", experiment_id=self.created.require_experiment_id())
        expect("The experiment's lifecycle_stage", "deleted", field(self._experiment(), "lifecycle_stage"))
        self.created.deleted = True

    # Shared by several steps

    def _experiment(self) -> dict[str, Any]:
        return field(self.api.get("experiments/get", experiment_id=self.created.require_experiment_id()), "experiment")

    def _run(self) -> dict[str, Any]:
        return field(self.api.get("runs/get", run_id=self.created.require_run_id()), "run")


def _similar_token(token: str) -> str:
    """An invalid token with the prefix and length of a valid one, which a check of the format alone would accept."""
    prefix = token[: len(token) // 2]
    while (other := prefix + secrets.token_hex(len(token))[: len(token) - len(prefix)]) == token:
        continue
    return other


def _pair(pair: tuple[str, str]) -> dict[str, str]:
    return {"key": pair[0], "value": pair[1]}


def _metric(key: str, value: float, step: int) -> dict[str, Any]:
    return {"key": key, "value": value, "step": step, "timestamp": _now()}


def _now() -> int:
    """Milliseconds since the epoch, as MLflow's timestamps."""
    return int(time.time() * 1000)


def _dict(parent: dict[str, Any], name: str) -> dict[str, object]:
    """A list of {key, value} objects as a dict; MLflow omits empty lists."""
    pairs = cast("list[dict[str, Any]]", parent.get(name, []))
    return {field(pair, "key"): field(pair, "value") for pair in pairs}
