"""docs/gcp-costs.md: quantities match the stacks, and sums are correct. The prices are not tested."""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from components.gcp.data_settings import DatabaseSettings
from preview.graph import Graph

from ..components.gcp.scenarios import SCENARIOS
from .cost_tables import cents, kinds, monthly, only, rows, stated_total

PAGE = (Path(__file__).parents[2] / "docs" / "gcp-costs.md").read_text()
STACKS = {"gcp-dev": "development", "gcp-prod": "production"}
DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
# Resource types with a fixed price, and with usage costs; all others are free or included.
PRICED = {
    "gcp:appengine/flexibleAppVersion:FlexibleAppVersion",
    "gcp:monitoring/alertPolicy:AlertPolicy",
    "gcp:secretmanager/secretVersion:SecretVersion",
    DATABASE,
}
USAGE_BASED = {
    "gcp:artifactregistry/repository:Repository",
    "gcp:cloudscheduler/job:Job",
    "gcp:compute/routerNat:RouterNat",
    "gcp:logging/metric:Metric",
    "gcp:logging/projectBucketConfig:ProjectBucketConfig",
    "gcp:storage/bucket:Bucket",
}
FREE = re.compile(
    r"gcp:(?:appengine/(?:application|engineSplitTraffic|standardAppVersion)|compute/(?:firewall|globalAddress|network"
    r"|router:|subnetwork)|iap/|logging/project(?:Sink|Exclusion)|monitoring/(?:dashboard|notificationChannel)|projects/"
    r"|secretmanager/secret:|servicenetworking/|serviceaccount/|sql/(?:database:|user)|storage/bucketObject|.*[iI][aA][mM]Member)"
)


def graph(stack: str) -> Graph:
    (found,) = [scenario for scenario in SCENARIOS if scenario.name == STACKS[stack]]
    return found.graph()


def instances(of: str) -> Callable[[Graph], int]:
    """Return a function that counts a resource (vCPU, memory, disk) over the minimum number of instances."""

    def count(graph: Graph) -> int:
        version = only(graph, "gcp:appengine/flexibleAppVersion:FlexibleAppVersion")
        number = version["automaticScaling"]["minTotalInstances"] * version["resources"][of]
        assert number == int(number)
        return int(number)

    return count


def settings(graph: Graph) -> Mapping[str, Any]:
    return only(graph, DATABASE)["settings"]


def zones(graph: Graph) -> int:
    return 2 if settings(graph)["availabilityType"] == "REGIONAL" else 1


def custom(part: int, unit: int) -> Callable[[Graph], int]:
    """Return a function that counts vCPUs or memory of a db-custom-CPUS-MIB machine in all zones."""

    def count(graph: Graph) -> int:
        machine = re.fullmatch(r"db-custom-(\d+)-(\d+)", settings(graph)["tier"])
        number = zones(graph) * int(machine[part]) / unit if machine else 0
        assert number == int(number)
        return int(number)

    return count


def disk(of_zones: int) -> Callable[[Graph], int]:
    return lambda graph: settings(graph)["diskSize"] * of_zones if zones(graph) == of_zones else 0


COUNTS: Mapping[str, Callable[[Graph], int]] = {
    "App Engine, vCPU": instances("cpu"),
    "App Engine, GB of memory": instances("memoryGb"),
    "App Engine, GB of disk": instances("diskGb"),
    "database, db-g1-small": lambda graph: int(settings(graph)["tier"] == "db-g1-small"),
    "database, vCPU in each zone": custom(1, 1),
    "database, GB of memory in each zone": custom(2, 1024),
    "database, GB of disk": disk(1),
    "database, GB of disk in each zone": disk(2),
    "secret version": kinds("gcp:secretmanager/secretVersion:SecretVersion"),
    "alert condition": lambda graph: sum(
        len(policy.inputs["conditions"]) for policy in graph.of("gcp:monitoring/alertPolicy:AlertPolicy")
    ),
}


def total(sums: Iterable[Decimal]) -> Decimal:
    return sum(sums, Decimal(0))


@pytest.mark.parametrize("stack", STACKS)
def test_quantities_match_the_stack(stack: str) -> None:
    counted = {item: count(graph(stack)) for item, count in COUNTS.items()}
    assert {item: row.number for item, row in rows(PAGE, stack).items()} == {
        item: n for item, n in counted.items() if n
    }


@pytest.mark.parametrize("stack", STACKS)
def test_sums_are_correct(stack: str) -> None:
    for item, row in rows(PAGE, stack).items():
        assert row.sum == monthly(row.number, row.price, hourly=row.hourly), item
    assert stated_total(PAGE, stack) == total(row.sum for row in rows(PAGE, stack).values())


def test_unit_prices_are_equal_in_both_stacks() -> None:
    first, other = (rows(PAGE, stack) for stack in STACKS)
    for item in first.keys() & other.keys():
        assert (first[item].price, first[item].hourly) == (other[item].price, other[item].hourly)


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_type_is_free_or_priced(stack: str) -> None:
    types = {resource.type for resource in graph(stack).resources if resource.type.startswith("gcp:")}
    assert types >= PRICED
    unknown = {kind for kind in types - PRICED - USAGE_BASED if not FREE.match(kind)}
    assert not unknown, "if these have a price, add a row to docs/gcp-costs.md"


def test_savings_match_the_tables() -> None:
    prod, dev = rows(PAGE, "gcp-prod"), rows(PAGE, "gcp-dev")
    standby = total(row.sum for item, row in prod.items() if item.endswith("in each zone")) / 2
    prod_database = total(row.sum for item, row in prod.items() if item.startswith("database, "))
    dev_database = total(row.sum for item, row in dev.items() if item.startswith("database, "))
    instance = total(row.sum for item, row in prod.items() if item.startswith("App Engine, ")) / 2
    (micro,) = re.findall(r"The smallest database \(([\d.]+) per hour\)", PAGE)
    small = dev["database, db-g1-small"]
    assert small.hourly
    expected = [
        standby,
        prod_database - dev_database,
        instance,
        small.sum - monthly(1, Decimal(micro), hourly=True),
    ]
    stated = re.findall(r"^\| [^|]+ \| [^|]*`[^|]+ \| -([\d.]+) \|$", PAGE, re.MULTILINE)
    assert [Decimal(amount) for amount in stated] == [cents(amount) for amount in expected]


def test_price_of_an_additional_instance_matches_the_rows() -> None:
    dev = rows(PAGE, "gcp-dev")
    (stated,) = re.findall(r"additional instance, up to\s+`app.maxInstances`, costs ([\d.]+) per month", PAGE)
    assert Decimal(stated) == total(row.sum for item, row in dev.items() if item.startswith("App Engine, "))


def test_database_tiers_are_the_defaults() -> None:
    """The stack files do not set the tier."""
    assert settings(graph("gcp-dev"))["tier"] == DatabaseSettings().tier
    assert settings(graph("gcp-prod"))["tier"] == DatabaseSettings.production_defaults["tier"]
