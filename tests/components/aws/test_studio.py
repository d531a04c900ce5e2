"""SageMaker Studio: network access, retention, encryption, and the permissions of the user profile."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest

from components.aws.load_balancer import LoadBalancer
from components.aws.load_balancer_settings import LoadBalancerSettings
from components.aws.mlflow_actions import DELETE, READ, WRITE
from components.aws.network import Network
from components.aws.network_settings import NetworkSettings
from components.aws.settings import StudioSettings, TrackingSettings
from components.aws.studio import Studio
from components.aws.tracking import Tracking
from components.validation import SettingsError, validate_args
from preview.aws.mock_outputs import ACCOUNT, REGION
from preview.graph import Graph
from preview.recorder import record

from .helpers import KEY, TIMING, make_deployment, only, statements
from .policies import faults

CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/11111111-2222-3333-4444-555555555555"
DOMAIN = "aws:sagemaker/domain:Domain"
PROFILE = "aws:sagemaker/userProfile:UserProfile"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
IN = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"


def record_studio(
    *,
    deployment_args: Mapping[str, Any] | None = None,
    stack: str = "dev",
    network: Mapping[str, Any] | None = None,
    studio: Mapping[str, Any] | None = None,
    load_balancer: Mapping[str, Any] | None = None,
    **tracking: Any,
) -> Graph:
    def program() -> None:
        deployment = dataclasses.replace(make_deployment(**(deployment_args or {})), stack=stack)
        vpc = Network(deployment, NetworkSettings(**(network or {})), public=False)
        Studio(
            deployment,
            StudioSettings(**(studio or {})),
            network=vpc,
            tracking=Tracking(deployment, TrackingSettings(**tracking)),
            load_balancer=LoadBalancer(
                deployment,
                LoadBalancerSettings(**(load_balancer or {})),
                network=vpc,
                timing=TIMING,
                oidc_client_secret=None,
            ),
        )

    return record(program)


def statements_by_action(graph: Graph) -> dict[str, Any]:
    """The statements of the Studio role's policy, by action."""
    policy = only(graph, ROLE_POLICY, "proxy-studio").inputs["policy"]
    pairs = [(action, statement) for statement in statements(policy) for action in statement["Action"]]
    by_action = dict(pairs)
    assert len(by_action) == len(pairs), "an action is in two statements"
    return by_action


def studio_rules(graph: Graph, kind: str) -> list[dict[str, Any]]:
    group = only(graph, GROUP, "proxy-studio")
    return [rule.inputs for rule in graph.of(kind) if group.urn in rule.property_dependencies["securityGroupId"]]


def test_domain_is_vpc_only_with_iam_authentication_and_its_security_group() -> None:
    graph = record_studio()
    inputs = only(graph, DOMAIN).inputs
    assert inputs["appNetworkAccessType"] == "VpcOnly"
    assert inputs["authMode"] == "IAM"
    group = only(graph, GROUP, "proxy-studio")
    assert inputs["defaultUserSettings"]["securityGroups"] == [group.outputs.get("id", group.id)]


def test_only_ingress_rule_is_from_its_own_security_group() -> None:
    graph = record_studio()
    (rule,) = studio_rules(graph, IN)
    assert rule["referencedSecurityGroupId"] == rule["securityGroupId"]


@pytest.mark.parametrize("egress", ["nat", "endpoints"])
def test_egress_ports_are_those_of_aws_efs_and_apps(egress: str) -> None:
    graph = record_studio(network={"egress": egress})
    ports = {(rule["fromPort"], rule["toPort"]) for rule in studio_rules(graph, OUT)}
    assert ports == {(80, 80), (443, 443), (2049, 2049), (8192, 65535)}
    # The domain is created after its rules and deleted before them: its apps need them to stop.
    rules = {rule.urn for kind in (IN, OUT) for rule in graph.of(kind) if "-studio-" in rule.name}
    assert len(rules) > len(ports)
    assert rules <= set(only(graph, DOMAIN).dependencies)


def test_studio_connects_to_the_load_balancer_with_allowed_cidrs_set() -> None:
    graph = record_studio(load_balancer={"allowed_cidrs": ["192.168.0.0/16"], "certificate_arn": CERTIFICATE})
    studio, balancer = (only(graph, GROUP, name) for name in ("proxy-studio", "proxy-load-balancer"))
    (outbound,) = [rule for rule in studio_rules(graph, OUT) if rule.get("referencedSecurityGroupId") == balancer.id]
    (inbound,) = [
        rule.inputs
        for rule in graph.of(IN)
        if rule.inputs.get("referencedSecurityGroupId") == studio.id != rule.inputs["securityGroupId"]
    ]
    assert inbound["securityGroupId"] == balancer.id
    assert {(rule["fromPort"], rule["toPort"]) for rule in (outbound, inbound)} == {(443, 443)}


def test_public_load_balancer_needs_no_studio_rule() -> None:
    graph = record_studio(load_balancer={"public": True, "certificate_arn": CERTIFICATE})
    assert not [resource for resource in graph.resources if resource.name == "proxy-studio-to-load-balancer"]


def test_egress_endpoints_allows_no_rule_to_any_address() -> None:
    graph = record_studio(network={"egress": "endpoints"})
    assert "0.0.0.0/0" not in {rule.get("cidrIpv4") for rule in studio_rules(graph, OUT)}


def test_home_directories_are_deleted_with_the_domain() -> None:
    assert only(record_studio(), DOMAIN).inputs["retentionPolicy"] == {"homeEfsFileSystem": "Delete"}


def test_deletion_protection_protects_the_domain() -> None:
    assert only(record_studio(deployment_args={"deletion_protection": True}), DOMAIN).protect
    assert not only(record_studio(), DOMAIN).protect


def test_domain_uses_the_customer_key() -> None:
    assert only(record_studio(deployment_args={"kms_key_arn": KEY}), DOMAIN).inputs["kmsKeyId"] == KEY


@pytest.mark.parametrize("stack", ["dev", "9", "Team_A.prod", "x" * 100, "é"])
def test_domain_name_is_valid_and_domain_is_deleted_before_replacement(stack: str) -> None:
    domain = only(record_studio(stack=stack), DOMAIN)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", domain.inputs["domainName"])
    # A replacement has the same name.
    assert domain.delete_before_replace


def test_user_profile_is_created_in_the_domain() -> None:
    graph = record_studio(studio={"user_profile": "ada"})
    profile = only(graph, PROFILE)
    assert profile.inputs["userProfileName"] == "ada"
    assert only(graph, DOMAIN).urn in profile.dependencies


def test_user_may_manage_own_private_spaces_and_apps_only() -> None:
    graph = record_studio(studio={"user_profile": "ada"})
    domain = only(graph, DOMAIN).id
    by_action = statements_by_action(graph)
    profile = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:user-profile/{domain}/ada"
    for action in ("CreateSpace", "UpdateSpace", "DeleteSpace", "CreateApp", "DeleteApp"):
        rule = by_action[f"sagemaker:{action}"]
        assert rule["Condition"]["ArnLike"] == {"sagemaker:OwnerUserProfileArn": profile}
        assert rule["Condition"]["StringEquals"] == {"sagemaker:SpaceSharingType": ["Private"]}
        assert all(f"/{domain}/" in resource for resource in rule["Resource"])


@pytest.mark.parametrize("kind", ["app", "server"])
def test_user_may_read_and_write_this_mlflow_and_not_delete(kind: str) -> None:
    graph = record_studio(kind=kind)
    by_action = statements_by_action(graph)
    mlflow = graph.of("aws:sagemaker/mlflowApp:MlflowApp") + graph.of(
        "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
    )
    arn = mlflow[0].outputs["arn"]
    actions = ["sagemaker:CallMlflowAppApi"] if kind == "app" else [*READ, *WRITE]
    assert all(by_action[action]["Resource"] == [arn] for action in actions)
    assert not set(DELETE) & set(by_action)


def test_user_may_write_artifacts_under_the_prefix_and_not_delete() -> None:
    by_action = statements_by_action(record_studio(artifact_prefix="runs"))
    assert by_action["s3:PutObject"]["Resource"] == ["arn:aws:s3:::proxy-artifacts/runs/*"]
    assert "s3:DeleteObject" not in by_action


def test_existing_target_grants_no_s3_permissions() -> None:
    by_action = statements_by_action(
        record_studio(target_arn=f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-app/app-ABCDEF123456")
    )
    assert not any(action.startswith("s3:") for action in by_action)


@pytest.mark.parametrize("kind", ["app", "server"])
def test_policies_have_no_faults(kind: str) -> None:
    assert not faults(record_studio(kind=kind, deployment_args={"kms_key_arn": KEY}))


def test_invalid_user_profile_name_is_rejected() -> None:
    for name in ("-ada", "ada.l", "a" * 64, "ada-"):
        with pytest.raises(SettingsError, match=r"studio\.userProfile"):
            validate_args(StudioSettings, {"userProfile": name}, "studio", production=False)
    assert validate_args(StudioSettings, {"userProfile": "a" * 63}, "studio", production=False)
