"""What the tests of child components and of whole stacks share."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi

from components import AwsMlflowProxy
from components.aws.deployment import Deployment
from components.aws.timing import Timing
from preview.aws.mock_outputs import ACCOUNT, PARTITION, REGION
from preview.graph import Graph
from preview.recorder import record
from tests.components.graph_queries import only, transitive_dependencies

__all__ = [
    "IMAGE_URI",
    "KEY",
    "TIMING",
    "container_definition",
    "make_deployment",
    "only",
    "record_stack",
    "statements",
    "transitive_dependencies",
]

KEY = f"arn:{PARTITION}:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
TIMING = Timing(upstream_timeout=110, long_upstream_timeout=310)
IMAGE_URI = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/proxy@sha256:{'0' * 64}"


def make_deployment(
    *, deletion_protection: bool = False, kms_key_arn: str | None = None, permissions_boundary_arn: str | None = None
) -> Deployment:
    """A deployment named proxy in the stack dev. Call it inside a Pulumi program."""
    return Deployment(
        component="proxy",
        name="proxy",
        stack="dev",
        region=pulumi.Output.from_input(REGION),
        account=pulumi.Output.from_input(ACCOUNT),
        partition=pulumi.Output.from_input(PARTITION),
        tags={"Project": "mlflow", "Stack": "dev", "Component": "proxy"},
        deletion_protection=deletion_protection,
        kms_key_arn=kms_key_arn,
        permissions_boundary_arn=permissions_boundary_arn,
    )


def statements(policy: str) -> Sequence[Mapping[str, Any]]:
    """The statements of an IAM policy document."""
    return cast("Sequence[Mapping[str, Any]]", json.loads(policy)["Statement"])


def record_stack(settings: Mapping[str, Any] | None = None, name: str = "proxy") -> Graph:
    """The graph of an AwsMlflowProxy with these settings and a prebuilt image; cached."""
    return _recorded(json.dumps({"image": {"imageUri": IMAGE_URI}, **(settings or {})}), name)


@functools.cache
def _recorded(settings: str, name: str) -> Graph:
    return record(lambda: AwsMlflowProxy(name, json.loads(settings)), config={"aws:region": REGION})


def container_definition(graph: Graph) -> dict[str, Any]:
    """The only container definition of the only task definition."""
    (task,) = graph.of("aws:ecs/taskDefinition:TaskDefinition")
    (definition,) = json.loads(task.inputs["containerDefinitions"])
    return definition
