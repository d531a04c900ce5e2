"""docs/reliability.md: the table of protected resources is what the stacks protect."""

import re
from pathlib import Path

import pytest

from preview.graph import Resource

from ..components.aws.scenarios import SCENARIOS as AWS
from ..components.gcp.scenarios import SCENARIOS as GCP
from ..components.scenario import Scenario
from ..engine import setting_changes, setting_changes_gcp

PAGE = (Path(__file__).parents[2] / "docs/reliability.md").read_text(encoding="utf-8")
# The types of the resources that each entry of the table stands for.
ENTRIES = {
    "the tracking server or app": r"aws:sagemaker/mlflow(TrackingServer|App):.*",
    "buckets": r"aws:s3/.*",
    "secrets of tokens": r"aws:secretsmanager/.*|random:index/random(Password|String):.*",
    "IAM roles": r"aws:iam/role:Role",
    "the load balancer, for its DNS name": r"aws:lb/loadBalancer:LoadBalancer",
    "the log group of the proxy": r"aws:cloudwatch/logGroup:LogGroup",
    "the topic of alarms": r"aws:sns/topic:Topic",
    "addresses of NAT gateways": r"aws:ec2/eip:Eip",
    "the Studio domain and its user profile": r"aws:sagemaker/(domain|userProfile):.*",
    "the App Engine application": r"gcp:appengine/application:Application",
    "the database, its instance and its user": r"gcp:sql/(database|databaseInstance|user):.*",
    "the artifact bucket": r"gcp:storage/bucket:Bucket",
    "secrets": r"gcp:secretmanager/secret:Secret",
    "service accounts of MLflow and of clients": r"gcp:serviceaccount/account:Account",
    "the log bucket": r"gcp:logging/projectBucketConfig:ProjectBucketConfig",
}


@pytest.mark.parametrize(("cloud", "scenarios"), [("AWS", AWS), ("Google Cloud", GCP)])
def test_table_lists_the_protected_resources(cloud: str, scenarios: tuple[Scenario, ...]) -> None:
    (row,) = re.findall(rf"^ *\| {cloud} \| ([^|]+;[^|]+) \|$", PAGE, re.MULTILINE)
    patterns = [ENTRIES[entry] for entry in row.split("; ")]
    protected = {
        resource.type
        for scenario in scenarios
        for resource in scenario.graph().resources
        # The Stash with the original names is an entry of the state only.
        if resource.protect and resource.custom and resource.type != "pulumi:index:Stash"
    }
    unlisted = [kind for kind in protected if not any(re.fullmatch(pattern, kind) for pattern in patterns)]
    assert unlisted == []
    # No scenario with protection has the others.
    unused = {pattern for pattern in patterns if not any(re.fullmatch(pattern, kind) for kind in protected)}
    assert unused <= {ENTRIES["addresses of NAT gateways"], ENTRIES["the Studio domain and its user profile"]}


@pytest.mark.parametrize("column", [1, 2], ids=["AWS", "Google Cloud"])
def test_counts_are_current(column: int) -> None:
    scenarios = {scenario.name: scenario for scenario in (AWS, GCP)[column - 1]}
    counts = [
        len([resource for resource in scenarios[name].graph().resources if is_managed(resource)])
        for name in ("development", "production")
    ]
    (row,) = re.findall(r"^\| resources, development and production \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert row[column - 1] == ", ".join(map(str, counts))
    changes = (setting_changes.CHANGES, setting_changes_gcp.CHANGES)[column - 1]
    (row,) = re.findall(r"^\| settings changed in turn \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert f"each of the table's {len(changes)} changes alone" in row[column - 1]


def is_managed(resource: Resource) -> bool:
    """Whether a provider manages the resource."""
    return resource.custom and not resource.read and not resource.type.startswith("pulumi:")
