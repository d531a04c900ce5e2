"""What tests of single components and of whole stacks share."""

import functools
import json
from collections.abc import Mapping
from typing import Any

from components import GcpMlflow
from components.gcp.deployment import Deployment
from preview.gcp.mock_outputs import NUMBER, PROJECT, REGION
from preview.graph import Graph, Resource
from preview.recorder import record

__all__ = [
    "CLIENT_ID",
    "HOST",
    "MINIMAL_ARGS",
    "NUMBER",
    "OAUTH_SECRET",
    "PROJECT",
    "REGION",
    "make_deployment",
    "only",
    "record_stack",
    "urns_needed_by",
]

HOST = f"{PROJECT}.ew.r.appspot.com"
CLIENT_ID = f"{NUMBER}-abc.apps.googleusercontent.com"
OAUTH_SECRET = "planted-oauth-secret"
MINIMAL_ARGS: Mapping[str, Any] = {
    "project": PROJECT,
    "region": "europe-west1",
    "oauthClient": {"clientId": CLIENT_ID},
    "access": {"members": ["group:ml@example.com"], "roles": {"editor": ["domain:example.com"]}},
    "image": {"imageUri": f"europe-west1-docker.pkg.dev/{PROJECT}/images/mlflow@sha256:{'0' * 64}"},
}


def make_deployment(*, deletion_protection: bool = False) -> Deployment:
    """A deployment named mlflow in the stack dev."""
    return Deployment(
        name="mlflow",
        stack="dev",
        project=PROJECT,
        region=REGION,
        labels={"project": "mlflow", "stack": "dev", "component": "mlflow"},
        deletion_protection=deletion_protection,
    )


def only(graph: Graph, kind: str, name: str | None = None) -> Resource:
    """The only resource of a type, or of a type and a name."""
    found = [one for one in graph.of(kind) if name is None or one.name == name]
    assert len(found) == 1, f"{kind} {name or ''}: {[one.name for one in found]}"
    return found[0]


def record_stack(settings: Mapping[str, Any] | None = None, *, stack: str = "dev") -> Graph:
    """The graph of a GcpMlflow with these settings over MINIMAL_ARGS; cached."""
    given = {**MINIMAL_ARGS, **(settings or {})}
    if given.get("app", {}).get("mode") != "existing" and "clientIdSecret" not in given["oauthClient"]:
        given["oauth_client_secret"] = OAUTH_SECRET
    return _recorded(json.dumps(given), stack)


@functools.cache
def _recorded(settings: str, stack: str) -> Graph:
    def program() -> None:
        GcpMlflow("mlflow", json.loads(settings))

    return record(program, stack_name=stack)


def urns_needed_by(graph: Graph, resource: Resource) -> set[str]:
    """The URNs of all resources that are created before a resource and deleted after it.

    The engine goes by dependencies and parents (pulumi, pkg/resource/graph/dependency_graph.go).
    """
    found: set[str] = set()
    open_ends = [resource]
    while open_ends:
        one = open_ends.pop()
        for urn in {*one.dependencies, one.parent} - found:
            found.add(urn)
            known = graph.by_urn(urn)
            if known is not None:
                open_ends.append(known)
    return found
