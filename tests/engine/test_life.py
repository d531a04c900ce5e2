"""The life of a stack in the real engine: preview, up, up again, refresh, destroy; once small, once with everything."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine import programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run

SSO = {
    "issuer": "https://login.example.com",
    "authorizationEndpoint": "https://login.example.com/authorize",
    "tokenEndpoint": "https://login.example.com/token",
    "userInfoEndpoint": "https://login.example.com/userinfo",
    "clientId": "mlflow",
}
PLANTED = "planted-client-secret-6f1d"
# Stacks whose destroy leaves nothing: production's is in test_production.py.
SMALL: Mapping[str, Any] = {}
EVERYTHING: Mapping[str, Any] = {
    "tracking": {"kind": "server", "mlflowVersion": "3.0", "automaticModelRegistration": True},
    "edge": {
        "public": True,
        "domain": {"name": "mlflow.example.com", "zoneId": "Z0123456789ABCDEFGHIJ"},
        "sso": SSO,
        "waf": True,
    },
    "access": {"roles": {"viewer": ["domain:example.com"]}},
    "watching": {"email": "ops@example.com"},
    "network": {"egress": "nat-per-zone", "zones": 3},
    "kmsKeyArn": programs.KEY,
    "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
}


@dataclass(frozen=True, slots=True)
class Life:
    """What the engine said, and what its state was while the stack was up."""

    engine: Engine
    preview: Run
    up: Run
    again: Run
    refresh: Run
    token: str
    state: str
    resources: int
    destroy: Run


# A small one's is in test_converging.py, too.
KINDS = ["everything", *(["small"] if os.environ.get("ENGINE_TESTS") == "all" else [])]


@pytest.fixture(scope="module", params=KINDS)
def life(request: pytest.FixtureRequest, start: Start) -> Life:
    full = request.param == "everything"
    config = programs.config_of("dev", EVERYTHING if full else SMALL)
    engine = start(config=config, secrets={"mlflow:awsSsoClientSecret": PLANTED} if full else None)
    preview, up, again = engine.preview(), engine.up(), engine.up("--expect-no-changes")
    refresh = engine.refresh("--expect-no-changes")
    token = engine.command("stack", "output", "admin_token", "--show-secrets").ok().output.strip()
    # What it was asked to show is no leak.
    engine.shown.pop()
    state, resources = engine.state_file.read_text(encoding="utf-8"), len(engine.resources)
    # It was in use: there are runs, logs, and an image that the program does not know any more.
    for bucket in engine.double.cloud.of("aws:s3/bucket:Bucket"):
        bucket.inside["1/2f/artifacts/model.pkl"] = ""
    for repository in engine.double.cloud.of("aws:ecr/repository:Repository"):
        repository.inside["from-before"] = "sha256:0"
    return Life(engine, preview, up, again, refresh, token, state, resources, engine.destroy())


def test_a_preview_shows_what_up_makes(life: Life) -> None:
    life.preview.ok()
    assert life.preview.errors == life.preview.warnings == []
    assert Counter(life.preview.steps) == Counter(life.up.ok().steps)
    assert life.resources > 90


def test_up_warns_of_nothing(life: Life) -> None:
    assert life.up.errors == life.up.warnings == []


def test_a_second_up_changes_nothing(life: Life) -> None:
    assert life.again.ok().steps == []


def test_a_refresh_finds_what_was_made(life: Life) -> None:
    assert life.refresh.ok().steps == []


def test_a_call_with_values_of_the_program_is_answered(life: Life) -> None:
    assert {token for token, _ in life.engine.double.asked} >= {
        "aws:index/getRegion:getRegion",
        "aws:ecr/getAuthorizationToken:getAuthorizationToken",
        "aws:ssm/getParameter:getParameter",
    }


def test_no_secret_is_in_plain_in_the_state_or_on_the_screen(life: Life) -> None:
    passwords = [one["result"] for one in life.engine.double.made if "bcryptHash" in one]
    registry = [f"registry-password-{number}" for number in range(life.engine.double.cloud.ticket())]
    secrets = [life.token, *passwords, PLANTED, *registry]
    assert len(passwords) == 1
    assert passwords[0] in life.token
    everything = "\n".join([life.state, *life.engine.shown])
    assert [one for one in secrets if one in everything] == []
    # They are there, encrypted.
    assert json.loads(life.state)["checkpoint"]["latest"]["secrets_providers"]["type"] == "passphrase"


def test_the_token_is_the_one_in_the_secret(life: Life) -> None:
    values = [one.get("secretString") for one in life.engine.double.made if "versionStages" in one]
    assert life.token in values
    assert life.token.startswith("mlg_")


def test_destroy_leaves_nothing(life: Life) -> None:
    life.destroy.ok()
    assert life.destroy.warnings == []
    assert life.engine.resources == []
    assert life.engine.double.cloud.left == []
