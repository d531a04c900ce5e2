"""JSON documents in inputs: the form in which the service returns each, and how the provider compares the two.

A difference that the provider sees is an update or a replacement in every `up`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A JSON document. ``returned``: the value as the service returns it. ``same``: the provider's comparison of the
    returned value with the program's; ``source`` is its function in the provider's code.
    """

    returned: Callable[[Any], Any]
    same: Callable[[Any, Any], bool]
    source: str

    def returned_text(self, text: str) -> str:
        """The text that the service returns."""
        return json.dumps(self.returned(json.loads(text)), sort_keys=True, separators=(",", ":"))

    def is_same(self, old: str, new: str) -> bool:
        """Whether the provider reports no difference between a returned text and the program's."""
        return self.same(json.loads(old), json.loads(new))


def _unchanged(value: Any) -> Any:
    return value


def _equal(old: Any, new: Any) -> bool:
    return old == new


def _fields(value: Any) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None


def _items(value: Any) -> list[Any] | None:
    return cast("list[Any]", value) if isinstance(value, list) else None


# --- IAM policies. awspolicyequivalence (hashicorp/awspolicyequivalence, aws_policy_equivalence.go): "treating single
# element string arrays as equivalent to a string without an array, as the AWS endpoints do".

_SETS = ("Action", "NotAction", "Resource", "NotResource")


def _policy_returned(policy: Any) -> Any:
    """A policy in which each array of one string is a string; statements and principals keep their form."""
    return {**policy, "Statement": [_single_strings(statement) for statement in policy["Statement"]]}


def _single_strings(value: Any) -> Any:
    fields, items = _fields(value), _items(value)
    if fields is not None:
        return {name: _single_strings(inner) for name, inner in fields.items()}
    return items[0] if items is not None and len(items) == 1 and isinstance(items[0], str) else value


def _policies_same(old: Any, new: Any) -> bool:
    if any(old.get(name) != new.get(name) for name in ("Version", "Id")):
        return False
    before, after = _statements(old), _statements(new)
    return (
        len(before) == len(after)
        and all(any(_statements_same(first, second) for second in after) for first in before)
        and all(any(_statements_same(first, second) for first in before) for second in after)
    )


def _statements(policy: Any) -> list[Any]:
    statements = _items(policy["Statement"])
    return [policy["Statement"]] if statements is None else statements


def _statements_same(old: Any, new: Any) -> bool:
    return (
        old.get("Sid") == new.get("Sid")
        and str(old.get("Effect")).lower() == str(new.get("Effect")).lower()
        and all(sorted(_strings(old.get(name)) or []) == sorted(_strings(new.get(name)) or []) for name in _SETS)
        and _conditions_same(old.get("Condition"), new.get("Condition"))
        and all(_principals_same(old.get(name), new.get(name)) for name in ("Principal", "NotPrincipal"))
    )


def _strings(value: Any) -> list[str] | None:
    """The strings of a value; None if it holds another type, which is equal to nothing."""
    several = _items(value)
    items = several if several is not None else [] if value is None else [value]
    return items if all(isinstance(item, str) for item in items) else None


def _conditions_same(old: Any, new: Any) -> bool:
    if old is None or new is None:
        return old is new
    return set(old) == set(new) and all(_values_same(old[operator], new[operator]) for operator in old)


def _values_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return set(old) == set(new) and all(_sets_same(_strings(old[key]), _strings(new[key])) for key in old)


def _sets_same(old: list[str] | None, new: list[str] | None) -> bool:
    return old is not None and new is not None and len(old) == len(new) and set(old) == set(new)


def _principals_same(old: Any, new: Any) -> bool:
    """A string equals a string only: `"*"` and `{"AWS": "*"}` differ."""
    before, after = _fields(old), _fields(new)
    if before is not None and after is not None:
        return _values_same(before, after)
    return old == new


_POLICY = Document(
    returned=_policy_returned, same=_policies_same, source="internal/verify/json.go: SuppressEquivalentPolicyDiffs"
)


# --- ECS

# Lists of a container definition.
_LISTS = frozenset(
    [
        "command",
        "credentialSpecs",
        "dependsOn",
        "dnsSearchDomains",
        "dnsServers",
        "dockerSecurityOptions",
        "entryPoint",
        "environment",
        "environmentFiles",
        "extraHosts",
        "links",
        "mountPoints",
        "portMappings",
        "resourceRequirements",
        "secrets",
        "systemControls",
        "ulimits",
        "volumesFrom",
    ]
)


def _containers_returned(containers: Any) -> Any:
    """As DescribeTaskDefinition returns them: more empty lists, both lists of capabilities, no order of variables."""
    return [_container_returned(container) for container in containers]


def _container_returned(container: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"cpu": 0, "mountPoints": [], "volumesFrom": [], "systemControls": [], **container}
    found["environment"] = list(reversed(container.get("environment", [])))
    linux = container.get("linuxParameters", {})
    if "capabilities" in linux:
        # braintrustdata/terraform-aws-braintrust-data-plane#335
        found["linuxParameters"] = {**linux, "capabilities": {"add": [], "drop": [], **linux["capabilities"]}}
    return found


def _containers_same(old: Any, new: Any) -> bool:
    return [_reduced(container) for container in old] == [_reduced(container) for container in new]


def _reduced(container: dict[str, Any]) -> dict[str, Any]:
    """A container definition without the differences that the provider ignores."""
    found: dict[str, Any] = {"essential": True, **container}
    if not found.get("cpu"):
        found.pop("cpu", None)
    if "healthCheck" in found:
        found["healthCheck"] = {"interval": 30, "retries": 3, "timeout": 5, **found["healthCheck"]}
    for name in ("environment", "secrets"):
        entries: list[dict[str, Any]] = found.get(name) or []
        found[name] = sorted(entries, key=lambda entry: str(entry.get("name")))
    mappings: list[dict[str, Any]] = found.get("portMappings") or []
    # The network mode of the program's tasks is awsvpc.
    found["portMappings"] = [
        {"hostPort": mapping["containerPort"], "protocol": "tcp", **mapping} for mapping in mappings
    ]
    return {name: value for name, value in found.items() if value or name not in _LISTS}


# --- ECR

_SELECTION = ("tagStatus", "tagPatternList", "tagPrefixList", "storageClass", "countType", "countUnit", "countNumber")


def _lifecycle_returned(policy: Any) -> Any:
    return {"rules": sorted(policy["rules"], key=lambda rule: -rule["rulePriority"])}


def _lifecycles_same(old: Any, new: Any) -> bool:
    def reduced(policy: Any) -> list[Any]:
        rules = sorted(policy["rules"], key=lambda rule: rule["rulePriority"])
        return [
            {
                **{name: rule.get(name) for name in ("rulePriority", "description", "action")},
                "selection": {name: rule["selection"].get(name) or None for name in _SELECTION},
            }
            for rule in rules
        ]

    return reduced(old) == reduced(new)


# --- Cloud Monitoring


def _dashboard_returned(dashboard: Any) -> Any:
    """With the fields that the API adds, and without those that have the default of their type.

    https://protobuf.dev/programming-guides/json/: "serializers omit fields with default values".
    """
    return {"name": "projects/1/dashboards/1", "etag": "1", **_without_defaults(dashboard)}


def _without_defaults(value: Any) -> Any:
    fields, items = _fields(value), _items(value)
    if fields is not None:
        inner = {name: _without_defaults(field) for name, field in fields.items()}
        return {name: field for name, field in inner.items() if field not in ("", 0, False, [])}
    return value if items is None else [_without_defaults(item) for item in items]


def _dashboards_same(old: Any, new: Any) -> bool:
    """Fields that only the API has are ignored."""
    return _only_fields_of(old, new) == new


def _only_fields_of(old: Any, new: Any) -> Any:
    before, after = _fields(old), _fields(new)
    if before is not None and after is not None:
        return {name: _only_fields_of(value, after[name]) for name, value in before.items() if name in after}
    items, others = _items(old), _items(new)
    if items is not None and others is not None:
        return [*map(_only_fields_of, items, others), *items[len(others) :]]
    return old


DOCUMENTS: Mapping[str, Mapping[str, Document]] = {
    "aws:iam/role:Role": {"assumeRolePolicy": _POLICY},
    "aws:iam/rolePolicy:RolePolicy": {"policy": _POLICY},
    "aws:s3/bucketPolicy:BucketPolicy": {"policy": _POLICY},
    "aws:sns/topicPolicy:TopicPolicy": {"policy": _POLICY},
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": {"policyDocument": _POLICY},
    "aws:ec2/vpcEndpoint:VpcEndpoint": {"policy": _POLICY},
    "aws:ecs/taskDefinition:TaskDefinition": {
        "containerDefinitions": Document(
            returned=_containers_returned,
            same=_containers_same,
            source="internal/service/ecs/container_definitions.go: containerDefinitionsAreEquivalent",
        )
    },
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": {
        "policy": Document(
            returned=_lifecycle_returned,
            same=_lifecycles_same,
            source="internal/service/ecr/lifecycle_policy.go: equivalentLifecyclePolicyJSON",
        )
    },
    "aws:cloudwatch/dashboard:Dashboard": {
        "dashboardBody": Document(
            returned=_unchanged, same=_equal, source="internal/verify/json.go: SuppressEquivalentJSONDiffs"
        )
    },
    "gcp:monitoring/dashboard:Dashboard": {
        "dashboardJson": Document(
            returned=_dashboard_returned,
            same=_dashboards_same,
            source="google/services/monitoring/resource_monitoring_dashboard.go: monitoringDashboardDiffSuppress",
        )
    },
}
