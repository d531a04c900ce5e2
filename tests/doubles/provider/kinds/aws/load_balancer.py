"""Load balancers, certificates, DNS records and WAF."""

import re
from typing import TYPE_CHECKING, Any

from ...kind import REGION, CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ...paths import values_at
from ..common import among, between, exactly_one, group, groups, known, matches
from .monitoring import LOG_GROUP
from .network import INTERNET_GATEWAY, SECURITY_GROUPS, SUBNET, VPC, in_one_vpc, vpcs_of
from .stores import BUCKET

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

LOAD_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
CERTIFICATE = "aws:acm/certificate:Certificate"
VALIDATION = "aws:acm/certificateValidation:CertificateValidation"
RECORD = "aws:route53/record:Record"
WEB_ACL = "aws:wafv2/webAcl:WebAcl"
# Letters, digits and hyphens; a load balancer's name may not look like an internal DNS name.
_NAME = r"(?!internal-)(?!-)[a-zA-Z0-9-]{1,32}(?<!-)"


def _load_balancer(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["name"])
    suffix = f"app/{name}/{request.hex_digits(16)}"
    scheme = "internal-" if request.inputs.get("internal") else ""
    subnets = [str(subnet) for subnet in request.inputs.get("subnets", [])]
    vpcs = [subnet.inputs["vpcId"] for subnet in request.cloud.of(SUBNET) if subnet.id in subnets]
    arn = request.arn("elasticloadbalancing", f"loadbalancer/{suffix}")
    return arn, {
        "arn": arn,
        "arnSuffix": suffix,
        "dnsName": f"{scheme}{name}-{request.cloud.next_number() + 10**9}.{REGION}.elb.amazonaws.com",
        "zoneId": "Z32O12XQLNTSW2",
        "vpcId": vpcs[0] if vpcs else "vpc-of-another-account",
    }


def _load_balancer_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", _NAME)
    yield from between(inputs, "idleTimeout", 1, 4000)
    yield from between(inputs, "clientKeepAlive", 60, 604800)
    yield from among(inputs, "desyncMitigationMode", ("monitor", "defensive", "strictest"))
    yield from exactly_one(inputs, "subnets", "subnetMappings")
    subnets = known(inputs, "subnets")
    if subnets is not None and len(subnets) < 2:
        yield "subnets", "an application load balancer requires two or more, in different zones"


def _load_balancer_fits(resource: "Resource", cloud: "Cloud") -> None:
    subnets = [subnet for subnet in cloud.of(SUBNET) if subnet.id in resource.inputs.get("subnets", [])]
    zones = [subnet.inputs.get("availabilityZone") for subnet in subnets]
    if len(set(zones)) != len(zones):
        raise CloudError("InvalidConfigurationRequest: a load balancer cannot have two subnets in one zone.")
    vpcs = vpcs_of(cloud, resource.inputs.get("subnets", []))
    in_one_vpc(resource, cloud, resource.inputs.get("subnets", []), resource.inputs.get("securityGroups", []))
    if not resource.inputs.get("internal") and subnets:
        gateways = [gateway for gateway in cloud.of(INTERNET_GATEWAY) if gateway.inputs.get("vpcId") in vpcs]
        if not gateways:
            raise CloudError(f"InvalidSubnet: VPC {vpcs.pop()} has no internet gateway.")
    for field in ("accessLogs", "connectionLogs"):
        logs: Any = resource.inputs.get(field)
        if logs and logs.get("enabled"):
            _may_write(cloud, str(logs["bucket"]))


def _load_balancer_stays(resource: "Resource", cloud: "Cloud") -> None:
    moved = vpcs_of(cloud, resource.inputs.get("subnets", [])) - {resource.computed["vpcId"]}
    if moved:
        raise CloudError(
            f"InvalidConfigurationRequest: {resource} cannot move from {resource.computed['vpcId']} to {moved.pop()}."
        )
    _load_balancer_fits(resource, cloud)


def _may_write(cloud: "Cloud", bucket: str) -> None:
    # AWS writes a test file: the bucket is no longer empty.
    if bucket in cloud.existing:
        return
    allowed = [
        policy for policy in cloud if policy.kind.token.endswith(":BucketPolicy") and policy.inputs["bucket"] == bucket
    ]
    if not any("delivery" in str(policy.inputs["policy"]) for policy in allowed):
        raise CloudError(f"InvalidConfigurationRequest: access denied for bucket {bucket}. Check its permissions.")
    cloud.find(bucket, (BUCKET,), ("id",)).contents["ELBAccessLogTestFile"] = ""


def _not_protected(resource: "Resource", _cloud: "Cloud") -> None:
    if resource.inputs.get("enableDeletionProtection"):
        raise CloudError(
            f"OperationNotPermitted: load balancer {resource.id} cannot be deleted because deletion protection is "
            "enabled."
        )


def _target_group(request: CreateRequest) -> tuple[str, dict[str, object]]:
    suffix = f"targetgroup/{request.inputs['name']}/{request.hex_digits(16)}"
    arn = request.arn("elasticloadbalancing", suffix)
    return arn, {"arn": arn, "arnSuffix": suffix, "loadBalancerArns": []}


def _target_group_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", _NAME)
    yield from between(inputs, "deregistrationDelay", 0, 3600)
    yield from among(inputs, "targetType", ("instance", "ip", "lambda", "alb"))
    check = group(inputs, "healthCheck")
    yield from between(check, "interval", 5, 300)
    yield from between(check, "timeout", 2, 120)
    yield from between(check, "healthyThreshold", 2, 10)
    yield from between(check, "unhealthyThreshold", 2, 10)
    interval, timeout = known(check, "interval"), known(check, "timeout")
    if interval is not None and timeout is not None and timeout >= interval:
        yield "healthCheck.timeout", "must be shorter than the interval"
    if inputs.get("targetType") != "lambda":
        for field in ("port", "protocol", "vpcId"):
            if inputs.get(field) is None:
                yield field, "required for a target group of instances or IP addresses"


def _listener(request: CreateRequest) -> tuple[str, dict[str, object]]:
    balancer = str(request.inputs["loadBalancerArn"]).replace(":loadbalancer/", ":listener/")
    arn = f"{balancer}/{request.hex_digits(16)}"
    return arn, {"arn": arn}


def _action_problems(inputs: Values, field: str, *, tls: bool) -> Problems:
    needs = {
        "forward": ("targetGroupArn", "forward"),
        "redirect": ("redirect",),
        "fixed-response": ("fixedResponse",),
        "authenticate-oidc": ("authenticateOidc",),
        "authenticate-cognito": ("authenticateCognito",),
        "jwt-validation": ("jwtValidation",),
    }
    actions = groups(inputs, field)
    for index, action in enumerate(actions):
        kind, here = str(action.get("type")), f"{field}[{index}]"
        if kind not in needs:
            yield here, f"type {kind!r} is unknown"
        elif not any(action.get(name) for name in needs[kind]):
            yield here, f"type {kind} requires {' or '.join(needs[kind])}"
        elif kind.startswith(("authenticate", "jwt")) and not tls:
            yield here, f"{kind} requires HTTPS"
    if actions and actions[-1].get("type") not in ("forward", "redirect", "fixed-response"):
        yield field, "the last action must be forward, redirect or fixed-response"


def _listener_problems(inputs: Values) -> Problems:
    tls = known(inputs, "protocol") == "HTTPS"
    yield from between(inputs, "port", 1, 65535)
    if tls and not inputs.get("certificateArn"):
        yield "certificateArn", "required for HTTPS"
    if not tls and (inputs.get("certificateArn") or inputs.get("sslPolicy")):
        yield "certificateArn", "only for HTTPS"
    yield from _action_problems(inputs, "defaultActions", tls=tls)


def _listener_fits(resource: "Resource", cloud: "Cloud") -> None:
    _certificate_issued(resource, cloud)
    _targets_free(resource, cloud, str(resource.inputs["loadBalancerArn"]))


def _rule_fits(resource: "Resource", cloud: "Cloud") -> None:
    listener = cloud.find(resource.inputs["listenerArn"], (LISTENER,), ("arn",))
    _targets_free(resource, cloud, str(listener.inputs["loadBalancerArn"]))


def _targets_free(resource: "Resource", cloud: "Cloud", balancer: str) -> None:
    """A target group serves one load balancer, of its own VPC."""
    targets = _groups_of(resource)
    for other in cloud.of(LISTENER):
        if other.inputs["loadBalancerArn"] != balancer and targets & _groups_of(other):
            raise CloudError(
                f"TargetGroupAssociationLimit: {resource} forwards to {targets.pop()}, which another load balancer "
                "uses."
            )
    vpc = next((other.computed["vpcId"] for other in cloud.of(LOAD_BALANCER) if other.id == balancer), None)
    for target_group in cloud.of(TARGET_GROUP):
        if (
            target_group.id in targets
            and vpc is not None
            and vpc.startswith("vpc-0")
            and target_group.inputs["vpcId"] != vpc
        ):
            raise CloudError(f"InvalidConfigurationRequest: {target_group} is not in the VPC of {resource}.")


def _groups_of(resource: "Resource") -> set[Any]:
    return {
        value
        for field in ("defaultActions", "actions")
        for path in (f"{field}[*].targetGroupArn", f"{field}[*].forward.targetGroups[*].arn")
        for value in values_at(resource.inputs, path)
    }


def _certificate_issued(resource: "Resource", cloud: "Cloud") -> None:
    arn = resource.inputs.get("certificateArn")
    found = next((certificate for certificate in cloud.of(CERTIFICATE) if certificate.id == arn), None)
    if (
        found is not None
        and found.computed["status"] != "ISSUED"
        and not any(validation.inputs["certificateArn"] == arn for validation in cloud.of(VALIDATION))
    ):
        raise CloudError(f"UnsupportedCertificate: {arn} is not issued yet.")


def _rule_problems(inputs: Values) -> Problems:
    yield from between(inputs, "priority", 1, 50000)
    yield from _action_problems(inputs, "actions", tls=True)
    count = 0
    for condition in groups(inputs, "conditions"):
        if len([name for name in condition if condition[name]]) != 1:
            yield "conditions", "each condition has exactly one field"
        for field in condition:
            count += len(
                [*values_at(condition, f"{field}.values[*]"), *values_at(condition, f"{field}.regexValues[*]")]
            )
    if count > 5:
        yield "conditions", f"got {count} values, expected at most 5"


def _certificate(request: CreateRequest) -> tuple[str, dict[str, object]]:
    arn = request.arn("acm", f"certificate/{request.hex_digits(8)}-0000-4000-8000-{request.hex_digits(12)}")
    names = [request.inputs["domainName"], *values_at(request.inputs, "subjectAlternativeNames[*]")]
    options = [
        {
            "domainName": name,
            "resourceRecordName": f"_{request.hex_digits(32, str(index))}.{name}.",
            "resourceRecordType": "CNAME",
            "resourceRecordValue": f"_{request.hex_digits(32, str(index) + 'v')}.acm-validations.aws.",
        }
        for index, name in enumerate(dict.fromkeys(map(str, names)))
    ]
    return arn, {
        "arn": arn,
        "domainValidationOptions": options,
        "status": "PENDING_VALIDATION",
        "type": "AMAZON_ISSUED",
    }


def _records_are_there(resource: "Resource", cloud: "Cloud") -> None:
    record_names = {str(record.computed["fqdn"]).rstrip(".") for record in cloud.of(RECORD)}
    certificate = cloud.find(resource.inputs["certificateArn"], (CERTIFICATE,), ("arn",))
    for option in certificate.computed["domainValidationOptions"]:
        if option["resourceRecordName"].rstrip(".") not in record_names:
            raise CloudError(f"timeout while waiting for {certificate}: no record {option['resourceRecordName']}")
    for name in values_at(resource.inputs, "validationRecordFqdns[*]"):
        if name.rstrip(".") not in record_names:
            raise CloudError(f"there is no record {name}")


def _record(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["name"]).rstrip(".").lower()
    return f"{request.inputs['zoneId']}_{name}_{request.inputs['type']}", {"fqdn": name}


def _record_problems(inputs: Values) -> Problems:
    yield from exactly_one(inputs, "aliases", "records")
    if inputs.get("records") and inputs.get("ttl") is None:
        yield "ttl", "required for a record with values"


def _acl_problems(inputs: Values) -> Problems:
    yield from among(inputs, "scope", ("REGIONAL", "CLOUDFRONT"))
    yield from matches(inputs, "name", r"[\w-]{1,128}")
    rules = groups(inputs, "rules")
    for field in ("name", "priority"):
        if len({rule.get(field) for rule in rules}) != len(rules):
            yield "rules", f"two rules have the same {field}"
    for index, rule in enumerate(rules):
        managed = bool(group(rule, "statement").get("managedRuleGroupStatement"))
        if managed != bool(rule.get("overrideAction")) or managed == bool(rule.get("action")):
            yield f"rules[{index}]", "expected an action, or an overrideAction for a managed rule group"


def _web_acl(request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id = f"{request.hex_digits(8)}-0000-4000-8000-{request.hex_digits(12)}"
    return resource_id, {
        "arn": request.arn("wafv2", f"regional/webacl/{request.inputs['name']}/{resource_id}"),
        "capacity": 100,
        "lockToken": request.hex_digits(32),
    }


def _log_group_is_wafs(inputs: Values) -> Problems:
    for destination in values_at(inputs, "logDestinationConfigs[*]"):
        if isinstance(destination, str) and not re.search(
            r":(log-group:|s3:::|deliverystream/)?aws-waf-logs-", destination
        ):
            yield "logDestinationConfigs", f"got {destination!r}, expected a name that begins with aws-waf-logs-"


def _forwards(field: str) -> tuple[Reference, ...]:
    return (
        Reference(path=f"{field}[*].targetGroupArn", kinds=(TARGET_GROUP,), by=("arn",)),
        Reference(path=f"{field}[*].forward.targetGroups[*].arn", kinds=(TARGET_GROUP,), by=("arn",)),
    )


KINDS = (
    Kind(
        token=LOAD_BALANCER,
        name=Name(limit=32),
        make=_load_balancer,
        references=(
            Reference(path="subnets[*]", kinds=(SUBNET,)),
            Reference(path="securityGroups[*]", kinds=SECURITY_GROUPS),
            Reference(path="accessLogs.bucket", kinds=(BUCKET,), by=("id", "bucket"), blocks_delete=False),
            Reference(path="connectionLogs.bucket", kinds=(BUCKET,), by=("id", "bucket"), blocks_delete=False),
        ),
        unique=(("name",),),
        check=_load_balancer_problems,
        on_create=_load_balancer_fits,
        on_update=_load_balancer_stays,
        on_delete=_not_protected,
    ),
    Kind(
        token=TARGET_GROUP,
        name=Name(limit=32),
        make=_target_group,
        references=(Reference(path="vpcId", kinds=(VPC,), blocks_delete=False),),
        unique=(("name",),),
        check=_target_group_problems,
    ),
    Kind(
        token=LISTENER,
        make=_listener,
        references=(
            Reference(
                path="loadBalancerArn", kinds=(LOAD_BALANCER,), by=("arn",), blocks_delete=False, deleted_with=True
            ),
            Reference(path="certificateArn", kinds=(CERTIFICATE,), by=("arn",)),
            *_forwards("defaultActions"),
        ),
        unique=(("loadBalancerArn", "port"),),
        check=_listener_problems,
        on_create=_listener_fits,
        on_update=_listener_fits,
    ),
    Kind(
        token=RULE,
        make=lambda request: (
            arn := str(request.inputs["listenerArn"]).replace(":listener/", ":listener-rule/")
            + f"/{request.hex_digits(16)}",
            {"arn": arn},
        ),
        references=(
            Reference(path="listenerArn", kinds=(LISTENER,), by=("arn",), blocks_delete=False, deleted_with=True),
            *_forwards("actions"),
        ),
        unique=(("listenerArn", "priority"),),
        check=_rule_problems,
        on_create=_rule_fits,
        on_update=_rule_fits,
    ),
    Kind(
        token=CERTIFICATE,
        make=_certificate,
        check=lambda inputs: among(inputs, "validationMethod", ("DNS", "EMAIL", "NONE")),
    ),
    Kind(
        token=VALIDATION,
        make=lambda _: ("0001-01-01 00:00:00 +0000 UTC", {}),
        key="certificateArn",
        references=(Reference(path="certificateArn", kinds=(CERTIFICATE,), by=("arn",), blocks_delete=False),),
        on_create=_records_are_there,
    ),
    Kind(
        token=RECORD,
        make=_record,
        unique=(("zoneId", "name", "type"),),
        check=_record_problems,
    ),
    Kind(token=WEB_ACL, name=Name(limit=128), make=_web_acl, unique=(("name", "scope"),), check=_acl_problems),
    Kind(
        token="aws:wafv2/webAclAssociation:WebAclAssociation",
        overwrites=True,
        make=lambda request: (f"{request.inputs['webAclArn']},{request.inputs['resourceArn']}", {}),
        references=(
            Reference(path="webAclArn", kinds=(WEB_ACL,), by=("arn",)),
            Reference(path="resourceArn", kinds=(LOAD_BALANCER,), by=("arn",), blocks_delete=False, deleted_with=True),
        ),
        unique=(("resourceArn",),),
    ),
    Kind(
        token="aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration",
        overwrites=True,
        make=lambda request: (str(request.inputs["resourceArn"]), {}),
        references=(
            Reference(path="resourceArn", kinds=(WEB_ACL,), by=("arn",), blocks_delete=False, deleted_with=True),
            Reference(path="logDestinationConfigs[*]", kinds=(LOG_GROUP, BUCKET), by=("arn",), blocks_delete=False),
        ),
        unique=(("resourceArn",),),
        check=_log_group_is_wafs,
    ),
)
