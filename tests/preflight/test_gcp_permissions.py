"""The table of Google Cloud permissions covers every resource of every scenario."""

import pytest
import yaml

from preflight.gcp.permissions import FOR_FUNCTIONS, FOR_TYPES, deployer_role, permissions_of
from tests.components.gcp.scenarios import SCENARIOS
from tests.components.scenario import Scenario
from tests.docs.gcp_pages import PAGES, ROOT


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_resource_and_function_of_a_scenario_has_permissions(scenario: Scenario) -> None:
    found = permissions_of(scenario.graph())
    assert "cloudsql.instances.create" in found
    assert all(name.count(".") == 2 for name in found)


def test_custom_role_for_deployers_is_current() -> None:
    text = (ROOT / "docs" / "gcp-deployer-role.yaml").read_text()
    assert text == deployer_role(), "run `make docs`"
    permissions = yaml.safe_load(text)["includedPermissions"]
    needed = {name for scenario in SCENARIOS for name in permissions_of(scenario.graph())}
    assert needed <= set(permissions)


def test_every_row_is_used() -> None:
    graphs = [scenario.graph() for scenario in SCENARIOS]
    assert {resource.type for graph in graphs for resource in graph.resources} >= set(FOR_TYPES)
    assert {call.token for graph in graphs for call in graph.calls} >= set(FOR_FUNCTIONS)


def test_the_guide_names_a_role_for_each_type_with_permissions() -> None:
    for name in FOR_TYPES:
        if name.startswith("gcp:"):
            module, _, resource = name.removeprefix("gcp:").partition(":")
            readable = f"{module.partition('/')[0]}.{resource}".replace("iAMMember", "IAMMember")
            assert f"`{readable}`" in PAGES["gcp.md"], readable
