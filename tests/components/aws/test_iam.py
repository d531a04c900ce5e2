"""Every right that the boxes give: a real action, on what it takes, and no more. A wrong one would be found."""

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

from .helpers import KEY, make_deployment
from .policies import faults, policy_documents, reasons_are_true


def boxes(kind: str, kms_key_arn: str | None) -> Callable[[], None]:
    def program() -> None:
        deployment = make_deployment(kms_key_arn=kms_key_arn)
        network = Network(deployment, NetworkSettings(), public=False)
        args: dict[str, Any] = {"kind": kind, "automatic_model_registration": True}
        tracking = Tracking(deployment, TrackingSettings(**args))
        load_balancer = LoadBalancer(deployment, LoadBalancerSettings(), network=network, oidc_client_secret=None)
        Studio(deployment, StudioSettings(), network=network, tracking=tracking, load_balancer=load_balancer)
        Image(deployment, ImageSettings())
        Tokens(deployment, days=1)

    return program


@pytest.mark.parametrize("kind", ["app", "server"])
@pytest.mark.parametrize("kms_key_arn", [None, KEY])
def test_every_right_is_real_and_exact(kind: str, kms_key_arn: str | None) -> None:
    graph = record(boxes(kind, kms_key_arn))
    # A trust and a right for each of two roles, and the bucket's; the network's own beside them.
    assert len(policy_documents(graph)) >= 5
    assert not faults(graph)


def test_the_reasons_for_a_star_are_true() -> None:
    assert not reasons_are_true()


def test_every_mlflow_action_of_a_tracking_server_is_known_by_what_it_does() -> None:
    known = [*READ, *WRITE, *DELETE]
    assert len(known) == len(set(known))
    assert set(known) == set(get_actions_for_service("sagemaker-mlflow")) - {"sagemaker-mlflow:AccessUI"}


def granting(statement: dict[str, Any]) -> Graph:
    def program() -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", **statement}})
        pulumi.CustomResource("test:test:Policy", "policy", {"nested": [{"policy": document}]})

    return record(program)


RIGHT = {"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/x/*"]}


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"Action": "s3:*"}, "s3:* is a wildcard"),
        ({"Action": ["s3:GetObjects"]}, "there is no action s3:GetObjects"),
        ({"Action": ["s3:getobject"]}, "there is no action s3:getobject"),
        ({"Resource": "*"}, "s3:GetObject on *"),
        ({"Resource": ["arn:aws:s3:::b"]}, "s3:GetObject takes"),
        ({"Action": ["s3:ListBucket"]}, "s3:ListBucket takes"),
        ({"Action": ["s3:GetObject", "s3:ListBucket"]}, "s3:ListBucket takes"),
        (
            {"Resource": ["arn:aws:s3:::b/x/*", "arn:aws:sqs:eu-west-1:1:q"]},
            "no action of its statement takes arn:aws:sqs",
        ),
        ({"Resource": ["arn:aws:s3:::b/x/*", None]}, "None stands where a value belongs"),
        ({"Resource": ["arn:aws:s3:::None/x/*"]}, "'arn:aws:s3:::None/x/*' stands where a value belongs"),
        ({"NotAction": ["s3:GetObject"]}, "everything but something"),
        ({"Condition": {"StringEquals": {"sagemaker:DomainId": "d"}}}, "s3:GetObject knows no sagemaker:DomainId"),
    ],
)
def test_a_wrong_right_would_be_found(wrong: dict[str, Any], fault: str) -> None:
    assert not faults(granting(RIGHT))
    found = faults(granting({**RIGHT, **wrong}))
    assert any(fault in one for one in found), found


def test_a_policy_is_found_wherever_it_is() -> None:
    (document,) = policy_documents(granting(RIGHT))
    assert document.place == "Policy policy: nested[0].policy"
