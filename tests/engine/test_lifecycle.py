"""The lifecycle of a stack in the real engine: preview, up, second up, refresh, destroy."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.gcp import project
from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run

OIDC = {
    "issuer": "https://login.example.com",
    "authorizationEndpoint": "https://login.example.com/authorize",
    "tokenEndpoint": "https://login.example.com/token",
    "userInfoEndpoint": "https://login.example.com/userinfo",
    "clientId": "mlflow",
}
OIDC_CLIENT_SECRET = "planted-client-secret-6f1d"
# Settings that create as many kinds of resources as possible.
ALL_RESOURCES: Mapping[str, Any] = {
    "tracking": {"kind": "server", "mlflowVersion": "3.0", "automaticModelRegistration": True},
    "loadBalancer": {
        "public": True,
        "domain": {"name": "mlflow.example.com", "zoneId": "Z0123456789ABCDEFGHIJ"},
        "oidc": OIDC,
        "waf": True,
    },
    "access": {"roles": {"viewer": ["domain:example.com"]}},
    "monitoring": {"alarmEmail": "ops@example.com"},
    "network": {"egress": "nat-per-az", "azCount": 3},
    "kmsKeyArn": programs.KEY,
    "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
}
GCP_ALL_RESOURCES: Mapping[str, Any] = {
    "labels": {"team": "data"},
    "kmsKey": "projects/security-team-1/locations/europe-west1/keyRings/mlflow/cryptoKeys/mlflow",
    "app": {"domain": "mlflow.example.com"},
    "oauthClient": {"desktopClientIds": ["3-desktop.apps.googleusercontent.com"]},
    "access": {
        "members": ["group:ml@example.com", "user:ann@example.com"],
        "conditional": [
            {
                "members": ["domain:example.com"],
                "title": "until-2030",
                "expression": 'request.time < timestamp("2030-01-01T00:00:00Z")',
            }
        ],
        "clientImpersonators": ["serviceAccount:training@my-project.iam.gserviceaccount.com"],
    },
    "database": {"privateIp": True, "availability": "REGIONAL", "finalBackupDays": 7},
    "artifacts": {"access": "direct"},
    "monitoring": {"alarmEmail": "ops@example.com"},
}


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack without deletion protection.

    ``resources``: the stack has more resources than this; ``functions``: provider functions that the program calls. For
    production see test_deletion_protection.py.
    """

    name: str
    resources: int
    functions: frozenset[str]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])


AWS_FUNCTIONS = frozenset(
    {
        "aws:index/getRegion:getRegion",
        "aws:ecr/getAuthorizationToken:getAuthorizationToken",
        "aws:ssm/getParameter:getParameter",
    }
)
GCP_FUNCTIONS = frozenset(
    {"gcp:organizations/getProject:getProject", "gcp:organizations/getClientConfig:getClientConfig"}
)
GCP_SECRETS = programs.secrets_of("gcp-dev")
STACKS = {
    "aws-all-resources": Stack(
        "dev", 90, AWS_FUNCTIONS, ALL_RESOURCES, {"mlflow:awsOidcClientSecret": OIDC_CLIENT_SECRET}
    ),
    "aws-default-settings": Stack("dev", 90, AWS_FUNCTIONS),
    "gcp-all-resources": Stack("gcp-dev", 70, GCP_FUNCTIONS, GCP_ALL_RESOURCES, GCP_SECRETS),
    "gcp-default-settings": Stack("gcp-dev", 60, GCP_FUNCTIONS, secrets=GCP_SECRETS),
    "gcp-default-service": Stack("gcp-dev", 50, GCP_FUNCTIONS, {"app": {"service": "default"}}, GCP_SECRETS),
}


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The runs of the engine, and the state and outputs of the deployed stack."""

    stack: Stack
    engine: Engine
    preview: Run
    up: Run
    second_up: Run
    refresh: Run
    up_after_refresh: Run
    outputs: dict[str, Any]
    state: str
    resources: int
    destroy: Run


# test_convergence.py runs the stacks with default settings.
TESTED_STACKS = list(STACKS) if os.environ.get("ENGINE_TESTS") == "all" else ["aws-all-resources", "gcp-all-resources"]


@pytest.fixture(scope="module", params=TESTED_STACKS)
def lifecycle(request: pytest.FixtureRequest, start: Start) -> Lifecycle:
    """Run all commands once for all tests of a stack."""
    stack = STACKS[request.param]
    engine = start(config=programs.config_of(stack.name, stack.settings), secrets=stack.secrets)
    preview, up, second_up = engine.preview(), engine.up(), engine.up("--expect-no-changes")
    refresh, up_after_refresh = engine.refresh("--expect-no-changes"), engine.up("--expect-no-changes")
    outputs = engine.outputs()
    state, resources = engine.state_file.read_text(encoding="utf-8"), len(engine.resources)
    account.add_usage(engine.double.cloud)
    return Lifecycle(
        stack,
        engine,
        preview,
        up,
        second_up,
        refresh,
        up_after_refresh,
        outputs,
        state,
        resources,
        engine.destroy(),
    )


def test_preview_has_the_steps_of_up(lifecycle: Lifecycle) -> None:
    lifecycle.preview.ok()
    assert lifecycle.preview.errors == lifecycle.preview.warnings == []
    assert Counter(lifecycle.preview.steps) == Counter(lifecycle.up.ok().steps)
    assert lifecycle.resources > lifecycle.stack.resources


def test_up_has_no_warnings(lifecycle: Lifecycle) -> None:
    assert lifecycle.up.errors == lifecycle.up.warnings == []


def test_second_up_changes_nothing(lifecycle: Lifecycle) -> None:
    assert lifecycle.second_up.ok().steps == []


def test_refresh_finds_no_changes(lifecycle: Lifecycle) -> None:
    assert lifecycle.refresh.ok().steps == []


def test_up_after_refresh_changes_nothing(lifecycle: Lifecycle) -> None:
    assert lifecycle.up_after_refresh.ok().steps == []


def test_provider_functions_are_called(lifecycle: Lifecycle) -> None:
    assert {token for token, _ in lifecycle.engine.double.calls} >= lifecycle.stack.functions


def test_resources_depend_on_their_apis(lifecycle: Lifecycle) -> None:
    """Check the dependencies in the state: enabling an API takes minutes at Google, and no time in the double."""
    resources = {
        resource["urn"]: resource for resource in json.loads(lifecycle.state)["checkpoint"]["latest"]["resources"]
    }
    enabled = {
        resource["inputs"]["service"]: urn for urn, resource in resources.items() if resource["type"] == project.SERVICE
    }
    missing = [
        (resource["urn"].split("::")[-1], api)
        for resource in resources.values()
        if resource.get("custom") and resource["type"] in KINDS
        for api in KINDS[resource["type"]].apis
        # Service Usage is enabled beforehand: the program enables the others with it.
        if api != "serviceusage.googleapis.com" and enabled.get(api) not in dependencies_of(resource["urn"], resources)
    ]
    assert missing == []


def dependencies_of(urn: str, resources: Mapping[str, Any]) -> set[str]:
    """Return the transitive dependencies of a resource, including those of its parents."""
    dependencies: set[str] = set()
    queue = [urn]
    while queue:
        resource = resources[queue.pop()]
        for dependency in [*resource.get("dependencies", []), resource.get("parent")]:
            if dependency in resources and dependency not in dependencies:
                dependencies.add(dependency)
                queue.append(dependency)
    return dependencies


def test_state_and_console_output_contain_no_plain_text_secret(lifecycle: Lifecycle) -> None:
    passwords = [outputs["result"] for outputs in lifecycle.engine.double.created if "bcryptHash" in outputs]
    registry_passwords = [
        f"registry-password-{number}" for number in range(lifecycle.engine.double.cloud.next_number())
    ]
    assert len(passwords) == 1
    tokens = [lifecycle.outputs[name] for name in ("admin_token",) if name in lifecycle.outputs]
    text = "\n".join([lifecycle.state, *lifecycle.engine.console_output])
    assert [
        secret
        for secret in (*tokens, *passwords, *lifecycle.stack.secrets.values(), *registry_passwords)
        if secret in text
    ] == []
    # The state has them encrypted.
    assert json.loads(lifecycle.state)["checkpoint"]["latest"]["secrets_providers"]["type"] == "passphrase"


def test_secret_manager_stores_the_generated_password(lifecycle: Lifecycle) -> None:
    created = lifecycle.engine.double.created
    password = next(outputs["result"] for outputs in created if "bcryptHash" in outputs)
    stored = [
        outputs.get("secretString") or outputs.get("secretData")
        for outputs in created
        if "secret" in outputs or "secretId" in outputs
    ]
    # The proxy's token contains the password.
    expected = lifecycle.outputs.get("admin_token", password)
    assert password in expected
    assert expected in stored


def test_destroy_leaves_only_resources_named_in_retained_on_destroy(lifecycle: Lifecycle) -> None:
    lifecycle.destroy.ok()
    assert lifecycle.destroy.warnings == []
    assert lifecycle.engine.resources == []
    assert (
        account.unexplained_leftovers(lifecycle.engine.double.cloud, lifecycle.outputs.get("retained_on_destroy", []))
        == []
    )
