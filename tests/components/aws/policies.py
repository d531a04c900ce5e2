"""Every policy document of a graph, held against AWS's own list of actions and resource types (policy_sentry)."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from policy_sentry.querying.actions import get_action_data

from preview.graph import Graph, Resource

# Actions that AWS checks against no resource: a statement with one of them may say *.
WITHOUT_ARN = {
    "ecr:GetAuthorizationToken": "a login to the account's whole registry",
    "ecs:DiscoverPollEndpoint": "an agent asks where to connect",
    "sagemaker-mlflow:AccessUI": "what people do in the interface has actions of its own",
    "sagemaker:ListApps": "Studio shows lists; describing takes ARNs",
    "sagemaker:ListDomains": "the same",
    "sagemaker:ListMlflowApps": "the same",
    "sagemaker:ListMlflowTrackingServers": "the same",
    "sagemaker:ListSpaces": "the same",
    "sagemaker:ListUserProfiles": "the same",
    "ssmmessages:CreateControlChannel": "an agent's side of sessions; who may open one is said elsewhere",
    "ssmmessages:CreateDataChannel": "the same",
    "ssmmessages:OpenControlChannel": "the same",
    "ssmmessages:OpenDataChannel": "the same",
}


class Document(NamedTuple):
    """A policy as a resource has it; ``place`` says where, for people."""

    resource: Resource
    place: str
    content: Any

    @property
    def statements(self) -> list[dict[str, Any]]:
        found = self.content["Statement"]
        return cast("list[dict[str, Any]]", found if isinstance(found, list) else [found])


def policy_documents(graph: Graph) -> list[Document]:
    """All of them, wherever in a resource's inputs."""
    return [
        Document(resource, f"{resource.type.split(':')[-1]} {resource.name}: {path}", content)
        for resource in graph.resources
        for path, content in _within(resource.inputs, "")
    ]


def _within(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and '"Statement"' in value:
        yield path, json.loads(value)
    elif isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if "Statement" in items:
            yield path, items
        for name, inner in items.items():
            yield from _within(inner, f"{path}.{name}".strip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _within(inner, f"{path}[{number}]")


def faults(graph: Graph, without_arn: Mapping[str, str] = WITHOUT_ARN) -> list[str]:
    """What is wrong with what the graph's policies allow, a line for each; ``without_arn`` may say *, with its reason.

    A statement that denies may be as wide as it likes.
    """
    found: list[str] = []
    for document in policy_documents(graph):
        found.extend(f"{document.place}: {fault}" for fault in _nulls(document.content))
        for statement in document.statements:
            if statement["Effect"] == "Allow":
                found.extend(f"{document.place}: {fault}" for fault in _faults(statement, without_arn))
    return found


def _nulls(value: Any) -> Iterator[str]:
    if value is None or (isinstance(value, str) and re.search(r"(?:^|[:/])None(?:$|[:/])", value)):
        yield f"{value!r} stands where a value belongs"
    elif isinstance(value, dict):
        for inner in cast("dict[str, Any]", value).values():
            yield from _nulls(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _nulls(inner)


def _faults(statement: Mapping[str, Any], without_arn: Mapping[str, str]) -> Iterator[str]:
    actions, resources = _texts(statement.get("Action")), _texts(statement.get("Resource"))
    if not actions or "NotAction" in statement or "NotResource" in statement:
        yield "it allows everything but something"
    for action in actions:
        if "*" in action:
            yield f"{action} is a wildcard"
            continue
        formats = _formats(action)
        if not formats:
            yield f"there is no action {action}"
            continue
        # A trust policy has no resource.
        for resource in resources if "Resource" in statement else []:
            if resource == "*" and action not in without_arn:
                yield f"{action} on *"
        if resources and not any(_fits(resource, form) for resource in resources for form in formats):
            yield f"{action} takes {' or '.join(sorted(formats))}, and none of {resources} is one"
        yield from (f"{action} knows no {key}" for key in _keys(statement) if not _known(action, key))
    for resource in resources:
        if not any(_fits(resource, form) for action in actions for form in _formats(action)):
            yield f"no action of its statement takes {resource}"


def _texts(value: Any) -> list[str]:
    listed = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str)]


@functools.cache
def action_data(action: str) -> list[dict[str, Any]]:
    service, _, name = action.partition(":")
    data = cast("Any", get_action_data)(service, name)
    rows: list[dict[str, Any]] = data[service] if data else []
    return [row for row in rows if row["action"] == action]


@functools.cache
def _formats(action: str) -> frozenset[str]:
    formats = frozenset(str(row["resource_arn_format"]) for row in action_data(action))
    # Where there are types, * stands for a call that names none.
    return formats - {"*"} or formats


def _known(action: str, key: str) -> bool:
    keys = {re.sub(r"\$\{.*", "", str(one)) for row in action_data(action) for one in row["condition_keys"]}
    return key.startswith("aws:") or any(key.startswith(one) if one.endswith("/") else key == one for one in keys)


def _keys(statement: Mapping[str, Any]) -> Iterator[str]:
    for operator in statement.get("Condition", {}).values():
        yield from operator


def _fits(resource: str, form: str) -> bool:
    """Whether some ARN of that form is among those that a policy names so, with its stars."""
    if form == "*" or resource == "*":
        return form == resource
    parts = re.split(r"\$\{[^}]+\}", form)
    # What a name may not have in it: what comes next. An ARN's last may have anything, but a bucket's no slash.
    forbidden = [":" + text[:1] for text in parts[1:]]
    if not parts[-1]:
        forbidden[-1] = "/" if form.endswith(":::${BucketName}") else ""

    @functools.cache
    def meet(at: int, part: int, inside: int, naming: bool) -> bool:
        """The resource from ``at`` on, and the form from a place in one of its parts, or in the name before it."""
        text = parts[part]
        ended = inside == len(text)
        if at == len(resource):
            # Names that are left may not be empty, and texts have to be there.
            return ended and part == len(parts) - 1
        if resource[at] == "*":
            skipped = meet(at + 1, part, inside, naming)
            if ended:
                return skipped or (part + 1 < len(parts) and meet(at, part + 1, 0, True))
            return skipped or meet(at, part, inside + 1, False)
        if naming and resource[at] not in forbidden[part - 1] and meet(at + 1, part, inside, True):
            return True
        if ended:
            return part + 1 < len(parts) and meet(at, part + 1, 0, True)
        return resource[at] == text[inside] and meet(at + 1, part, inside + 1, False)

    return meet(0, 0, 0, False)


def reasons_are_true() -> list[str]:
    """Entries of WITHOUT_ARN that do take ARNs."""
    return [action for action in WITHOUT_ARN if _formats(action) != frozenset({"*"})]
