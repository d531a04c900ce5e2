"""The steps over plain HTTP: who is let in, then everything that AWS's blog post tries with curl."""

import secrets
import time
import uuid
from typing import Any, cast

from verify.failures import Failed, Stop
from verify.http_api import Answer, Api, field
from verify.made import Made, find
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

# In a query a space, a plus and a letter beyond ASCII have one right signature and several wrong ones.
FOLDER = "a folder + more/\u00fc"


class HttpSteps:
    """Steps that share one experiment and one run."""

    def __init__(self, api: Api, made: Made) -> None:
        self.api = api
        self.made = made
        self.root = ""

    def steps(self) -> list[Step]:
        return [
            Step("refuse a caller with no token", self.refuse_no_token),
            Step("refuse a caller with a wrong token", self.refuse_wrong_token),
            Step("accept the token, with its role", self.accept_token),
            Step("create experiment", self.create_experiment),
            Step("search experiments", self.search_experiments),
            Step("get experiment", self.get_experiment),
            Step("create run", self.create_run),
            Step("log parameter", self.log_param),
            Step("log metric", self.log_metric),
            Step("log batch", self.log_batch),
            Step("set tag", self.set_tag),
            Step("read the run back", self.read_back),
            Step("list artifacts", self.list_artifacts),
            Step("list artifacts of a folder", self.list_folder),
            Step("delete run", self.delete_run),
            Step("delete experiment", self.delete_experiment),
        ]

    # Who is let in

    def refuse_no_token(self) -> str:
        return self._refused(None, "without a token")

    def refuse_wrong_token(self) -> str:
        return self._refused(_resembling(self.api.target.token), "with a made-up token")

    def _refused(self, token: str | None, how: str) -> str:
        answer = self.api.ask("POST", "experiments/search", {"max_results": 1}, token)
        if answer.status == 200:
            raise Failed(f"A caller {how} was let in, and so is anyone who reaches {self.api.target.url}.")
        if answer.status != 401:
            raise Failed(f"A caller {how} should be refused with 401; the answer: {answer}")
        return "401"

    def accept_token(self) -> str:
        """Ask to delete a run that does not exist: a role that may not delete is noticed before anything is made."""
        answer = self._try_on_nothing("runs/delete")
        if answer.status == 403:
            may_write = self._try_on_nothing("runs/set-tag", key=TAG[0], value=TAG[1]).status != 403
            role = "may read and write but not delete, as an editor's" if may_write else "may not write, as a viewer's"
            raise Stop(
                f"The token {role}: its role is too weak. It must be {ROLE}, because what is made here is marked as "
                f"deleted at the end. Nothing was made. The answer: {answer}"
            )
        if answer.error_code != "RESOURCE_DOES_NOT_EXIST":
            # Whatever this is, nothing should be made before it is known that it can be deleted.
            self.api.stop_if_no_mlflow(answer)
            raise Stop(f"Deleting a run that does not exist should be answered so by MLflow; the answer: {answer}")
        return ROLE

    def _try_on_nothing(self, route: str, **fields: str) -> Answer:
        return self.api.ask("POST", route, {"run_id": uuid.uuid4().hex, **fields}, self.api.target.token)

    # The article's steps

    def create_experiment(self) -> None:
        self.made.asked = True
        answer = self.api.post("experiments/create", name=self.made.name, tags=[_pair(NOTE)])
        self.made.experiment_id = str(field(answer, "experiment_id"))

    def search_experiments(self) -> None:
        ids = [str(field(experiment, "experiment_id")) for experiment in find(self.api, self.made.name)]
        expect("The list of experiments found by name", [self.made.the_experiment()], ids)

    def get_experiment(self) -> None:
        experiment = self._experiment()
        expect("The experiment's name", self.made.name, field(experiment, "name"))
        expect("The experiment's lifecycle_stage", "active", field(experiment, "lifecycle_stage"))
        same_values("tag", dict([NOTE]), _dict(experiment, "tags"))

    def create_run(self) -> None:
        answer = self.api.post(
            "runs/create", experiment_id=self.made.the_experiment(), run_name=self.made.name, start_time=_now()
        )
        self.made.run_id = str(field(answer, "run", "info", "run_id"))
        expect("The run's experiment", self.made.the_experiment(), field(answer, "run", "info", "experiment_id"))

    def log_param(self) -> None:
        self.api.post("runs/log-parameter", run_id=self.made.the_run(), **_pair(PARAM))

    def log_metric(self) -> None:
        self.api.post("runs/log-metric", run_id=self.made.the_run(), **_metric(*METRIC))

    def log_batch(self) -> None:
        self.api.post(
            "runs/log-batch",
            run_id=self.made.the_run(),
            metrics=[_metric(*metric) for metric in BATCH_METRICS],
            params=[_pair(BATCH_PARAM)],
            tags=[_pair(BATCH_TAG)],
        )

    def set_tag(self) -> None:
        self.api.post("runs/set-tag", run_id=self.made.the_run(), **_pair(TAG))

    def read_back(self) -> None:
        run = self._run()
        expect("The run's name", self.made.name, field(run, "info", "run_name"))
        data = field(run, "data")
        same_values("parameter", WRITTEN_PARAMS, _dict(data, "params"))
        same_values("metric", WRITTEN_METRICS, _dict(data, "metrics"))
        same_values("tag", WRITTEN_TAGS, _dict(data, "tags"))

    def list_artifacts(self) -> None:
        answer = self.api.get("artifacts/list", run_id=self.made.the_run())
        self.root = str(field(answer, "root_uri"))
        expect("The run's list of artifacts", [], answer.get("files", []))
        expect("The artifacts' root_uri", field(self._run(), "info", "artifact_uri"), self.root)

    def list_folder(self) -> None:
        answer = self.api.get("artifacts/list", run_id=self.made.the_run(), path=FOLDER)
        expect("The folder's list of artifacts", [], answer.get("files", []))

    def delete_run(self) -> None:
        self.api.post("runs/delete", run_id=self.made.the_run())
        expect("The run's lifecycle_stage", "deleted", field(self._run(), "info", "lifecycle_stage"))
        self.made.run_deleted = True

    def delete_experiment(self) -> None:
        self.api.post("experiments/delete", experiment_id=self.made.the_experiment())
        expect("The experiment's lifecycle_stage", "deleted", field(self._experiment(), "lifecycle_stage"))
        self.made.deleted = True

    # What the steps share

    def _experiment(self) -> dict[str, Any]:
        return field(self.api.get("experiments/get", experiment_id=self.made.the_experiment()), "experiment")

    def _run(self) -> dict[str, Any]:
        return field(self.api.get("runs/get", run_id=self.made.the_run()), "run")


def _resembling(token: str) -> str:
    """Another token that begins like the right one: a proxy that looks at the form alone would take it."""
    kept = token[: len(token) // 2]
    while (other := kept + secrets.token_hex(len(token))[: len(token) - len(kept)]) == token:
        continue
    return other


def _pair(pair: tuple[str, str]) -> dict[str, str]:
    return {"key": pair[0], "value": pair[1]}


def _metric(key: str, value: float, step: int) -> dict[str, Any]:
    return {"key": key, "value": value, "step": step, "timestamp": _now()}


def _now() -> int:
    """MLflow's times are milliseconds."""
    return int(time.time() * 1000)


def _dict(parent: dict[str, Any], name: str) -> dict[str, object]:
    """A list of {key, value}, which MLflow leaves out when it is empty."""
    pairs = cast("list[dict[str, Any]]", parent.get(name, []))
    return {field(pair, "key"): field(pair, "value") for pair in pairs}
