"""Results of the functions of AWS's provider."""

import base64
import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...kind import ACCOUNT, REGION, CloudError, Values

if TYPE_CHECKING:
    from ...cloud import Cloud

ZONES = ("a", "b", "c")


def _region(_arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {
        "id": REGION,
        "name": REGION,
        "region": REGION,
        "description": "Europe (Ireland)",
        "endpoint": f"ec2.{REGION}.amazonaws.com",
    }


def _identity(_arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {
        "id": ACCOUNT,
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/deployer",
        "userId": "AIDADEPLOYER",
    }


def _partition(_arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws"}


def _zones(arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {
        **arguments,
        "id": REGION,
        "region": REGION,
        "names": [f"{REGION}{zone}" for zone in ZONES],
        "zoneIds": [f"euw1-az{index + 1}" for index, _ in enumerate(ZONES)],
        "groupNames": [REGION],
    }


def _parameter(arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    name = str(arguments["name"])
    value = cloud.parameters.get(name)
    if value is None:
        raise CloudError(f"ParameterNotFound: {name}")
    return {
        "id": name,
        "name": name,
        "region": REGION,
        "arn": f"arn:aws:ssm:{REGION}::parameter{name}",
        "type": "String",
        "value": value,
        "insecureValue": value,
        "version": 1,
    }


def _registry_token(arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    # Each call returns a new password.
    password = f"registry-password-{cloud.next_number()}"
    return {
        "id": REGION,
        "region": REGION,
        "registryId": arguments.get("registryId", ACCOUNT),
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "userName": "AWS",
        "password": password,
        "proxyEndpoint": f"https://{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com",
        "expiresAt": "2026-01-02T15:04:05Z",
    }


def _prefix_list(arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {
        **arguments,
        "id": "pl-6da54004",
        "prefixListId": "pl-6da54004",
        "name": f"com.amazonaws.{REGION}.s3",
        "region": REGION,
        "cidrBlocks": ["52.218.0.0/17"],
    }


def _managed_prefix_list(arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {
        "id": "pl-6da54004",
        "name": arguments.get("name", f"com.amazonaws.{REGION}.s3"),
        "region": REGION,
        "ownerId": "AWS",
        "addressFamily": "IPv4",
        "entries": [{"cidr": "52.218.0.0/17", "description": ""}],
    }


def _log_account(_arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {"id": "156460612806", "arn": "arn:aws:iam::156460612806:root", "region": REGION}


def _zone(arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    return {
        **arguments,
        "id": arguments["zoneId"],
        "name": "example.com",
        "zoneId": arguments["zoneId"],
        "privateZone": False,
    }


def _endpoint_service(arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    name = str(arguments["serviceName"])
    if not name.startswith((f"com.amazonaws.{REGION}.", f"aws.sagemaker.{REGION}.")):
        raise CloudError(f"InvalidServiceName: the Vpc Endpoint Service {name!r} does not exist")
    return {
        **arguments,
        "id": name,
        "serviceId": "vpce-svc-0123456789abcdef0",
        "serviceType": arguments.get("serviceType", "Interface"),
        "availabilityZones": [f"{REGION}{zone}" for zone in ZONES],
        "vpcEndpointPolicySupported": not name.endswith((".ecs-agent", ".ecs-telemetry")),
        "privateDnsName": f"{name.rsplit('.', 1)[-1]}.{REGION}.amazonaws.com",
        "owner": "amazon",
        "region": REGION,
    }


def _subnet(arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    known = sorted(existing for existing in cloud.existing if existing.startswith("subnet-"))
    if arguments.get("id") not in known:
        raise CloudError(f"no matching EC2 Subnet found: {arguments}")
    zone = ZONES[known.index(str(arguments["id"])) % len(ZONES)]
    return {**arguments, "availabilityZone": f"{REGION}{zone}", "region": REGION, "state": "available"}


def _ami(arguments: Values, _cloud: "Cloud") -> dict[str, Any]:
    (ami,) = next(found["values"] for found in arguments["filters"] if found["name"] == "image-id")
    if not str(ami).startswith("ami-"):
        raise CloudError("Your query returned no results. Please change your search criteria and try again.")
    created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=7)
    return {**arguments, "id": ami, "imageId": ami, "creationDate": f"{created:%Y-%m-%dT%H:%M:%S}.000Z"}


CALLS: dict[str, Callable[[Values, "Cloud"], dict[str, Any]]] = {
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getCallerIdentity:getCallerIdentity": _identity,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:ssm/getParameter:getParameter": _parameter,
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": _registry_token,
    "aws:ec2/getPrefixList:getPrefixList": _prefix_list,
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": _managed_prefix_list,
    "aws:ec2/getVpcEndpointService:getVpcEndpointService": _endpoint_service,
    "aws:ec2/getAmi:getAmi": _ami,
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:elb/getServiceAccount:getServiceAccount": _log_account,
    "aws:route53/getZone:getZone": _zone,
}
