"""What holds in every stack of AwsMlflowProxy, whatever its settings."""

import inspect
from collections.abc import Mapping
from typing import Any

import pulumi_aws
import pytest

from preview import destroy
from preview.aws import exposure, policies, security_groups
from preview.graph import SECRET, Graph, Resource, dig, listed

from ..scenario import Scenario
from .scenarios import KEY, SCENARIOS

every_stack = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
BUCKET = "aws:s3/bucket:Bucket"
COMPONENT = "mlflow:index:AwsMlflowProxy"
# By name, since that is what the test is about: these are meant to be reached from the internet.
PUBLIC = ("public-domain", "oidc")


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
        for rule in security_groups.rules(graph)
        if rule.inbound and rule.is_any_address
        for behind in security_groups.members(graph, rule.group)
        for port in (rule.low, rule.high)
    }
    balancer = exposure.LOAD_BALANCER
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
def test_whoever_reaches_the_proxy_is_asked_who_they_are(scenario: Scenario) -> None:
    ways = exposure.exposure(scenario.graph()).ingress
    asked = {way.authentication for way in ways if way.target.endswith("-proxy")}
    assert asked
    for one in asked:
        assert one.startswith(("token", "OIDC sign-in at login.example.com")), asked


@every_stack
def test_a_public_load_balancer_answers_http_with_a_redirect(scenario: Scenario) -> None:
    graph = scenario.graph()
    for balancer in graph.of(exposure.LOAD_BALANCER):
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
                principals=("everyone",),
                actions=("s3:*",),
                resources=(arn, f"{arn}/*"),
                conditions=("aws:SecureTransport is false",),
            )
            in said
        )
        assert not any(one.allow and "everyone" in one.principals for one in said)


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
    "proxy-access-logs": "a load balancer's logs",
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


RANDOM = "random:index/randomPassword:RandomPassword"


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
    graph = stack("oidc")
    actions = [
        dig(action, "authenticateOidc", "clientSecret")
        for one in [*graph.of(exposure.LISTENER), *graph.of(exposure.LISTENER_RULE)]
        for action in [*listed(one.inputs.get("defaultActions")), *listed(one.inputs.get("actions"))]
        if "authenticateOidc" in action
    ]
    assert actions == [SECRET] * 2


# -- tags, names, places


def class_of(one: Resource) -> Any:
    """The SDK's class of a resource of AWS's."""
    _, module, name = one.type.split(":")
    return getattr(getattr(pulumi_aws, module.split("/")[0]), name)


def tags_of(one: Resource) -> Mapping[str, str]:
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
        if one.type.startswith("aws:") and "tags" in inspect.signature(class_of(one)._internal_init).parameters
    ]
    assert len(taggable) > 30
    for one in taggable:
        component = component_of(graph, one).name
        tags = tags_of(one)
        assert {"Project", "Stack", "Component", "Name"} <= set(tags), one.name
        assert (tags["Project"], tags["Stack"], tags["Component"]) == ("mlflow", scenario.stack, component)
        assert tags["Name"].startswith(f"{scenario.stack}-{component}-")
        if scenario.name == "customer-key":
            assert tags["CostCentre"] == "4711"


def component_of(graph: Graph, one: Resource) -> Resource:
    return list(graph.ancestors(one))[-1]


def test_a_boundary_is_every_roles() -> None:
    roles = stack("customer-key").of("aws:iam/role:Role")
    assert len(roles) > 4
    assert {one.inputs.get("permissionsBoundary") for one in roles} == {"arn:aws:iam::123456789012:policy/boundary"}


# -- destroy


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
    assert {one.resource.urn for one in destroy.retentions(graph)} == held


@every_stack
def test_a_stack_without_deletion_protection_is_destroyed_whole(scenario: Scenario) -> None:
    kept = destroy.retentions(scenario.graph())
    protected = scenario.name in ("production", "serverless-app", "customer-key", "explicit-providers")
    assert bool([one for one in kept if one.blocks]) == protected
    if scenario.name not in ("studio", "production", "serverless-app", "customer-key", "explicit-providers"):
        assert kept == []


def test_production_protects_what_holds_data() -> None:
    graph = stack("production")
    protected = {one.type for one in graph.resources if one.protect and one.custom}
    assert {"aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer", BUCKET} <= protected
