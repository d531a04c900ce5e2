"""A whole deployment, for what boxes owe each other."""

import functools
import json
from collections.abc import Mapping
from typing import Any

from components import GcpMlflow
from preview.graph import Graph, Resource
from preview.recorder import record

from .boxes import NUMBER, PROJECT

CLIENT = f"{NUMBER}-abc.apps.googleusercontent.com"
OAUTH_SECRET = "planted-oauth-secret"
LEAST: Mapping[str, Any] = {
    "project": PROJECT,
    "region": "europe-west1",
    "signIn": {"clientId": CLIENT},
    "access": {"members": ["group:ml@example.com"], "roles": {"editor": ["domain:example.com"]}},
    "image": {"reference": f"europe-west1-docker.pkg.dev/{PROJECT}/images/mlflow@sha256:{'0' * 64}"},
}


def whole(settings: Mapping[str, Any] | None = None, *, stack: str = "dev") -> Graph:
    """The graph of one component with these settings over the least that there has to be; recorded once."""
    given = {**LEAST, **(settings or {})}
    if given.get("app", {}).get("mode") != "existing" and "clientIdFrom" not in given["signIn"]:
        given["oauth_client_secret"] = OAUTH_SECRET
    return _recorded(json.dumps(given), stack)


@functools.cache
def _recorded(settings: str, stack: str) -> Graph:
    def program() -> None:
        GcpMlflow("mlflow", json.loads(settings))

    return record(program, stack_name=stack)


def needs(graph: Graph, resource: Resource) -> set[str]:
    """The URNs of everything that is made before a resource and unmade after it.

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
