"""Helpers for the tests of child components and of whole stacks."""

import functools
import json
from collections.abc import Mapping
from typing import Any

from components import GcpMlflow
from components.gcp.deployment import Deployment
from preview.gcp.mock_outputs import NUMBER, PROJECT, REGION
from preview.graph import Graph
from preview.recorder import record
from tests.components.graph_queries import only, transitive_dependencies

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
    "transitive_dependencies",
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
        component="mlflow",
        name="mlflow",
        stack="dev",
        project=PROJECT,
        region=REGION,
        labels={"project": "mlflow", "stack": "dev", "component": "mlflow"},
        deletion_protection=deletion_protection,
    )


def record_stack(settings: Mapping[str, Any] | None = None, *, stack: str = "dev") -> Graph:
    """The graph of a GcpMlflow with these settings over MINIMAL_ARGS; cached."""
    args = {**MINIMAL_ARGS, **(settings or {})}
    if args.get("app", {}).get("mode") != "existing" and "clientIdSecret" not in args["oauthClient"]:
        args["oauth_client_secret"] = OAUTH_SECRET
    return _recorded(json.dumps(args), stack)


@functools.cache
def _recorded(settings: str, stack: str) -> Graph:
    def program() -> None:
        GcpMlflow("mlflow", json.loads(settings))

    return record(program, stack_name=stack)
