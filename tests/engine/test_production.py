"""Production: destroying it takes two decisions, and nothing that holds data goes by accident."""

from dataclasses import dataclass

import pytest

from tests.engine import programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run

SERVER = "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
BUCKET = "aws:s3/bucket:Bucket"


@dataclass(frozen=True, slots=True)
class Life:
    """``left``: what was in the account after ``destroy``, ``forced`` after one without a preview before it."""

    engine: Engine
    made: list[str]
    destroy: Run
    left: list[str]
    forced: Run
    left_by_force: list[str]
    lifted: Run
    second: Run


@pytest.fixture(scope="module")
def life(start: Start) -> Life:
    engine = start(config=programs.config_of("prod"))
    engine.up().ok()
    cloud = engine.double.cloud
    made = cloud.left
    # As people do it: with the preview that comes first.
    destroy = engine.command("destroy", "--yes")
    left = cloud.left
    forced = engine.destroy()
    left_by_force = cloud.left
    engine.configure(programs.config_of("prod", {"deletionProtection": False}))
    lifted = engine.up()
    return Life(engine, made, destroy, left, forced, left_by_force, lifted, engine.destroy())


def test_destroy_stops_before_anything_is_gone_and_names_what_is_protected(life: Life) -> None:
    assert life.destroy.code != 0
    assert "MlflowTrackingServer" in life.destroy.output
    assert "protected" in life.destroy.output
    assert life.left == life.made


def test_without_its_preview_it_still_keeps_what_holds_data(life: Life) -> None:
    assert life.forced.code != 0
    kept = [one for one in life.left_by_force if one.startswith(("MlflowTrackingServer", "Bucket mlflow-artifacts"))]
    assert len(kept) == 2


def test_once_protection_is_lifted_it_is_whole_again_and_can_be_destroyed(life: Life) -> None:
    life.lifted.ok()
    life.second.ok()
    assert life.engine.resources == []
    assert life.engine.double.cloud.left == []
