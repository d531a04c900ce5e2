"""The policy documents of the child components have no faults, and the check finds each kind of fault."""

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from policy_sentry.querying.actions import get_actions_for_service

from components.aws.image import Image
from components.aws.load_balancer import LoadBalancer
from components.aws.load_balancer_settings import LoadBalancerSettings
from components.aws.mlflow_actions import DELETE, READ, WRITE
from components.aws.network import Network
from components.aws.network_settings import NetworkSettings
from components.aws.settings import ImageSettings, StudioSettings, TrackingSettings
from components.aws.studio import Studio
from components.aws.tokens import Tokens
from components.aws.tracking import Tracking
from preview.graph import Graph
from preview.recorder import record

from .helpers import KEY, TIMING, make_deployment
from .policies import actions_that_take_arns, faults, policy_documents


def child_components(kind: str, kms_key_arn: str | None) -> Callable[[], None]:
    def program() -> None:
        deployment = make_deployment(kms_key_arn=kms_key_arn)
        network = Network(deployment, NetworkSettings(), public=False)
        args: dict[str, Any] = {"kind": kind, "automatic_model_registration": True}
        tracking = Tracking(deployment, TrackingSettings(**args))
        load_balancer = LoadBalancer(
            deployment, LoadBalancerSettings(), network=network, timing=TIMING, oidc_client_secret=None
        )
        Studio(deployment, StudioSettings(), network=network, tracking=tracking, load_balancer=load_balancer)
        Image(deployment, ImageSettings(), ui=True)
        Tokens(deployment, days=1)

    return program


@pytest.mark.parametrize("kind", ["app", "server"])
@pytest.mark.parametrize("kms_key_arn", [None, KEY])
def test_policies_of_child_components_have_no_faults(kind: str, kms_key_arn: str | None) -> None:
    graph = record(child_components(kind, kms_key_arn))
    # At least a trust policy and a role policy for each of two roles, and a bucket policy.
    assert len(policy_documents(graph)) >= 5
    assert not faults(graph)


def test_actions_allowed_on_all_resources_take_no_arn() -> None:
    assert not actions_that_take_arns()


def test_mlflow_action_lists_are_complete_and_disjoint() -> None:
    listed = [*READ, *WRITE, *DELETE]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(get_actions_for_service("sagemaker-mlflow")) - {"sagemaker-mlflow:AccessUI"}


def graph_with_policy(statement: dict[str, Any]) -> Graph:
    def program() -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", **statement}})
        pulumi.CustomResource("test:test:Policy", "policy", {"nested": [{"policy": document}]})

    return record(program)


VALID = {"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/x/*"]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"Action": "s3:*"}, "s3:* is a wildcard"),
        ({"Action": ["s3:GetObjects"]}, "s3:GetObjects does not exist"),
        ({"Action": ["s3:getobject"]}, "s3:getobject does not exist"),
        ({"Resource": "*"}, "s3:GetObject on *"),
        ({"Resource": ["arn:aws:s3:::b"]}, "s3:GetObject requires"),
        ({"Action": ["s3:ListBucket"]}, "s3:ListBucket requires"),
        ({"Action": ["s3:GetObject", "s3:ListBucket"]}, "s3:ListBucket requires"),
        (
            {"Resource": ["arn:aws:s3:::b/x/*", "arn:aws:sqs:eu-west-1:1:q"]},
            "no action of the statement supports arn:aws:sqs",
        ),
        ({"Resource": ["arn:aws:s3:::b/x/*", None]}, "None is a missing value"),
        ({"Resource": ["arn:aws:s3:::None/x/*"]}, "'arn:aws:s3:::None/x/*' is a missing value"),
        ({"NotAction": ["s3:GetObject"]}, "it has NotAction or NotResource"),
        (
            {"Condition": {"StringEquals": {"sagemaker:DomainId": "d"}}},
            "s3:GetObject does not support the condition key sagemaker:DomainId",
        ),
    ],
)
def test_fault_in_a_policy_is_found(change: dict[str, Any], fault: str) -> None:
    assert not faults(graph_with_policy(VALID))
    found = faults(graph_with_policy({**VALID, **change}))
    assert any(fault in message for message in found), found


def test_nested_policy_is_found() -> None:
    (document,) = policy_documents(graph_with_policy(VALID))
    assert document.location == "Policy policy: nested[0].policy"
