"""Invariants of every stack of AwsMlflowProxy, with any settings."""

import inspect
from collections.abc import Mapping
from typing import Any

import pulumi_aws
import pytest

from preview import destroy
from preview.aws import exposure, policies, security_groups
from preview.graph import SECRET, Graph, Resource, as_list, value_at

from ..scenario import Scenario
from .scenarios import KEY, SCENARIOS

every_stack = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
BUCKET = "aws:s3/bucket:Bucket"
COMPONENT = "mlflow:index:AwsMlflowProxy"
# The scenarios with a public load balancer.
PUBLIC = ("public-domain", "oidc")
PROTECTED = ("production", "production-server", "customer-key", "other-account", "explicit-providers")


def stack(name: str) -> Graph:
    return next(scenario for scenario in SCENARIOS if scenario.name == name).graph()


def only(graph: Graph, kind: str, **inputs: object) -> Resource:
    """The only resource of a type that has these inputs."""
    (found,) = (resource for resource in graph.of(kind) if inputs.items() <= resource.inputs.items())
    return found


# -- exposure


@every_stack
def test_any_address_reaches_only_ports_80_and_443_of_a_public_load_balancer(scenario: Scenario) -> None:
    graph = scenario.graph()
    public_ports = {
        (member.type, port)
        for rule in security_groups.rules(graph)
        if rule.inbound and rule.is_any_address
        for member in security_groups.members(graph, rule.group)
        for port in (rule.low, rule.high)
    }
    balancer = exposure.LOAD_BALANCER
    assert public_ports == ({(balancer, 80), (balancer, 443)} if scenario.name == "public-domain" else set())
    assert [bool(resource.inputs["internal"]) for resource in graph.of(balancer)] == [scenario.name not in PUBLIC] * (
        len(graph.of(COMPONENT))
    )


@every_stack
def test_instances_and_tasks_get_no_public_address(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert not any(resource.inputs.get("mapPublicIpOnLaunch") for resource in graph.of("aws:ec2/subnet:Subnet"))
    for template in graph.of("aws:ec2/launchTemplate:LaunchTemplate"):
        assert [interface["associatePublicIpAddress"] for interface in template.inputs["networkInterfaces"]] == [
            "false"
        ]
    for service in graph.of(exposure.SERVICE):
        assert not value_at(service.inputs, "networkConfiguration", "assignPublicIp")


@every_stack
def test_every_ingress_to_the_proxy_is_authenticated(scenario: Scenario) -> None:
    ingress = exposure.exposure(scenario.graph()).ingress
    methods = {path.authentication for path in ingress if path.target.endswith("-proxy")}
    assert methods
    for method in methods:
        assert method.startswith(("token", "OIDC sign-in at login.example.com")), methods


@every_stack
def test_public_load_balancer_refuses_http(scenario: Scenario) -> None:
    graph = scenario.graph()
    for balancer in graph.of(exposure.LOAD_BALANCER):
        if not balancer.inputs["internal"]:
            http = only(graph, exposure.LISTENER, loadBalancerArn=balancer.outputs["arn"], port=80)
            assert [action["type"] for action in http.inputs["defaultActions"]] == ["fixed-response"]


@every_stack
def test_every_bucket_blocks_public_access_and_denies_plain_http(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert graph.of(BUCKET)
    for bucket in graph.of(BUCKET):
        name = bucket.outputs["bucket"]
        public_access = only(graph, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", bucket=name).inputs
        for part in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            assert public_access[part] is True, f"{name}: {part}"
        bucket_policy = policies.statements(
            only(graph, "aws:s3/bucketPolicy:BucketPolicy", bucket=name).inputs["policy"]
        )
        arn = bucket.outputs["arn"]
        assert (
            policies.Statement(
                allow=False,
                principals=("everyone",),
                actions=("s3:*",),
                resources=(arn, f"{arn}/*"),
                conditions=("aws:SecureTransport is false",),
            )
            in bucket_policy
        )
        assert not any(statement.allow and "everyone" in statement.principals for statement in bucket_policy)


# -- encryption and retention


def _encryption_keys(graph: Graph, resource: Resource) -> list[str | None]:
    """The key of each data store in a resource: a customer key ARN, a name for the service's key, or None."""
    inputs = resource.inputs
    if resource.type == BUCKET:
        kind = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        (rule,) = only(graph, kind, bucket=resource.outputs["bucket"]).inputs["rules"]
        default = rule["applyServerSideEncryptionByDefault"]
        return [default.get("kmsMasterKeyId") or default.get("sseAlgorithm")]
    if resource.type == "aws:ec2/launchTemplate:LaunchTemplate":
        disks = [disk["ebs"] for disk in inputs["blockDeviceMappings"]]
        return [disk.get("kmsKeyId") or ("aws/ebs" if disk.get("encrypted") == "true" else None) for disk in disks]
    if resource.type == "aws:ecr/repository:Repository":
        return [config.get("kmsKey") or config.get("encryptionType") for config in inputs["encryptionConfigurations"]]
    if resource.type == "aws:sns/topic:Topic":
        return [inputs.get("kmsMasterKeyId") or "SNS"]
    # These are always encrypted, without a customer key by a key of the service.
    if resource.type in ("aws:cloudwatch/logGroup:LogGroup", "aws:secretsmanager/secret:Secret"):
        return [inputs.get("kmsKeyId") or "service key"]
    if resource.type == "aws:sagemaker/domain:Domain":
        return [inputs.get("kmsKeyId") or "aws/elasticfilesystem"]
    return []


@every_stack
def test_every_data_store_is_encrypted(scenario: Scenario) -> None:
    graph = scenario.graph()
    found = {resource.urn: _encryption_keys(graph, resource) for resource in graph.resources if resource.custom}
    kinds = {resource.type for resource in graph.resources if found.get(resource.urn)}
    assert {BUCKET, "aws:ec2/launchTemplate:LaunchTemplate", "aws:cloudwatch/logGroup:LogGroup"} <= kinds
    assert not [urn for urn, keys in found.items() if None in keys]


def test_customer_key_encrypts_every_data_store_except_access_logs() -> None:
    graph = stack("customer-key")
    keys_of = {
        (resource.type, resource.name): _encryption_keys(graph, resource)
        for resource in graph.resources
        if resource.custom
    }
    without = {name for (_, name), keys in keys_of.items() if keys and set(keys) != {KEY}}
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html: only SSE-S3.
    assert without == {"mlflow-access-logs"}


@every_stack
def test_every_log_has_a_retention(scenario: Scenario) -> None:
    graph = scenario.graph()
    groups = graph.of("aws:cloudwatch/logGroup:LogGroup")
    assert groups
    assert all(resource.inputs["retentionInDays"] > 0 for resource in groups)
    # Logs in buckets expire too.
    lifecycles = graph.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
    log_lifecycles = [resource for resource in lifecycles if resource.name.endswith("-access-logs")]
    assert len(log_lifecycles) == len(graph.of(exposure.LOAD_BALANCER))
    for resource in log_lifecycles:
        assert any(value_at(rule, "expiration", "days") for rule in resource.inputs["rules"])


# -- secrets


RANDOM = "random:index/randomPassword:RandomPassword"


@every_stack
def test_secret_values_are_secret_in_inputs_and_outputs(scenario: Scenario) -> None:
    graph = scenario.graph()
    for version in graph.of("aws:secretsmanager/secretVersion:SecretVersion"):
        assert version.inputs["secretString"] == SECRET
    for image in graph.of("docker-build:index:Image"):
        assert [registry["password"] for registry in image.inputs["registries"]] == [SECRET]
    for password in graph.of(RANDOM):
        assert password.outputs["result"] == SECRET
    for component in graph.of(COMPONENT):
        assert component.outputs["admin_token"] == SECRET
    if scenario.program is None:
        assert graph.outputs["admin_token"] == SECRET


def test_oidc_client_secret_is_secret_in_every_listener_action() -> None:
    graph = stack("oidc")
    actions = [
        value_at(action, "authenticateOidc", "clientSecret")
        for resource in [*graph.of(exposure.LISTENER), *graph.of(exposure.LISTENER_RULE)]
        for action in [*as_list(resource.inputs.get("defaultActions")), *as_list(resource.inputs.get("actions"))]
        if "authenticateOidc" in action
    ]
    assert actions == [SECRET] * 2


# -- tags and boundary


def class_of(resource: Resource) -> Any:
    """The class in pulumi_aws of a resource."""
    _, module, name = resource.type.split(":")
    return getattr(getattr(pulumi_aws, module.split("/")[0]), name)


def tags_of(resource: Resource) -> Mapping[str, str]:
    tags = resource.inputs.get("tags")
    if isinstance(tags, dict):
        return {str(name): str(value) for name, value in value_at(resource.inputs, "tags").items()}
    # An Auto Scaling group has a list of key and value; the tags of an image are strings.
    return {value_at(tag, "key"): value_at(tag, "value") for tag in as_list(tags) if value_at(tag, "key")}


@every_stack
def test_every_taggable_resource_has_the_tags(scenario: Scenario) -> None:
    graph = scenario.graph()
    taggable = [
        resource
        for resource in graph.resources
        if resource.type.startswith("aws:")
        and not resource.read
        and "tags" in inspect.signature(class_of(resource)._internal_init).parameters
    ]
    assert len(taggable) > 30
    for resource in taggable:
        component = component_of(graph, resource).name
        tags = tags_of(resource)
        assert {"Project", "Stack", "Component", "Name"} <= set(tags), resource.name
        assert (tags["Project"], tags["Stack"], tags["Component"]) == ("mlflow", scenario.stack, component)
        assert tags["Name"].startswith(f"{scenario.stack}-{component}-")
        if scenario.name == "customer-key":
            assert tags["CostCentre"] == "4711"


def component_of(graph: Graph, resource: Resource) -> Resource:
    return list(graph.ancestors(resource))[-1]


def test_permissions_boundary_is_set_on_every_role() -> None:
    roles = stack("customer-key").of("aws:iam/role:Role")
    assert len(roles) > 4
    assert {resource.inputs.get("permissionsBoundary") for resource in roles} == {
        "arn:aws:iam::123456789012:policy/boundary"
    }


# -- destroy


@every_stack
def test_preview_shows_every_resource_that_destroy_retains_or_that_blocks_it(scenario: Scenario) -> None:
    graph = scenario.graph()
    expected = {
        resource.urn
        for resource in graph.resources
        if resource.protect
        or (resource.retain_on_delete and resource.type != "docker-build:index:Image")
        or resource.inputs.get("enableDeletionProtection")
        or resource.inputs.get("forceDestroy", True) is False
        or resource.inputs.get("forceDelete", True) is False
        or resource.inputs.get("recoveryWindowInDays", 0) > 0
        or resource.type == "aws:sagemaker/domain:Domain"
    }
    assert {rule.resource.urn for rule in destroy.retentions(graph)} == expected


@every_stack
def test_only_deletion_protection_blocks_destroy(scenario: Scenario) -> None:
    retentions = destroy.retentions(scenario.graph())
    protected = scenario.name in PROTECTED
    assert bool([rule for rule in retentions if rule.blocks]) == protected
    if scenario.name not in ("studio", *PROTECTED):
        assert retentions == []


def test_production_protects_what_cannot_be_created_again() -> None:
    graph = stack("production")
    # In production; the Studio domain and the addresses of NAT gateways are in other scenarios.
    expected = {
        "aws:sagemaker/mlflowApp:MlflowApp",
        BUCKET,
        "aws:secretsmanager/secret:Secret",
        "aws:secretsmanager/secretVersion:SecretVersion",
        "random:index/randomPassword:RandomPassword",
        "aws:iam/role:Role",
        "aws:lb/loadBalancer:LoadBalancer",
        "aws:sns/topic:Topic",
    }
    for type_token in expected:
        resources = graph.of(type_token)
        assert resources, type_token
        assert all(resource.protect for resource in resources), type_token
    assert only(graph, "aws:cloudwatch/logGroup:LogGroup", name="/mlflow/prod/mlflow").protect
