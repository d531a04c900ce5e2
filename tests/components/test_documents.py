"""JSON documents that the program writes: the provider sees no difference from what the service returns."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from preview.graph import Graph
from tests.doubles.provider.documents import DOCUMENTS

from .scenario import Scenario
from .test_invariants import SCENARIOS, every_stack

TASK = ("aws:ecs/taskDefinition:TaskDefinition", "containerDefinitions")
ROLE = ("aws:iam/rolePolicy:RolePolicy", "policy")
BUCKET = ("aws:s3/bucketPolicy:BucketPolicy", "policy")
LIFECYCLE = ("aws:ecr/lifecyclePolicy:LifecyclePolicy", "policy")
PORT = {"containerPort": 8080}
VARIABLE = {"name": "A", "value": "1"}
DASHBOARD = ("gcp:monitoring/dashboard:Dashboard", "dashboardJson")


def documents_in(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """(type, field, text) of each JSON document in the inputs."""
    for resource in graph.resources:
        for field, value in resource.inputs.items():
            if isinstance(value, str) and is_document(value):
                yield resource.type, field, value


def is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


@every_stack
def test_no_document_differs_from_what_its_service_returns(scenario: Scenario) -> None:
    for kind, field, text in documents_in(scenario.graph()):
        document = DOCUMENTS[kind][field]
        assert document.is_same(document.returned_text(text), text), f"{kind}.{field}: {document.source}"


def test_scenarios_contain_every_document() -> None:
    written = {(kind, field) for scenario in SCENARIOS for kind, field, _ in documents_in(scenario.graph())}
    assert written == {(kind, field) for kind, fields in DOCUMENTS.items() for field in fields}


def policy(**elements: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::a"], **elements}
    return {"Version": "2012-10-17", "Statement": [statement]}


def container(**elements: Any) -> list[dict[str, Any]]:
    return [{"name": "a", "image": "b", **elements}]


def lifecycle(count: int) -> dict[str, Any]:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count}
    return {"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]}


@pytest.mark.parametrize(
    ("place", "written"),
    [
        # The program wrote it before: each update replaced the task definition.
        (TASK, container(linuxParameters={"capabilities": {"drop": ["ALL"]}})),
        # The provider compares strings only.
        (ROLE, policy(Condition={"Bool": {"aws:SecureTransport": False}})),
        (DASHBOARD, {"displayName": "a", "mosaicLayout": {"tiles": [{"xPos": 0, "width": 4}]}}),
        (DASHBOARD, {"displayName": "a", "labels": {}, "mosaicLayout": {"tiles": [{"widget": {"title": ""}}]}}),
    ],
    ids=str,
)
def test_form_that_the_service_does_not_return_differs(place: tuple[str, str], written: Any) -> None:
    document, text = DOCUMENTS[place[0]][place[1]], json.dumps(written)
    assert not document.is_same(document.returned_text(text), text)


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        (TASK, container(cpu=0, mountPoints=[]), container()),
        (TASK, container(portMappings=[PORT]), container(portMappings=[{**PORT, "hostPort": 8080, "protocol": "tcp"}])),
        (ROLE, policy(), policy(Action="s3:GetObject")),
        (LIFECYCLE, lifecycle(3), lifecycle(3)),
    ],
    ids=str,
)
def test_equivalent_forms_are_the_same(place: tuple[str, str], old: Any, new: Any) -> None:
    assert DOCUMENTS[place[0]][place[1]].is_same(json.dumps(old), json.dumps(new))


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        (TASK, container(), container(image="c")),
        (TASK, container(environment=[VARIABLE]), container(environment=[{**VARIABLE, "value": "2"}])),
        (ROLE, policy(), policy(Action=["s3:PutObject"])),
        (ROLE, policy(), policy(Condition={"StringEquals": {"aws:SourceAccount": "1"}})),
        (BUCKET, policy(Principal="*"), policy(Principal={"AWS": "*"})),
        (LIFECYCLE, lifecycle(3), lifecycle(4)),
        (DASHBOARD, {"displayName": "a"}, {"displayName": "b"}),
    ],
    ids=str,
)
def test_changed_documents_differ(place: tuple[str, str], old: Any, new: Any) -> None:
    assert not DOCUMENTS[place[0]][place[1]].is_same(json.dumps(old), json.dumps(new))
