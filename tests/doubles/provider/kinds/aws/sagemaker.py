"""SageMaker's MLflow and Studio. The forms of ids: SageMaker's API reference."""

import re
from typing import TYPE_CHECKING

from ...kind import REGION, Kind, Making, Name, Problems, Refers, RefusedError, Values
from ..common import among, known, matches
from .identity import ROLE
from .network import SECURITY_GROUPS, SUBNET, VPC
from .stores import BUCKET

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

TRACKING_SERVER = "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
APP = "aws:sagemaker/mlflowApp:MlflowApp"
DOMAIN = "aws:sagemaker/domain:Domain"
_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,%d}"
_WINDOW = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun):([01]\d|2[0-3]):[0-5]\d"
_WITH_ROLE = Refers(path="roleArn", kinds=(ROLE,), by=("arn",), holds=False)


def _bucket_is_there(thing: "Thing", cloud: "Cloud") -> None:
    uri = str(thing.inputs["artifactStoreUri"])
    found = re.fullmatch(r"s3://([a-z0-9.-]+)(/.*)?", uri)
    if found is None:
        raise RefusedError(f"ValidationException: {uri!r} is no S3 URI.")
    if found[1] not in cloud.given:
        cloud.named(found[1], (BUCKET,), ("id",))


def _server_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "trackingServerName", _NAME % 255)
    yield from matches(inputs, "weeklyMaintenanceWindowStart", _WINDOW)
    yield from among(inputs, "trackingServerSize", ("Small", "Medium", "Large"))
    # The provider keeps major and minor alone, so that anything more would be replaced at every run.
    yield from matches(inputs, "mlflowVersion", r"\d+\.\d+")


def _server(making: Making) -> tuple[str, dict[str, object]]:
    name = str(making.inputs["trackingServerName"])
    made: dict[str, object] = {
        "arn": making.arn("sagemaker", f"mlflow-tracking-server/{name}"),
        "trackingServerUrl": f"https://t-{making.hexes(12)}.{REGION}.experiments.sagemaker.aws",
    }
    defaults = {"mlflowVersion": "3.4", "weeklyMaintenanceWindowStart": "Tue:03:30"}
    return name, made | {field: value for field, value in defaults.items() if making.inputs.get(field) is None}


def _app_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", _NAME % 255)
    yield from matches(inputs, "weeklyMaintenanceWindowStart", _WINDOW)
    yield from among(inputs, "modelRegistrationMode", ("AutoModelRegistrationEnabled", "AutoModelRegistrationDisabled"))
    yield from among(inputs, "accountDefaultStatus", ("ENABLED", "DISABLED"))


def _app(making: Making) -> tuple[str, dict[str, object]]:
    arn = making.arn("sagemaker", f"mlflow-app/app-{making.hexes(12).upper()}")
    return arn, {"arn": arn}


def _domain(making: Making) -> tuple[str, dict[str, object]]:
    made = f"d-{making.hexes(12)}"
    return made, {
        "arn": making.arn("sagemaker", f"domain/{made}"),
        "url": f"https://{made}.studio.{REGION}.sagemaker.aws",
        "homeEfsFileSystemId": f"fs-{making.hexes(17)}",
    }


def _domain_left(thing: "Thing") -> str:
    # hashicorp/terraform-provider-aws#20986
    return f"security groups security-group-for-(in|out)bound-nfs-{thing.id} in {thing.inputs['vpcId']}"


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
        refers=(_WITH_ROLE,),
        one_of=(("trackingServerName",),),
        check=_server_problems,
        made=_bucket_is_there,
        changed=_bucket_is_there,
    ),
    Kind(
        token=APP,
        name=Name(limit=256),
        make=_app,
        refers=(_WITH_ROLE, Refers(path="defaultDomainIdLists[*]", kinds=(DOMAIN,), holds=False)),
        one_of=(("name",),),
        check=_app_problems,
        made=_bucket_is_there,
        changed=_bucket_is_there,
    ),
    Kind(
        token=DOMAIN,
        make=_domain,
        refers=(
            Refers(path="vpcId", kinds=(VPC,)),
            Refers(path="subnetIds[*]", kinds=(SUBNET,)),
            Refers(path="defaultUserSettings.executionRole", kinds=(ROLE,), by=("arn",), holds=False),
            Refers(path="defaultUserSettings.securityGroups[*]", kinds=SECURITY_GROUPS),
        ),
        one_of=(("domainName",),),
        check=_domain_problems,
        leaves=_domain_left,
    ),
    Kind(
        token="aws:sagemaker/userProfile:UserProfile",
        make=lambda making: (
            arn := making.arn(
                "sagemaker", f"user-profile/{making.inputs['domainId']}/{making.inputs['userProfileName']}"
            ),
            {"arn": arn, "homeEfsFileSystemUid": f"{200000 + making.cloud.ticket()}"},
        ),
        refers=(
            Refers(path="domainId", kinds=(DOMAIN,)),
            Refers(path="userSettings.executionRole", kinds=(ROLE,), by=("arn",), holds=False),
        ),
        one_of=(("domainId", "userProfileName"),),
        check=_user_problems,
    ),
)
