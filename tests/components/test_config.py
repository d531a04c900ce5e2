"""The stack config and the component's arguments: validation, defaults and error messages."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components import SettingsError
from components.aws.load_balancer_settings import LoadBalancerSettings, OidcSettings
from components.aws.network_settings import NetworkSettings
from components.aws.settings import AwsMlflowProxySettings
from components.config import Config, read_config
from components.validation import validate_args
from preview.recorder import record

APP = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
TARGET = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456"
PRODUCTION: Mapping[str, Any] = {"environment": "production", "loadBalancer": {"certificateArn": CERTIFICATE}}
EXISTING_VPC: Mapping[str, Any] = {
    "vpcId": "vpc-01234567",
    "vpcCidr": "10.0.0.0/16",
    "privateSubnetIds": ["subnet-01234567", "subnet-76543210"],
}
OIDC: dict[str, Any] = {
    "issuer": "https://login.example.com",
    "authorizationEndpoint": "https://login.example.com/authorize",
    "tokenEndpoint": "https://login.example.com/token",
    "userInfoEndpoint": "https://login.example.com/userinfo",
    "clientId": "mlflow",
}


def read(settings: object, secret: str | None = None) -> Config:
    """The config of a stack with this object, or JSON text, under mlflow:aws."""
    found: list[Config] = []
    values = {"mlflow:aws": settings if isinstance(settings, str) else json.dumps(settings)}
    if secret is not None:
        values["mlflow:awsOidcClientSecret"] = secret
    record(lambda: found.append(read_config()), config=values, secret_keys=["mlflow:awsOidcClientSecret"])
    return found[0]


def problems(settings: object, secret: str | None = None) -> list[str]:
    """The problems of the SettingsError that these settings raise."""
    with pytest.raises(SettingsError) as caught:
        read(settings, secret)
    message = str(caught.value)
    assert all(problem in message for problem in caught.value.problems)
    assert message.splitlines()[0].endswith("invalid; nothing was created.")
    return caught.value.problems


def aws(settings: Mapping[str, Any] | None = None, secret: str | None = None) -> AwsMlflowProxySettings:
    found = read(settings or {}, secret).aws
    assert found is not None
    return found


def test_config_without_aws_and_gcp_is_rejected() -> None:
    (found,) = problems("null")
    assert found.startswith("mlflow:aws, mlflow:gcp: missing: set one of them")


def test_unknown_config_key_is_reported() -> None:
    found: list[Exception] = []

    def program() -> None:
        with pytest.raises(SettingsError) as caught:
            read_config()
        found.append(caught.value)

    record(program, config={"mlflow:aws": "{}", "mlflow:gpc": "{}", "other:gpc": "1"})
    assert "mlflow:gpc: unknown setting, expected one of mlflow:aws, mlflow:awsOidcClientSecret, mlflow:gcp, " in str(
        found[0]
    )
    assert "other:gpc" not in str(found[0])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"tracking": {"colour": "red"}},
            "mlflow:aws.tracking.colour: unknown setting, expected one of kind, targetArn, ",
        ),
        ({"colour": "red"}, "mlflow:aws.colour: unknown setting, expected one of environment, "),
        ({"environment": "staging"}, 'mlflow:aws.environment: got "staging", expected one of development, pro'),
        ({"network": {"azCount": "2"}}, 'mlflow:aws.network.azCount: got "2", expected an integer from 2 to 4.'),
        ({"network": {"azCount": 5}}, "mlflow:aws.network.azCount: got 5, expected an integer from 2 to 4."),
        ({"network": {"azCount": 2.5}}, "mlflow:aws.network.azCount: got 2.5, expected an integer from 2 to 4."),
        ({"loadBalancer": {"public": 1}}, "mlflow:aws.loadBalancer.public: got 1, expected true or false."),
        ({"loadBalancer": {"waf": None}}, "mlflow:aws.loadBalancer.waf: got null, expected true or false."),
        ({"tags": {"a": 1}}, "mlflow:aws.tags.a: got 1, expected a map of strings."),
        ({"kmsKeyArn": "key"}, 'mlflow:aws.kmsKeyArn: got "key", expected a KMS key ARN (arn:aws:kms:'),
        (
            {"monitoring": {"logRetentionDays": 31}},
            "mlflow:aws.monitoring.logRetentionDays: got 31, expected one of 1, 3, 5, 7, 14, ",
        ),
        (
            {"monitoring": {"alarmEmail": "me"}},
            'mlflow:aws.monitoring.alarmEmail: got "me", expected an e-mail address.',
        ),
        (
            {"network": {"existingEndpoints": ["s3", "s4"]}},
            'mlflow:aws.network.existingEndpoints[1]: got "s4", expected a list, each one of ecr.api, ',
        ),
        ({"network": "nat"}, 'mlflow:aws.network: got "nat", expected an object with cidr, azCount, '),
        ({"studio": []}, "mlflow:aws.studio: got [], expected an object with userProfile."),
        (
            {"loadBalancer": {"domain": {"name": "a.example.com"}}},
            "mlflow:aws.loadBalancer.domain.zoneId: missing, expected a",
        ),
        ([], "mlflow:aws: got [], expected an object."),
        ("3", "mlflow:aws: got 3, expected an object."),
    ],
    ids=str,
)
def test_invalid_setting_is_reported_with_its_value_and_the_expected_one(settings: object, problem: str) -> None:
    (found,) = problems(settings)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("settings", "setting"),
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
        ({"image": {"imageUri": "registry/proxy:latest"}}, "image.imageUri"),
        ({"image": {"imageUri": "registry/proxy@sha256:0", "baseImage": "python"}}, "image.baseImage"),
        ({"image": {"architecture": "amd64"}, "service": {"instanceType": "t4g.small"}}, "service.instanceType"),
        ({"service": {"instanceType": "t3.small"}}, "service.instanceType"),
        ({"service": {"minTasks": 3, "maxTasks": 2}}, "service.maxTasks"),
        ({"service": {"bodyLimitMib": 512}}, "service.bodyBudgetMib"),
        ({"service": {"bodyBudgetMib": 900}}, "service.taskMemoryMib"),
        ({"loadBalancer": {"public": True}}, "loadBalancer.public"),
        (
            {
                "loadBalancer": {
                    "certificateArn": CERTIFICATE,
                    "domain": {"name": "a.example.com", "zoneId": "Z0123456789"},
                }
            },
            "loadBalancer.certificateArn",
        ),
        ({"loadBalancer": {"allowedCidrs": ["10.0.0.1/8"]}}, "loadBalancer.allowedCidrs"),
        (
            {
                "loadBalancer": {"certificateArn": CERTIFICATE, "oidc": OIDC},
                "access": {"roles": {"viewer": ["group:a"]}},
            },
            "loadBalancer.oidc",
        ),
        ({"access": {"roles": {"viewer": ["group:a"]}}}, "access.roles"),
        ({**PRODUCTION, "image": {"imageUri": "quay.io/proxy@sha256:0"}}, "image.imageUri"),
        ({"environment": "production"}, "loadBalancer"),
        ({"network": {"cidr": "8.8.0.0/16"}}, "network.cidr"),
        ({"network": {**EXISTING_VPC, "azCount": 3}}, "network.azCount"),
        ({"network": {**EXISTING_VPC, "privateSubnetIds": ["subnet-01234567"] * 2}}, "network.privateSubnetIds"),
        ({"tracking": {"serverSize": "Large"}}, "tracking.serverSize"),
        ({"service": {"instanceType": "t4g.smal"}}, "service.instanceType"),
        ({"service": {"taskMemoryMib": 8192}}, "service.taskMemoryMib"),
        ({"loadBalancer": {"rateLimitPerIp": 100}}, "loadBalancer.rateLimitPerIp"),
        ({"tags": {"Project": "mine"}}, "tags"),
        ({"artifacts": {"uri": "s3://bucket/mlflow"}}, "artifacts.uri"),
        ({"tracking": {"targetArn": APP}, "artifacts": {"uri": "bucket/mlflow"}}, "artifacts.uri"),
        ({"tracking": {"targetArn": APP}, "artifacts": {"uri": "s3://bucket/*"}}, "artifacts.uri"),
        ({"tracking": {"targetArn": APP}, "artifacts": {"presignedTransfers": True}}, "artifacts.presignedTransfers"),
        ({"artifacts": {"enabled": False, "presignedTransfers": True}}, "artifacts.presignedTransfers"),
        ({"service": {"taskMemoryMib": 1000}}, "service.taskMemoryMib"),
        ({"limits": {"maxRequests": 0}}, "limits.maxRequests"),
        ({"tags": {"aws:cloudformation:stack-name": "mine"}}, "tags"),
    ],
    ids=str,
)
def test_conflicting_or_out_of_range_settings_are_reported(settings: object, setting: str) -> None:
    (found,) = problems(settings)
    assert found.startswith(f"mlflow:aws.{setting}: ")


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"loadBalancer": {"oidc": OIDC}, "access": {"roles": {"viewer": ["group:a"]}}}, "loadBalancer.oidc"),
        ({"loadBalancer": {"oidc": OIDC, "certificateArn": CERTIFICATE}}, "access.roles"),
        (
            {
                "network": {"egress": "endpoints"},
                "loadBalancer": {"oidc": OIDC, "certificateArn": CERTIFICATE},
                "access": {"roles": {"viewer": ["group:a"]}},
            },
            "loadBalancer.oidc",
        ),
        (
            {
                "loadBalancer": {"oidc": {**OIDC, "issuer": "http://login.example.com"}, "certificateArn": CERTIFICATE},
                "access": {"roles": {"viewer": ["group:a"]}},
            },
            "loadBalancer.oidc.issuer",
        ),
        (
            {
                "loadBalancer": {"oidc": OIDC, "certificateArn": CERTIFICATE},
                "access": {"roles": {"admin": ["everybody"]}},
            },
            "access.roles.admin",
        ),
    ],
)
def test_missing_or_invalid_oidc_setting_is_reported_without_the_secret(settings: object, setting: str) -> None:
    (found,) = problems(settings, "hidden")
    assert found.startswith(f"mlflow:aws.{setting}: ")
    assert "hidden" not in found


def test_all_problems_are_reported_together() -> None:
    found = problems(
        {
            "colour": "red",
            "environment": "staging",
            "oidcClientSecret": "hidden",
            "network": {"azCount": 9, "cidr": "10.0.0.0/8"},
            "tracking": {"artifactPrefix": "/a", "kind": "both"},
            "service": {"minTasks": 4, "maxTasks": 2},
        }
    )
    assert [problem.split(":")[1].removeprefix("aws.") for problem in found] == [
        "oidcClientSecret",
        "environment",
        "network.azCount",
        "tracking.kind",
        "colour",
        "network.cidr",
        "tracking.artifactPrefix",
        "service.maxTasks",
    ]


@pytest.mark.parametrize("name", ["oidcClientSecret", "oidc_client_secret"])
def test_secret_inside_the_settings_object_is_rejected_and_not_shown(name: str) -> None:
    (found,) = problems({name: "hidden"})
    assert found.startswith(f"mlflow:aws.{name}: not allowed here, set it as a secret")
    assert "hidden" not in found


def test_oidc_client_secret_is_an_output_and_not_in_repr() -> None:
    settings = {
        "loadBalancer": {"certificateArn": CERTIFICATE, "oidc": OIDC},
        "access": {"roles": {"viewer": ["group:a"]}},
    }
    assert isinstance(aws(settings, "hidden").oidc_client_secret, pulumi.Output)
    assert "hidden" not in repr(read(settings, "hidden"))


def test_default_environment_is_development_and_production_has_other_defaults() -> None:
    development, production = aws(), aws(PRODUCTION)
    assert (development.deletion_protection, production.deletion_protection) == (False, True)
    assert (development.network.egress, production.network.egress) == ("nat", "endpoints")
    assert (development.service.min_tasks, production.service.min_tasks) == (1, 2)
    assert (development.load_balancer.waf, production.load_balancer.waf) == (False, True)


def test_explicit_settings_override_production_defaults() -> None:
    found = aws({**PRODUCTION, "deletionProtection": False, "network": {"egress": "nat", "azCount": 3}})
    assert found.deletion_protection is False
    assert (found.network.egress, found.network.az_count) == ("nat", 3)
    assert found.service.min_tasks == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"kmsKeyArn": KEY_ARN},
        {"loadBalancer": {"certificateArn": CERTIFICATE}},
        {"network": {"egress": "endpoints"}, "tracking": {"targetArn": TARGET}},
    ],
    ids=lambda settings: next(reversed(settings)),
)
def test_arn_in_another_region_than_the_stack_is_rejected(settings: Mapping[str, Any]) -> None:
    def program() -> None:
        with pytest.raises(SettingsError, match="expected an ARN in the stack's region"):
            read_config()

    record(program, config={"mlflow:aws": json.dumps(settings), "aws:region": "eu-north-1"})


def test_target_arn_in_another_region_is_accepted_with_a_nat() -> None:
    found: list[Config] = []
    config = {"mlflow:aws": json.dumps({"tracking": {"targetArn": TARGET}}), "aws:region": "eu-north-1"}
    record(lambda: found.append(read_config()), config=config)
    assert found[0].aws is not None
    assert found[0].aws.tracking.target_arn == TARGET


def test_plain_text_secret_is_rejected_and_not_shown() -> None:
    def program() -> None:
        with pytest.raises(SettingsError, match="mlflow:awsOidcClientSecret: stored in plain text") as caught:
            read_config()
        assert "hidden" not in str(caught.value)

    settings = {
        "loadBalancer": {"certificateArn": CERTIFICATE, "oidc": OIDC},
        "access": {"roles": {"viewer": ["group:a"]}},
    }
    record(program, config={"mlflow:aws": json.dumps(settings), "mlflow:awsOidcClientSecret": "hidden"})


def test_snake_case_and_camel_case_set_the_same_setting() -> None:
    assert aws({"network": {"flow_log_retention_days": 60}}) == aws({"network": {"flowLogRetentionDays": 60}})


def test_setting_in_both_spellings_is_rejected() -> None:
    (found,) = problems({"network": {"flow_log_retention_days": 60, "flowLogRetentionDays": 90}})
    assert found == (
        "mlflow:aws.network.flowLogRetentionDays: set twice, as flowLogRetentionDays and flow_log_retention_days: "
        "remove one."
    )


def test_outputs_are_accepted_for_arns_and_ids() -> None:
    def program() -> None:
        output = pulumi.Output.from_input("later")
        args = {
            "kms_key_arn": output,
            "tracking": {"target_arn": output},
            "image": {"imageUri": output},
            "network": {"vpc_id": output, "vpc_cidr": "10.0.0.0/16", "private_subnet_ids": [output, output]},
            "loadBalancer": LoadBalancerSettings(certificate_arn=output),
        }
        found = validate_args(AwsMlflowProxySettings, args, "proxy", production=False)
        assert found.kms_key_arn is output
        assert found.tracking.target_arn is output
        assert found.network.private_subnet_ids == [output, output]
        assert found.load_balancer.certificate_arn is output

    record(program)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("network.cidr", "10.0.0.0/16"),
        ("network.azCount", 2),
        ("network.privateRouteTableIds", []),
        ("tracking.maintenanceWindow", "Tue:03:30"),
        ("tracking.artifactPrefix", "a"),
        ("service.instanceType", "t4g.small"),
        ("service.ami", "first"),
        ("loadBalancer.public", False),
        ("service.upstreamTimeoutSeconds", 120),
        ("loadBalancer.domain", {"name": "a.example.com", "zone_id": "Z1"}),
        ("loadBalancer.domain.name", "a.example.com"),
        ("loadBalancer.oidc.issuer", "https://login.example.com"),
        ("access.roles.viewer", ["group:a"]),
        ("monitoring.alarmEmail", "a@example.com"),
        ("tags", {}),
    ],
)
def test_outputs_are_rejected_for_settings_that_must_be_known_in_preview(setting: str, value: object) -> None:
    def program() -> None:
        values: Any = pulumi.Output.from_input(value)
        for name in reversed(setting.split(".")):
            values = {name: values}
        with pytest.raises(SettingsError, match=setting.replace(".", r"\.")):
            validate_args(AwsMlflowProxySettings, values, "proxy", production=False)

    record(program)


def test_arguments_are_validated_like_config() -> None:
    with pytest.raises(SettingsError, match=r"proxy\.network\.azCount: got 7"):
        validate_args(AwsMlflowProxySettings, {"network": {"azCount": 7}}, "proxy", production=False)
    assert (
        validate_args(AwsMlflowProxySettings, AwsMlflowProxySettings(), "proxy", production=False)
        == AwsMlflowProxySettings()
    )


def test_unset_arguments_in_classes_get_production_defaults() -> None:
    args = AwsMlflowProxySettings(
        environment="production",
        network=NetworkSettings(az_count=3),
        load_balancer=LoadBalancerSettings(allow_http=True),
    )
    found = validate_args(AwsMlflowProxySettings, args, "proxy", production=True)
    assert (found.network.az_count, found.network.egress) == (3, "endpoints")
    assert found.deletion_protection


def test_every_setting_description_ends_with_a_period() -> None:
    for model in (AwsMlflowProxySettings, NetworkSettings, LoadBalancerSettings, OidcSettings):
        for name, field in model.model_fields.items():
            assert (field.description or "Group.").endswith("."), name
