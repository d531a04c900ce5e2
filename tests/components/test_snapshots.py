"""The whole graph of each stack, as it was reviewed. `make snapshots` writes the files anew: their diff is the review.

Development and production are there as a whole, the others as what is different from one of them.
"""

import os
from pathlib import Path

import pytest

from .aws import scenarios as aws
from .gcp import scenarios as gcp
from .scenario import Scenario
from .snapshot import difference, whole, written

FOLDER = Path(__file__).with_name("snapshots")
SCENARIOS = (*aws.SCENARIOS, *gcp.SCENARIOS)
REVIEWED = [one for one in SCENARIOS if one.reviewed]


def text(scenario: Scenario) -> str:
    if scenario.base is None:
        return f"# {scenario.name}: {scenario.about}\n{written(whole(scenario.graph()))}"
    base = next(one for one in SCENARIOS if (one.cloud, one.name) == (scenario.cloud, scenario.base))
    found = difference(whole(base.graph()), whole(scenario.graph()))
    return f"# {scenario.name}: {scenario.about}; what is different from {base.name}\n{written(found)}"


@pytest.mark.parametrize("scenario", REVIEWED, ids=lambda one: f"{one.cloud}-{one.name}")
def test_the_graph_is_the_reviewed_one(scenario: Scenario) -> None:
    file = FOLDER / scenario.cloud / f"{scenario.name}.yaml"
    now = text(scenario)
    if os.environ.get("SNAPSHOTS") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(now)
    assert file.read_text().splitlines() == now.splitlines(), "if it is meant: `make snapshots`, and review its diff"


def test_every_snapshot_is_of_a_scenario() -> None:
    assert {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.yaml")} == {
        f"{one.cloud}/{one.name}.yaml" for one in REVIEWED
    }
