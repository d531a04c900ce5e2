"""For each check: stacks and worlds in which it finds its fault, and in which it passes."""

import dataclasses
import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import preview.__main__
from preflight.machine import Output
from tests.components.scenario import ROOT
from tests.preflight.aws_account import REGION, ApiError
from tests.preflight.gcp_project import COMPUTE_ACCOUNT, NUMBER, PROJECT, TRAINING
from tests.preflight.stacks import BUILDER, CERTIFICATE, World, graph_of

PRODUCTION_GCP: Mapping[str, Any] = {"app": {"mode": "existing"}}
KEY = f"arn:aws:kms:{REGION}:123456789012:key/11111111-2222-3333-4444-555555555555"
SERVER = f"arn:aws:sagemaker:{REGION}:123456789012:mlflow-tracking-server/shared"
APP = f"arn:aws:sagemaker:{REGION}:123456789012:mlflow-app/app-ABCDEF123456"
ZONE = "Z0123456789ABCDEFGHIJ"
VPC: Mapping[str, Any] = {
    "network": {
        "vpcId": "vpc-0123456789abcdef0",
        "vpcCidr": "10.0.0.0/16",
        "privateSubnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "publicSubnetIds": ["subnet-0123456789abcdef2", "subnet-0123456789abcdef3"],
    },
    "loadBalancer": {"public": True, "certificateArn": CERTIFICATE, "hostName": "mlflow.acme.test"},
}
DOMAIN: Mapping[str, Any] = {"loadBalancer": {"domain": {"name": "mlflow.acme.test", "zoneId": ZONE}}}
INSTANCE: Mapping[str, Any] = {"database": {"instanceName": "shared"}}


@dataclass(frozen=True, slots=True)
class Case:
    """``prepare`` makes a world in which the check passes; ``break_it`` adds the fault, which ``found`` is part of.

    ``remedy`` is part of what to do.
    """

    stack: str
    break_it: Callable[[World], object]
    found: str
    remedy: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    prepare: Callable[[World], object] = lambda _: None


def _fails(*command: str, stderr: str, status: int = 255) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.machine.outputs[command] = Output(status, "", stderr)

    return change


def _set(part: str, **values: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        for name, value in values.items():
            target = getattr(world, part)
            assert hasattr(target, name)
            setattr(target, name, value)

    return change


def _docker_config(config: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        folder = world.machine.home / ".docker"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))

    return change


def _pending(world: World) -> None:
    urn = "urn:pulumi:dev::mlflow::aws:ec2/vpc:Vpc::mlflow-vpc"
    world.machine.export["deployment"]["pending_operations"] = [{"resource": {"urn": urn}, "type": "creating"}]


def without_buildx(world: World, server: Output | None = None) -> None:
    """Docker 28 without its plugin; ``server`` is what the daemon answers."""
    version = ("docker", "version", "--format", "{{.Server.Os}}/{{.Server.Arch}} {{.Server.Version}}")
    missing = Output(1, "", "docker: unknown command: docker buildx\n\nRun 'docker --help' for more information\n")
    answer = server or Output(0, "linux/amd64 28.2.2\n", "")
    world.machine.outputs |= {("docker", "buildx", "inspect"): missing, version: answer}


def _unset_secret(world: World) -> None:
    config = {key: value for key, value in world.stack.config.items() if key != "mlflow:gcpOauthClientSecret"}
    world.stack = dataclasses.replace(world.stack, config=config)
    world.graph = preview.__main__.graph_of(world.stack, ROOT)


def _deny(*actions: str) -> Callable[[World], None]:
    statement = {"Effect": "Allow", "Action": [f"{letter}*" for letter in "abcdefghjklmnopqrstuvwxyz"], "Resource": "*"}

    def change(world: World) -> None:
        # IAM's actions are the only ones with i: those are allowed one by one.
        kept = ["iam:Get*", "iam:Put*", "iam:Delete*", "iam:PassRole", "iam:Tag*", "iam:Untag*", "iam:Update*"]
        kept += ["iam:Add*", "iam:Remove*", "iam:List*", "iam:CreateRole", "iam:CreateInstanceProfile"]
        if actions == ("iam:CreateServiceLinkedRole",):
            world.aws.statements = [statement, {"Effect": "Allow", "Action": kept, "Resource": "*"}]
        else:
            world.aws.statements = [{"Effect": "Allow", "Action": ["iam:*", "logs:*"], "Resource": "*"}]

    return change


def _quota(code: str, value: float) -> Callable[[World], None]:
    return lambda world: world.aws.quotas.update({code: value})


def certificate(world: World, names: tuple[str, ...] = ("mlflow.acme.test",), *, status: str = "ISSUED") -> None:
    """The certificate, in place of moto's, which is issued at once and has an ARN of its own."""
    found = {
        "CertificateArn": CERTIFICATE,
        "DomainName": names[0],
        "SubjectAlternativeNames": list(names),
        "Status": status,
    }
    world.aws.overrides["acm:DescribeCertificate"] = lambda _: {"Certificate": found}


def hosted_zone(world: World, *, name: str = "acme.test.", private: bool = False) -> None:
    zone = {"Id": f"/hostedzone/{ZONE}", "Name": name, "CallerReference": "1", "Config": {"PrivateZone": private}}
    world.aws.overrides["route53:GetHostedZone"] = lambda _: {"HostedZone": zone}
    records(world)


def records(world: World, *names: str) -> None:
    sets = [{"Name": name, "Type": "A"} for name in names]
    response = {"ResourceRecordSets": sets, "IsTruncated": False, "MaxItems": "300"}
    world.aws.overrides["route53:ListResourceRecordSets"] = lambda _: response


def kms_key(world: World, principals: tuple[str, ...] | None = None, **metadata: Any) -> None:
    """A key whose policy has the statements of docs/aws.md."""
    role = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    admitted = (f"logs.{REGION}.amazonaws.com", "cloudwatch.amazonaws.com", role) if principals is None else principals
    statements = [{"Effect": "Allow", "Principal": {"Service": name}, "Action": "kms:*"} for name in admitted]
    found = {"KeyId": KEY, "KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", **metadata}
    world.aws.overrides["kms:DescribeKey"] = lambda _: {"KeyMetadata": found}
    world.aws.overrides["kms:GetKeyPolicy"] = lambda _: {"Policy": json.dumps({"Statement": statements})}


def vpc(world: World, *, cidr: str = "10.0.0.0/16", dns: bool = True) -> None:
    certificate(world)
    network = VPC["network"]
    found = {"VpcId": network["vpcId"], "CidrBlock": cidr}
    world.aws.overrides["ec2:DescribeVpcs"] = lambda _: {"Vpcs": [found]}
    world.aws.overrides["ec2:DescribeVpcAttribute"] = lambda request: {
        request["Attribute"][0].upper() + request["Attribute"][1:]: {"Value": dns}
    }
    subnets(world)
    routes(world)


def subnets(world: World, *, zones: str = "abab", free: int = 200) -> None:
    names = [*VPC["network"]["privateSubnetIds"], *VPC["network"]["publicSubnetIds"]]
    found = [
        {
            "SubnetId": name,
            "VpcId": VPC["network"]["vpcId"],
            "AvailabilityZone": f"{REGION}{zone}",
            "AvailableIpAddressCount": free,
        }
        for name, zone in zip(names, zones, strict=True)
    ]
    world.aws.overrides["ec2:DescribeSubnets"] = lambda request: {
        "Subnets": [one for one in found if one["SubnetId"] in request["SubnetIds"]]
    }


def routes(world: World, *, private: bool = True, public: bool = True) -> None:
    def table(subnets: list[str], target: dict[str, str] | None) -> dict[str, Any]:
        default = [{"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **target}] if target else []
        return {"Associations": [{"SubnetId": name} for name in subnets], "Routes": default}

    tables = [
        table(VPC["network"]["privateSubnetIds"], {"NatGatewayId": "nat-1"} if private else None),
        table(VPC["network"]["publicSubnetIds"], {"GatewayId": "igw-1"} if public else {"NatGatewayId": "nat-1"}),
    ]
    world.aws.overrides["ec2:DescribeRouteTables"] = lambda _: {"RouteTables": tables}


def _instances(world: World) -> None:
    client = world.aws.session().client("ec2")
    image = client.register_image(Name="an-image")["ImageId"]
    client.run_instances(ImageId=image, InstanceType="t3.small", MinCount=1, MaxCount=1)


def _log_group(world: World) -> None:
    world.aws.session().client("logs").create_log_group(logGroupName="/mlflow/dev/mlflow")


def _addresses(world: World) -> None:
    client = world.aws.session().client("ec2")
    for _ in range(5):
        client.allocate_address(Domain="vpc")


def _vpcs(world: World) -> None:
    client = world.aws.session().client("ec2")
    for _ in range(4):
        client.create_vpc(CidrBlock="10.9.0.0/16")


def _gateways(world: World) -> None:
    client = world.aws.session().client("ec2")
    for _ in range(5):
        client.create_internet_gateway()


def _nat_gateways(world: World) -> None:
    client = world.aws.session().client("ec2")
    subnet = client.describe_subnets()["Subnets"][0]["SubnetId"]
    for _ in range(5):
        client.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")


def _policy(constraint: str, **policy: Any) -> Callable[[World], None]:
    return lambda world: world.gcp.policies.update({constraint: policy})


def _fine_grained_bucket(world: World) -> None:
    graph = graph_of(world.stack)
    resources = [
        dataclasses.replace(one, inputs={**one.inputs, "uniformBucketLevelAccess": False})
        if (one.type, one.name) == ("gcp:storage/bucket:Bucket", "mlflow-artifacts")
        else one
        for one in graph.resources
    ]
    world.graph = dataclasses.replace(graph, resources=resources)


def _application(location: str = "europe-west", status: str = "SERVING") -> Callable[[World], None]:
    return _set("gcp", application={"locationId": location, "servingStatus": status})


def _deleted(world: World) -> None:
    world.gcp.deleted_instances["shared"] = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)


def _edited(**config: str) -> Callable[[World], None]:
    return lambda world: world.replace_stack(
        {**world.stack.config, **{key.replace("__", ":"): value for key, value in config.items()}}
    )


_WHOAMI = ("pulumi", "whoami", "--json", "--non-interactive")
_SHOW = ("pulumi", "config", "--show-secrets", "--json", "--stack", "gcp-dev", "--non-interactive")
_SOCKET = "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
_AMD64_ONLY = BUILDER.replace(", linux/arm64", "")
_SMALL_SERVICE = {"service": {"minTasks": 2, "maxTasks": 2}}
_PRIVATE = {"database": {"privateIp": True}}

CASES: Mapping[str, tuple[Case, ...]] = {
    "placeholders": (
        Case(
            "dev",
            _edited(mlflow__aws='{"monitoring": {"alarmEmail": "ops@example.com"}}'),
            r"alarmEmail: got ops@example\.com",
            "edit Pulumi.dev.yaml",
        ),
    ),
    "secrets": (
        Case("gcp-dev", _unset_secret, "mlflow:gcpOauthClientSecret is not set", "pulumi config set --secret"),
    ),
    "pulumi": (
        Case("dev", lambda world: world.machine.programs.remove("pulumi"), "not on PATH", "install Pulumi"),
        Case(
            "dev",
            lambda world: world.machine.outputs.update({("pulumi", "version"): Output(0, "v3.99.0\n", "")}),
            "v3.99.0",
            "install Pulumi",
        ),
    ),
    "pulumi backend": (
        Case(
            "dev",
            _fails(
                *_WHOAMI,
                stderr="error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions\n",
            ),
            "not logged in",
            "pulumi login",
        ),
    ),
    "pulumi passphrase": (
        Case(
            "gcp-dev",
            _fails(*_SHOW, stderr="error: incorrect passphrase\n"),
            "incorrect passphrase",
            "PULUMI_CONFIG_PASSPHRASE",
        ),
        Case(
            "gcp-dev",
            _fails(*_SHOW, stderr="error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE\n"),
            "must be set",
            "PULUMI_CONFIG_PASSPHRASE",
        ),
        Case(
            "gcp-dev",
            _fails(*_SHOW, stderr="error: no stack named 'gcp-dev' found\n"),
            "no stack gcp-dev",
            "pulumi stack init",
        ),
    ),
    "pulumi state": (Case("dev", _pending, "creating mlflow-vpc", "pulumi refresh"),),
    "image builder": (
        Case("dev", lambda world: world.machine.programs.remove("docker"), "not on PATH", "install Docker"),
        Case(
            "dev",
            lambda world: without_buildx(world, Output(1, "", _SOCKET)),
            "Is the docker daemon running",
            "start Docker",
            prepare=without_buildx,
        ),
        Case(
            "dev", _fails("docker", "buildx", "inspect", stderr=_SOCKET), "Is the docker daemon running", "start Docker"
        ),
    ),
    "image platform": (
        Case(
            "dev",
            lambda world: world.machine.outputs.update({("docker", "buildx", "inspect"): Output(0, _AMD64_ONLY, "")}),
            "for linux/arm64",
            "--install arm64",
        ),
        Case(
            "gcp-dev",
            lambda world: world.machine.outputs.update(
                {("docker", "buildx", "inspect"): Output(0, BUILDER.replace("amd64", "riscv64"), "")}
            ),
            "for linux/amd64",
            "--install amd64",
        ),
    ),
    "disk space": (Case("dev", _set("machine", free=2**30), "1.0 GiB left", "docker system prune"),),
    "registry login": (
        Case("dev", _docker_config({"credsStore": "desktop"}), "docker-credential-desktop", "install it"),
        Case(
            "dev",
            _docker_config({"credHelpers": {"public.ecr.aws": "ecr-login"}}),
            "docker-credential-ecr-login",
            "install it",
        ),
    ),
    "aws credentials": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"sts:GetCallerIdentity": ApiError("ExpiredToken")}),
            "rejects the credentials",
            "log in again",
        ),
    ),
    "aws account": (
        Case(
            "dev", _edited(aws__allowedAccountIds='["111122223333"]'), "names the account 111122223333", "AWS_PROFILE"
        ),
        Case(
            "prod",
            lambda world: world.aws.overrides.update(
                {
                    "sts:GetCallerIdentity": lambda _: {
                        "Account": "111122223333",
                        "Arn": "arn:aws:iam::111122223333:user/x",
                    }
                }
            ),
            "certificateArn names the account",
            "AWS_PROFILE",
        ),
    ),
    "aws region": (
        Case("dev", _edited(aws__region="eu-west-9"), "no region eu-west-9", "set aws:region"),
        Case(
            "dev",
            lambda world: world.aws.overrides.update(
                {"ec2:DescribeRegions": lambda _: {"Regions": [{"RegionName": REGION, "OptInStatus": "not-opted-in"}]}}
            ),
            "not enabled",
            "enable it",
        ),
    ),
    "aws permissions": (
        Case(
            "dev",
            _deny("*"),
            r"IAM denies acm|IAM denies application-autoscaling:\w+ \(for \w+ mlflow-",
            "deployer-policy",
        ),
    ),
    "aws service-linked roles": (
        Case(
            "dev",
            _deny("iam:CreateServiceLinkedRole"),
            "AWSServiceRoleForECS does not exist",
            "create-service-linked-role",
        ),
    ),
    "aws names": (
        Case("dev", _log_group, "log group /mlflow/dev/mlflow exists", "import"),
        Case(
            "prod",
            lambda world: world.aws.tracking_servers.update({"prod-mlflow-tracking-7a8f1428": "Created"}),
            "tracking server prod-mlflow-tracking",
            "import",
            prepare=certificate,
        ),
    ),
    "aws SageMaker MLflow": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"sagemaker:ListMlflowApps": ApiError("UnknownOperationException")}),
            "does not offer MLflow apps",
            "tracking.kind: server",
        ),
        Case(
            "prod",
            lambda world: world.aws.errors.update(
                {"sagemaker:ListMlflowTrackingServers": ApiError("ValidationException")}
            ),
            "does not offer tracking servers",
            "tracking.kind: app",
        ),
    ),
    "aws MLflow target": (
        Case(
            "dev",
            lambda world: world.aws.apps.update({APP: "DeleteFailed"}),
            "DeleteFailed",
            "targetArn",
            {"tracking": {"targetArn": APP}},
            prepare=lambda world: world.aws.apps.update({APP: "Created"}),
        ),
        Case(
            "dev",
            lambda world: world.aws.tracking_servers.clear(),
            "there is no arn",
            "targetArn",
            {"tracking": {"targetArn": SERVER}},
            prepare=lambda world: world.aws.tracking_servers.update(shared="Created"),
        ),
        Case(
            "dev",
            lambda world: world.aws.tracking_servers.update(shared="CreateFailed"),
            "CreateFailed",
            "targetArn",
            {"tracking": {"targetArn": SERVER}},
            prepare=lambda world: world.aws.tracking_servers.update(shared="Created"),
        ),
    ),
    "aws quota of vCPUs": (
        Case("prod", _quota("L-1216C47A", 5), "0 are in use, and the stack needs 8 more", "service.minTasks"),
        # 2 x 2 for a rollout, and one t3.small that runs.
        Case(
            "dev",
            _instances,
            "2 are in use, and the stack needs 4 more",
            "Service Quotas",
            prepare=_quota("L-1216C47A", 5),
        ),
    ),
    "aws quota of addresses": (Case("dev", _addresses, "5 are in use", "network.egress"),),
    "aws quota of VPCs": (Case("dev", _vpcs, "5 are in use", "network.vpcId"),),
    "aws quota of internet gateways": (Case("dev", _gateways, "5 are in use", "network.egress"),),
    "aws quota of NAT gateways": (Case("dev", _nat_gateways, "5 are in use", "network.egress"),),
    "aws quota of load balancers": (
        Case("dev", _quota("L-53DA6B97", 0), "0 are in use, and the stack needs 1 more", "Service Quotas"),
    ),
    "aws quota of tracking servers": (
        Case(
            "prod", lambda world: world.aws.sagemaker_quotas.update({"L-TEST0001": 0}), "0 are in use", "tracking.kind"
        ),
    ),
    "aws quota of MLflow apps": (
        Case(
            "dev", lambda world: world.aws.sagemaker_quotas.update({"L-TEST0002": 0}), "0 are in use", "Service Quotas"
        ),
    ),
    "aws certificate": (
        Case(
            "prod",
            lambda world: world.aws.overrides.pop("acm:DescribeCertificate"),
            "there is no certificate",
            "certificateArn",
            prepare=certificate,
        ),
        Case(
            "prod",
            lambda world: certificate(world, status="PENDING_VALIDATION"),
            "PENDING_VALIDATION",
            "validation record",
            prepare=certificate,
        ),
        Case(
            "prod",
            lambda world: certificate(world, ("*.other.test",)),
            "not for mlflow.acme.test",
            "hostName",
            prepare=lambda world: certificate(world, ("acme.test", "*.acme.test")),
        ),
    ),
    "aws hosted zone": (
        Case(
            "dev",
            lambda world: world.aws.overrides.pop("route53:GetHostedZone"),
            "there is no hosted zone",
            "zoneId",
            DOMAIN,
            prepare=hosted_zone,
        ),
        Case(
            "dev",
            lambda world: hosted_zone(world, name="other.test."),
            "not in the zone other.test",
            "zoneId",
            DOMAIN,
            prepare=hosted_zone,
        ),
        Case(
            "dev",
            lambda world: hosted_zone(world, private=True),
            "is a private zone",
            "zoneId",
            DOMAIN,
            prepare=hosted_zone,
        ),
    ),
    "aws DNS name": (
        Case(
            "dev",
            lambda world: records(world, "mlflow.acme.test."),
            "has a record mlflow.acme.test",
            "delete that record",
            DOMAIN,
            prepare=lambda world: (hosted_zone(world), records(world, "www.acme.test.")),
        ),
    ),
    "aws KMS key": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"kms:DescribeKey": ApiError("NotFoundException")}),
            "there is no key",
            "kmsKeyArn",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
        Case(
            "dev",
            lambda world: kms_key(world, KeyState="PendingDeletion"),
            "PendingDeletion",
            "enable",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
        Case(
            "dev",
            lambda world: kms_key(world, KeySpec="RSA_2048"),
            "RSA_2048",
            "symmetric",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
        Case(
            "dev",
            lambda world: kms_key(world, ("arn:aws:iam::123456789012:root",)),
            "does not name logs",
            "use-a-customer-managed-key",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
    ),
    "aws availability zones": (
        Case(
            "dev",
            lambda world: world.aws.overrides.update(
                {
                    "ec2:DescribeAvailabilityZones": lambda _: {
                        "AvailabilityZones": [{"ZoneName": f"{REGION}a", "ZoneId": "euw1-az1", "State": "available"}]
                    }
                }
            ),
            "has 1 usable",
            "network.azCount",
        ),
    ),
    "aws existing VPC": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"ec2:DescribeVpcs": ApiError("InvalidVpcID.NotFound")}),
            "there is no VPC",
            "network.vpcId",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: vpc(world, cidr="10.7.0.0/16"),
            "10.7.0.0/16, not 10.0.0.0/16",
            "network.vpcCidr",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: vpc(world, dns=False),
            "enableDnsSupport is off",
            "--enable-dns-support Value=true",
            {
                **VPC,
                "network": {**VPC["network"], "egress": "endpoints", "privateRouteTableIds": ["rtb-0123456789abcdef0"]},
            },
            prepare=vpc,
        ),
    ),
    "aws subnets": (
        Case(
            "dev",
            lambda world: world.aws.errors.update(
                {"ec2:DescribeSubnets": ApiError("InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist")}
            ),
            "does not exist",
            "correct",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: subnets(world, zones="aaab"),
            "are both in eu-west-1a",
            "privateSubnetIds",
            VPC,
            prepare=vpc,
        ),
        Case("dev", lambda world: subnets(world, free=9), "9 free addresses", "larger subnet", VPC, prepare=vpc),
    ),
    "aws routes": (
        Case(
            "dev",
            lambda world: routes(world, private=False),
            "no default route, and network.egress is nat",
            "NAT or transit gateway",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: routes(world, public=False),
            "no default route to an internet gateway",
            "public subnet",
            VPC,
            prepare=vpc,
        ),
    ),
    "aws endpoint services": (
        Case(
            "prod",
            lambda world: world.aws.endpoint_zones.pop(f"aws.sagemaker.{REGION}.experiments"),
            "experiments is not offered",
            "mlflowEndpointService",
        ),
        Case(
            "prod",
            lambda world: world.aws.endpoint_zones.update({f"com.amazonaws.{REGION}.ecs": [f"{REGION}c"]}),
            "ecs is not offered in eu-west-1a, eu-west-1b",
            "network.egress",
        ),
    ),
    "aws instance type": (
        Case(
            "dev",
            lambda world: world.aws.overrides.update(
                {
                    "ec2:DescribeInstanceTypeOfferings": lambda _: {
                        "InstanceTypeOfferings": [{"InstanceType": "t4g.small", "Location": f"{REGION}a"}]
                    }
                }
            ),
            "t4g.small is not offered in eu-west-1b",
            "service.instanceType",
        ),
    ),
    "aws image registry": (Case("dev", _set("web", registry_status=401), "HTTP 401", "firewall"),),
    "aws image parameter": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"ssm:GetParameter": ApiError("ParameterNotFound")}),
            "there is no parameter",
            "service.ami",
        ),
    ),
    "gcp credentials": (
        Case(
            "gcp-dev",
            _set("gcp", has_credentials=False),
            "Reauthentication is needed",
            "gcloud auth application-default login",
        ),
    ),
    "gcp project": (
        Case("gcp-dev", _edited(gcp__project="acme-other"), "there is no project acme-other", "gcp:project"),
        Case("gcp-dev", _set("gcp", state="DELETE_REQUESTED"), "DELETE_REQUESTED", "restore"),
    ),
    "gcp billing": (Case("gcp-dev", _set("gcp", billing=False), "billing is off", "gcloud billing projects link"),),
    "gcp APIs": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.enabled.remove("cloudresourcemanager.googleapis.com"),
            "cloudresourcemanager.googleapis.com is disabled",
            "gcloud services enable cloudresourcemanager",
        ),
        Case(
            "gcp-dev",
            _set("gcp", disabled_apis={"serviceusage.googleapis.com"}),
            "are disabled",
            "gcloud services enable",
        ),
    ),
    "gcp permissions": (
        Case(
            "gcp-dev",
            _set("gcp", lacking={"cloudsql.instances.create"}),
            r"cloudsql.instances.create \(for DatabaseInstance mlflow-database\)",
            "grant the roles",
            prepare=_set("gcp", not_testable={"iap.webServices.setIamPolicy"}),
        ),
    ),
    "gcp names": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.named.add(f"projects/{PROJECT}/secrets/gcp-dev-mlflow-database-password"),
            "secret gcp-dev-mlflow-database-password exists",
            "another stack name",
        ),
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.update({f"gcp-dev-mlflow-server@{PROJECT}.iam.gserviceaccount.com": True}),
            "service account gcp-dev-mlflow-server exists",
            "another stack name",
        ),
        Case(
            "gcp-dev",
            lambda world: world.gcp.named.add("taken-bucket"),
            "bucket taken-bucket exists",
            "another stack name",
            {"artifacts": {"bucketName": "taken-bucket"}},
        ),
    ),
    "gcp policy compute.vmExternalIpAccess": (
        Case(
            "gcp-dev",
            _policy("compute.vmExternalIpAccess", listPolicy={"allValues": "DENY"}),
            "forbids the external addresses",
            "exception",
        ),
        Case(
            "gcp-dev",
            _policy("compute.vmExternalIpAccess", listPolicy={"allowedValues": ["projects/x/zones/z/instances/i"]}),
            "forbids the external addresses",
            "exception",
        ),
    ),
    "gcp policy compute.skipDefaultNetworkCreation": (
        Case(
            "gcp-dev",
            _policy("compute.skipDefaultNetworkCreation", booleanPolicy={"enforced": True}),
            "no network `default`",
            "database.privateIp",
        ),
    ),
    "gcp policy compute.requireOsLogin": (
        Case("gcp-dev", _policy("compute.requireOsLogin", booleanPolicy={"enforced": True}), "OS Login", "exception"),
    ),
    "gcp policy sql.restrictPublicIp": (
        Case(
            "gcp-dev",
            _policy("sql.restrictPublicIp", booleanPolicy={"enforced": True}),
            "public address",
            "database.privateIp",
        ),
    ),
    "gcp policy storage.uniformBucketLevelAccess": (
        Case(
            "gcp-dev",
            _fine_grained_bucket,
            "bucket mlflow-artifacts has no uniform access",
            "uniform_bucket_level_access",
            prepare=_policy("storage.uniformBucketLevelAccess", booleanPolicy={"enforced": True}),
        ),
    ),
    "gcp policy iam.allowedPolicyMemberDomains": (
        Case(
            "gcp-dev",
            _policy("iam.allowedPolicyMemberDomains", listPolicy={"allowedValues": ["C0other"]}),
            "admits C0other, not acme.test",
            "exception",
            prepare=_policy("iam.allowedPolicyMemberDomains", listPolicy={"allowedValues": ["is:C0acme"]}),
        ),
        Case(
            "gcp-dev",
            _policy("iam.allowedPolicyMemberDomains", listPolicy={"allValues": "DENY"}),
            "admits no domain",
            "exception",
        ),
    ),
    "gcp App Engine application": (
        Case("gcp-dev", _application(), "an App Engine application already", "import"),
        Case("gcp-dev", _application("us-central"), "is in us-central, not in europe-west", "another project"),
        Case("gcp-dev", _application(status="USER_DISABLED"), "USER_DISABLED", "enable it"),
        Case(
            "gcp-dev",
            _set("gcp", application=None),
            "app.mode is import",
            "app.mode to create",
            {"app": {"mode": "import"}},
            prepare=_application(),
        ),
    ),
    "gcp App Engine location": (
        Case("gcp-dev", _set("gcp", flexible=["us-central"]), "not available in europe-west", "us-central"),
    ),
    "gcp default compute account": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.pop(COMPUTE_ACCOUNT),
            "there is no 424242424242-compute",
            "undelete",
        ),
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.update({COMPUTE_ACCOUNT: False}),
            "is disabled",
            "service-accounts enable",
        ),
    ),
    "gcp network": (
        Case("gcp-dev", _set("gcp", networks=set[str]()), "no networks/default", "database.privateIp"),
        Case(
            "gcp-dev",
            _set("gcp", subnetworks=set[str]()),
            "no subnetworks/apps",
            "network.vpcName",
            {"network": {"vpcName": "shared", "subnetwork": "apps"}},
            prepare=_set("gcp", networks={"shared"}, subnetworks={"apps"}),
        ),
    ),
    "gcp region": (
        Case("gcp-dev", _set("gcp", quotas={"CPUS": (1.0, 0.0)}), "1 CPUS are left", "increase"),
        Case("gcp-dev", _set("gcp", region_status="DOWN"), "DOWN", "another region"),
        Case(
            "gcp-dev", _set("gcp", quotas={"IN_USE_ADDRESSES": (2.0, 1.0)}), "1 IN_USE_ADDRESSES are left", "increase"
        ),
    ),
    "gcp Cloud SQL tier": (
        Case(
            "gcp-dev",
            _set("gcp", tiers={"db-g1-small": ["us-central1"], "db-f1-micro": ["europe-west1"]}),
            "db-g1-small is not offered",
            "db-f1-micro",
        ),
        Case(
            "gcp-dev",
            _set("gcp", tiers={"db-g1-small": ["us-central1"]}),
            "not available in europe-west1",
            "gcp:region",
        ),
    ),
    "gcp Cloud SQL name": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.instances.add("shared"),
            "has an instance shared",
            "instanceName",
            INSTANCE,
        ),
        Case("gcp-dev", _deleted, "its name is locked until", "instanceName", INSTANCE),
    ),
    "gcp OAuth client": (
        Case(
            "gcp-dev",
            _edited(mlflow__gcp='{"oauthClient": {"clientId": "my-client"}}'),
            "has not the form",
            "Google Auth Platform",
        ),
        Case(
            "gcp-dev",
            _edited(mlflow__gcp='{"oauthClient": {"clientId": "99-abc.apps.googleusercontent.com"}}'),
            f"of project 99, the stack's is {NUMBER}",
            "docs/gcp.md",
        ),
    ),
    "gcp OAuth redirect": (
        Case("gcp-dev", _set("web", with_redirect=set[str]()), "lacks the redirect URI", ":handleRedirect"),
        Case("gcp-dev", _set("web", clients=set[str]()), "there is no OAuth client", "docs/gcp.md"),
    ),
    "gcp members": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.pop(TRAINING),
            f"there is no service account {TRAINING}",
            "service-accounts create training",
        ),
    ),
}
