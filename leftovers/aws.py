"""Searches on AWS: by the tags of a component, and by name for what has no tags."""

import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from preflight.aws.api import error_code
from preflight.runner import in_parallel
from preflight.subject import Subject

from .owner import Held, Owner
from .search import Left, search

AWS = ("aws:*",)
_ASG = "aws:autoscaling/group:Group"
_DOMAIN = "aws:sagemaker/domain:Domain"
_TASK = "aws:ecs/taskDefinition:TaskDefinition"
_ROLE, _PROFILE = "aws:iam/role:Role", "aws:iam/instanceProfile:InstanceProfile"
_APP, _SERVER = "aws:sagemaker/mlflowApp:MlflowApp", "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
_NFS = re.compile(r"security-group-for-(?:in|out)bound-nfs-(d-[a-z0-9]+)")
# https://docs.aws.amazon.com/sagemaker/latest/dg/studio-tasks-manage-storage.html
_EFS_TAG = "ManagedByAmazonSageMakerResource"


class Kind(NamedTuple):
    """A kind of tagged resource: its type in Pulumi, its ARN from the service on, and the command that removes it.

    {id} and {arn} stand for those of the resource, {o} for the region and profile.
    """

    what: str
    type: str
    arn: str
    command: str


_CONTAINERS = (
    Kind(
        "ECS service",
        "aws:ecs/service:Service",
        r"ecs:service/(?P<cluster>[^/]+)/(?P<id>.+)",
        "aws ecs delete-service --cluster {cluster} --service {id} --force{o}",
    ),
    Kind("EC2 instance", "", r"ec2:instance/(?P<id>.+)", "aws ec2 terminate-instances --instance-ids {id}{o}"),
    Kind(
        "ECS cluster",
        "aws:ecs/cluster:Cluster",
        r"ecs:cluster/(?P<id>.+)",
        "aws ecs delete-cluster --cluster {id}{o}",
    ),
    Kind(
        "ECS capacity provider",
        "aws:ecs/capacityProvider:CapacityProvider",
        r"ecs:capacity-provider/(?P<id>.+)",
        "aws ecs delete-capacity-provider --capacity-provider {id}{o}",
    ),
    Kind(
        "launch template",
        "aws:ec2/launchTemplate:LaunchTemplate",
        r"ec2:launch-template/(?P<id>.+)",
        "aws ec2 delete-launch-template --launch-template-id {id}{o}",
    ),
    Kind(
        "scalable target",
        "aws:appautoscaling/target:Target",
        r"application-autoscaling:scalable-target/(?P<id>.+)",
        # The ARN does not contain the service's name.
        "aws application-autoscaling describe-scalable-targets --service-namespace ecs --query "
        "\"ScalableTargets[?ScalableTargetARN=='{arn}'].ResourceId\" --output text{o} | xargs -I % "
        "aws application-autoscaling deregister-scalable-target --service-namespace ecs "
        "--scalable-dimension ecs:service:DesiredCount --resource-id %{o}",
    ),
)
_LOAD_BALANCING = (
    Kind(
        "load balancer",
        "aws:lb/loadBalancer:LoadBalancer",
        r"elasticloadbalancing:loadbalancer/(?P<id>.+)",
        "aws elbv2 modify-load-balancer-attributes --load-balancer-arn {arn} "
        "--attributes Key=deletion_protection.enabled,Value=false{o} && "
        "aws elbv2 delete-load-balancer --load-balancer-arn {arn}{o}",
    ),
    Kind(
        "target group",
        "aws:lb/targetGroup:TargetGroup",
        r"elasticloadbalancing:targetgroup/(?P<id>.+)",
        "aws elbv2 delete-target-group --target-group-arn {arn}{o}",
    ),
    Kind(
        "web ACL",
        "aws:wafv2/webAcl:WebAcl",
        r"wafv2:regional/webacl/(?P<name>[^/]+)/(?P<id>.+)",
        "aws wafv2 delete-web-acl --scope REGIONAL --name {name} --id {id}{o} --lock-token "
        '"$(aws wafv2 get-web-acl --scope REGIONAL --name {name} --id {id} --query LockToken --output text{o})"',
    ),
    Kind(
        "certificate",
        "aws:acm/certificate:Certificate",
        r"acm:certificate/(?P<id>.+)",
        "aws acm delete-certificate --certificate-arn {arn}{o}",
    ),
)
_NETWORK = (
    Kind(
        "NAT gateway",
        "aws:ec2/natGateway:NatGateway",
        r"ec2:natgateway/(?P<id>.+)",
        "aws ec2 delete-nat-gateway --nat-gateway-id {id}{o} && "
        "aws ec2 wait nat-gateway-deleted --nat-gateway-ids {id}{o}",
    ),
    Kind(
        "Elastic IP address",
        "aws:ec2/eip:Eip",
        r"ec2:elastic-ip/(?P<id>.+)",
        "aws ec2 release-address --allocation-id {id}{o}",
    ),
    Kind(
        "VPC endpoint",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        r"ec2:vpc-endpoint/(?P<id>.+)",
        "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {id}{o}",
    ),
    Kind(
        "flow log",
        "aws:ec2/flowLog:FlowLog",
        r"ec2:vpc-flow-log/(?P<id>.+)",
        "aws ec2 delete-flow-logs --flow-log-ids {id}{o}",
    ),
)
_VPC = (
    Kind("subnet", "aws:ec2/subnet:Subnet", r"ec2:subnet/(?P<id>.+)", "aws ec2 delete-subnet --subnet-id {id}{o}"),
    Kind(
        "route table",
        "aws:ec2/routeTable:RouteTable",
        r"ec2:route-table/(?P<id>.+)",
        "aws ec2 delete-route-table --route-table-id {id}{o}",
    ),
    Kind(
        "internet gateway",
        "aws:ec2/internetGateway:InternetGateway",
        r"ec2:internet-gateway/(?P<id>.+)",
        "aws ec2 describe-internet-gateways --internet-gateway-ids {id} "
        "--query 'InternetGateways[].Attachments[].VpcId' --output text{o} | "
        "xargs -r aws ec2 detach-internet-gateway --internet-gateway-id {id}{o} --vpc-id && "
        "aws ec2 delete-internet-gateway --internet-gateway-id {id}{o}",
    ),
    Kind("VPC", "aws:ec2/vpc:Vpc", r"ec2:vpc/(?P<id>.+)", "aws ec2 delete-vpc --vpc-id {id}{o}"),
)
_DATA = (
    Kind(
        "ECR repository",
        "aws:ecr/repository:Repository",
        r"ecr:repository/(?P<id>.+)",
        "aws ecr delete-repository --repository-name {id} --force{o}",
    ),
    Kind(
        "S3 bucket",
        "aws:s3/bucket:Bucket",
        r"s3:(?P<id>.+)",
        # The AWS CLI has no command that deletes all versions of all objects.
        ".local/venv/bin/python -c "
        "'import boto3, sys; b = boto3.resource(\"s3\").Bucket(sys.argv[1]); b.object_versions.delete(); b.delete()' "
        "{id}",
    ),
)
_MONITORING = (
    Kind(
        "log group",
        "aws:cloudwatch/logGroup:LogGroup",
        r"logs:log-group:(?P<id>[^:]+)(?::\*)?",
        "aws logs delete-log-group --log-group-name {id}{o}",
    ),
    Kind(
        "alarm",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        r"cloudwatch:alarm:(?P<id>.+)",
        "aws cloudwatch delete-alarms --alarm-names {id}{o}",
    ),
    Kind(
        "alarm mute rule",
        "aws:cloudwatch/alarmMuteRule:AlarmMuteRule",
        r"cloudwatch:alarm-mute-rule:(?P<id>.+)",
        "aws cloudwatch delete-alarm-mute-rule --alarm-mute-rule-name {id}{o}",
    ),
    Kind("SNS topic", "aws:sns/topic:Topic", r"sns:(?P<id>.+)", "aws sns delete-topic --topic-arn {arn}{o}"),
)
_GROUPS = (_CONTAINERS, _LOAD_BALANCING, _NETWORK, _VPC, _DATA, _MONITORING)
TAGGED = tuple(kind for group in _GROUPS for kind in group)
# Deleted with what they belong to, or found by another search.
_ELSEWHERE = re.compile(
    r"elasticloadbalancing:listener|ec2:(?:security-group|volume|network-interface)|"
    r"ecs:(?:task|container-instance)|secretsmanager:|sagemaker:|autoscaling:|iam:"
)


def _options(subject: Subject) -> str:
    profile = subject.stack.config.get("aws:profile")
    return f" --region {subject.aws.region}" + (f" --profile {shlex.quote(profile)}" if profile else "")


def _tagged(subject: Subject, owners: list[Owner]) -> Iterator[tuple[str, dict[str, str]]]:
    """(ARN, tags) of what has the tags of a component."""
    for owner in owners:
        filters = [{"Key": key, "Values": [value]} for key, value in owner.tags.items()]
        found = subject.aws.call("resourcegroupstaggingapi", "get_resources", TagFilters=filters)
        for one in found.get("ResourceTagMappingList", []):
            yield one["ResourceARN"], _as_dict(one.get("Tags", []))


def _as_dict(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _resource(arn: str) -> str:
    """An ARN from the service on, without region and account."""
    parts = arn.split(":", 5)
    return f"{parts[2]}:{parts[5]}"


def _of(subject: Subject, owners: list[Owner], kinds: tuple[Kind, ...]) -> list[Left]:
    """The tagged resources of these kinds, in their order."""
    options, found = _options(subject), list(_tagged(subject, owners))
    left: list[Left] = []
    for kind in kinds:
        for arn, tags in found:
            match = re.fullmatch(kind.arn, _resource(arn))
            if match is None:
                continue
            names = {name: shlex.quote(value) for name, value in match.groupdict().items()}
            # The instances of a group that the stack has come and go.
            within = (_ASG, tags.get("aws:autoscaling:groupName", ""))
            command = kind.command.format(**names, arn=arn, o=options)
            left.append(Left(f"{kind.what} {match['id']}", command, kind.type, (arn, match["id"]), within))
    return left


def _filters(owner: Owner) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in owner.tags.items()]


def _owned(tags: list[dict[str, str]], owners: list[Owner]) -> bool:
    return any(owner.tags.items() <= _as_dict(tags).items() for owner in owners)


@search("aws Auto Scaling groups", types=AWS)
def groups(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No Auto Scaling group is left, which would start instances again."""
    for owner in owners:
        found = subject.aws.call("autoscaling", "describe_auto_scaling_groups", Filters=_filters(owner))
        for one in found["AutoScalingGroups"]:
            name = one["AutoScalingGroupName"]
            yield Left(
                f"Auto Scaling group {name}",
                f"aws autoscaling delete-auto-scaling-group --auto-scaling-group-name {shlex.quote(name)} "
                f"--force-delete{_options(subject)}",
                _ASG,
                (name,),
            )


@search("aws containers", types=AWS)
def containers(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No ECS service, instance, cluster, capacity provider or launch template is left."""
    return _of(subject, owners, _CONTAINERS)


@search("aws task definitions", types=AWS)
def task_definitions(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No revision of a task definition is left, retired ones included."""
    options = _options(subject)
    for owner in owners:
        family = owner.physical_name("proxy", 255)
        for status in ("ACTIVE", "INACTIVE"):
            found = subject.aws.call("ecs", "list_task_definitions", familyPrefix=family, status=status)
            for arn in found["taskDefinitionArns"]:
                # familyPrefix is a prefix of the whole name in moto, and the family in AWS's API.
                name = arn.rpartition("/")[2]
                if name.rpartition(":")[0] != family:
                    continue
                retire = f"aws ecs deregister-task-definition --task-definition {name}{options} && "
                yield Left(
                    f"task definition {name}",
                    (retire if status == "ACTIVE" else "")
                    + f"aws ecs delete-task-definitions --task-definitions {name}{options}",
                    _TASK,
                    (arn,),
                    # Retired revisions belong to a family that is in use.
                    (_TASK, family),
                )


@search("aws load balancing", types=AWS)
def load_balancing(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No load balancer, target group, web ACL or certificate is left."""
    return _of(subject, owners, _LOAD_BALANCING)


@search("aws SageMaker MLflow", types=AWS)
def mlflow(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No MLflow app or tracking server is left. Their runs are deleted with them."""
    apps = [
        (_APP, one["Arn"], "mlflow-app --arn") for one in subject.aws.call("sagemaker", "list_mlflow_apps")["Summaries"]
    ]
    servers = [
        (_SERVER, one["TrackingServerArn"], "mlflow-tracking-server --tracking-server-name")
        for one in subject.aws.call("sagemaker", "list_mlflow_tracking_servers")["TrackingServerSummaries"]
    ]
    found = [*apps, *servers]
    tags = in_parallel(lambda one: subject.aws.call("sagemaker", "list_tags", ResourceArn=one[1])["Tags"], found)
    for (type_token, arn, operation), its in zip(found, tags, strict=True):
        if _owned(its, owners):
            name = arn.rpartition("/")[2]
            identity = arn if type_token == _APP else name
            what = "MLflow app" if type_token == _APP else "MLflow tracking server"
            command = f"aws sagemaker delete-{operation} {identity}{_options(subject)}"
            yield Left(f"{what} {name}", command, type_token, (arn, name))


@search("aws Studio", types=AWS)
def studio(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No Studio domain is left, and neither its file system nor its security groups, which AWS creates without tags."""
    options = _options(subject)
    names = {owner.physical_name("studio", 63) for owner in owners}
    domains = {one["DomainId"]: one["DomainName"] for one in subject.aws.call("sagemaker", "list_domains")["Domains"]}
    groups = [(group, domain) for group in _nfs_groups(subject, owners) for domain in _NFS.findall(group["GroupName"])]
    ours = [domain for domain, name in domains.items() if name in names]
    # The groups of a domain that does not exist any more are in the stack's VPC.
    ours += dict.fromkeys(domain for _, domain in groups if domain not in domains)
    for domain in ours:
        within = (_DOMAIN, domain)
        if domain in domains:
            found = subject.aws.call("sagemaker", "list_user_profiles", DomainIdEquals=domain)
            for profile in found["UserProfiles"]:
                name = profile["UserProfileName"]
                command = f"aws sagemaker delete-user-profile --domain-id {domain} --user-profile-name {name}{options}"
                yield Left(f"user profile {name} of the domain {domain}", command, within=within)
            command = (
                f"aws sagemaker delete-domain --domain-id {domain} --retention-policy HomeEfsFileSystem=Delete{options}"
            )
            yield Left(f"Studio domain {domains[domain]} ({domain})", command, _DOMAIN, (domain,))
    for system in subject.aws.call("efs", "describe_file_systems")["FileSystems"]:
        domain = _as_dict(system.get("Tags", [])).get(_EFS_TAG, "").rpartition("/")[2]
        if domain in ours:
            name = system["FileSystemId"]
            targets = (
                f"aws efs describe-mount-targets --file-system-id {name} --query MountTargets[].[MountTargetId] "
                f"--output text{options} | xargs -r -n 1 aws efs delete-mount-target{options} --mount-target-id"
            )
            yield Left(f"mount targets of the file system {name}", targets, within=(_DOMAIN, domain))
            command = f"aws efs delete-file-system --file-system-id {name}{options}"
            yield Left(f"file system {name} of the domain {domain}", command, within=(_DOMAIN, domain))
    for group, domain in groups:
        if domain in ours:
            yield from (one._replace(within=(_DOMAIN, domain)) for one in _removed(subject, [group]))


def _vpcs(subject: Subject, owners: list[Owner]) -> list[str]:
    found = [subject.aws.call("ec2", "describe_vpcs", Filters=_filters(owner))["Vpcs"] for owner in owners]
    return [one["VpcId"] for some in found for one in some]


def _nfs_groups(subject: Subject, owners: list[Owner]) -> list[dict[str, Any]]:
    vpcs = _vpcs(subject, owners)
    if not vpcs:
        return []
    filters = [{"Name": "vpc-id", "Values": vpcs}, {"Name": "group-name", "Values": ["security-group-for-*-nfs-*"]}]
    return subject.aws.call("ec2", "describe_security_groups", Filters=filters)["SecurityGroups"]


@search("aws network", types=AWS)
def network(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No NAT gateway, address, VPC endpoint or flow log is left."""
    return _of(subject, owners, _NETWORK)


@search("aws security groups", types=AWS)
def security_groups(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No security group is left. A VPC's default one is deleted with it."""
    found = [
        group
        for owner in owners
        for group in subject.aws.call("ec2", "describe_security_groups", Filters=_filters(owner))["SecurityGroups"]
        if group["GroupName"] != "default"
    ]
    return _removed(subject, found)


@search("aws GuardDuty", types=AWS)
def guard_duty(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """Amazon GuardDuty has left no VPC endpoint and no security group in the stack's VPC, where `destroy` may wait for
    them."""
    if any(one.get("type") == _ASG for one in Held(subject).resources):
        # GuardDuty monitors its instances.
        return
    for vpc in _vpcs(subject, owners):
        # https://github.com/hashicorp/terraform-provider-aws/pull/46953
        managed = {"Name": "tag:GuardDutyManaged", "Values": ["true"]}
        filters = [{"Name": "vpc-id", "Values": [vpc]}, managed]
        for one in subject.aws.call("ec2", "describe_vpc_endpoints", Filters=filters)["VpcEndpoints"]:
            command = f"aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {one['VpcEndpointId']}{_options(subject)}"
            yield Left(f"VPC endpoint {one['VpcEndpointId']} of GuardDuty", command)
        groups = subject.aws.call("ec2", "describe_security_groups", Filters=filters)["SecurityGroups"]
        yield from _removed(subject, groups)


def _removed(subject: Subject, groups: list[dict[str, Any]]) -> list[Left]:
    """Security groups: first their rules, in which they can refer to each other."""
    if not groups:
        return []
    options, type_token = _options(subject), "aws:ec2/securityGroup:SecurityGroup"
    ids = [group["GroupId"] for group in groups]
    filters = [{"Name": "group-id", "Values": ids}]
    rules = subject.aws.call("ec2", "describe_security_group_rules", Filters=filters)["SecurityGroupRules"]
    left: list[Left] = []
    for group in ids:
        for direction, egress in (("ingress", False), ("egress", True)):
            own = [one["SecurityGroupRuleId"] for one in rules if (one["GroupId"], one["IsEgress"]) == (group, egress)]
            if own:
                command = (
                    f"aws ec2 revoke-security-group-{direction} --group-id {group} "
                    f"--security-group-rule-ids {' '.join(own)}{options}"
                )
                left.append(Left(f"{direction} rules of the security group {group}", command, type_token, (group,)))
    return [
        *left,
        *(
            Left(
                f"security group {group['GroupName']} ({group['GroupId']})",
                f"aws ec2 delete-security-group --group-id {group['GroupId']}{options}",
                type_token,
                (group["GroupId"],),
            )
            for group in groups
        ),
    ]


@search("aws VPC", types=AWS)
def vpc(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No VPC, subnet, route table or internet gateway is left."""
    return _of(subject, owners, _VPC)


@search("aws images and buckets", types=AWS)
def data(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No ECR repository or S3 bucket is left."""
    return _of(subject, owners, _DATA)


@search("aws secrets", types=AWS)
def secrets(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No secret is left; one that was deleted with a recovery window is until its end."""
    for one in subject.aws.call("secretsmanager", "list_secrets", IncludePlannedDeletion=True)["SecretList"]:
        if _owned(one.get("Tags", []), owners):
            arn = one["ARN"]
            command = f"aws secretsmanager delete-secret --secret-id {arn} --force-delete-without-recovery"
            planned = " (in its recovery window)" if one.get("DeletedDate") else ""
            yield Left(
                f"secret {one['Name']}{planned}",
                command + _options(subject),
                "aws:secretsmanager/secret:Secret",
                (arn,),
            )


@search("aws logs and alarms", types=AWS)
def logs(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No log group, alarm, topic, dashboard or log resource policy is left; by name, too, where tags are missing."""
    options, region = _options(subject), subject.aws.region
    tagged = _of(subject, owners, _MONITORING)
    yield from tagged
    seen = {name for one in tagged for name in one.identities}
    for owner in owners:
        waf = owner.physical_name("waf", 100)
        for name in (
            f"/mlflow/{owner.stack}/{owner.component}",
            f"/mlflow/{owner.physical_name('log', 400)}",
            f"aws-waf-logs-{waf}",
        ):
            found = subject.aws.call("logs", "describe_log_groups", logGroupNamePrefix=name)["logGroups"]
            if any(one["logGroupName"] == name for one in found) and name not in seen:
                arn = f"arn:{subject.aws.partition}:logs:{region}:{subject.aws.account}:log-group:{name}"
                command = f"aws logs delete-log-group --log-group-name {shlex.quote(name)}{options}"
                yield Left(f"log group {name}", command, "aws:cloudwatch/logGroup:LogGroup", (arn, name))
        dashboard = f"{owner.physical_name('dashboard', 200)}-{region}"
        boards = subject.aws.call("cloudwatch", "list_dashboards", DashboardNamePrefix=dashboard)
        if any(one["DashboardName"] == dashboard for one in boards.get("DashboardEntries", [])):
            command = f"aws cloudwatch delete-dashboards --dashboard-names {dashboard}{options}"
            yield Left(f"dashboard {dashboard}", command, "aws:cloudwatch/dashboard:Dashboard", (dashboard,))
        policies = subject.aws.call("logs", "describe_resource_policies").get("resourcePolicies", [])
        if any(one["policyName"] == waf for one in policies):
            command = f"aws logs delete-resource-policy --policy-name {waf}{options}"
            yield Left(
                f"log resource policy {waf}", command, "aws:cloudwatch/logResourcePolicy:LogResourcePolicy", (waf,)
            )


@search("aws roles", types=AWS)
def roles(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No IAM role or instance profile is left."""
    prefixes = tuple(f"{owner.component}-" for owner in owners)
    listed = subject.aws.call("iam", "list_instance_profiles")["InstanceProfiles"]
    profiles = [one for one in listed if one["InstanceProfileName"].startswith(prefixes)]
    tags = in_parallel(lambda one: _tags_of(subject, "instance_profile", one["InstanceProfileName"]), profiles)
    for one, its in zip(profiles, tags, strict=True):
        if _owned(its, owners):
            name = one["InstanceProfileName"]
            removals = [
                f"aws iam remove-role-from-instance-profile --instance-profile-name {name} "
                f"--role-name {role['RoleName']}{_options(subject)}"
                for role in one["Roles"]
            ]
            command = f"aws iam delete-instance-profile --instance-profile-name {name}{_options(subject)}"
            yield Left(f"instance profile {name}", " && ".join([*removals, command]), _PROFILE, (one["Arn"], name))
    listed = subject.aws.call("iam", "list_roles")["Roles"]
    found = [one for one in listed if one["RoleName"].startswith(prefixes)]
    tags = in_parallel(lambda one: _tags_of(subject, "role", one["RoleName"]), found)
    for one, its in zip(found, tags, strict=True):
        if _owned(its, owners):
            name = one["RoleName"]
            command = (
                f"aws iam list-role-policies --role-name {name} --query PolicyNames[].[@] --output text"
                f"{_options(subject)} | xargs -r -n 1 aws iam delete-role-policy --role-name {name}{_options(subject)} "
                f"--policy-name && aws iam delete-role --role-name {name}{_options(subject)}"
            )
            yield Left(f"IAM role {name}", command, _ROLE, (one["Arn"], name))


def _tags_of(subject: Subject, kind: str, name: str) -> list[dict[str, str]]:
    """The tags of a role or instance profile, which IAM's lists lack."""
    field = kind.title().replace("_", "")
    try:
        return subject.aws.call("iam", f"get_{kind}", **{f"{field}Name": name})[field].get("Tags", [])
    except ClientError as error:
        # Deleted since it was listed.
        if error_code(error) == "NoSuchEntity":
            return []
        raise


@search("aws other resources", types=AWS)
def others(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """Nothing else has the component's tags."""
    for arn, _ in _tagged(subject, owners):
        resource = _resource(arn)
        if not _ELSEWHERE.match(resource) and not any(re.fullmatch(kind.arn, resource) for kind in TAGGED):
            yield Left(arn, "delete it in the console", identities=(arn,))
