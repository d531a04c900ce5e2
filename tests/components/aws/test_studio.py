"""Studio: inside the VPC, with the rights of one person who logs runs."""

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

from .helpers import KEY, make_deployment, only, statements
from .policies import faults

CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/11111111-2222-3333-4444-555555555555"
DOMAIN = "aws:sagemaker/domain:Domain"
PROFILE = "aws:sagemaker/userProfile:UserProfile"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
IN = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"


def recorded(
    *,
    deployment: Mapping[str, Any] | None = None,
    stack: str = "dev",
    network: Mapping[str, Any] | None = None,
    studio: Mapping[str, Any] | None = None,
    load_balancer: Mapping[str, Any] | None = None,
    **tracking: Any,
) -> Graph:
    def program() -> None:
        here = dataclasses.replace(make_deployment(**(deployment or {})), stack=stack)
        around = Network(here, NetworkSettings(**(network or {})), public=False)
        Studio(
            here,
            StudioSettings(**(studio or {})),
            network=around,
            tracking=Tracking(here, TrackingSettings(**tracking)),
            load_balancer=LoadBalancer(
                here, LoadBalancerSettings(**(load_balancer or {})), network=around, oidc_client_secret=None
            ),
        )

    return record(program)


def granted(graph: Graph) -> dict[str, Any]:
    """By action."""
    policy = only(graph, ROLE_POLICY, "proxy-studio").inputs["policy"]
    return {action: one for one in statements(policy) for action in one["Action"]}


def of_studio(graph: Graph, kind: str) -> list[dict[str, Any]]:
    group = only(graph, GROUP, "proxy-studio")
    return [one.inputs for one in graph.of(kind) if group.urn in one.property_dependencies["securityGroupId"]]


def test_its_traffic_stays_in_the_vpc() -> None:
    graph = recorded()
    inputs = only(graph, DOMAIN).inputs
    assert inputs["appNetworkAccessType"] == "VpcOnly"
    assert inputs["authMode"] == "IAM"
    group = only(graph, GROUP, "proxy-studio")
    assert inputs["defaultUserSettings"]["securityGroups"] == [group.outputs.get("id", group.id)]


def test_nothing_but_its_own_apps_reaches_its_apps() -> None:
    graph = recorded()
    (rule,) = of_studio(graph, IN)
    assert rule["referencedSecurityGroupId"] == rule["securityGroupId"]


@pytest.mark.parametrize("egress", ["nat", "endpoints"])
def test_its_apps_reach_aws_their_files_and_each_other(egress: str) -> None:
    graph = recorded(network={"egress": egress})
    ports = {(rule["fromPort"], rule["toPort"]) for rule in of_studio(graph, OUT)}
    assert ports == {(80, 80), (443, 443), (2049, 2049), (8192, 65535)}
    # Not before the way out, and until the end: the domain needs it to go.
    needed = {one.urn for kind in (IN, OUT) for one in graph.of(kind) if "-studio-" in one.name}
    assert needed <= set(only(graph, DOMAIN).dependencies)


def test_notebooks_come_through_the_proxy_whoever_else_may() -> None:
    graph = recorded(load_balancer={"allowed_cidrs": ["192.168.0.0/16"], "certificate_arn": CERTIFICATE})
    studio, balancer = (only(graph, GROUP, name) for name in ("proxy-studio", "proxy-load-balancer"))
    (out,) = [one for one in of_studio(graph, OUT) if one.get("referencedSecurityGroupId") == balancer.id]
    (way_in,) = [
        one.inputs
        for one in graph.of(IN)
        if one.inputs.get("referencedSecurityGroupId") == studio.id != one.inputs["securityGroupId"]
    ]
    assert way_in["securityGroupId"] == balancer.id
    assert {(one["fromPort"], one["toPort"]) for one in (out, way_in)} == {(443, 443)}


def test_a_public_proxy_is_reached_as_everything_on_the_internet_is() -> None:
    graph = recorded(load_balancer={"public": True, "certificate_arn": CERTIFICATE})
    assert not [one for one in graph.resources if one.name == "proxy-studio-to-load-balancer"]


def test_without_internet_no_address_outside_is_allowed() -> None:
    graph = recorded(network={"egress": "endpoints"})
    assert "0.0.0.0/0" not in {rule.get("cidrIpv4") for rule in of_studio(graph, OUT)}


def test_home_directories_do_not_stay_and_cost() -> None:
    assert only(recorded(), DOMAIN).inputs["retentionPolicy"] == {"homeEfsFileSystem": "Delete"}


def test_in_production_home_directories_cannot_be_destroyed() -> None:
    assert only(recorded(deployment={"deletion_protection": True}), DOMAIN).protect
    assert not only(recorded(), DOMAIN).protect


def test_files_use_the_customers_key() -> None:
    assert only(recorded(deployment={"kms_key_arn": KEY}), DOMAIN).inputs["kmsKeyId"] == KEY


@pytest.mark.parametrize("stack", ["dev", "9", "Team_A.prod", "x" * 100, "é"])
def test_a_domains_name_is_one_that_sagemaker_takes(stack: str) -> None:
    domain = only(recorded(stack=stack), DOMAIN)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", domain.inputs["domainName"])
    # Its successor has the same.
    assert domain.delete_before_replace


def test_the_user_profile_is_in_the_domain() -> None:
    graph = recorded(studio={"user_profile": "ada"})
    profile = only(graph, PROFILE)
    assert profile.inputs["userProfileName"] == "ada"
    assert only(graph, DOMAIN).urn in profile.dependencies


def test_a_user_starts_private_spaces_of_their_own_alone() -> None:
    graph = recorded(studio={"user_profile": "ada"})
    domain = only(graph, DOMAIN).id
    by_action = granted(graph)
    profile = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:user-profile/{domain}/ada"
    for action in ("CreateSpace", "UpdateSpace", "DeleteSpace", "CreateApp", "DeleteApp"):
        rule = by_action[f"sagemaker:{action}"]
        assert rule["Condition"]["ArnLike"] == {"sagemaker:OwnerUserProfileArn": profile}
        assert rule["Condition"]["StringEquals"] == {"sagemaker:SpaceSharingType": ["Private"]}
        assert all(f"/{domain}/" in resource for resource in rule["Resource"])


@pytest.mark.parametrize("kind", ["app", "server"])
def test_a_user_calls_this_mlflow_alone(kind: str) -> None:
    graph = recorded(kind=kind)
    by_action = granted(graph)
    found = graph.of("aws:sagemaker/mlflowApp:MlflowApp") + graph.of(
        "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
    )
    arn = found[0].outputs["arn"]
    calling = ["sagemaker:CallMlflowAppApi"] if kind == "app" else [*READ, *WRITE]
    assert all(by_action[action]["Resource"] == [arn] for action in calling)
    assert not set(DELETE) & set(by_action)


def test_a_user_keeps_artifacts_in_the_bucket() -> None:
    by_action = granted(recorded(artifact_prefix="runs"))
    assert by_action["s3:PutObject"]["Resource"] == ["arn:aws:s3:::proxy-artifacts/runs/*"]
    assert "s3:DeleteObject" not in by_action


def test_an_existing_targets_bucket_is_not_guessed() -> None:
    by_action = granted(recorded(target_arn=f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-app/app-ABCDEF123456"))
    assert not any(action.startswith("s3:") for action in by_action)


@pytest.mark.parametrize("kind", ["app", "server"])
def test_its_rights_are_real_and_exact(kind: str) -> None:
    assert not faults(recorded(kind=kind, deployment={"kms_key_arn": KEY}))


def test_a_name_that_studio_would_not_take_is_refused() -> None:
    for name in ("-ada", "ada.l", "a" * 64, "ada-"):
        with pytest.raises(SettingsError, match=r"studio\.userProfile"):
            validate_args(StudioSettings, {"userProfile": name}, "studio", production=False)
    assert validate_args(StudioSettings, {"userProfile": "a" * 63}, "studio", production=False)
