"""Stacks of GcpMlflow for the tests of snapshots and invariants."""

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
# The development stack's settings, which a scenario's settings override.
MINIMAL: Mapping[str, Any] = {
    "project": PROJECT,
    "region": "europe-west1",
    **json.loads(read_stack(ROOT, "gcp-dev").config["mlflow:gcp"]),
}
KEY = "projects/security-team-1/locations/europe-west1/keyRings/mlflow/cryptoKeys/mlflow"
CLIENT = MINIMAL["oauthClient"]["clientId"]
Scenario = functools.partial(scenario.Scenario, cloud="gcp")


def config(settings: Mapping[str, Any], secret: str | None = OAUTH_SECRET) -> dict[str, str]:
    """A stack config with these settings over the development stack's."""
    return {"mlflow:gcp": json.dumps({**MINIMAL, **settings}), **({_KEY: secret} if secret else {})}


def _two_components() -> None:
    for name in ("first", "second"):
        # A project has one application: the second component uses the application of the first.
        app = {"service": name, **({} if name == "first" else {"mode": "existing"})}
        secret = {"oauth_client_secret": OAUTH_SECRET} if name == "first" else {}
        args: Any = {**MINIMAL, "app": app, **secret}
        GcpMlflow(name, args)


def _with_providers() -> None:
    options = pulumi.ResourceOptions(
        providers=[
            gcp.Provider("mine", project="other-project"),
            random.Provider("mine-random"),
            docker_build.Provider("mine-docker"),
        ]
    )
    args: Any = {**MINIMAL, "environment": "production", "oauth_client_secret": OAUTH_SECRET}
    GcpMlflow("proxy", args, options)


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
        about="a private database in a new VPC",
        config=config({"database": {"privateIp": True}}),
    ),
    Scenario(
        name="existing-network",
        about="a private database in an existing, peered VPC",
        config=config(
            {
                "database": {"privateIp": True},
                "network": {"vpcName": "corp", "subnetwork": "corp-ew1", "peered": True},
            }
        ),
    ),
    Scenario(
        name="iam-database-login",
        about="IAM database authentication instead of a password",
        config=config({"database": {"iamAuthentication": True}}),
    ),
    Scenario(
        name="shared-vpc",
        about="instances without external IP addresses in a Shared VPC of another project",
        config=config(
            {
                "database": {"privateIp": True},
                "network": {
                    "instanceIp": "internal",
                    "hostProject": "network-team-1",
                    "vpcName": "shared",
                    "subnetwork": "shared-ew1",
                    "peered": True,
                },
            }
        ),
    ),
    Scenario(
        name="existing-application",
        about="an existing, unmanaged App Engine application",
        config=config({"app": {"mode": "existing"}}, None),
    ),
    Scenario(
        name="import-application",
        about="an imported App Engine application, with the OAuth client in existing secrets",
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
        name="own-key",
        about="a customer-managed encryption key of another project",
        config=config({"kmsKey": KEY}),
    ),
    Scenario(
        name="domain",
        about="a domain of its own with a managed certificate",
        config=config({"app": {"domain": "mlflow.example.com"}}),
    ),
    Scenario(
        name="prebuilt-image",
        about="an existing image, and an e-mail address for alerts",
        config=config({"image": {"imageUri": DIGEST}, "monitoring": {"alarmEmail": "ops@example.com"}}),
    ),
    Scenario(
        name="clients",
        about="conditional members, a client service account, a desktop client",
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
        name="moved-from-terraform",
        about="database and bucket names of a deployment of the Terraform module",
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
        about="two components in one program",
        program=_two_components,
        reviewed=False,
    ),
    Scenario(
        name="explicit-providers",
        about="production in a separate program with explicit providers",
        program=_with_providers,
        reviewed=False,
    ),
)
