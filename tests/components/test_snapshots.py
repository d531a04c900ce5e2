"""The graph of each scenario is the reviewed one. `make snapshots` rewrites the files: review their diff.

The snapshots of development and production are complete, the others show the differences from one of them.
"""

import os
from pathlib import Path

import pytest

from .aws import scenarios as aws
from .gcp import scenarios as gcp
from .scenario import Scenario
from .snapshot import difference, snapshot_of, to_yaml

FOLDER = Path(__file__).with_name("snapshots")
SCENARIOS = (*aws.SCENARIOS, *gcp.SCENARIOS)
REVIEWED = [scenario for scenario in SCENARIOS if scenario.reviewed]


def snapshot_text(scenario: Scenario) -> str:
    if scenario.base is None:
        return f"# {scenario.name}: {scenario.about}\n{to_yaml(snapshot_of(scenario.graph()))}"
    base = next(
        candidate for candidate in SCENARIOS if (candidate.cloud, candidate.name) == (scenario.cloud, scenario.base)
    )
    found = difference(snapshot_of(base.graph()), snapshot_of(scenario.graph()))
    return f"# {scenario.name}: {scenario.about}; what is different from {base.name}\n{to_yaml(found)}"


@pytest.mark.parametrize("scenario", REVIEWED, ids=lambda scenario: f"{scenario.cloud}-{scenario.name}")
def test_graph_equals_its_reviewed_snapshot(scenario: Scenario) -> None:
    file = FOLDER / scenario.cloud / f"{scenario.name}.yaml"
    current = snapshot_text(scenario)
    if os.environ.get("SNAPSHOTS") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(current)
    assert file.read_text().splitlines() == current.splitlines(), (
        "to accept the change: `make snapshots`, and review the diff"
    )


def test_snapshot_files_are_those_of_the_reviewed_scenarios() -> None:
    assert {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.yaml")} == {
        f"{scenario.cloud}/{scenario.name}.yaml" for scenario in REVIEWED
    }
