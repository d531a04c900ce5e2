"""Resources in the doubles of the clouds, one of each kind that a stack can leave."""

from typing import Any, NamedTuple

import boto3

from leftovers.aws.kinds import TAGGED
from leftovers.owner import Owner
from tests.preflight.aws_account import REGION, AwsAccount
from tests.preflight.gcp_project import NUMBER, PROJECT, GcpProject
from tests.preflight.gcp_project import REGION as GCP_REGION

ACCOUNT = "123456789012"


class Planted(NamedTuple):
    """A resource: its type in Pulumi, the id and ARN in a state, and a part of the command that removes it."""

    type: str
    id: str
    removal: str
    arn: str = ""


# ARNs from the service on, with %s for a name: https://docs.aws.amazon.com/service-authorization/latest/reference/
_ARNS = (
    ("ecs", "service/{0}-cluster/{0}-service", "aws ecs delete-service --cluster {0}-cluster --service {0}-service"),
    ("ecs", "cluster/{0}-cluster", "aws ecs delete-cluster --cluster {0}-cluster"),
    ("ecs", "capacity-provider/{0}", "aws ecs delete-capacity-provider --capacity-provider {0}"),
    ("ec2", "launch-template/lt-{0}", "aws ec2 delete-launch-template --launch-template-id lt-{0}"),
    ("application-autoscaling", "scalable-target/{0}", "deregister-scalable-target"),
    ("elasticloadbalancing", "loadbalancer/app/{0}/50dc6c49", "aws elbv2 delete-load-balancer --load-balancer-arn"),
    ("elasticloadbalancing", "targetgroup/{0}/50dc6c49", "aws elbv2 delete-target-group --target-group-arn"),
    ("wafv2", "regional/webacl/{0}/c7d1", "aws wafv2 delete-web-acl --scope REGIONAL --name {0} --id c7d1"),
    ("acm", "certificate/{0}", "aws acm delete-certificate --certificate-arn arn:aws:acm"),
    ("ec2", "natgateway/nat-{0}", "aws ec2 delete-nat-gateway --nat-gateway-id nat-{0}"),
    ("ec2", "elastic-ip/eipalloc-{0}", "aws ec2 release-address --allocation-id eipalloc-{0}"),
    ("ec2", "vpc-endpoint/vpce-{0}", "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids vpce-{0}"),
    ("ec2", "vpc-flow-log/fl-{0}", "aws ec2 delete-flow-logs --flow-log-ids fl-{0}"),
    ("ec2", "subnet/subnet-{0}", "aws ec2 delete-subnet --subnet-id subnet-{0}"),
    ("ec2", "route-table/rtb-{0}", "aws ec2 delete-route-table --route-table-id rtb-{0}"),
    ("ec2", "internet-gateway/igw-{0}", "aws ec2 delete-internet-gateway --internet-gateway-id igw-{0}"),
    ("ecr", "repository/{0}", "aws ecr delete-repository --repository-name {0} --force"),
    ("s3", "{0}", "b.object_versions.delete()"),
    ("logs", "log-group:{0}", "aws logs delete-log-group --log-group-name {0}"),
    ("cloudwatch", "alarm:{0}", "aws cloudwatch delete-alarms --alarm-names {0}"),
    ("cloudwatch", "alarm-mute-rule:{0}", "aws cloudwatch delete-alarm-mute-rule --alarm-mute-rule-name {0}"),
    ("sns", "{0}", "aws sns delete-topic --topic-arn arn:aws:sns"),
)


def _client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # pyright: ignore


def plant_on_aws(account: AwsAccount, owner: Owner) -> list[Planted]:
    """Plant one of each kind with the tags and names of a component; moto must be active."""
    name = f"{owner.stack}-{owner.component}-x"
    found: list[Planted] = []
    for service, resource, removal in _ARNS:
        place = "::" if service == "s3" else f"{REGION}:{ACCOUNT}:"
        arn = f"arn:aws:{service}:{place}{resource.format(name)}".replace("s3:::", "s3:::")
        account.tags[arn] = owner.tags
        identity = arn if service in ("ecs", "elasticloadbalancing", "acm", "sns") else resource.format(name)
        kind = next(kind for kind in TAGGED if _matches(kind.arn, f"{service}:{resource.format(name)}"))
        short = identity if identity == arn else identity.rpartition("/")[2].rpartition(":")[2]
        found.append(Planted(kind.type, short, removal.format(name), arn))
    found += [*_compute(account, owner, name), *_network(account, owner), *_sagemaker(account, owner, name)]
    return [*found, *_identities(owner, name), *_named(owner)]


def _matches(pattern: str, text: str) -> bool:
    import re

    return re.fullmatch(pattern, text) is not None


def _compute(account: AwsAccount, owner: Owner, name: str) -> list[Planted]:
    account.groups[name] = owner.tags
    instance = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-{name}"
    account.tags[instance] = {**owner.tags, "aws:autoscaling:groupName": name}
    # They end with what they belong to.
    for part in (f"ecs:{REGION}:{ACCOUNT}:task/c/{name}", f"ec2:{REGION}:{ACCOUNT}:volume/vol-{name}"):
        account.tags[f"arn:aws:{part}"] = owner.tags
    family = owner.physical_name("proxy", 255)
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{family}"
    account.task_definitions |= {f"{arn}:1": "INACTIVE", f"{arn}:2": "ACTIVE"}
    return [
        Planted("aws:autoscaling/group:Group", name, f"--auto-scaling-group-name {name} --force-delete"),
        Planted("", "", f"aws ec2 terminate-instances --instance-ids i-{name}"),
        Planted("", "", f"aws ecs delete-task-definitions --task-definitions {family}:1"),
        Planted(
            "aws:ecs/taskDefinition:TaskDefinition",
            family,
            f"aws ecs deregister-task-definition --task-definition {family}:2",
            f"{arn}:2",
        ),
    ]


def _network(account: AwsAccount, owner: Owner) -> list[Planted]:
    ec2 = _client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    account.tags[f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/{vpc}"] = owner.tags
    group = ec2.create_security_group(GroupName="tasks", Description="x", VpcId=vpc)["GroupId"]
    default = ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
    )["SecurityGroups"][0]["GroupId"]
    ec2.create_tags(
        Resources=[vpc, group, default], Tags=[{"Key": key, "Value": value} for key, value in owner.tags.items()]
    )
    return [
        Planted("", "", f"aws ec2 revoke-security-group-egress --group-id {group} --security-group-rule-ids sgr-"),
        Planted("aws:ec2/securityGroup:SecurityGroup", group, f"aws ec2 delete-security-group --group-id {group}"),
        *_nfs(ec2, vpc, owner),
        *_guard_duty(ec2, vpc),
        Planted("aws:ec2/vpc:Vpc", vpc, f"aws ec2 delete-vpc --vpc-id {vpc}"),
    ]


def _guard_duty(ec2: Any, vpc: str) -> list[Planted]:
    """What GuardDuty's Runtime Monitoring adds: https://github.com/hashicorp/terraform-provider-aws/pull/46953."""
    tags = [{"Key": "GuardDutyManaged", "Value": "true"}]
    group = ec2.create_security_group(
        GroupName=f"GuardDutyManagedSecurityGroup-{vpc}",
        Description="x",
        VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
    )["GroupId"]
    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{REGION}.guardduty-data",
        VpcEndpointType="Interface",
        TagSpecifications=[{"ResourceType": "vpc-endpoint", "Tags": tags}],
    )["VpcEndpoint"]["VpcEndpointId"]
    return [
        Planted("", "", f"aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {endpoint}"),
        Planted("", "", f"aws ec2 delete-security-group --group-id {group}"),
    ]


def _nfs(ec2: Any, vpc: str, owner: Owner) -> list[Planted]:
    """The security groups that AWS creates for a Studio domain, which does not exist any more."""
    domain = f"d-{owner.stack}{owner.component}gone".replace("-", "x").replace("dx", "d-", 1)
    name = f"security-group-for-inbound-nfs-{domain}"
    group = ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc)["GroupId"]
    return [Planted("aws:sagemaker/domain:Domain", domain, f"aws ec2 delete-security-group --group-id {group}")]


def _sagemaker(account: AwsAccount, owner: Owner, name: str) -> list[Planted]:
    app = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-app/app-{name}"
    account.apps[app] = "Created"
    account.tracking_servers[name] = "CreateFailed"
    server = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-tracking-server/{name}"
    account.tags[app] = account.tags[server] = owner.tags
    domain = f"d-{name.replace('-', 'x')}"
    account.domains[domain] = owner.physical_name("studio", 63)
    account.profiles[domain] = ["ann"]
    account.file_systems.append(
        {
            "OwnerId": ACCOUNT,
            "CreationToken": "token",
            "FileSystemId": f"fs-{name}",
            "CreationTime": "2026-11-01T00:00:00Z",
            "LifeCycleState": "available",
            "NumberOfMountTargets": 2,
            "SizeInBytes": {"Value": 6144},
            "PerformanceMode": "generalPurpose",
            "Tags": [
                {
                    "Key": "ManagedByAmazonSageMakerResource",
                    "Value": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:domain/{domain}",
                }
            ],
        }
    )
    return [
        Planted("aws:sagemaker/mlflowApp:MlflowApp", app, f"aws sagemaker delete-mlflow-app --arn {app}", app),
        Planted(
            "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer",
            name,
            f"aws sagemaker delete-mlflow-tracking-server --tracking-server-name {name}",
            server,
        ),
        Planted("", "", f"aws sagemaker delete-user-profile --domain-id {domain} --user-profile-name ann"),
        Planted("aws:sagemaker/domain:Domain", domain, f"aws sagemaker delete-domain --domain-id {domain}"),
        Planted("", "", f"aws efs describe-mount-targets --file-system-id fs-{name}"),
        Planted("", "", f"aws efs delete-file-system --file-system-id fs-{name}"),
    ]


def _identities(owner: Owner, name: str) -> list[Planted]:
    tags = [{"Key": key, "Value": value} for key, value in owner.tags.items()]
    iam = _client("iam")
    role, profile = f"{owner.component}-proxy-{name}", f"{owner.component}-instance-{name}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}", Tags=tags)
    iam.create_instance_profile(InstanceProfileName=profile, Tags=tags)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    manager = _client("secretsmanager")
    kept = manager.create_secret(Name=f"kept-{name}", SecretString="x", Tags=tags)["ARN"]
    deleted = manager.create_secret(Name=f"deleted-{name}", SecretString="x", Tags=tags)["ARN"]
    manager.delete_secret(SecretId=deleted, RecoveryWindowInDays=30)
    return [
        Planted("aws:iam/role:Role", role, f"aws iam delete-role --role-name {role}"),
        Planted(
            "aws:iam/instanceProfile:InstanceProfile",
            profile,
            f"aws iam remove-role-from-instance-profile --instance-profile-name {profile} --role-name {role}",
        ),
        Planted(
            "aws:secretsmanager/secret:Secret",
            kept,
            f"aws secretsmanager delete-secret --secret-id {kept} --force-delete-without-recovery",
            kept,
        ),
        Planted(
            "aws:secretsmanager/secret:Secret",
            deleted,
            f"aws secretsmanager delete-secret --secret-id {deleted} --force-delete-without-recovery",
            deleted,
        ),
    ]


def _named(owner: Owner) -> list[Planted]:
    """What has no tags."""
    logs, cloudwatch = _client("logs"), _client("cloudwatch")
    group = f"/mlflow/{owner.stack}/{owner.component}"
    waf = owner.physical_name("waf", 100)
    dashboard = f"{owner.physical_name('dashboard', 200)}-{REGION}"
    for name in (group, f"aws-waf-logs-{waf}"):
        logs.create_log_group(logGroupName=name)
    logs.put_resource_policy(policyName=waf, policyDocument="{}")
    cloudwatch.put_dashboard(DashboardName=dashboard, DashboardBody='{"widgets": []}')
    log_group = "aws:cloudwatch/logGroup:LogGroup"
    return [
        Planted(log_group, group, f"aws logs delete-log-group --log-group-name {group}"),
        Planted(log_group, f"aws-waf-logs-{waf}", f"delete-log-group --log-group-name aws-waf-logs-{waf}"),
        Planted(
            "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
            waf,
            f"aws logs delete-resource-policy --policy-name {waf}",
        ),
        Planted(
            "aws:cloudwatch/dashboard:Dashboard",
            dashboard,
            f"aws cloudwatch delete-dashboards --dashboard-names {dashboard}",
        ),
    ]


def plant_on_google_cloud(project: GcpProject, owner: Owner, service: str = "mlflow") -> list[Planted]:
    """Plant one of each kind with the labels, names and service accounts of a component."""
    name = f"{owner.stack}-{owner.component}-x"
    found = [*_versions(project, owner, service), *_fixed_names(project, owner), *_vpc(project, owner, name)]

    def listed(method: str, item: dict[str, Any], type_token: str, identity: str, removal: str) -> None:
        project.listed.setdefault(method, []).append(item)
        found.append(Planted(type_token, identity, removal))

    listed(
        "sqladmin.v1.instances.list",
        {"name": name, "settings": {"userLabels": owner.labels, "deletionProtectionEnabled": True}},
        "gcp:sql/databaseInstance:DatabaseInstance",
        name,
        f"--no-deletion-protection --project {PROJECT} && gcloud sql instances delete {name} --project {PROJECT}",
    )
    listed(
        "storage.v1.buckets.list",
        {"name": name, "labels": owner.labels},
        "gcp:storage/bucket:Bucket",
        name,
        f"gcloud storage rm --recursive --all-versions gs://{name} --project {PROJECT}",
    )
    listed(
        "logging.v2.projects.metrics.list",
        {"name": name, "description": f"{owner.title}: Requests by role", "filter": "x"},
        "gcp:logging/metric:Metric",
        name,
        f"gcloud logging metrics delete {name}",
    )
    bucket = f"{owner.physical_name('log', 80)}-0a1b2c"
    path = f"projects/{PROJECT}/locations/{GCP_REGION}/buckets/"
    listed(
        "logging.v2.projects.locations.buckets.list",
        {"name": path + bucket, "lifecycleState": "ACTIVE"},
        "gcp:logging/projectBucketConfig:ProjectBucketConfig",
        path + bucket,
        f"gcloud logging buckets delete {bucket} --location {GCP_REGION}",
    )
    # It is deleted already.
    deleted = {"name": f"{path}{owner.physical_name('log', 80)}-ffffff", "lifecycleState": "DELETE_REQUESTED"}
    project.listed["logging.v2.projects.locations.buckets.list"].append(deleted)
    for method, kind, noun, labels in (
        ("v3.projects.alertPolicies", "alertPolicy:AlertPolicy", "policies", "userLabels"),
        ("v3.projects.notificationChannels", "notificationChannel:NotificationChannel", "channels", "userLabels"),
        ("v1.projects.dashboards", "dashboard:Dashboard", "dashboards", ""),
    ):
        full = f"projects/{PROJECT}/{method.rpartition('.')[2]}/{name}"
        item: dict[str, Any] = {"name": full, "displayName": owner.title}
        item |= {labels: owner.labels} if labels else {}
        listed(f"monitoring.{method}.list", item, f"gcp:monitoring/{kind}", full, f"monitoring {noun} delete {full}")
    return found


def _versions(project: GcpProject, owner: Owner, service: str) -> list[Planted]:
    account = f"{owner.physical_name('server', 30)}@{PROJECT}.iam.gserviceaccount.com"
    path = f"apps/{PROJECT}/services/{service}/versions/v1"
    version = {"name": path, "id": "v1", "env": "flexible", "servingStatus": "SERVING", "serviceAccount": account}
    project.listed.setdefault("appengine.v1.apps.services.versions.list", []).append(version)
    removal = f"gcloud app services delete {service} --project {PROJECT}"
    return [Planted("gcp:appengine/flexibleAppVersion:FlexibleAppVersion", path, removal)]


def _fixed_names(project: GcpProject, owner: Owner) -> list[Planted]:
    found: list[Planted] = []
    for role in ("server", "placeholder", "client", "canary"):
        email = f"{owner.physical_name(role, 30)}@{PROJECT}.iam.gserviceaccount.com"
        project.accounts[email] = True
        path = f"projects/{PROJECT}/serviceAccounts/{email}"
        found.append(Planted("gcp:serviceaccount/account:Account", path, f"gcloud iam service-accounts delete {email}"))
    for role in ("oauth-client-secret", "database-password"):
        name = owner.physical_name(role, 255)
        path = f"projects/{PROJECT}/secrets/{name}"
        found.append(Planted("gcp:secretmanager/secret:Secret", path, f"gcloud secrets delete {name}"))
    region = f"projects/{PROJECT}/locations/{GCP_REGION}"
    images, log = owner.physical_name("images", 63), owner.physical_name("log", 100)
    canary = owner.physical_name("canary", 500)
    found += [
        Planted(
            "gcp:artifactregistry/repository:Repository",
            f"{region}/repositories/{images}",
            f"gcloud artifacts repositories delete {images} --location {GCP_REGION}",
        ),
        Planted(
            "gcp:logging/projectSink:ProjectSink",
            f"projects/{PROJECT}/sinks/{log}",
            f"gcloud logging sinks delete {log}",
        ),
        Planted(
            "gcp:logging/projectExclusion:ProjectExclusion",
            f"projects/{PROJECT}/exclusions/{log}",
            f"gcloud logging sinks update _Default --remove-exclusions={log}",
        ),
        Planted(
            "gcp:cloudscheduler/job:Job",
            f"{region}/jobs/{canary}",
            f"gcloud scheduler jobs delete {canary} --location {GCP_REGION}",
        ),
    ]
    project.named |= {one.id for one in found}
    return found


def _vpc(project: GcpProject, owner: Owner, name: str) -> list[Planted]:
    link = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/{name}"
    inside = {"name": name, "network": link}
    for method, item in {
        "compute.v1.networks.list": {"name": name, "selfLink": link, "description": owner.title},
        "compute.v1.subnetworks.list": inside,
        "compute.v1.firewalls.list": inside,
        "compute.v1.routers.list": inside,
        "compute.v1.globalAddresses.list": {"name": name, "labels": owner.labels},
        "servicenetworking.v1.services.connections.list": {
            "network": f"projects/{NUMBER}/global/networks/{name}",
            "peering": "servicenetworking-googleapis-com",
        },
    }.items():
        project.listed.setdefault(method, []).append(item)
    region = f"--region {GCP_REGION} --project {PROJECT}"
    return [
        Planted("", "", f"gcloud services vpc-peerings delete --network {name} --project {PROJECT}"),
        Planted(
            "gcp:compute/globalAddress:GlobalAddress",
            f"projects/{PROJECT}/global/addresses/{name}",
            f"gcloud compute addresses delete {name} --global --project {PROJECT}",
        ),
        Planted("", "", f"gcloud compute routers delete {name} {region}"),
        Planted("", "", f"gcloud compute firewall-rules delete {name} --project {PROJECT}"),
        Planted("", "", f"gcloud compute networks subnets delete {name} {region}"),
        Planted(
            "gcp:compute/network:Network",
            f"projects/{PROJECT}/global/networks/{name}",
            f"gcloud compute networks delete {name} --project {PROJECT}",
        ),
    ]
