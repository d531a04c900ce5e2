"""What a box needs around it when it is tested alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi

from components.aws.deployment import Deployment
from preview.aws.mock_outputs import ACCOUNT, PARTITION, REGION
from preview.graph import Graph, Resource

KEY = f"arn:{PARTITION}:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"


def a_place(
    *, deletion_protection: bool = False, kms_key_arn: str | None = None, permissions_boundary_arn: str | None = None
) -> Deployment:
    """To be called inside a program."""
    return Deployment(
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


def only(graph: Graph, kind: str, name: str | None = None) -> Resource:
    """The one resource of a type, or of a type and a name."""
    found = [one for one in graph.of(kind) if name is None or one.name == name]
    assert len(found) == 1, f"{kind} {name or ''}: {[one.name for one in found]}"
    return found[0]


def statements(policy: str) -> Sequence[Mapping[str, Any]]:
    """The statements of an IAM policy document."""
    return cast("Sequence[Mapping[str, Any]]", json.loads(policy)["Statement"])
