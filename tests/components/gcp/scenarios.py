"""The stacks of GcpMlflow that snapshots and invariants are about."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_docker_build as docker_build
import pulumi_gcp as gcp
import pulumi_random as random

from components import GcpMlflow
from preview.stack_files import read_stack

from .. import scenario
from ..scenario import ROOT

PROJECT = "my-project"
OAUTH_SECRET = "planted-oauth-secret"
_KEY = "mlflow:gcpOauthClientSecret"
DIGEST = f"europe-west1-docker.pkg.dev/{PROJECT}/images/mlflow@sha256:{'0' * 64}"
# Development's settings, so that a snapshot shows nothing else than what a scenario is about.
MINIMAL: Mapping[str, Any] = {
    "project": PROJECT,
    "region": "europe-west1",
    **json.loads(read_stack(ROOT, "gcp-dev").config["mlflow:gcp"]),
}
CLIENT = MINIMAL["oauthClient"]["clientId"]
Scenario = functools.partial(scenario.Scenario, cloud="gcp")


def config(given: Mapping[str, Any], secret: str | None = OAUTH_SECRET) -> dict[str, str]:
    """The config of a stack with these settings over development's."""
    return {"mlflow:gcp": json.dumps({**MINIMAL, **given}), **({_KEY: secret} if secret else {})}


def _two() -> None:
    for name in ("first", "second"):
        # A project has one application.
        app = {"service": name, **({} if name == "first" else {"mode": "existing"})}
        secret = {"oauth_client_secret": OAUTH_SECRET} if name == "first" else {}
        GcpMlflow(name, {**MINIMAL, "app": app, **secret})


def _with_providers() -> None:
    given = pulumi.ResourceOptions(
        providers=[
            gcp.Provider("mine", project="elsewhere"),
            random.Provider("mine-random"),
            docker_build.Provider("mine-docker"),
        ]
    )
    GcpMlflow("proxy", {**MINIMAL, "environment": "production", "oauth_client_secret": OAUTH_SECRET}, given)


SCENARIOS = (
    Scenario(
        name="development",
        base=None,
        about="Pulumi.gcp-dev.yaml",
        config={**read_stack(ROOT, "gcp-dev").config, _KEY: OAUTH_SECRET},
    ),
    Scenario(
        name="production",
        base=None,
        about="Pulumi.gcp-prod.yaml",
        config={**read_stack(ROOT, "gcp-prod").config, _KEY: OAUTH_SECRET},
        stack="prod",
    ),
    Scenario(
        name="private-database",
        about="the database without a public address, in a VPC made for it",
        config=config({"database": {"privateIp": True}}),
    ),
    Scenario(
        name="existing-network",
        about="the database without a public address, in a VPC that is there and is peered",
        config=config(
            {
                "database": {"privateIp": True},
                "network": {"vpcName": "corp", "subnetwork": "corp-ew1", "peered": True},
            }
        ),
    ),
    Scenario(
        name="existing-application",
        about="an App Engine application that others look after",
        config=config({"app": {"mode": "existing"}}, None),
    ),
    Scenario(
        name="import-application",
        about="an App Engine application that is taken over, its OAuth client in secrets that are there",
        config=config(
            {
                "app": {"mode": "import"},
                "oauthClient": {
                    "clientIdSecret": f"projects/{PROJECT}/secrets/oauth-id",
                    "clientSecretSecret": f"projects/{PROJECT}/secrets/oauth-secret/versions/3",
                },
            },
            None,
        ),
    ),
    Scenario(
        name="default-service",
        about="MLflow as the service default, artifacts direct, in US",
        config=config(
            {
                "region": "us-central1",
                "app": {"service": "default", "cpu": 2, "memoryGb": 4.0, "workers": 4},
                "artifacts": {"access": "direct", "location": "US"},
            }
        ),
    ),
    Scenario(
        name="prebuilt-image",
        about="an image that is there, watched by somebody",
        config=config({"image": {"imageUri": DIGEST}, "monitoring": {"alarmEmail": "ops@example.com"}}),
    ),
    Scenario(
        name="callers",
        about="members on a condition, an account for clients, a desktop client",
        config=config(
            {
                "oauthClient": {
                    "clientId": CLIENT,
                    "desktopClientIds": ["123456789012-def.apps.googleusercontent.com"],
                },
                "access": {
                    "members": ["user:ann@example.com", "domain:example.org"],
                    "conditional": [
                        {
                            "members": ["serviceAccount:trainer@my-project.iam.gserviceaccount.com"],
                            "title": "until 2027",
                            "expression": 'request.time < timestamp("2027-01-01T00:00:00Z")',
                        }
                    ],
                    "roles": {
                        "viewer": ["domain:example.org"],
                        "editor": ["email:trainer@my-project.iam.gserviceaccount.com"],
                        "admin": ["email:ann@example.com"],
                    },
                    "clientServiceAccount": True,
                    "clientImpersonators": ["group:ml@example.com"],
                },
            }
        ),
    ),
    Scenario(
        name="moved-in",
        about="database and bucket with the names of a deployment of the Terraform module",
        config=config(
            {
                "app": {"mode": "import"},
                "database": {"instanceName": "team-mlflow-dev-europe-west1-a1b2c3", "version": "MYSQL_8_0"},
                "artifacts": {"bucketName": "team-mlflow-dev-europe-west1", "location": "EU"},
            }
        ),
    ),
    Scenario(
        name="two-in-one-stack",
        about="two of them in a program of its own",
        program=_two,
        reviewed=False,
    ),
    Scenario(
        name="explicit-providers",
        about="production in a program of its own, with providers of its own",
        program=_with_providers,
        reviewed=False,
    ),
)
