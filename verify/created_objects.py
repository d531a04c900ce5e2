"""The objects that the verification creates, and their deletion. MLflow only marks as deleted: they can be restored."""

import dataclasses
import time
from typing import Any

from verify.errors import StepFailed, StepNotRun
from verify.http_api import MlflowApi, field

LOOKUP_ATTEMPTS = 3
LOOKUP_DELAY_SECONDS = 0.5


@dataclasses.dataclass(slots=True)
class CreatedObjects:
    """One experiment, its run and the model that the run logged.

    `creation_requested` is set before the request to create it, since the response may be lost.
    """

    name: str
    creation_requested: bool = False
    experiment_id: str = ""
    run_id: str = ""
    model_id: str = ""
    run_deleted: bool = False
    deleted: bool = False

    def require_experiment_id(self) -> str:
        """The experiment's id; StepNotRun when it was not created."""
        if not self.experiment_id:
            raise StepNotRun("Requires the experiment.")
        return self.experiment_id

    def require_run_id(self) -> str:
        """The run's id; StepNotRun when it was not created."""
        if not self.run_id:
            raise StepNotRun("Requires the run.")
        return self.run_id

    def require_model_id(self) -> str:
        """The model's id; StepNotRun when it was not logged."""
        if not self.model_id:
            raise StepNotRun("Requires the model.")
        return self.model_id


def find_experiments(api: MlflowApi, name: str) -> list[dict[str, Any]]:
    """The active experiments called `name`."""
    found = api.post("experiments/search", filter=f"name = '{name}'", max_results=10, view_type="ACTIVE_ONLY")
    return found.get("experiments", [])


def delete_objects(api: MlflowApi, created: CreatedObjects) -> str | None:
    """Delete the experiment and its run; returns None, or a description of what is left and why."""
    if not created.creation_requested or created.deleted:
        return None
    try:
        if not created.experiment_id:
            created.experiment_id = _find_experiment_id(api, created.name)
        if created.experiment_id and not _is_deleted(api, created.experiment_id):
            if created.run_id and not created.run_deleted:
                _delete_run(api, created)
            api.post("experiments/delete", experiment_id=created.experiment_id)
        created.deleted = True
    except StepFailed as failure:
        return describe_leftover(created, str(failure))
    return None


def describe_leftover(created: CreatedObjects, why: str) -> str:
    """Which experiment is left, why, and how to delete it."""
    command = (
        f" or with `mlflow experiments delete --experiment-id {created.experiment_id}`" if created.experiment_id else ""
    )
    return f"Not deleted: the experiment {created.name}. {why}\nDelete it in MLflow's UI{command}."


def _find_experiment_id(api: MlflowApi, name: str) -> str:
    """The experiment's id, or an empty string. Retries, since the server may still be creating it."""
    for attempt in range(LOOKUP_ATTEMPTS):
        if attempt:
            time.sleep(LOOKUP_DELAY_SECONDS)
        if experiments := find_experiments(api, name):
            return str(field(experiments[0], "experiment_id"))
    return ""


def _is_deleted(api: MlflowApi, experiment_id: str) -> bool:
    answer = api.get("experiments/get", experiment_id=experiment_id)
    return field(answer, "experiment", "lifecycle_stage") == "deleted"


def _delete_run(api: MlflowApi, created: CreatedObjects) -> None:
    try:
        api.post("runs/delete", run_id=created.run_id)
    except StepFailed:
        # Deleted already, or not allowed: deleting the experiment deletes its runs, and reports errors.
        return
    created.run_deleted = True
