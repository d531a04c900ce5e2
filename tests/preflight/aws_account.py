"""A double of an AWS account for read-only calls: moto, and the calls that moto lacks, written from botocore's models.

Requests and responses of every call are validated by botocore's models. The account denies the operations in ``denied``
with AWS's message, and delays each response by ``latency`` seconds.
"""

import contextlib
import functools
import os
import time
import unittest.mock
from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.model import OperationModel
from botocore.validate import ParamValidator
from moto import mock_aws

from tests.components.aws.iam_decision import allowed

REGION = "eu-west-1"
USER = "arn:aws:iam::123456789012:user/deployer"
EVERYTHING = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
# Quotas of a new account that suffice for the development stack: code by (name, value).
QUOTAS = {
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 32.0),
    "L-0263D0A3": ("EC2-VPC Elastic IPs", 5.0),
    "L-F678F1CE": ("VPCs per Region", 5.0),
    "L-A4707A72": ("Internet gateways per Region", 5.0),
    "L-FE5A380F": ("NAT gateways per Availability Zone", 5.0),
    "L-53DA6B97": ("Application Load Balancers per Region", 50.0),
}
# Names in the form of SageMaker's other quotas: AWS's page does not list them.
SAGEMAKER_QUOTAS = {
    "L-TEST0001": ("MLflow Tracking Servers per Region", 10.0),
    "L-TEST0002": ("MLflow Apps per Region", 5.0),
}
_ENDPOINTS = ("ecs", "ecs-agent", "ecs-telemetry", "ecr.api", "ecr.dkr", "logs", "ssm", "ssmmessages", "ec2messages")
_MORE_ENDPOINTS = ("sagemaker.api", "secretsmanager", "sts", "kms", "sagemaker.runtime")

# Services whose actions in IAM have another prefix than the name in signatures.
_IAM_NAMES = {"tagging": "tag", "monitoring": "cloudwatch"}

Handler = Callable[[Mapping[str, Any]], dict[str, Any]]


class ApiError(Exception):
    """An error response with AWS's code and message."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def moto_without_images() -> Generator[None]:
    """moto in this process, empty; loading its thousands of AMIs would take most of a test's time."""
    with unittest.mock.patch.dict(os.environ, {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}), mock_aws():
        yield


class AwsAccount:
    """The content of an account beside what moto holds. Tests change it before the checks run."""

    def __init__(self) -> None:
        self.statements: list[dict[str, Any]] = list(EVERYTHING)
        self.quotas = {code: value for code, (_, value) in QUOTAS.items()}
        # Quotas without a value of the account have AWS's default only.
        self.default_quotas = {"L-53DA6B97"}
        self.sagemaker_quotas = {code: value for code, (_, value) in SAGEMAKER_QUOTAS.items()}
        self.tracking_servers: dict[str, str] = {}
        self.apps: dict[str, str] = {}
        self.zones = [f"{REGION}a", f"{REGION}b", f"{REGION}c"]
        self.endpoint_zones = {
            **{f"com.amazonaws.{REGION}.{name}": list(self.zones) for name in (*_ENDPOINTS, *_MORE_ENDPOINTS)},
            **{f"aws.sagemaker.{REGION}.{name}": list(self.zones) for name in ("experiments", "mlflow", "studio")},
        }
        self.denied: set[str] = set()
        # Resources by ARN, with their tags.
        self.tags: dict[str, dict[str, str]] = {}
        self.groups: dict[str, dict[str, str]] = {}
        self.file_systems: list[dict[str, Any]] = []
        self.domains: dict[str, str] = {}
        self.profiles: dict[str, list[str]] = {}
        self.task_definitions: dict[str, str] = {}
        self.latency = 0.0
        self.called: set[str] = set()
        self.errors: dict[str, ApiError] = {}
        self.overrides: dict[str, Handler] = {
            "iam:SimulatePrincipalPolicy": self._simulate,
            "servicequotas:GetServiceQuota": self._quota,
            "servicequotas:GetAWSDefaultServiceQuota": self._default_quota,
            "servicequotas:ListServiceQuotas": self._sagemaker_quotas,
            "sagemaker:ListMlflowTrackingServers": self._servers,
            "sagemaker:ListMlflowApps": self._apps,
            "sagemaker:DescribeMlflowTrackingServer": self._server,
            "sagemaker:DescribeMlflowApp": self._app,
            "sts:GetCallerIdentity": lambda _: {"Account": "123456789012", "Arn": USER, "UserId": "AIDA"},
            "ec2:DescribeVpcEndpointServices": self._endpoint_services,
            "tag:GetResources": self._tagged,
            "autoscaling:DescribeAutoScalingGroups": self._groups,
            "sagemaker:ListTags": lambda parameters: {"Tags": _pairs(self.tags.get(parameters["ResourceArn"], {}))},
            "sagemaker:ListDomains": self._domains,
            "sagemaker:ListUserProfiles": self._profiles,
            "elasticfilesystem:DescribeFileSystems": lambda _: {"FileSystems": self.file_systems},
            "ecs:ListTaskDefinitions": self._task_definitions,
        }

    def session(self) -> Any:
        """A session whose calls reach this account. Only one account is active at a time."""
        _State.account = self
        return _session()

    def respond(self, model: OperationModel, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """The response of an operation; None for moto's. Raises ApiError."""
        service = model.service_model.signing_name
        permission = f"{_IAM_NAMES.get(service, service)}:{model.name}"
        self.called.add(permission)
        time.sleep(self.latency)
        if permission in self.denied:
            code = "UnauthorizedOperation" if permission.startswith("ec2:") else "AccessDeniedException"
            raise ApiError(
                code,
                f"User: {USER} is not authorized to perform: {permission} on resource: * because no "
                f"identity-based policy allows the {permission} action",
            )
        if permission in self.errors:
            raise self.errors[permission]
        handler = self.overrides.get(permission)
        if handler is None:
            return None
        response = handler(parameters)
        report = ParamValidator().validate(response, cast("Any", model.output_shape))
        assert not report.has_errors(), report.generate_report()
        return response

    def _simulate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Evaluate the identity-based policies of the user, as IAM's simulator does."""
        assert parameters["PolicySourceArn"].startswith("arn:aws:iam::123456789012:")
        context = {
            entry["ContextKeyName"]: tuple(entry["ContextKeyValues"])
            if entry["ContextKeyType"] == "stringList"
            else entry["ContextKeyValues"][0]
            for entry in parameters.get("ContextEntries", [])
        }
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": "allowed"
                    if allowed(self.statements, action, resource, context)
                    else "implicitDeny",
                }
                for action in parameters["ActionNames"]
                for resource in parameters["ResourceArns"]
            ],
            "IsTruncated": False,
        }

    def _quota(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if parameters["QuotaCode"] in self.default_quotas:
            raise ApiError("NoSuchResourceException")
        return self._default_quota(parameters)

    def _default_quota(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        code = parameters["QuotaCode"]
        return {"Quota": {"ServiceCode": parameters["ServiceCode"], "QuotaCode": code, "Value": self.quotas[code]}}

    def _sagemaker_quotas(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        assert parameters["ServiceCode"] == "sagemaker"
        return {
            "Quotas": [
                {"QuotaCode": code, "QuotaName": SAGEMAKER_QUOTAS[code][0], "Value": value}
                for code, value in self.sagemaker_quotas.items()
            ]
        }

    def _servers(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "TrackingServerSummaries": [
                {
                    "TrackingServerName": name,
                    "TrackingServerStatus": status,
                    "TrackingServerArn": f"arn:aws:sagemaker:{REGION}:123456789012:mlflow-tracking-server/{name}",
                }
                for name, status in self.tracking_servers.items()
            ]
        }

    def _apps(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"Summaries": [{"Arn": arn, "Status": status} for arn, status in self.apps.items()]}

    def _server(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = parameters["TrackingServerName"]
        if name not in self.tracking_servers:
            raise ApiError("ResourceNotFound")
        return {"TrackingServerName": name, "TrackingServerStatus": self.tracking_servers[name]}

    def _app(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if parameters["Arn"] not in self.apps:
            raise ApiError("ResourceNotFound")
        return {"Arn": parameters["Arn"], "Status": self.apps[parameters["Arn"]]}

    def _tagged(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html"""
        filters = {one["Key"]: one["Values"] for one in parameters["TagFilters"]}
        return {
            "ResourceTagMappingList": [
                {"ResourceARN": arn, "Tags": _pairs(tags)}
                for arn, tags in self.tags.items()
                if all(tags.get(key) in values for key, values in filters.items())
            ]
        }

    def _groups(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        filters = {one["Name"].removeprefix("tag:"): one["Values"] for one in parameters["Filters"]}
        rest = {
            "MinSize": 1,
            "MaxSize": 2,
            "DesiredCapacity": 1,
            "DefaultCooldown": 300,
            "AvailabilityZones": self.zones,
            "HealthCheckType": "EC2",
            "CreatedTime": "2026-11-01T00:00:00Z",
        }
        return {
            "AutoScalingGroups": [
                {"AutoScalingGroupName": name, **rest}
                for name, tags in self.groups.items()
                if all(tags.get(key) in values for key, values in filters.items())
            ]
        }

    def _domains(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"Domains": [{"DomainId": domain, "DomainName": name} for domain, name in self.domains.items()]}

    def _profiles(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        names = self.profiles.get(parameters["DomainIdEquals"], [])
        return {"UserProfiles": [{"UserProfileName": name} for name in names]}

    def _task_definitions(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTaskDefinitions.html"""
        return {
            "taskDefinitionArns": [
                arn
                for arn, status in self.task_definitions.items()
                if status == parameters["status"] and f"/{parameters['familyPrefix']}:" in arn
            ]
        }

    def _endpoint_services(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "ServiceDetails": [
                {"ServiceName": name, "AvailabilityZones": zones} for name, zones in self.endpoint_zones.items()
            ]
        }


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class _State:
    account = AwsAccount()


@functools.cache
def _session() -> boto3.Session:
    """One session for all tests: loading the models of its services takes most of a call's time."""
    session = boto3.Session("AKIATEST", "secret", region_name=REGION)
    events: Any = cast("Any", session)._session.get_component("event_emitter")
    events.register("before-parameter-build.*.*", _keep_parameters)
    events.register("before-call.*.*", _respond)
    # Without retries, whose delays would be the tests' time.
    cast("Any", session)._session.set_default_client_config(Config(retries={"total_max_attempts": 1}))
    return session


def _keep_parameters(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["parameters"] = params


def _respond(model: OperationModel, context: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
    try:
        response = _State.account.respond(model, context["parameters"])
    except ApiError as error:
        metadata = {"HTTPStatusCode": 400, "RetryAttempts": 0}
        return _Http(400), {"Error": {"Code": error.code, "Message": str(error)}, "ResponseMetadata": metadata}
    return None if response is None else (_Http(200), response)


class _Http:
    def __init__(self, status: int) -> None:
        self.status_code = status
