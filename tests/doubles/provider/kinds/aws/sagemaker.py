"""SageMaker's MLflow and Studio. Formats of ids: SageMaker's API reference."""

import re
from typing import TYPE_CHECKING

from ...kind import REGION, CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ..common import among, known, matches
from .identity import ROLE
from .network import SECURITY_GROUPS, SUBNET, VPC
from .stores import BUCKET

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

TRACKING_SERVER = "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
APP = "aws:sagemaker/mlflowApp:MlflowApp"
DOMAIN = "aws:sagemaker/domain:Domain"
_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,%d}"
_WINDOW = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun):([01]\d|2[0-3]):[0-5]\d"
_WITH_ROLE = Reference(path="roleArn", kinds=(ROLE,), by=("arn",), blocks_delete=False)


def _bucket_is_there(resource: "Resource", cloud: "Cloud") -> None:
    uri = str(resource.inputs["artifactStoreUri"])
    found = re.fullmatch(r"s3://([a-z0-9.-]+)(/.*)?", uri)
    if found is None:
        raise CloudError(f"ValidationException: {uri!r} is not an S3 URI.")
    if found[1] not in cloud.existing:
        cloud.find(found[1], (BUCKET,), ("id",))


def _server_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "trackingServerName", _NAME % 255)
    yield from matches(inputs, "weeklyMaintenanceWindowStart", _WINDOW)
    yield from among(inputs, "trackingServerSize", ("Small", "Medium", "Large"))
    # The provider stores major and minor version only: a longer value would cause a replacement at every run.
    yield from matches(inputs, "mlflowVersion", r"\d+\.\d+")


def _server(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["trackingServerName"])
    outputs: dict[str, object] = {
        "arn": request.arn("sagemaker", f"mlflow-tracking-server/{name}"),
        "trackingServerUrl": f"https://t-{request.hex_digits(12)}.{REGION}.experiments.sagemaker.aws",
    }
    defaults = {"mlflowVersion": "3.4", "weeklyMaintenanceWindowStart": "Tue:03:30"}
    return name, outputs | {field: value for field, value in defaults.items() if request.inputs.get(field) is None}


def _update_server(resource: "Resource", cloud: "Cloud") -> None:
    _bucket_is_there(resource, cloud)
    # The provider sends a boolean only if it is true (mlflow_tracking_server.go, Update).
    before = cloud.get(TRACKING_SERVER, resource.id, {})
    if before is not None and before.inputs.get("automaticModelRegistration"):
        resource.inputs["automaticModelRegistration"] = True


def _app_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", _NAME % 255)
    yield from matches(inputs, "weeklyMaintenanceWindowStart", _WINDOW)
    yield from among(inputs, "modelRegistrationMode", ("AutoModelRegistrationEnabled", "AutoModelRegistrationDisabled"))
    yield from among(inputs, "accountDefaultStatus", ("ENABLED", "DISABLED"))


def _app(request: CreateRequest) -> tuple[str, dict[str, object]]:
    arn = request.arn("sagemaker", f"mlflow-app/app-{request.hex_digits(12).upper()}")
    return arn, {"arn": arn}


def _domain(request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id = f"d-{request.hex_digits(12)}"
    return resource_id, {
        "arn": request.arn("sagemaker", f"domain/{resource_id}"),
        "url": f"https://{resource_id}.studio.{REGION}.sagemaker.aws",
        "homeEfsFileSystemId": f"fs-{request.hex_digits(17)}",
    }


def _domain_left(resource: "Resource") -> str:
    # hashicorp/terraform-provider-aws#20986
    return f"security groups security-group-for-(in|out)bound-nfs-{resource.id} in {resource.inputs['vpcId']}"


def _domain_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "domainName", _NAME % 62)
    yield from among(inputs, "appNetworkAccessType", ("PublicInternetOnly", "VpcOnly"))
    yield from among(inputs, "authMode", ("SSO", "IAM"))


def _user_problems(inputs: Values) -> Problems:
    if known(inputs, "userProfileName") is not None:
        yield from matches(inputs, "userProfileName", _NAME % 62)


KINDS = (
    Kind(
        token=TRACKING_SERVER,
        make=_server,
        references=(_WITH_ROLE,),
        unique=(("trackingServerName",),),
        check=_server_problems,
        on_create=_bucket_is_there,
        on_update=_update_server,
    ),
    Kind(
        token=APP,
        name=Name(limit=256),
        make=_app,
        references=(_WITH_ROLE, Reference(path="defaultDomainIdLists[*]", kinds=(DOMAIN,), blocks_delete=False)),
        unique=(("name",),),
        check=_app_problems,
        on_create=_bucket_is_there,
        on_update=_bucket_is_there,
    ),
    Kind(
        token=DOMAIN,
        make=_domain,
        references=(
            Reference(path="vpcId", kinds=(VPC,)),
            Reference(path="subnetIds[*]", kinds=(SUBNET,)),
            Reference(path="defaultUserSettings.executionRole", kinds=(ROLE,), by=("arn",), blocks_delete=False),
            Reference(path="defaultUserSettings.securityGroups[*]", kinds=SECURITY_GROUPS),
        ),
        unique=(("domainName",),),
        check=_domain_problems,
        leftover=_domain_left,
    ),
    Kind(
        token="aws:sagemaker/userProfile:UserProfile",
        make=lambda request: (
            arn := request.arn(
                "sagemaker", f"user-profile/{request.inputs['domainId']}/{request.inputs['userProfileName']}"
            ),
            {"arn": arn, "homeEfsFileSystemUid": f"{200000 + request.cloud.next_number()}"},
        ),
        references=(
            Reference(path="domainId", kinds=(DOMAIN,)),
            Reference(path="userSettings.executionRole", kinds=(ROLE,), by=("arn",), blocks_delete=False),
        ),
        unique=(("domainId", "userProfileName"),),
        check=_user_problems,
    ),
)
