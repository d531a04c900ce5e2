"""Every mistake in mlflow:gcp is told at once, with its place, before anything is created."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from components import GcpMlflowArgs, SettingsError
from components.config import Config, read_config
from components.gcp import regions
from components.validation import validate_args
from preview.recorder import record
from tests.components.test_config import garbage

CLIENT = "123456789012-abc.apps.googleusercontent.com"
SECRET = "hidden"
_KEY = "mlflow:gcpOauthClientSecret"
VIEWERS = {"viewer": ["domain:example.com"]}
NEEDED: Mapping[str, Any] = {"project": "my-project", "region": "europe-west1", "signIn": {"clientId": CLIENT}}


def read(given: object, secret: str | None = SECRET, further: Mapping[str, str] | None = None) -> Config:
    found: list[Config] = []
    values = {"mlflow:gcp": json.dumps(given), **({_KEY: secret} if secret else {}), **(further or {})}
    record(lambda: found.append(read_config()), config=values, secret_keys=[_KEY])
    return found[0]


def gcp(given: Mapping[str, Any]) -> GcpMlflowArgs:
    found = read({**NEEDED, **given}).gcp
    assert found is not None
    return found


def problems(given: Mapping[str, Any], secret: str | None = SECRET) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read({**NEEDED, **given}, secret)
    return caught.value.problems


def test_project_and_region_come_from_the_provider_if_the_object_does_not_say_them() -> None:
    further = {"gcp:project": "theirs-1", "gcp:region": "us-central1"}
    found = read({"signIn": {"clientId": CLIENT}}, further=further).gcp
    assert found
    assert (found.project, found.region, found.app_location) == ("theirs-1", "us-central1", "us-central")
    found = read(NEEDED, further=further).gcp
    assert found
    assert (found.project, found.region, found.app_location) == ("my-project", "europe-west1", "europe-west")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (
            {"region": "europe-west"},
            "region: 'europe-west' is given; allowed is one of Google Cloud's, such as europe-w",
        ),
        (
            {"region": "europe-west99"},
            "region: 'europe-west99' is given; allowed is one of Google Cloud's, such as europe-w",
        ),
        (
            {"region": "europe-west4"},
            "app.location: App Engine is not in europe-west4: name a location that it is in, such as europe-west, eur",
        ),
        ({"artifacts": {"location": "us-west9"}}, "artifacts.location: 'us-west9' is given; allowed is a region, such"),
        (
            {"database": {"backups": 2}},
            "database.logDays: 3 is given; allowed is as many as there are backups at most (2).",
        ),
        ({"app": {"memoryGb": "lots"}}, 'app.memoryGb: got "lots", expected a number from 1 to 104.'),
        (
            {"access": {"roles": {"admin": ["user:bob@example.com"]}}},
            "access.roles.admin: got 'user:bob@example.com', expected email:ADDRESS or domain:NAME.",
        ),
        (
            {"app": {"location": "europe-west1"}},
            "app.location: 'europe-west1' is given; App Engine calls it europe-west",
        ),
        ({"app": {"location": "mars"}}, "app.location: 'mars' is given; allowed is one of asia-east1, "),
        ({"project": "My Project"}, "project: 'My Project' is given; allowed is a project's id: 6 to 30 letters"),
        (
            {"project": "p" * 29, "app": {"service": "s" * 30}},
            "app.service: 'ssssssssssssssssssssssssssssss' is too long",
        ),
        ({"app": {"service": "MLflow"}}, "app.service: 'MLflow' is given; allowed are up to 63 letters of a-z"),
        ({"app": {"service": "default", "placeholder": True}}, "app.placeholder: true is given; with service default"),
        ({"app": {"minInstances": 5}}, "app.maxInstances: 4 is given; allowed is 5 (minInstances) or more."),
        ({"app": {"memoryGb": 20}}, "app.memoryGb: 20 is given; with 1 core (cpu) allowed is 1 to 6.1."),
        ({"app": {"cpu": 3}}, "app.cpu: got 3, expected one of 1, 2, 4, 6, "),
        (
            {"database": {"tier": "db-n1-standard-1"}},
            "database.tier: 'db-n1-standard-1' is given; that is an older name",
        ),
        ({"database": {"tier": "db-custom-3-7680"}}, "database.tier: 'db-custom-3-7680' is given; allowed are 1 core"),
        (
            {"database": {"tier": "db-custom-2-2048"}},
            "database.tier: 'db-custom-2-2048' is given; allowed are multiples",
        ),
        ({"database": {"tier": "huge"}}, "database.tier: 'huge' is given; allowed is db-f1-micro, "),
        ({"database": {"version": "POSTGRES_17"}}, "database.version: 'POSTGRES_17' is given; allowed is MYSQL_8_4"),
        ({"database": {"name": "a`b"}}, "database.name: 'a`b' is given; allowed are up to 64 letters"),
        ({"database": {"user": "u" * 33}}, "database.user: 'uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu' is given; allowed are"),
        ({"database": {"instance": "I" * 68}}, "database.instance: 'I"),
        ({"database": {"logDays": 8}}, "database.logDays: got 8, expected an integer from 1 to 7."),
        ({"network": {"subnetwork": "mine"}}, "network.subnetwork: it belongs to a VPC that is there"),
        (
            {"network": {"cidr": "10.0.0.0/8"}, "database": {"private": True}},
            "network.cidr: /8 is given; allowed is /16",
        ),
        ({"network": {"cidr": "10.0.0.0/20"}}, "network.cidr: it is for a new VPC"),
        (
            {"network": {"name": "projects/p/global/networks/n"}},
            "network.name: 'projects/p/global/networks/n' is given",
        ),
        ({"artifacts": {"location": "EUROPE"}}, "artifacts.location: 'EUROPE' is given; allowed is a region, such as"),
        (
            {"artifacts": {"storageClass": "MULTI_REGIONAL"}},
            'artifacts.storageClass: got "MULTI_REGIONAL", expected',
        ),
        ({"artifacts": {"softDeleteDays": 3}}, "artifacts.softDeleteDays: 3 is given; allowed is 0, or 7 to 90."),
        ({"artifacts": {"bucket": "google-things"}}, "artifacts.bucket: 'google-things' is given; allowed are 3 to 63"),
        (
            {"image": {"reference": "registry/mlflow:3"}},
            "image.reference: 'registry/mlflow:3' is given; allowed is an im",
        ),
        ({"labels": {"Team": "a"}}, "labels: Team=a is given; allowed are"),
        (
            {"access": {"members": ["bob@example.com"], "roles": VIEWERS}},
            "access.members: 'bob@example.com' is given; allowed is user:, ",
        ),
        (
            {"access": {"members": ["allUsers"], "roles": VIEWERS}},
            "access.members: 'allUsers' is given; allowed is user:, ",
        ),
        ({"access": {"clientUsers": ["user:a@example.com"]}}, "access.clientUsers: they act as the clients' account"),
        (
            {"access": {"members": ["user:a@example.com"], "roles": {"admin": ["group:ml-admins"]}}},
            "access.roles.admin: 'group:ml-admins' is given; Identity-Aware Proxy tells no groups",
        ),
        (
            {"access": {"members": ["user:a@example.com"]}},
            "access.roles: it is missing; whoever comes in would have no",
        ),
        ({"signIn": {}}, "signIn.clientId: it is missing; make an OAuth client in Google's console"),
        ({"signIn": {"clientId": "abc"}}, "signIn.clientId: 'abc' is given; allowed is NUMBER-"),
        ({"app": {"mode": "existing"}}, "signIn: a client secret is given; with app.mode existing"),
        ({"colour": "red"}, "colour: unknown setting, expected one of project, region, "),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_with_what_was_given_and_what_is_allowed(
    wrong: Mapping[str, Any], problem: str
) -> None:
    (found,) = problems(wrong)
    assert found.startswith(f"mlflow:gcp.{problem}")


@pytest.mark.parametrize(
    ("sign_in", "secret", "at"),
    [
        ({"clientId": CLIENT}, None, "signIn.clientId"),
        ({"clientIdFrom": "projects/p-12345/secrets/id"}, None, "signIn.clientSecretFrom"),
        (
            {"clientIdFrom": "projects/p-12345/secrets/id", "clientSecretFrom": "projects/p-12345/secrets/secret"},
            SECRET,
            "signIn.clientSecretFrom",
        ),
        ({"clientIdFrom": "id", "clientSecretFrom": "projects/p-12345/secrets/s"}, None, "signIn.clientIdFrom"),
        ({"clientId": CLIENT, "desktopClientIds": ["mine"]}, SECRET, "signIn.desktopClientIds"),
    ],
    ids=str,
)
def test_what_sign_in_needs_is_named(sign_in: Mapping[str, Any], secret: str | None, at: str) -> None:
    (found,) = problems({"signIn": sign_in}, secret)
    assert found.startswith(f"mlflow:gcp.{at}: ")
    assert SECRET not in found


@pytest.mark.parametrize("name", ["oauthClientSecret", "oauth_client_secret"])
def test_a_secret_within_the_object_is_refused_and_not_shown(name: str) -> None:
    (found,) = problems({name: "planted"})
    assert found.startswith(
        f"mlflow:gcp.{name}: not allowed here, set it as a secret: `pulumi config set --secret {_KEY}`"
    )
    assert "planted" not in found


def test_all_mistakes_are_told_at_once_with_those_of_the_other_cloud() -> None:
    with pytest.raises(SettingsError) as caught:
        read(
            {
                "region": "europe-west",
                "app": {"location": "europe-west1", "cpu": 3},
                "access": {"members": ["bob"], "conditional": [{"members": ["user:a@example.com"], "title": "a"}]},
                "database": {"tier": "huge", "instance": "I"},
            },
            None,
            {"mlflow:aws": json.dumps({"network": {"zones": 9}})},
        )
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "mlflow:aws.network.zones",
        "mlflow:gcp.project",
        "mlflow:gcp.app.cpu",
        "mlflow:gcp.access.conditional[0].expression",
        "mlflow:gcp.app.location",
        "mlflow:gcp.access.members",
        "mlflow:gcp.database.tier",
        "mlflow:gcp.database.instance",
    ]


def test_development_is_the_default_and_production_has_its_own() -> None:
    development, production = gcp({}), gcp({"environment": "production"})
    assert (development.deletion_protection, production.deletion_protection) == (False, True)
    assert (development.database.availability, production.database.availability) == ("ZONAL", "REGIONAL")
    assert (development.app.min_instances, production.app.min_instances) == (1, 2)


def test_the_client_secret_stays_one() -> None:
    found = read(NEEDED)
    assert found.gcp
    assert isinstance(found.gcp.oauth_client_secret, pulumi.Output)
    assert SECRET not in repr(found)


def test_members_whom_no_rule_gives_a_role_are_told_apart() -> None:
    members = [
        "user:Ann@example.com",
        "user:bob@example.com",
        "user:eve@other.example",
        "serviceAccount:job@my-project.iam.gserviceaccount.com",
        "domain:example.com",
        "domain:third.example",
        # Whose addresses nobody here knows.
        "group:ml@example.com",
        "principalSet://iam.googleapis.com/locations/global/workforcePools/pool/*",
    ]
    conditional = [{"members": ["user:zoe@other.example"], "title": "a", "expression": "true"}]
    rules = {"viewer": ["domain:other.example"], "admin": ["email:ann@example.com"]}
    access = gcp({"access": {"members": members, "conditional": conditional, "roles": rules}}).access
    assert access.without_role() == [members[1], members[3], members[5]]


def test_app_engine_and_regions_agree_on_names() -> None:
    assert {regions.region_of(location) for location in regions.APP_ENGINE} <= regions.REGIONS
    for location in regions.APP_ENGINE:
        assert regions.app_engine_location(regions.region_of(location)) == location
    assert regions.app_engine_location("europe-west") is None
    assert regions.app_engine_location("europe-north1") is None


@settings(max_examples=200)
@given(some.data())
def test_garbage_in_one_place_of_right_settings_is_never_anything_but_a_settings_error(data: some.DataObject) -> None:
    right: dict[str, Any] = {
        **NEEDED,
        "signIn": {"clientId": CLIENT, "desktopClientIds": [CLIENT]},
        "oauth_client_secret": "x",
        "labels": {"team": "a"},
        "app": {"location": "europe-west", "memoryGb": 4, "service": "mlflow"},
        "access": {
            "members": ["user:a@example.com"],
            "conditional": [{"members": ["group:a@example.com"], "title": "a", "expression": "true"}],
            "roles": {"admin": ["email:a@example.com"]},
        },
        "database": {"tier": "db-custom-2-7680", "private": True},
        "network": {"cidr": "10.0.0.0/20"},
        "artifacts": {"location": "EU", "softDeleteDays": 7},
        "image": {"base": "a"},
        "watching": {"email": "a@example.com"},
    }
    place = right
    while True:
        name = data.draw(some.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or data.draw(some.booleans()):
            place[name] = data.draw(garbage)
            break
        place[name] = dict(place[name])
        place = place[name]
    with contextlib.suppress(SettingsError):
        validate_args(GcpMlflowArgs, right, "mlflow", production=True)
