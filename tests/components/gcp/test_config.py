"""Validation of the settings mlflow:gcp."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from hypothesis import given, settings, strategies

from components import SettingsError
from components.config import Config, read_config
from components.gcp import regions
from components.gcp.settings import GcpMlflowSettings
from components.validation import validate_args
from preview.recorder import record
from tests.components.arbitrary_values import arbitrary_values

CLIENT_ID = "123456789012-abc.apps.googleusercontent.com"
KEY = "projects/p-12345/locations/europe-west1/keyRings/mlflow/cryptoKeys/mlflow"
SECRET = "hidden"
_KEY = "mlflow:gcpOauthClientSecret"
VIEWERS = {"viewer": ["domain:example.com"]}
REQUIRED: Mapping[str, Any] = {
    "project": "my-project",
    "region": "europe-west1",
    "oauthClient": {"clientId": CLIENT_ID},
}


def read(value: object, secret: str | None = SECRET, other_config: Mapping[str, str] | None = None) -> Config:
    configs: list[Config] = []
    values = {"mlflow:gcp": json.dumps(value), **({_KEY: secret} if secret else {}), **(other_config or {})}
    record(lambda: configs.append(read_config()), config=values, secret_keys=[_KEY])
    return configs[0]


def gcp(overrides: Mapping[str, Any]) -> GcpMlflowSettings:
    args = read({**REQUIRED, **overrides}).gcp
    assert args is not None
    return args


def problems(overrides: Mapping[str, Any], secret: str | None = SECRET) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read({**REQUIRED, **overrides}, secret)
    return caught.value.problems


def test_project_and_region_default_to_the_providers() -> None:
    provider_config = {"gcp:project": "provider-project", "gcp:region": "us-central1"}
    args = read({"oauthClient": {"clientId": CLIENT_ID}}, other_config=provider_config).gcp
    assert args
    assert (args.project, args.region, args.app_location) == ("provider-project", "us-central1", "us-central")
    args = read(REQUIRED, other_config=provider_config).gcp
    assert args
    assert (args.project, args.region, args.app_location) == ("my-project", "europe-west1", "europe-west")


@pytest.mark.parametrize(
    ("invalid", "problem"),
    [
        (
            {"region": "europe-west"},
            "region: got 'europe-west', expected a Google Cloud region, such as europe-w",
        ),
        (
            {"region": "europe-west99"},
            "region: got 'europe-west99', expected a Google Cloud region, such as europe-w",
        ),
        (
            {"region": "europe-west4"},
            "app.location: App Engine is not available in europe-west4: set a location, such as europe-west, eur",
        ),
        ({"artifacts": {"location": "us-west9"}}, "artifacts.location: got 'us-west9', expected a region, such"),
        (
            {"database": {"backupCount": 2}},
            "database.transactionLogRetentionDays: got 3, expected at most 2 (backupCount).",
        ),
        ({"app": {"memoryGb": "lots"}}, 'app.memoryGb: got "lots", expected a number from 1 to 104.'),
        (
            {"access": {"roles": {"admin": ["user:bob@example.com"]}}},
            "access.roles.admin: got 'user:bob@example.com', expected email:ADDRESS or domain:NAME.",
        ),
        (
            {"app": {"location": "europe-west1"}},
            "app.location: got 'europe-west1', expected europe-west.",
        ),
        (
            {"app": {"location": "invalid-location"}},
            "app.location: got 'invalid-location', expected one of asia-east1, ",
        ),
        ({"project": "My Project"}, "project: got 'My Project', expected a project ID: 6 to 30 lowercase"),
        (
            {"project": "p" * 29, "app": {"service": "s" * 30}},
            "app.service: 'ssssssssssssssssssssssssssssss' is too long",
        ),
        ({"app": {"service": "MLflow"}}, "app.service: got 'MLflow', expected up to 63 lowercase letters"),
        (
            {"app": {"service": "default", "placeholder": True}},
            "app.placeholder: got true, expected false with service default",
        ),
        ({"app": {"domain": "MLflow.example.com"}}, 'app.domain: got "MLflow.example.com", expected a lowercase host'),
        ({"app": {"domain": f"{'a.' * 48}com"}}, f"app.domain: got '{'a.' * 48}com', expected at most 98 characters."),
        ({"kmsKey": "mlflow"}, 'kmsKey: got "mlflow", expected projects/PROJECT/locations/REGION/keyRings/RING/'),
        (
            {"kmsKey": KEY.replace("west1", "west4")},
            "kmsKey: got a key in europe-west4, expected one in europe-west1 (",
        ),
        ({"kmsKey": KEY, "artifacts": {"location": "EU"}}, "artifacts.location: got 'EU', expected europe-west1 with"),
        ({"app": {"minInstances": 5}}, "app.maxInstances: got 4, expected 5 (minInstances) or more."),
        ({"app": {"memoryGb": 20}}, "app.memoryGb: got 20, expected 1 to 6.1 with 1 core (cpu)."),
        ({"app": {"cpu": 3}}, "app.cpu: got 3, expected one of 1, 2, 4, 6, "),
        (
            {"database": {"tier": "db-n1-standard-1"}},
            "database.tier: got 'db-n1-standard-1', a legacy name: use db-custom",
        ),
        ({"database": {"tier": "db-custom-3-7680"}}, "database.tier: got 'db-custom-3-7680', expected 1 core"),
        (
            {"database": {"tier": "db-custom-2-2048"}},
            "database.tier: got 'db-custom-2-2048', expected memory in multiples",
        ),
        ({"database": {"tier": "huge"}}, "database.tier: got 'huge', expected db-f1-micro, "),
        ({"database": {"version": "POSTGRES_17"}}, "database.version: got 'POSTGRES_17', expected MYSQL_8_4"),
        ({"database": {"name": "a`b"}}, "database.name: got 'a`b', expected up to 64 letters"),
        ({"database": {"user": "u" * 33}}, "database.user: got 'uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu', expected "),
        ({"database": {"instanceName": "I" * 68}}, "database.instanceName: got 'I"),
        (
            {"database": {"transactionLogRetentionDays": 8}},
            "database.transactionLogRetentionDays: got 8, expected an integer from 1 to 7.",
        ),
        ({"network": {"subnetwork": "subnet-1"}}, "network.subnetwork: it applies to an existing VPC network"),
        (
            {"network": {"cidr": "10.0.0.0/8"}, "database": {"privateIp": True}},
            "network.cidr: got /8, expected /16",
        ),
        ({"network": {"cidr": "10.0.0.0/20"}}, "network.cidr: it applies to a new VPC network"),
        (
            {"network": {"vpcName": "projects/p/global/networks/n"}},
            "network.vpcName: got 'projects/p/global/networks/n'",
        ),
        ({"artifacts": {"location": "EUROPE"}}, "artifacts.location: got 'EUROPE', expected a region, such as"),
        (
            {"artifacts": {"storageClass": "MULTI_REGIONAL"}},
            'artifacts.storageClass: got "MULTI_REGIONAL", expected',
        ),
        ({"artifacts": {"softDeleteDays": 3}}, "artifacts.softDeleteDays: got 3, expected 0, or 7 to 90."),
        (
            {"artifacts": {"bucketName": "google-things"}},
            "artifacts.bucketName: got 'google-things', expected 3 to 63",
        ),
        (
            {"image": {"imageUri": "registry/mlflow:3"}},
            "image.imageUri: got 'registry/mlflow:3', expected an im",
        ),
        ({"labels": {"Team": "a"}}, "labels: got Team=a, expected "),
        (
            {"access": {"members": ["bob@example.com"], "roles": VIEWERS}},
            "access.members: got 'bob@example.com', expected user:, ",
        ),
        (
            {"access": {"members": ["allUsers"], "roles": VIEWERS}},
            "access.members: got 'allUsers', expected user:, ",
        ),
        (
            {"access": {"clientImpersonators": ["user:a@example.com"]}},
            "access.clientImpersonators: there is no service account",
        ),
        (
            {"access": {"members": ["user:a@example.com"], "roles": {"admin": ["group:ml-admins"]}}},
            "access.roles.admin: got 'group:ml-admins', expected email:ADDRESS",
        ),
        (
            {"access": {"members": ["user:a@example.com"]}},
            "access.roles: missing, expected a rule for each member",
        ),
        ({"oauthClient": {}}, "oauthClient.clientId: missing, expected an OAuth client: create one"),
        ({"oauthClient": {"clientId": "abc"}}, "oauthClient.clientId: got 'abc', expected NUMBER-"),
        ({"app": {"mode": "existing"}}, "oauthClient: got a client secret, expected none with app.mode existing"),
        ({"colour": "red"}, "colour: unknown setting, expected one of project, region, "),
    ],
    ids=str,
)
def test_error_names_setting_value_and_expected_value(invalid: Mapping[str, Any], problem: str) -> None:
    (problem_text,) = problems(invalid)
    assert problem_text.startswith(f"mlflow:gcp.{problem}")


@pytest.mark.parametrize(
    ("oauth_client", "secret", "setting"),
    [
        ({"clientId": CLIENT_ID}, None, "oauthClient.clientId"),
        ({"clientIdSecret": "projects/p-12345/secrets/id"}, None, "oauthClient.clientSecretSecret"),
        (
            {"clientIdSecret": "projects/p-12345/secrets/id", "clientSecretSecret": "projects/p-12345/secrets/secret"},
            SECRET,
            "oauthClient.clientSecretSecret",
        ),
        (
            {"clientIdSecret": "id", "clientSecretSecret": "projects/p-12345/secrets/s"},
            None,
            "oauthClient.clientIdSecret",
        ),
        ({"clientId": CLIENT_ID, "desktopClientIds": ["not-a-client-id"]}, SECRET, "oauthClient.desktopClientIds"),
    ],
    ids=str,
)
def test_incomplete_oauth_client_names_the_setting(
    oauth_client: Mapping[str, Any], secret: str | None, setting: str
) -> None:
    (problem,) = problems({"oauthClient": oauth_client}, secret)
    assert problem.startswith(f"mlflow:gcp.{setting}: ")
    assert SECRET not in problem


@pytest.mark.parametrize("name", ["oauthClientSecret", "oauth_client_secret"])
def test_secret_in_the_object_is_rejected_and_not_shown(name: str) -> None:
    (problem,) = problems({name: "planted"})
    assert problem.startswith(
        f"mlflow:gcp.{name}: not allowed here, set it as a secret: `pulumi config set --secret {_KEY}`"
    )
    assert "planted" not in problem


def test_problems_of_both_clouds_are_reported_together() -> None:
    with pytest.raises(SettingsError) as caught:
        read(
            {
                "region": "europe-west",
                "app": {"location": "europe-west1", "cpu": 3},
                "access": {"members": ["bob"], "conditional": [{"members": ["user:a@example.com"], "title": "a"}]},
                "database": {"tier": "huge", "instanceName": "I"},
            },
            None,
            {"mlflow:aws": json.dumps({"network": {"azCount": 9}})},
        )
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "mlflow:aws.network.azCount",
        "mlflow:gcp.project",
        "mlflow:gcp.app.cpu",
        "mlflow:gcp.access.conditional[0].expression",
        "mlflow:gcp.app.location",
        "mlflow:gcp.access.members",
        "mlflow:gcp.database.tier",
        "mlflow:gcp.database.instanceName",
    ]


def test_environment_selects_the_defaults() -> None:
    development, production = gcp({}), gcp({"environment": "production"})
    assert (development.deletion_protection, production.deletion_protection) == (False, True)
    assert (development.database.availability, production.database.availability) == ("ZONAL", "REGIONAL")
    assert (development.app.min_instances, production.app.min_instances) == (1, 2)


def test_client_secret_stays_secret() -> None:
    config = read(REQUIRED)
    assert config.gcp
    assert isinstance(config.gcp.oauth_client_secret, pulumi.Output)
    assert SECRET not in repr(config)


def test_members_without_role_are_those_that_no_rule_matches() -> None:
    members = [
        "user:Ann@example.com",
        "user:bob@example.com",
        "user:eve@other.example",
        "serviceAccount:job@my-project.iam.gserviceaccount.com",
        "domain:example.com",
        "domain:third.example",
        # The addresses of its members are unknown.
        "group:ml@example.com",
        # No address is known of its members.
        "principalSet://iam.googleapis.com/locations/global/workforcePools/pool/*",
    ]
    conditional = [{"members": ["user:zoe@other.example"], "title": "a", "expression": "true"}]
    rules = {"viewer": ["domain:other.example"], "admin": ["email:ann@example.com"]}
    access = gcp({"access": {"members": members, "conditional": conditional, "roles": rules}}).access
    assert access.members_without_role() == [members[1], members[3], members[5], members[7]]
    rules = {**rules, "everyone": "viewer"}
    access = gcp({"access": {"members": members, "conditional": conditional, "roles": rules}}).access
    assert access.members_without_role() == []


def test_app_engine_locations_match_regions() -> None:
    assert {regions.region_of(location) for location in regions.APP_ENGINE} <= regions.REGIONS
    for location in regions.APP_ENGINE:
        assert regions.app_engine_location(regions.region_of(location)) == location
    assert regions.app_engine_location("europe-west") is None
    assert regions.app_engine_location("europe-north1") is None


@settings(max_examples=200)
@given(strategies.data())
def test_random_value_raises_only_settings_errors(data: strategies.DataObject) -> None:
    settings_tree: dict[str, Any] = {
        **REQUIRED,
        "oauthClient": {"clientId": CLIENT_ID, "desktopClientIds": [CLIENT_ID]},
        "oauth_client_secret": "x",
        "labels": {"team": "a"},
        "app": {"location": "europe-west", "memoryGb": 4, "service": "mlflow"},
        "access": {
            "members": ["user:a@example.com"],
            "conditional": [{"members": ["group:a@example.com"], "title": "a", "expression": "true"}],
            "roles": {"admin": ["email:a@example.com"]},
        },
        "database": {"tier": "db-custom-2-7680", "privateIp": True},
        "network": {"cidr": "10.0.0.0/20"},
        "artifacts": {"location": "EU", "softDeleteDays": 7},
        "image": {"baseImage": "a"},
        "monitoring": {"alarmEmail": "a@example.com"},
    }
    group = settings_tree
    while True:
        name = data.draw(strategies.sampled_from(sorted(group)))
        if not isinstance(group[name], dict) or data.draw(strategies.booleans()):
            group[name] = data.draw(arbitrary_values)
            break
        group[name] = dict(group[name])
        group = group[name]
    with contextlib.suppress(SettingsError):
        validate_args(GcpMlflowSettings, settings_tree, "mlflow", production=True)
