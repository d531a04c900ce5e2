"""A stack in the real engine: preview, up, second up, refresh, destroy; with few and with all settings."""

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
PLANTED = "planted-client-secret-6f1d"
EVERYTHING: Mapping[str, Any] = {
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
GCP_EVERYTHING: Mapping[str, Any] = {
    "labels": {"team": "data"},
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
    "artifacts": {"access": "direct", "location": "EU"},
    "monitoring": {"alarmEmail": "ops@example.com"},
}


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack without protection; for production see test_production.py."""

    name: str
    resources: int
    asked: frozenset[str]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])


AWS_CALLS = frozenset(
    {
        "aws:index/getRegion:getRegion",
        "aws:ecr/getAuthorizationToken:getAuthorizationToken",
        "aws:ssm/getParameter:getParameter",
    }
)
GCP_CALLS = frozenset({"gcp:organizations/getProject:getProject", "gcp:organizations/getClientConfig:getClientConfig"})
GCP_SECRETS = programs.secrets_of("gcp-dev")
STACKS = {
    "everything": Stack("dev", 90, AWS_CALLS, EVERYTHING, {"mlflow:awsOidcClientSecret": PLANTED}),
    "small": Stack("dev", 90, AWS_CALLS),
    "gcp-everything": Stack("gcp-dev", 70, GCP_CALLS | {"gcp:sql/getCaCerts:getCaCerts"}, GCP_EVERYTHING, GCP_SECRETS),
    "gcp-small": Stack("gcp-dev", 60, GCP_CALLS, secrets=GCP_SECRETS),
    "gcp-default": Stack("gcp-dev", 50, GCP_CALLS, {"app": {"service": "default"}}, GCP_SECRETS),
}


@dataclass(frozen=True, slots=True)
class Life:
    """The runs of the engine, and the state and outputs while the stack was up."""

    stack: Stack
    engine: Engine
    preview: Run
    up: Run
    again: Run
    refresh: Run
    outputs: dict[str, Any]
    state: str
    resources: int
    destroy: Run


# test_converging.py runs the small stacks.
LIVES = list(STACKS) if os.environ.get("ENGINE_TESTS") == "all" else ["everything", "gcp-everything"]


@pytest.fixture(scope="module", params=LIVES)
def life(request: pytest.FixtureRequest, start: Start) -> Life:
    """Run all commands once for all tests of a stack."""
    stack = STACKS[request.param]
    engine = start(config=programs.config_of(stack.name, stack.settings), secrets=stack.secrets)
    preview, up, again = engine.preview(), engine.up(), engine.up("--expect-no-changes")
    refresh = engine.refresh("--expect-no-changes")
    outputs = engine.outputs()
    state, resources = engine.state_file.read_text(encoding="utf-8"), len(engine.resources)
    account.add_usage(engine.double.cloud)
    return Life(stack, engine, preview, up, again, refresh, outputs, state, resources, engine.destroy())


def test_preview_shows_the_steps_of_up(life: Life) -> None:
    life.preview.ok()
    assert life.preview.errors == life.preview.warnings == []
    assert Counter(life.preview.steps) == Counter(life.up.ok().steps)
    assert life.resources > life.stack.resources


def test_up_has_no_warnings(life: Life) -> None:
    assert life.up.errors == life.up.warnings == []


def test_second_up_changes_nothing(life: Life) -> None:
    assert life.again.ok().steps == []


def test_refresh_finds_no_changes(life: Life) -> None:
    assert life.refresh.ok().steps == []


def test_provider_functions_are_called(life: Life) -> None:
    assert {token for token, _ in life.engine.double.calls} >= life.stack.asked


def test_resources_depend_on_their_apis(life: Life) -> None:
    """Enabling an API takes no time in the double, but minutes at Google: check the dependencies in the state."""
    resources = {one["urn"]: one for one in json.loads(life.state)["checkpoint"]["latest"]["resources"]}
    enabled = {one["inputs"]["service"]: urn for urn, one in resources.items() if one["type"] == project.SERVICE}
    missing = [
        (one["urn"].split("::")[-1], api)
        for one in resources.values()
        if one.get("custom") and one["type"] in KINDS and one["type"] != project.SERVICE
        for api in KINDS[one["type"]].apis
        if enabled.get(api) not in dependencies_of(one["urn"], resources)
    ]
    assert missing == []


def dependencies_of(urn: str, resources: Mapping[str, Any]) -> set[str]:
    """Return the transitive dependencies of a resource, including those of its parents."""
    found: set[str] = set()
    queue = [urn]
    while queue:
        last = resources[queue.pop()]
        for one in [*last.get("dependencies", []), last.get("parent")]:
            if one in resources and one not in found:
                found.add(one)
                queue.append(one)
    return found


def test_no_secret_is_in_plain_text_in_state_or_output(life: Life) -> None:
    passwords = [one["result"] for one in life.engine.double.created if "bcryptHash" in one]
    registry = [f"registry-password-{number}" for number in range(life.engine.double.cloud.next_number())]
    assert len(passwords) == 1
    tokens = [life.outputs[name] for name in ("admin_token",) if name in life.outputs]
    everything = "\n".join([life.state, *life.engine.console_output])
    assert [one for one in (*tokens, *passwords, *life.stack.secrets.values(), *registry) if one in everything] == []
    # They are in the state, encrypted.
    assert json.loads(life.state)["checkpoint"]["latest"]["secrets_providers"]["type"] == "passphrase"


def test_secret_holds_the_generated_password(life: Life) -> None:
    made = life.engine.double.created
    password = next(one["result"] for one in made if "bcryptHash" in one)
    kept = [one.get("secretString") or one.get("secretData") for one in made if "secret" in one or "secretId" in one]
    # The proxy's token contains the password.
    wanted = life.outputs.get("admin_token", password)
    assert password in wanted
    assert wanted in kept


def test_destroy_leaves_only_what_the_output_kept_names(life: Life) -> None:
    life.destroy.ok()
    assert life.destroy.warnings == []
    assert life.engine.resources == []
    assert account.unexplained_leftovers(life.engine.double.cloud, life.outputs.get("retained_on_destroy", [])) == []
