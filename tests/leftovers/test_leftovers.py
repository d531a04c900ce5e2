"""Each kind of resource that a stack can leave is found with its removal; nothing else is ever listed."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.gcp.image import repository_role
from leftovers.__main__ import TOOL
from leftovers.aws.kinds import TAGGED
from leftovers.model import UNCOMPARED
from leftovers.owner import Owner
from leftovers.searches import SEARCHES
from preflight.__main__ import main
from preflight.checks import applying
from preflight.machine import Output
from preflight.model import Result, Status
from preflight.runner import result
from tests.components.aws.scenarios import SCENARIOS
from tests.components.gcp.scenarios import SCENARIOS as GCP_SCENARIOS
from tests.components.scenario import ROOT
from tests.docs import aws_cli
from tests.leftovers.planted import Planted, plant_on_aws, plant_on_google_cloud
from tests.preflight.conftest import Make
from tests.preflight.gcp_project import NUMBER, PROJECT, REQUIRED
from tests.preflight.gcp_project import REGION as GCP_REGION
from tests.preflight.stacks import World

CREDENTIALS = {"pulumi state", "aws credentials", "aws account", "gcp credentials", "gcp project"}
# Resources with tags that end with another one, or that other searches find.
WITHOUT_COMMAND = {
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:lb/listener:Listener",
    "aws:lb/listenerRule:ListenerRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:autoscaling/group:Group",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ecs/taskDefinition:TaskDefinition",
    "aws:iam/instanceProfile:InstanceProfile",
    "aws:iam/role:Role",
    "aws:sagemaker/domain:Domain",
    "aws:sagemaker/userProfile:UserProfile",
    "aws:sagemaker/mlflowApp:MlflowApp",
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer",
    "aws:secretsmanager/secret:Secret",
}


# Types without tags or labels that end with another resource, or cost nothing alone.
PARTS = {
    "aws": """
        acm/certificateValidation appautoscaling/policy appautoscaling/scheduledAction cloudwatch/logMetricFilter
        ec2/route ec2/routeTableAssociation ecr/lifecyclePolicy ecs/clusterCapacityProviders iam/rolePolicy
        s3/bucketLifecycleConfiguration s3/bucketOwnershipControls s3/bucketPolicy s3/bucketPublicAccessBlock
        s3/bucketServerSideEncryptionConfiguration s3/bucketVersioning secretsmanager/secretVersion sns/topicPolicy
        sns/topicSubscription wafv2/webAclAssociation wafv2/webAclLoggingConfiguration
    """,
    "gcp": """
        appengine/application appengine/applicationUrlDispatchRules appengine/engineSplitTraffic
        artifactregistry/repositoryIamMember compute/routerNat compute/subnetworkIAMMember iap/appEngineServiceIamMember
        iap/settings kms/cryptoKeyIAMMember projects/iAMMember projects/service projects/serviceIdentity
        secretmanager/secretIamMember secretmanager/secretVersion
        serviceaccount/iAMMember sql/database sql/user storage/bucketIAMMember storage/bucketObject
    """,
}
# A domain has no mark of its stack: docs/destroy.md and docs/gcp-destroy.md name them.
UNMARKED = {"aws": "route53/record", "gcp": "appengine/domainMapping"}
# Found in the VPC network that holds them, or as a kind of what was planted.
INSIDE = {
    "aws": "",
    "gcp": """
        compute/firewall compute/router compute/subnetwork servicenetworking/connection appengine/standardAppVersion
    """,
}


def owner_of(stack: str, component: str = "mlflow", project: str = "mlflow") -> Owner:
    return Owner(project=project, stack=stack, component=component)


def plant(world: World, owner: Owner) -> list[Planted]:
    if world.stack.name.startswith("gcp"):
        # A second stack has a service of its own; without one, it has the same name and another service account.
        return plant_on_google_cloud(world.gcp, owner)
    return plant_on_aws(world.aws, owner)


def search(world: World) -> list[Result]:
    subject = world.subject()
    return [result(check, subject) for check in applying(subject, SEARCHES)]


def found(world: World) -> list[str]:
    """The commands of all searches, which must all have been done."""
    results = search(world)
    assert [one for one in results if one.status is Status.UNCHECKED] == []
    return [fault.remedy for one in results for fault in one.faults]


def hold(world: World, planted: list[Planted]) -> None:
    """Put the resources into the stack's state, in the form of `pulumi stack export`."""
    world.machine.export["deployment"]["resources"] = [
        {
            "urn": f"urn:pulumi:x::mlflow::{one.type}::{one.id}",
            "type": one.type,
            "id": one.id,
            "outputs": {"arn": one.arn},
        }
        for one in planted
        if one.type
    ]


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_each_kind_is_found_once_with_the_command_that_removes_it(stack: str, make: Make) -> None:
    world = make(stack)
    assert found(world) == []
    planted = plant(world, owner_of(stack))
    commands = found(world)
    assert [one.removal for one in planted if sum(one.removal in command for command in commands) != 1] == []
    assert len(commands) == len({*commands})
    # Nothing but removals: each has the removal of what was planted.
    egress = [command for command in commands if not any(one.removal in command for one in planted)]
    assert all("revoke-security-group-egress" in command for command in egress), egress
    for command in commands:
        assert shlex.split(command)[0] in ("aws", "gcloud", ".local/venv/bin/python")
        assert not subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False).stderr
    aws_cli.check(aws_cli.calls(commands))


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
@pytest.mark.parametrize(
    ("other_stack", "component"), [("{}2", "mlflow"), ("prod", "mlflow"), ("{}", "mlflow-2"), ("{}", "other")]
)
def test_nothing_of_another_stack_or_component_is_listed(
    stack: str, other_stack: str, component: str, make: Make
) -> None:
    world = make(stack)
    plant(world, owner_of(other_stack.format(stack), component))
    assert found(world) == []


def test_nothing_with_the_tags_of_another_project_is_listed(make: Make) -> None:
    """Names without a project, such as the log group's, cannot exist twice."""
    world = make("dev")
    world.aws.tags = {
        f"arn:aws:ec2:eu-west-1:123456789012:natgateway/nat-{number}": tags
        for number, tags in enumerate(
            [
                owner_of("dev", project="other").tags,
                {"Project": "mlflow", "Stack": "dev"},
                {"Stack": "dev", "Component": "mlflow"},
                {},
            ]
        )
    }
    assert found(world) == []


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_nothing_that_the_state_holds_is_listed(stack: str, make: Make) -> None:
    world = make(stack)
    hold(world, plant(world, owner_of(stack)))
    assert found(world) == []


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_what_the_state_does_not_hold_is_listed_beside_what_it_holds(stack: str, make: Make) -> None:
    world = make(stack)
    planted = plant(world, owner_of(stack))
    for missing in [one for one in planted if one.type][::5]:
        hold(world, [one for one in planted if one is not missing])
        assert any(missing.removal in command for command in found(world)), missing


def test_a_name_with_the_number_of_the_project_is_the_same_name(make: Make) -> None:
    world = make("gcp-dev")
    planted = plant(world, owner_of("gcp-dev"))
    hold(world, [one._replace(id=one.id.replace(f"projects/{PROJECT}/", f"projects/{NUMBER}/")) for one in planted])
    assert found(world) == []


def test_repositories_of_a_stack_with_a_key_of_its_own_are_found(make: Make) -> None:
    """A repository keeps its key, so that a stack has another one for each key."""
    key = "projects/acme-keys/locations/europe-west1/keyRings/mlflow/cryptoKeys/mlflow"
    world = make("gcp-dev", {"kmsKey": key})
    owner = owner_of("gcp-dev")
    names = [owner.physical_name(repository_role(used), 63) for used in (None, key)]
    path = f"projects/{PROJECT}/locations/{GCP_REGION}/repositories"
    world.gcp.named |= {f"{path}/{name}" for name in names}
    commands = found(world)
    assert len(commands) == 2
    for name, command in zip(names, commands, strict=True):
        assert f"gcloud artifacts repositories delete {name} " in command


def test_a_version_of_another_service_with_the_same_name_is_left(make: Make) -> None:
    world = make("gcp-dev")
    version = app_version("mlflow", "v1", "gcp-dev-mlflow-server")
    world.gcp.listed["appengine.v1.apps.services.versions.list"] = [version]
    flexible = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
    hold(world, [Planted(flexible, f"apps/{PROJECT}/services/before/versions/v1", "")])
    assert len(found(world)) == 1


def test_a_renamed_stack_is_searched_by_the_names_that_its_state_has(make: Make) -> None:
    world = make("dev")
    plant(world, owner_of("old", component="first"))
    world.machine.export["deployment"]["resources"] = [
        {
            "urn": "urn:pulumi:dev::mlflow::mlflow:index:AwsMlflowProxy$pulumi:index:Stash::mlflow",
            "type": "pulumi:index:Stash",
            "outputs": {"output": {"component": "first", "stack": "old"}},
        }
    ]
    assert any("/mlflow/old/first" in command for command in found(world))


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_without_the_state_no_removal_is_shown(stack: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make(stack)
    plant(world, owner_of(stack))
    world.machine.programs.discard("pulumi")
    results = search(world)
    assert results[0].status is Status.UNCHECKED
    assert "`pulumi` is not on PATH" in results[0].text
    assert {fault.remedy for one in results for fault in one.faults} == {UNCOMPARED}


def test_a_stack_that_the_backend_does_not_have_is_named(make: Make) -> None:
    world = make("dev")
    world.machine.outputs["pulumi", "stack", "export", "--stack", "dev", "--non-interactive"] = Output(
        255, "", "error: no stack named 'dev' found"
    )
    assert "has no stack dev" in search(world)[0].text


def command(world: World, *arguments: str) -> int:
    return main(arguments, ROOT, lambda _stack, _folder: world.subject(), TOOL)


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_exit_codes_and_json(stack: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make(stack)
    assert command(world, "--stack", stack) == 0
    planted = plant(world, owner_of(stack))
    capsys.readouterr()
    assert command(world, "--stack", stack, "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["stack"], report["exit_code"]) == (stack, 1)
    remedies = [fault["remedy"] for one in report["checks"] for fault in one.get("faults", [])]
    assert all(any(one.removal in remedy for remedy in remedies) for one in planted)


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_without_credentials_it_says_what_it_could_not_look_at_and_exits_with_2(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """boto3 and google-auth themselves, with an empty environment, and no metadata server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "CLOUDSDK_CONFIG", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("PATH", "")
    assert main(["--stack", stack, "--format", "json"], ROOT, tool=TOOL) == 2
    cloud = [one for one in json.loads(capsys.readouterr().out)["checks"] if one["check"] != "pulumi state"]
    assert len(cloud) > 8
    assert {one["status"] for one in cloud} == {"could not check"}


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_each_missing_permission_is_named(stack: str, make: Make) -> None:
    world = make(stack)
    plant(world, owner_of(stack))
    search(world)
    google = stack == "gcp-dev"
    double: Any = world.gcp if google else world.aws
    for method in sorted(double.called - {"sts:GetCallerIdentity"}):
        double.denied = {method}
        permissions = {one.permission for one in search(world)}
        assert (REQUIRED[method] if google else method) in permissions or not REQUIRED.get(method, method), method


def test_searches_read_only(make: Make) -> None:
    world = make("dev")
    plant(world, owner_of("dev"))
    search(world)
    assert [name for name in world.aws.called if not re.search(r":(Describe|Get|List)\w+$", name)] == []
    assert len(world.aws.called) > 15


def test_every_type_with_tags_has_a_removal() -> None:
    tagged = {one.type for scenario in SCENARIOS for one in scenario.graph().resources if "tags" in one.inputs}
    tagged = {name for name in tagged if name.startswith("aws:")}
    assert tagged - {kind.type for kind in TAGGED} - WITHOUT_COMMAND == set()
    assert {kind.type for kind in TAGGED} & WITHOUT_COMMAND == set()


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_every_type_of_the_stacks_is_searched_or_is_part_of_another(cloud: str, make: Make) -> None:
    world = make("dev" if cloud == "aws" else "gcp-dev")
    searched = {one.type for one in plant(world, owner_of(world.stack.name))} | {kind.type for kind in TAGGED}
    scenarios = SCENARIOS if cloud == "aws" else GCP_SCENARIOS
    types = {one.type for scenario in scenarios for one in scenario.graph().resources}
    names = {name.removeprefix(f"{cloud}:").partition(":")[0] for name in types - searched if name.startswith(cloud)}
    excused = {name.removeprefix("aws:").partition(":")[0] for name in WITHOUT_COMMAND}
    listed = {name for table in (PARTS, UNMARKED, INSIDE) for name in table[cloud].split()}
    assert names - listed - (excused if cloud == "aws" else set()) == set()


def test_an_unknown_resource_with_the_tags_is_listed(make: Make) -> None:
    world = make("dev")
    world.aws.tags["arn:aws:newservice:eu-west-1:123456789012:thing/one"] = owner_of("dev").tags
    assert found(world) == ["delete it in the console"]


def test_instances_of_a_living_group_are_not_left(make: Make) -> None:
    world = make("dev")
    group = next(one for one in plant(world, owner_of("dev")) if one.type == "aws:autoscaling/group:Group")
    hold(world, [group])
    assert not any("terminate-instances" in command for command in found(world))


def test_what_guard_duty_added_is_left_when_the_instances_are_gone(make: Make) -> None:
    """`destroy` waits for the subnets and the VPC, which the state still holds."""
    world = make("dev")
    planted = plant(world, owner_of("dev"))
    [group] = [one for one in planted if one.type == "aws:autoscaling/group:Group"]

    def endpoints() -> list[str]:
        return [one for one in found(world) if re.search(r"--vpc-endpoint-ids vpce-[0-9a-f]+ ", one)]

    hold(world, planted)
    assert endpoints() == []
    hold(world, [one for one in planted if one is not group])
    assert len(endpoints()) == 1


def app_version(service: str, name: str, account: str, **more: str) -> dict[str, Any]:
    return {
        "name": f"apps/{PROJECT}/services/{service}/versions/{name}",
        "id": name,
        "env": "flexible",
        "servingStatus": "SERVING",
        "serviceAccount": f"{account}@{PROJECT}.iam.gserviceaccount.com",
        **more,
    }


def test_a_forgotten_version_is_deleted_without_the_service_of_others(make: Make) -> None:
    world = make("gcp-dev")
    versions = world.gcp.listed.setdefault("appengine.v1.apps.services.versions.list", [])
    versions += [app_version("mlflow", "v1", "gcp-dev-mlflow-server"), app_version("mlflow", "v7", "others")]
    assert found(world) == [f"gcloud app versions delete v1 --service mlflow --project {PROJECT}"]


def test_the_last_version_of_the_service_default_is_stopped_and_the_placeholder_stays(make: Make) -> None:
    world = make("gcp-dev")
    placeholder = app_version("default", "placeholder", "gcp-dev-mlflow-placeholder", env="standard")
    world.gcp.listed["appengine.v1.apps.services.versions.list"] = [placeholder]
    assert found(world) == []
    world.gcp.listed["appengine.v1.apps.services.versions.list"] = [
        app_version("default", "v1", "gcp-dev-mlflow-server")
    ]
    assert found(world) == [f"gcloud app versions stop v1 --service default --project {PROJECT}"]


def test_a_project_whose_apis_were_never_enabled_has_nothing(make: Make) -> None:
    world = make("gcp-dev")
    world.gcp.disabled_apis = {
        f"{name}.googleapis.com"
        for name in ("appengine", "sqladmin", "compute", "secretmanager", "artifactregistry", "monitoring", "logging")
    }
    assert found(world) == []
