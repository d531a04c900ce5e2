"""A stack whose schedule has stopped the service."""

from typing import Any

from tests.doubles.provider.kinds.aws.ecs import SCALED, SERVICE
from tests.engine import programs
from tests.engine.conftest import Start

SCHEDULE: dict[str, Any] = {"service": {"schedule": {"start": "08:00", "stop": "20:00"}}}


def test_up_and_refresh_of_a_stopped_service_do_not_start_it(start: Start) -> None:
    engine = start(config=programs.config_of("dev", SCHEDULE))
    engine.up().ok()
    (target,), (service,) = engine.double.cloud.of(SCALED), engine.double.cloud.of(SERVICE)
    # As the scheduled action and Application Auto Scaling do.
    target.inputs |= {"minCapacity": 0, "maxCapacity": 0}
    service.inputs |= {"desiredCount": 0}
    assert engine.up("--expect-no-changes").ok().steps == []
    engine.refresh().ok()
    assert engine.up("--expect-no-changes").ok().steps == []
    # A change of the service does not start it either.
    engine.configure(programs.config_of("dev", {**SCHEDULE, "tags": {"Team": "data"}}))
    engine.up().ok()
    assert (target.inputs["minCapacity"], target.inputs["maxCapacity"], service.inputs["desiredCount"]) == (0, 0, 0)
