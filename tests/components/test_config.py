import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from components import AwsMlflowProxyArgs, SettingsError
from components.aws.edge_args import EdgeArgs, SsoArgs
from components.aws.network_args import NetworkArgs
from components.config import Config, read_config
from components.validation import validate_args
from preview.recorder import record

CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
KEY_ELSEWHERE = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
TARGET = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456"
PRODUCTION: Mapping[str, Any] = {"environment": "production", "edge": {"certificateArn": CERTIFICATE}}
IN_A_VPC: Mapping[str, Any] = {
    "vpcId": "vpc-01234567",
    "vpcCidr": "10.0.0.0/16",
    "privateSubnetIds": ["subnet-01234567", "subnet-76543210"],
}
SSO: dict[str, Any] = {
    "issuer": "https://login.example.com",
    "authorizationEndpoint": "https://login.example.com/authorize",
    "tokenEndpoint": "https://login.example.com/token",
    "userInfoEndpoint": "https://login.example.com/userinfo",
    "clientId": "mlflow",
}


def read(given: object, secret: str | None = None) -> Config:
    """The config that a stack with this object under mlflow:aws has."""
    found: list[Config] = []
    values = {"mlflow:aws": given if isinstance(given, str) else json.dumps(given)}
    if secret is not None:
        values["mlflow:awsSsoClientSecret"] = secret
    record(lambda: found.append(read_config()), config=values, secret_keys=["mlflow:awsSsoClientSecret"])
    return found[0]


def problems(given: object, secret: str | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(given, secret)
    message = str(caught.value)
    assert all(problem in message for problem in caught.value.problems)
    assert message.splitlines()[0].endswith("invalid; nothing was created.")
    return caught.value.problems


def aws(given: Mapping[str, Any] | None = None, secret: str | None = None) -> AwsMlflowProxyArgs:
    found = read(given or {}, secret).aws
    assert found is not None
    return found


def test_a_stack_without_any_object_is_told_so() -> None:
    (found,) = problems("null")
    assert found.startswith("mlflow:aws, mlflow:gcp: neither is there")


def test_a_misspelt_key_is_named() -> None:
    found: list[Exception] = []

    def program() -> None:
        with pytest.raises(SettingsError) as caught:
            read_config()
        found.append(caught.value)

    record(program, config={"mlflow:aws": "{}", "mlflow:gpc": "{}", "other:gpc": "1"})
    assert "mlflow:gpc: unknown setting, expected one of mlflow:aws, mlflow:awsSsoClientSecret, mlflow:gcp, " in str(
        found[0]
    )
    assert "other:gpc" not in str(found[0])


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (
            {"tracking": {"colour": "red"}},
            "mlflow:aws.tracking.colour: unknown setting, expected one of kind, targetArn, ",
        ),
        ({"colour": "red"}, "mlflow:aws.colour: unknown setting, expected one of environment, "),
        ({"environment": "staging"}, 'mlflow:aws.environment: got "staging", expected one of development, pro'),
        ({"network": {"zones": "2"}}, 'mlflow:aws.network.zones: got "2", expected an integer from 2 to 4.'),
        ({"network": {"zones": 5}}, "mlflow:aws.network.zones: got 5, expected an integer from 2 to 4."),
        ({"network": {"zones": 2.5}}, "mlflow:aws.network.zones: got 2.5, expected an integer from 2 to 4."),
        ({"edge": {"public": 1}}, "mlflow:aws.edge.public: got 1, expected true or false."),
        ({"edge": {"waf": None}}, "mlflow:aws.edge.waf: got null, expected true or false."),
        ({"tags": {"a": 1}}, "mlflow:aws.tags.a: got 1, expected a map of strings."),
        ({"kmsKeyArn": "key"}, 'mlflow:aws.kmsKeyArn: got "key", expected a KMS key ARN (arn:aws:kms:'),
        ({"watching": {"logDays": 31}}, "mlflow:aws.watching.logDays: got 31, expected one of 1, 3, 5, 7, 14, "),
        ({"watching": {"email": "me"}}, 'mlflow:aws.watching.email: got "me", expected an e-mail address.'),
        (
            {"network": {"existingEndpoints": ["s3", "s4"]}},
            'mlflow:aws.network.existingEndpoints[1]: got "s4", expected a list, each one of ecr.api, ',
        ),
        ({"network": "nat"}, 'mlflow:aws.network: got "nat", expected an object with cidr, zones, '),
        ({"studio": []}, "mlflow:aws.studio: got [], expected an object with userProfile."),
        ({"edge": {"domain": {"name": "a.example.com"}}}, "mlflow:aws.edge.domain.zoneId: missing, expected a"),
        ([], "mlflow:aws: got [], expected an object."),
        ("3", "mlflow:aws: got 3, expected an object."),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_with_what_was_given_and_what_is_allowed(wrong: object, problem: str) -> None:
    (found,) = problems(wrong)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"network": {"cidr": "10.0.0.0/8"}}, "network.cidr"),
        ({"network": {"cidr": "10.0.0.300/16"}}, "network.cidr"),
        ({"network": {"cidr": "10.0.0.1/16"}}, "network.cidr"),
        ({"network": {"privateSubnetIds": ["subnet-01234567", "subnet-76543210"]}}, "network.privateSubnetIds"),
        (
            {"network": {"vpcId": "vpc-01234567", "vpcCidr": "10.0.0.0/16", "privateSubnetIds": ["subnet-01234567"]}},
            "network.privateSubnetIds",
        ),
        ({"tracking": {"kind": "app", "mlflowVersion": "3.0"}}, "tracking.mlflowVersion"),
        ({"tracking": {"artifactPrefix": "/a"}}, "tracking.artifactPrefix"),
        ({"tracking": {"kind": "server", "maintenanceWindow": "Tuesday"}}, "tracking.maintenanceWindow"),
        ({"image": {"reference": "registry/proxy:latest"}}, "image.reference"),
        ({"image": {"reference": "registry/proxy@sha256:0", "base": "python"}}, "image.base"),
        ({"image": {"architecture": "amd64"}, "service": {"instanceType": "t4g.small"}}, "service.instanceType"),
        ({"service": {"instanceType": "t3.small"}}, "service.instanceType"),
        ({"service": {"tasks": 3, "mostTasks": 2}}, "service.mostTasks"),
        ({"service": {"bodyLimit": 512}}, "service.bodyBudget"),
        ({"service": {"bodyBudget": 900}}, "service.taskMemory"),
        ({"edge": {"public": True}}, "edge.public"),
        (
            {"edge": {"certificateArn": CERTIFICATE, "domain": {"name": "a.example.com", "zoneId": "Z0123456789"}}},
            "edge.certificateArn",
        ),
        ({"edge": {"allowedCidrs": ["10.0.0.1/8"]}}, "edge.allowedCidrs"),
        (
            {"edge": {"certificateArn": CERTIFICATE, "sso": SSO}, "access": {"roles": {"viewer": ["group:a"]}}},
            "edge.sso",
        ),
        ({"access": {"roles": {"viewer": ["group:a"]}}}, "access.roles"),
        ({**PRODUCTION, "image": {"reference": "quay.io/proxy@sha256:0"}}, "image.reference"),
        ({"environment": "production"}, "edge"),
        ({"network": {"cidr": "8.8.0.0/16"}}, "network.cidr"),
        ({"network": {**IN_A_VPC, "zones": 3}}, "network.zones"),
        ({"network": {**IN_A_VPC, "privateSubnetIds": ["subnet-01234567"] * 2}}, "network.privateSubnetIds"),
        ({"tracking": {"serverSize": "Large"}}, "tracking.serverSize"),
        ({"service": {"instanceType": "t4g.smal"}}, "service.instanceType"),
        ({"service": {"taskMemory": 8192}}, "service.taskMemory"),
        ({"edge": {"requestsPerAddress": 100}}, "edge.requestsPerAddress"),
        ({"tags": {"Project": "mine"}}, "tags"),
        ({"tags": {"aws:cloudformation:stack-name": "mine"}}, "tags"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_named(wrong: object, at: str) -> None:
    (found,) = problems(wrong)
    assert found.startswith(f"mlflow:aws.{at}: ")


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"edge": {"sso": SSO}, "access": {"roles": {"viewer": ["group:a"]}}}, "edge.sso"),
        ({"edge": {"sso": SSO, "certificateArn": CERTIFICATE}}, "access.roles"),
        (
            {
                "network": {"egress": "endpoints"},
                "edge": {"sso": SSO, "certificateArn": CERTIFICATE},
                "access": {"roles": {"viewer": ["group:a"]}},
            },
            "edge.sso",
        ),
        (
            {
                "edge": {"sso": {**SSO, "issuer": "http://login.example.com"}, "certificateArn": CERTIFICATE},
                "access": {"roles": {"viewer": ["group:a"]}},
            },
            "edge.sso.issuer",
        ),
        (
            {
                "edge": {"sso": SSO, "certificateArn": CERTIFICATE},
                "access": {"roles": {"admin": ["everybody"]}},
            },
            "access.roles.admin",
        ),
    ],
)
def test_what_sign_in_needs_is_named(wrong: object, at: str) -> None:
    (found,) = problems(wrong, "hidden")
    assert found.startswith(f"mlflow:aws.{at}: ")
    assert "hidden" not in found


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        {
            "colour": "red",
            "environment": "staging",
            "ssoClientSecret": "hidden",
            "network": {"zones": 9, "cidr": "10.0.0.0/8"},
            "tracking": {"artifactPrefix": "/a", "kind": "both"},
            "service": {"tasks": 4, "mostTasks": 2},
        }
    )
    assert [problem.split(":")[1].removeprefix("aws.") for problem in found] == [
        "ssoClientSecret",
        "environment",
        "network.zones",
        "tracking.kind",
        "colour",
        "network.cidr",
        "tracking.artifactPrefix",
        "service.mostTasks",
    ]


@pytest.mark.parametrize("name", ["ssoClientSecret", "sso_client_secret"])
def test_a_secret_within_the_object_is_refused_and_not_shown(name: str) -> None:
    (found,) = problems({name: "hidden"})
    assert found.startswith(f"mlflow:aws.{name}: a secret has a key of its own")
    assert "hidden" not in found


def test_the_sign_in_secret_stays_one() -> None:
    given = {
        "edge": {"certificateArn": CERTIFICATE, "sso": SSO},
        "access": {"roles": {"viewer": ["group:a"]}},
    }
    assert isinstance(aws(given, "hidden").sso_client_secret, pulumi.Output)
    assert "hidden" not in repr(read(given, "hidden"))


def test_development_is_the_default_and_production_has_its_own() -> None:
    development, production = aws(), aws(PRODUCTION)
    assert (development.deletion_protection, production.deletion_protection) == (False, True)
    assert (development.network.egress, production.network.egress) == ("nat", "endpoints")
    assert (development.service.tasks, production.service.tasks) == (1, 2)
    assert (development.edge.waf, production.edge.waf) == (False, True)


def test_what_is_given_wins_over_productions_defaults() -> None:
    found = aws({**PRODUCTION, "deletionProtection": False, "network": {"egress": "nat", "zones": 3}})
    assert found.deletion_protection is False
    assert (found.network.egress, found.network.zones) == ("nat", 3)
    assert found.service.tasks == 2


@pytest.mark.parametrize(
    "given",
    [
        {"kmsKeyArn": KEY_ELSEWHERE},
        {"edge": {"certificateArn": CERTIFICATE}},
        {"network": {"egress": "endpoints"}, "tracking": {"targetArn": TARGET}},
    ],
    ids=lambda given: next(reversed(given)),
)
def test_what_is_in_another_region_than_the_stack_is_named(given: Mapping[str, Any]) -> None:
    def program() -> None:
        with pytest.raises(SettingsError, match="has to be in the stack's region"):
            read_config()

    record(program, config={"mlflow:aws": json.dumps(given), "aws:region": "eu-north-1"})


def test_sagemaker_may_be_in_another_region_where_there_is_a_way_to_it() -> None:
    given = {"tracking": {"targetArn": TARGET}}
    record(read_config, config={"mlflow:aws": json.dumps(given), "aws:region": "eu-north-1"})


def test_a_secret_in_plain_text_is_refused_and_not_shown() -> None:
    def program() -> None:
        with pytest.raises(SettingsError, match="mlflow:awsSsoClientSecret: it is in plain text") as caught:
            read_config()
        assert "hidden" not in str(caught.value)

    given = {"edge": {"certificateArn": CERTIFICATE, "sso": SSO}, "access": {"roles": {"viewer": ["group:a"]}}}
    record(program, config={"mlflow:aws": json.dumps(given), "mlflow:awsSsoClientSecret": "hidden"})


def test_both_spellings_are_one_setting() -> None:
    assert aws({"network": {"flow_log_days": 60}}) == aws({"network": {"flowLogDays": 60}})


def test_a_setting_in_both_spellings_is_refused() -> None:
    assert problems({"network": {"flow_log_days": 60, "flowLogDays": 90}})


def test_outputs_of_other_resources_are_taken_for_arns_and_ids() -> None:
    def program() -> None:
        output = pulumi.Output.from_input("later")
        given = {
            "kms_key_arn": output,
            "tracking": {"target_arn": output},
            "image": {"reference": output},
            "network": {"vpc_id": output, "vpc_cidr": "10.0.0.0/16", "private_subnet_ids": [output, output]},
            "edge": EdgeArgs(certificate_arn=output),
        }
        found = validate_args(AwsMlflowProxyArgs, given, "proxy", production=False)
        assert found.kms_key_arn is output
        assert found.tracking.target_arn is output
        assert found.network.private_subnet_ids == [output, output]
        assert found.edge.certificate_arn is output

    record(program)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("network.cidr", "10.0.0.0/16"),
        ("network.zones", 2),
        ("network.privateRouteTableIds", []),
        ("tracking.maintenanceWindow", "Tue:03:30"),
        ("tracking.artifactPrefix", "a"),
        ("service.instanceType", "t4g.small"),
        ("service.machineImage", "first"),
        ("edge.public", False),
        ("edge.idleTimeout", 120),
        ("edge.domain", {"name": "a.example.com", "zone_id": "Z1"}),
        ("edge.domain.name", "a.example.com"),
        ("edge.sso.issuer", "https://login.example.com"),
        ("access.roles.viewer", ["group:a"]),
        ("watching.email", "a@example.com"),
        ("tags", {}),
    ],
)
def test_outputs_are_refused_for_what_decides_which_resources_there_are(given: str, value: object) -> None:
    def program() -> None:
        values: Any = pulumi.Output.from_input(value)
        for name in reversed(given.split(".")):
            values = {name: values}
        with pytest.raises(SettingsError, match=given.replace(".", r"\.")):
            validate_args(AwsMlflowProxyArgs, values, "proxy", production=False)

    record(program)


def test_arguments_are_checked_like_config() -> None:
    with pytest.raises(SettingsError, match=r"proxy\.network\.zones: got 7"):
        validate_args(AwsMlflowProxyArgs, {"network": {"zones": 7}}, "proxy", production=False)
    assert validate_args(AwsMlflowProxyArgs, AwsMlflowProxyArgs(), "proxy", production=False) == AwsMlflowProxyArgs()


def test_arguments_in_classes_get_productions_defaults_where_they_say_nothing() -> None:
    given = AwsMlflowProxyArgs(environment="production", network=NetworkArgs(zones=3), edge=EdgeArgs(allow_http=True))
    found = validate_args(AwsMlflowProxyArgs, given, "proxy", production=True)
    assert (found.network.zones, found.network.egress) == (3, "endpoints")
    assert found.deletion_protection


def names_of(model: Any) -> list[str]:
    inner = [getattr(field.annotation, "model_fields", {}) for field in model.model_fields.values()]
    return [*model.model_fields, *(name for fields in inner for name in fields)]


garbage = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text()
    | some.sampled_from(["a" * 300, "s3"]),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.text(max_size=9) | some.sampled_from([*names_of(AwsMlflowProxyArgs), *names_of(EdgeArgs), "sso", "0"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(garbage)
def test_garbage_is_never_anything_but_a_settings_error(given: Any) -> None:
    with contextlib.suppress(SettingsError):
        validate_args(AwsMlflowProxyArgs, given, "proxy", production=True)


@settings(max_examples=300)
@given(some.data())
def test_garbage_in_one_place_of_right_settings_is_never_anything_but_a_settings_error(data: some.DataObject) -> None:
    given: dict[str, Any] = {
        "environment": "production",
        "network": {"egress": "nat", "cidr": "10.0.0.0/16", "existingEndpoints": ["s3"]},
        "tracking": {"kind": "server", "maintenanceWindow": "Tue:03:30", "artifactPrefix": "a"},
        "image": {"architecture": "amd64"},
        "service": {"instanceType": "t3.small", "tasks": 2},
        "edge": {"certificateArn": CERTIFICATE, "allowedCidrs": ["10.0.0.0/8"], "sso": dict(SSO)},
        "access": {"roles": {"admin": ["group:a"]}},
        "watching": {"email": "a@example.com"},
        "sso_client_secret": "x",
    }
    place = given
    path: list[str] = []
    while True:
        name = data.draw(some.sampled_from(sorted(place)))
        path.append(name)
        if not isinstance(place[name], dict) or data.draw(some.booleans()):
            place[name] = data.draw(garbage)
            break
        place = place[name]
    with contextlib.suppress(SettingsError):
        validate_args(AwsMlflowProxyArgs, given, "proxy", production=True)


def test_every_sentence_of_the_classes_ends() -> None:
    for model in (AwsMlflowProxyArgs, NetworkArgs, EdgeArgs, SsoArgs):
        for name, field in model.model_fields.items():
            assert (field.description or "Group.").endswith("."), name
