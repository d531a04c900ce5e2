"""What holds in every stack, whatever its settings."""

import dataclasses
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi
import pulumi_aws
import pytest

from components import AwsMlflowProxy, SettingsError
from preview import destroy, exposure, firewalls, policies
from preview.graph import SECRET, Graph, Resource, dig, listed
from preview.recorder import record

from . import scenarios
from .scenarios import KEY, SCENARIOS, SSO_SECRET, Scenario

every_stack = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
BUCKET = "aws:s3/bucket:Bucket"
COMPONENT = "mlflow:index:AwsMlflowProxy"
# By name, since that is what the test is about: these are meant to be reached from the internet.
PUBLIC = ("public-domain", "sso")


def stack(name: str) -> Graph:
    return next(one for one in SCENARIOS if one.name == name).graph()


def only(graph: Graph, kind: str, **inputs: object) -> Resource:
    """The one resource of a type that has these inputs."""
    (found,) = (one for one in graph.of(kind) if inputs.items() <= one.inputs.items())
    return found


# -- what is open


@every_stack
def test_the_world_reaches_nothing_but_a_public_load_balancers_web_ports(scenario: Scenario) -> None:
    graph = scenario.graph()
    opened = {
        (behind.type, port)
        for rule in firewalls.rules(graph)
        if rule.inbound and rule.world
        for behind in firewalls.behind(graph, rule.group)
        for port in (rule.low, rule.high)
    }
    balancer = exposure.BALANCER
    assert opened == ({(balancer, 80), (balancer, 443)} if scenario.name == "public-domain" else set())
    assert [bool(one.inputs["internal"]) for one in graph.of(balancer)] == [scenario.name not in PUBLIC] * (
        len(graph.of(COMPONENT))
    )


@every_stack
def test_nothing_that_starts_gets_an_address_of_the_internet(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert not any(one.inputs.get("mapPublicIpOnLaunch") for one in graph.of("aws:ec2/subnet:Subnet"))
    for template in graph.of("aws:ec2/launchTemplate:LaunchTemplate"):
        assert [one["associatePublicIpAddress"] for one in template.inputs["networkInterfaces"]] == ["false"]
    for service in graph.of(exposure.SERVICE):
        assert not dig(service.inputs, "networkConfiguration", "assignPublicIp")


@every_stack
def test_whoever_reaches_the_gate_is_asked_who_they_are(scenario: Scenario) -> None:
    ways = exposure.exposure(scenario.graph()).ways_in
    asked = {way.authentication for way in ways if way.target.endswith("-gate")}
    assert asked
    for one in asked:
        assert one.startswith(("a token", "sign-in at login.example.com")), asked


@every_stack
def test_a_public_load_balancer_answers_http_with_a_redirect(scenario: Scenario) -> None:
    graph = scenario.graph()
    for balancer in graph.of(exposure.BALANCER):
        if not balancer.inputs["internal"]:
            plain = only(graph, exposure.LISTENER, loadBalancerArn=balancer.outputs["arn"], port=80)
            assert [action["type"] for action in plain.inputs["defaultActions"]] == ["redirect"]


@every_stack
def test_every_bucket_is_closed_to_the_public_and_to_plain_http(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert graph.of(BUCKET)
    for bucket in graph.of(BUCKET):
        name = bucket.outputs["bucket"]
        closed = only(graph, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", bucket=name).inputs
        for part in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            assert closed[part] is True, f"{name}: {part}"
        said = policies.statements(only(graph, "aws:s3/bucketPolicy:BucketPolicy", bucket=name).inputs["policy"])
        arn = bucket.outputs["arn"]
        assert (
            policies.Statement(
                allow=False,
                who=("everybody",),
                actions=("s3:*",),
                resources=(arn, f"{arn}/*"),
                conditions=("aws:SecureTransport is false",),
            )
            in said
        )
        assert not any(one.allow and "everybody" in one.who for one in said)


# -- what is kept, and how


def _encrypted(graph: Graph, one: Resource) -> list[str | None]:
    """How each store in a resource is encrypted: a customer key's ARN, or a word for the service's own."""
    given = one.inputs
    if one.type == BUCKET:
        kind = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        (rule,) = only(graph, kind, bucket=one.outputs["bucket"]).inputs["rules"]
        default = rule["applyServerSideEncryptionByDefault"]
        return [default.get("kmsMasterKeyId") or default.get("sseAlgorithm")]
    if one.type == "aws:ec2/launchTemplate:LaunchTemplate":
        disks = [disk["ebs"] for disk in given["blockDeviceMappings"]]
        return [disk.get("kmsKeyId") or ("aws/ebs" if disk.get("encrypted") == "true" else None) for disk in disks]
    if one.type == "aws:ecr/repository:Repository":
        return [one.get("kmsKey") or one.get("encryptionType") for one in given["encryptionConfigurations"]]
    if one.type == "aws:sns/topic:Topic":
        return [given.get("kmsMasterKeyId") or "SNS"]
    # These are always encrypted: without a key of ours, by the service's.
    if one.type in ("aws:cloudwatch/logGroup:LogGroup", "aws:secretsmanager/secret:Secret"):
        return [given.get("kmsKeyId") or "its service's"]
    if one.type == "aws:sagemaker/domain:Domain":
        return [given.get("kmsKeyId") or "aws/elasticfilesystem"]
    return []


@every_stack
def test_no_store_is_unencrypted(scenario: Scenario) -> None:
    graph = scenario.graph()
    found = {one.urn: _encrypted(graph, one) for one in graph.resources if one.custom}
    kinds = {one.type for one in graph.resources if found.get(one.urn)}
    assert {BUCKET, "aws:ec2/launchTemplate:LaunchTemplate", "aws:cloudwatch/logGroup:LogGroup"} <= kinds
    assert not [urn for urn, how in found.items() if None in how]


# Stores that a customer key does not encrypt, and why.
WITHOUT_KEY = {
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html: SSE-S3 alone.
    "gate-access-logs": "a load balancer's logs",
    "mlflow-access-logs": "a load balancer's logs",
}


def test_a_customer_key_encrypts_every_store() -> None:
    graph = stack("customer-key")
    how = {(one.type, one.name): _encrypted(graph, one) for one in graph.resources if one.custom}
    without = {name for (_, name), keys in how.items() if keys and set(keys) != {KEY}}
    assert without == {"mlflow-access-logs"}
    assert without <= set(WITHOUT_KEY)


@every_stack
def test_every_log_has_a_retention(scenario: Scenario) -> None:
    graph = scenario.graph()
    groups = graph.of("aws:cloudwatch/logGroup:LogGroup")
    assert groups
    assert all(one.inputs["retentionInDays"] > 0 for one in groups)
    # Logs in buckets go, too.
    for one in graph.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"):
        if "logs" in one.name:
            assert any(dig(rule, "expiration", "days") for rule in one.inputs["rules"])


# -- secrets


def _planted(graph: Graph) -> set[str]:
    """What preview/answers.py gives for random things, and the sign-in secret."""
    made = {hashlib.sha256(one.name.encode()).hexdigest()[:43] for one in graph.of(RANDOM)}
    assert made
    return {*made, SSO_SECRET}


RANDOM = "random:index/randomPassword:RandomPassword"


@every_stack
def test_no_secret_is_in_plain_anywhere(scenario: Scenario) -> None:
    graph = scenario.graph()
    # What AWS answers is not ours to hide.
    seen = json.dumps([dataclasses.asdict(one) for one in graph.resources])
    seen += json.dumps([graph.outputs, [[call.token, call.args] for call in graph.calls], graph.messages])
    for secret in _planted(graph):
        assert secret not in seen


@every_stack
def test_what_is_secret_stays_it_on_its_way(scenario: Scenario) -> None:
    graph = scenario.graph()
    for version in graph.of("aws:secretsmanager/secretVersion:SecretVersion"):
        assert version.inputs["secretString"] == SECRET
    for image in graph.of("docker-build:index:Image"):
        assert [one["password"] for one in image.inputs["registries"]] == [SECRET]
    for password in graph.of(RANDOM):
        assert password.outputs["result"] == SECRET
    for component in graph.of(COMPONENT):
        assert component.outputs["admin_token"] == SECRET
    if scenario.program is None:
        assert graph.outputs["admin_token"] == SECRET


def test_the_sign_in_secret_is_one_in_every_action() -> None:
    graph = stack("sso")
    actions = [
        dig(action, "authenticateOidc", "clientSecret")
        for one in [*graph.of(exposure.LISTENER), *graph.of(exposure.LISTENER_RULE)]
        for action in [*listed(one.inputs.get("defaultActions")), *listed(one.inputs.get("actions"))]
        if "authenticateOidc" in action
    ]
    assert actions == [SECRET] * 2


# -- tags, names, places


def _class(one: Resource) -> Any:
    """The SDK's class of a resource of AWS's."""
    _, module, name = one.type.split(":")
    return getattr(getattr(pulumi_aws, module.split("/")[0]), name)


def _tags(one: Resource) -> Mapping[str, str]:
    given = one.inputs.get("tags")
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in dig(one.inputs, "tags").items()}
    # An autoscaling group's are a list of groups; an image's are something else.
    return {dig(tag, "key"): dig(tag, "value") for tag in listed(given) if dig(tag, "key")}


@every_stack
def test_every_resource_that_takes_tags_has_them(scenario: Scenario) -> None:
    graph = scenario.graph()
    taggable = [
        one
        for one in graph.resources
        if one.type.startswith("aws:") and "tags" in inspect.signature(_class(one)._internal_init).parameters
    ]
    assert len(taggable) > 30
    for one in taggable:
        component = _component(graph, one).name
        tags = _tags(one)
        assert {"Project", "Stack", "Component", "Name"} <= set(tags), one.name
        assert (tags["Project"], tags["Stack"], tags["Component"]) == ("mlflow", scenario.stack, component)
        assert tags["Name"].startswith(f"{scenario.stack}-{component}-")
        if scenario.name == "customer-key":
            assert tags["CostCentre"] == "4711"


def _component(graph: Graph, one: Resource) -> Resource:
    return list(graph.ancestors(one))[-1]


@every_stack
def test_every_resource_is_in_its_component_and_called_after_it(scenario: Scenario) -> None:
    graph = scenario.graph()
    for one in graph.resources:
        if one.type == COMPONENT or one.type.startswith("pulumi:providers:"):
            continue
        component = _component(graph, one)
        assert component.type == COMPONENT, one.urn
        assert one.name.startswith(f"{component.name}-"), one.urn


@every_stack
def test_nothing_is_deprecated(scenario: Scenario) -> None:
    assert scenario.graph().messages == []


def test_a_boundary_is_every_roles() -> None:
    roles = stack("customer-key").of("aws:iam/role:Role")
    assert len(roles) > 4
    assert {one.inputs.get("permissionsBoundary") for one in roles} == {"arn:aws:iam::123456789012:policy/boundary"}


# -- destroy


@every_stack
def test_there_is_an_order_to_destroy_in(scenario: Scenario) -> None:
    graph = scenario.graph()
    waits_for = {one.urn: {*one.dependencies, one.parent, one.deleted_with} - {""} for one in graph.resources}
    done: set[str] = {graph.stack_urn}
    while len(done) <= len(graph.resources):
        free = {urn for urn, others in waits_for.items() if urn not in done and others <= done}
        assert free, f"a cycle is among {[urn for urn in waits_for if urn not in done]}"
        done |= free


@every_stack
def test_what_destroy_stops_at_is_what_preview_shows(scenario: Scenario) -> None:
    graph = scenario.graph()
    held = {
        one.urn
        for one in graph.resources
        if one.protect
        or (one.retain_on_delete and one.type != "docker-build:index:Image")
        or one.inputs.get("enableDeletionProtection")
        or one.inputs.get("forceDestroy", True) is False
        or one.inputs.get("forceDelete", True) is False
        or one.inputs.get("recoveryWindowInDays", 0) > 0
        or one.type == "aws:sagemaker/domain:Domain"
    }
    assert {one.resource.urn for one in destroy.kept(graph)} == held


@every_stack
def test_a_stack_without_deletion_protection_is_destroyed_whole(scenario: Scenario) -> None:
    kept = destroy.kept(scenario.graph())
    protected = scenario.name in ("production", "serverless-app", "customer-key", "explicit-providers")
    assert bool([one for one in kept if one.stops]) == protected
    if scenario.name not in ("studio", "production", "serverless-app", "customer-key", "explicit-providers"):
        assert kept == []


def test_production_protects_what_holds_data() -> None:
    graph = stack("production")
    protected = {one.type for one in graph.resources if one.protect and one.custom}
    assert {"aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer", BUCKET} <= protected


# -- more than one, and other programs


def _physical(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """(type, property, name) of names that the program chose. What it made of a generated one is as unique as that."""
    for one in graph.resources:
        for name in PHYSICAL.get(one.type, ()):
            if name in one.inputs and not one.property_dependencies.get(name):
                yield one.type, name, one.inputs[name]


PHYSICAL: Mapping[str, tuple[str, ...]] = {
    "aws:cloudwatch/dashboard:Dashboard": ("dashboardName",),
    "aws:cloudwatch/logGroup:LogGroup": ("name",),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": ("policyName",),
    "aws:ecs/capacityProvider:CapacityProvider": ("name",),
    "aws:ecs/taskDefinition:TaskDefinition": ("family",),
    "aws:sagemaker/domain:Domain": ("domainName",),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": ("trackingServerName",),
}


def _metrics(graph: Graph) -> list[tuple[str, str]]:
    return [
        (
            str(dig(one.inputs, "metricTransformation", "namespace")),
            str(dig(one.inputs, "metricTransformation", "name")),
        )
        for one in graph.of("aws:cloudwatch/logMetricFilter:LogMetricFilter")
    ]


def test_two_in_one_stack_do_not_collide() -> None:
    graph = stack("two-in-one-stack")
    assert [one.name for one in graph.of(COMPONENT)] == ["first", "second"]
    physical = list(_physical(graph))
    assert len(physical) >= 6
    assert len(set(physical)) == len(physical)
    assert len(set(_metrics(graph))) == len(_metrics(graph))
    first, second = graph.of(COMPONENT)
    for one in graph.resources:
        if first in graph.ancestors(one):
            assert not [urn for urn in one.dependencies if second in graph.ancestors(_at(graph, urn))], one.urn


def _at(graph: Graph, urn: str) -> Resource:
    found = graph.by_urn(urn)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["production", "studio"])
def test_two_stacks_in_one_account_do_not_collide(name: str) -> None:
    scenario = next(one for one in SCENARIOS if one.name == name)
    one, other = (scenarios.run(scenario.config, stack=stack) for stack in ("one", "other"))
    assert list(_physical(one))
    assert not set(_physical(one)) & set(_physical(other))
    assert not set(_metrics(one)) & set(_metrics(other))


def test_explicit_providers_reach_every_resource_and_call() -> None:
    graph = stack("explicit-providers")
    mine = {"aws": "mine", "random": "mine-random", "docker-build": "mine-docker"}
    for one in graph.resources:
        package = one.type.split(":")[0]
        if one.custom and package in mine:
            assert one.provider.rpartition("::")[0].endswith(f"::{mine[package]}"), one.urn
    assert graph.calls
    for call in graph.calls:
        assert call.provider.rpartition("::")[0].endswith("::mine"), call.token
    assert "eu-west-1" not in json.dumps(
        [one.inputs for one in graph.resources if one.type.startswith("aws:")]
    ).replace(scenarios.CERTIFICATE, "")


# -- settings that are wrong


@pytest.mark.parametrize(
    "given",
    [
        {"colour": "red"},
        {"network": {"zones": 9}},
        {"edge": {"public": True}},
        {"image": {"architecture": "amd64"}, "service": {"instance_type": "t4g.small"}},
        {"edge": {"sso": {"issuer": "https://login.example.com"}}},
    ],
    ids=str,
)
def test_nothing_is_asked_for_when_settings_are_wrong(given: Mapping[str, Any]) -> None:
    def program() -> None:
        with pytest.raises(SettingsError, match=r"gate\."):
            AwsMlflowProxy("gate", given)

    graph = record(program)
    assert (graph.resources, graph.calls) == ([], [])


def test_the_projects_program_says_what_is_wrong_and_asks_for_nothing() -> None:
    def program() -> None:
        with pytest.raises(pulumi.RunError, match=r"mlflow:aws\.network\.zones: 9 is given"):
            scenarios.own_program()

    graph = scenarios.run(scenarios.config({"network": {"zones": 9}}), program)
    assert (graph.resources, graph.calls) == ([], [])


@pytest.mark.parametrize("name", ["", "a" * 17])
def test_a_name_that_would_not_fit_is_refused(name: str) -> None:
    def program() -> None:
        with pytest.raises(ValueError, match="1 to 16"):
            AwsMlflowProxy(name, {})

    assert record(program).resources == []


# -- limits of the services

# (letters, form of the whole name) by type and property; autonaming adds eight letters to the program's name.
# Each from the service's API reference; the numbers that are not there are the service's own default of 255.
LIMITS: Mapping[str, tuple[int, str]] = {
    "aws:autoscaling/group:Group": (255, r"[^:]+"),
    "aws:cloudwatch/dashboard:Dashboard": (255, r"[A-Za-z0-9_-]+"),
    "aws:cloudwatch/logGroup:LogGroup": (512, r"[A-Za-z0-9_/.#-]+"),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": (512, r"[^:*]+"),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": (255, r".+"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (255, r".+"),
    "aws:ec2/launchTemplate:LaunchTemplate": (128, r"[A-Za-z0-9().\-/_]{3,}"),
    "aws:ec2/securityGroup:SecurityGroup": (255, r"(?!sg-)[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+"),
    "aws:ecr/repository:Repository": (256, r"[a-z0-9]+([._-][a-z0-9]+)*"),
    "aws:ecs/capacityProvider:CapacityProvider": (255, r"(?!aws|ecs|fargate)[A-Za-z0-9_-]+"),
    "aws:ecs/cluster:Cluster": (255, r"[A-Za-z0-9_-]+"),
    "aws:ecs/service:Service": (255, r"[A-Za-z0-9_-]+"),
    "aws:ecs/taskDefinition:TaskDefinition": (255, r"[A-Za-z0-9_-]+"),
    "aws:iam/instanceProfile:InstanceProfile": (128, r"[\w+=,.@-]+"),
    "aws:iam/role:Role": (64, r"[\w+=,.@-]+"),
    "aws:iam/rolePolicy:RolePolicy": (128, r"[\w+=,.@-]+"),
    "aws:lb/loadBalancer:LoadBalancer": (32, r"(?!internal-|-)[A-Za-z0-9-]+(?<!-)"),
    "aws:lb/targetGroup:TargetGroup": (32, r"(?!-)[A-Za-z0-9-]+(?<!-)"),
    "aws:s3/bucket:Bucket": (63, r"[a-z0-9][a-z0-9.-]+[a-z0-9]"),
    "aws:sagemaker/domain:Domain": (63, r"[A-Za-z0-9](-*[A-Za-z0-9])*"),
    "aws:sagemaker/mlflowApp:MlflowApp": (64, r"[A-Za-z0-9](-*[A-Za-z0-9])*"),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": (256, r"[A-Za-z0-9](-*[A-Za-z0-9])*"),
    "aws:secretsmanager/secret:Secret": (512, r"[A-Za-z0-9/_+=.@-]+"),
    "aws:sns/topic:Topic": (256, r"[A-Za-z0-9_-]+"),
    "aws:wafv2/webAcl:WebAcl": (128, r"[\w-]+"),
}
ODD_STACKS = ["a" * 100, "9.Lives_-", "-"]
# Between them they have every type.
_CONFIGS = {name: next(one.config for one in SCENARIOS if one.name == name) for name in ("production", "studio")}


@pytest.fixture(scope="module", params=ODD_STACKS)
def odd(request: pytest.FixtureRequest) -> list[Graph]:
    """Stacks with an odd name, whose component's name is as long as it may be."""

    def build(config: Mapping[str, str]) -> Callable[[], None]:
        def program() -> None:
            AwsMlflowProxy("mlflow-long-name", json.loads(config["mlflow:aws"]))

        return program

    return [
        scenarios.run(config, build(config), stack=request.param, project="long-project-name")
        for config in _CONFIGS.values()
    ]


def test_names_fit_their_services_whatever_the_stack_is_called(odd: list[Graph]) -> None:
    checked: set[str] = set()
    for graph in odd:
        for one in graph.resources:
            if one.type not in LIMITS:
                continue
            most, form = LIMITS[one.type]
            chosen = [one.inputs[name] for name in PHYSICAL.get(one.type, ()) if name in one.inputs]
            # "-" and seven hexadecimal digits.
            for name in chosen or [f"{one.name}-0a1b2c3"]:
                assert len(name) <= most, f"{one.type}: {name}"
                assert re.fullmatch(form, name), f"{one.type}: {name}"
            checked.add(one.type)
    assert checked == set(LIMITS)


def test_every_type_that_has_a_name_has_its_limit_here(odd: list[Graph]) -> None:
    # Nothing in their service is called by a name of theirs, or it is a name that the settings give.
    without = {
        "aws:acm/certificateValidation:CertificateValidation",
        "aws:appautoscaling/policy:Policy",
        "aws:route53/record:Record",
    }
    for graph in odd:
        for one in graph.resources:
            if one.type.startswith("aws:") and one.type not in LIMITS and one.type not in without:
                parameters = inspect.signature(_class(one)._internal_init).parameters
                assert "name" not in parameters, one.type


# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
TAG = re.compile(r"[\w\s.:/=+\-@]{0,256}")
DESCRIPTIONS: Mapping[str, str] = {
    "aws:ec2/securityGroup:SecurityGroup": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:iam/role:Role": r"[\t\n\r\x20-\x7e\xa1-\xff]{1,1000}",
    "aws:ec2/launchTemplate:LaunchTemplate": r".{1,255}",
}


def test_tags_and_descriptions_are_what_their_services_take(odd: list[Graph]) -> None:
    seen: set[str] = set()
    for graph in odd:
        for one in graph.resources:
            for name, value in _tags(one).items():
                assert len(name) <= 128
                assert TAG.fullmatch(value), f"{one.name}: {value}"
            form = DESCRIPTIONS.get(one.type)
            if form and "description" in one.inputs:
                seen.add(one.type)
                assert re.fullmatch(form, one.inputs["description"]), one.inputs["description"]
    assert "aws:ec2/securityGroup:SecurityGroup" in seen
