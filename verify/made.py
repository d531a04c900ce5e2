"""What the verification makes on the server, and its removal. MLflow deletes softly: all of it can be restored."""

import dataclasses
import time
from typing import Any

from verify.failures import Failed, NotTried
from verify.http_api import Api, field

LOOKS = 3
BETWEEN_LOOKS = 0.5


@dataclasses.dataclass(slots=True)
class Made:
    """One experiment with one run, from the moment that it is asked for: its answer may be lost."""

    name: str
    asked: bool = False
    experiment_id: str = ""
    run_id: str = ""
    run_deleted: bool = False
    deleted: bool = False

    def the_experiment(self) -> str:
        """Its id, for the steps that need it."""
        if not self.experiment_id:
            raise NotTried("It needs the experiment.")
        return self.experiment_id

    def the_run(self) -> str:
        """Its id, for the steps that need it."""
        if not self.run_id:
            raise NotTried("It needs the run.")
        return self.run_id


def find(api: Api, name: str) -> list[dict[str, Any]]:
    """The active experiments of that name."""
    found = api.post("experiments/search", filter=f"name = '{name}'", max_results=10, view_type="ACTIVE_ONLY")
    return found.get("experiments", [])


def remove(api: Api, made: Made) -> str | None:
    """Mark the experiment and its run as deleted; None when that is done, or what is left and why."""
    if not made.asked or made.deleted:
        return None
    try:
        if not made.experiment_id:
            made.experiment_id = _look_for(api, made.name)
        if made.experiment_id and not _is_deleted(api, made.experiment_id):
            if made.run_id and not made.run_deleted:
                _remove_run(api, made)
            api.post("experiments/delete", experiment_id=made.experiment_id)
        made.deleted = True
    except Failed as failure:
        return left_behind(made, str(failure))
    return None


def left_behind(made: Made, why: str) -> str:
    how = f", with `mlflow experiments delete --experiment-id {made.experiment_id}`" if made.experiment_id else ""
    return f"Left behind: the experiment {made.name}. {why}\nDelete it in MLflow's UI{how}."


def _look_for(api: Api, name: str) -> str:
    """Its id; empty when it does not exist. A server may still be at work on a request whose caller has gone."""
    for look in range(LOOKS):
        if look:
            time.sleep(BETWEEN_LOOKS)
        if experiments := find(api, name):
            return str(field(experiments[0], "experiment_id"))
    return ""


def _is_deleted(api: Api, experiment_id: str) -> bool:
    answer = api.get("experiments/get", experiment_id=experiment_id)
    return field(answer, "experiment", "lifecycle_stage") == "deleted"


def _remove_run(api: Api, made: Made) -> None:
    try:
        api.post("runs/delete", run_id=made.run_id)
    except Failed:
        # Gone already, or refused: deleting the experiment deletes its runs too, and says so when it cannot.
        return
    made.run_deleted = True
