"""Checks of every policy document in a graph against AWS's list of actions and resource types (policy_sentry)."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from policy_sentry.querying.actions import get_action_data

from preview.graph import Graph, Resource

# Actions without a resource type: a statement with one of them may have Resource "*". With what they are for.
ACTIONS_WITHOUT_ARN = {
    "ecr:GetAuthorizationToken": "a login to the account's registry",
    "ecs:DiscoverPollEndpoint": "the ECS agent looks up its endpoint",
    "sagemaker-mlflow:AccessUI": "opening the UI; operations in it have their own actions",
    "sagemaker:ListApps": "Studio lists resources; Describe actions take ARNs",
    "sagemaker:ListDomains": "the same",
    "sagemaker:ListMlflowApps": "the same",
    "sagemaker:ListMlflowTrackingServers": "the same",
    "sagemaker:ListSpaces": "the same",
    "sagemaker:ListUserProfiles": "the same",
    "ssmmessages:CreateControlChannel": "the SSM agent's side of a session; ssm:StartSession has ARNs",
    "ssmmessages:CreateDataChannel": "the same",
    "ssmmessages:OpenControlChannel": "the same",
    "ssmmessages:OpenDataChannel": "the same",
}


class Document(NamedTuple):
    """A policy document in a resource's inputs; ``location`` is its location for messages."""

    resource: Resource
    location: str
    content: Any

    @property
    def statements(self) -> list[dict[str, Any]]:
        found = self.content["Statement"]
        return cast("list[dict[str, Any]]", found if isinstance(found, list) else [found])


def policy_documents(graph: Graph) -> list[Document]:
    """Every policy document in the inputs of a graph's resources, also in nested ones."""
    return [
        Document(resource, f"{resource.type.split(':')[-1]} {resource.name}: {path}", content)
        for resource in graph.resources
        for path, content in _documents_in(resource.inputs, "")
    ]


def _documents_in(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and '"Statement"' in value:
        yield path, json.loads(value)
    elif isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if "Statement" in items:
            yield path, items
        for name, inner in items.items():
            yield from _documents_in(inner, f"{path}.{name}".strip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _documents_in(inner, f"{path}[{number}]")


def faults(graph: Graph, without_arn: Mapping[str, str] = ACTIONS_WITHOUT_ARN) -> list[str]:
    """The faults of the Allow statements in a graph's policies. Actions in ``without_arn`` may have Resource "*".

    Deny statements are not checked.
    """
    found: list[str] = []
    for document in policy_documents(graph):
        found.extend(f"{document.location}: {fault}" for fault in _missing_values(document.content))
        for statement in document.statements:
            if statement["Effect"] == "Allow":
                found.extend(f"{document.location}: {fault}" for fault in _statement_faults(statement, without_arn))
    return found


def _missing_values(value: Any) -> Iterator[str]:
    if value is None or (isinstance(value, str) and re.search(r"(?:^|[:/])None(?:$|[:/])", value)):
        yield f"{value!r} is a missing value"
    elif isinstance(value, dict):
        for inner in cast("dict[str, Any]", value).values():
            yield from _missing_values(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _missing_values(inner)


def _statement_faults(statement: Mapping[str, Any], without_arn: Mapping[str, str]) -> Iterator[str]:
    actions, resources = _strings(statement.get("Action")), _strings(statement.get("Resource"))
    if not actions or "NotAction" in statement or "NotResource" in statement:
        yield "it has NotAction or NotResource, or no Action"
    for action in actions:
        if "*" in action:
            yield f"{action} is a wildcard"
            continue
        formats = _formats(action)
        if not formats:
            yield f"{action} does not exist"
            continue
        # A trust policy has no Resource.
        for resource in resources if "Resource" in statement else []:
            if resource == "*" and action not in without_arn:
                yield f"{action} on *"
        if resources and not any(
            _matches_format(resource, arn_format) for resource in resources for arn_format in formats
        ):
            yield f"{action} requires {' or '.join(sorted(formats))}, got {resources}"
        yield from (
            f"{action} does not support the condition key {key}"
            for key in _condition_keys(statement)
            if not _supports_key(action, key)
        )
    for resource in resources:
        if not any(_matches_format(resource, arn_format) for action in actions for arn_format in _formats(action)):
            yield f"no action of the statement supports {resource}"


def _strings(value: Any) -> list[str]:
    listed = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, str)]


@functools.cache
def action_data(action: str) -> list[dict[str, Any]]:
    service, _, name = action.partition(":")
    data = cast("Any", get_action_data)(service, name)
    rows: list[dict[str, Any]] = data[service] if data else []
    return [row for row in rows if row["action"] == action]


@functools.cache
def _formats(action: str) -> frozenset[str]:
    formats = frozenset(str(row["resource_arn_format"]) for row in action_data(action))
    # Next to other formats, * is for requests without a resource.
    return formats - {"*"} or formats


def _supports_key(action: str, key: str) -> bool:
    keys = {re.sub(r"\$\{.*", "", str(name)) for row in action_data(action) for name in row["condition_keys"]}
    return key.startswith("aws:") or any(
        key.startswith(known) if known.endswith("/") else key == known for known in keys
    )


def _condition_keys(statement: Mapping[str, Any]) -> Iterator[str]:
    for operator in statement.get("Condition", {}).values():
        yield from operator


def _matches_format(resource: str, arn_format: str) -> bool:
    """Whether a resource with wildcards matches at least one ARN of that format."""
    if arn_format == "*" or resource == "*":
        return arn_format == resource
    parts = re.split(r"\$\{[^}]+\}", arn_format)
    # A variable does not contain the character after it. The last variable may contain any, except a slash in a bucket.
    forbidden = [":" + text[:1] for text in parts[1:]]
    if not parts[-1]:
        forbidden[-1] = "/" if arn_format.endswith(":::${BucketName}") else ""

    @functools.cache
    def match(at: int, part: int, offset: int, in_variable: bool) -> bool:
        """Match the resource from ``at`` with the format from ``offset`` in a part, or in the variable before it."""
        text = parts[part]
        ended = offset == len(text)
        if at == len(resource):
            # The remaining variables must not be empty, and the remaining parts must be present.
            return ended and part == len(parts) - 1
        if resource[at] == "*":
            skipped = match(at + 1, part, offset, in_variable)
            if ended:
                return skipped or (part + 1 < len(parts) and match(at, part + 1, 0, True))
            return skipped or match(at, part, offset + 1, False)
        if in_variable and resource[at] not in forbidden[part - 1] and match(at + 1, part, offset, True):
            return True
        if ended:
            return part + 1 < len(parts) and match(at, part + 1, 0, True)
        return resource[at] == text[offset] and match(at + 1, part, offset + 1, False)

    return match(0, 0, 0, False)


def actions_that_take_arns() -> list[str]:
    """Entries of ACTIONS_WITHOUT_ARN that have a resource type."""
    return [action for action in ACTIONS_WITHOUT_ARN if _formats(action) != frozenset({"*"})]
