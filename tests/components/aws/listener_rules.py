"""The actions that a listener of an Application Load Balancer takes for a request.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
"""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from preview.graph import Graph, Resource

from .helpers import only

RULE = "aws:lb/listenerRule:ListenerRule"


def listener_rules(graph: Graph, listener: str) -> Sequence[Resource]:
    """The rules of a listener in the order of evaluation."""
    arn = only(graph, "aws:lb/listener:Listener", listener).outputs["arn"]
    rules = [rule for rule in graph.of(RULE) if rule.inputs["listenerArn"] == arn]
    return sorted(rules, key=lambda rule: rule.inputs["priority"])


def actions_for(
    graph: Graph, listener: str, method: str, path: str, headers: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The actions of the first rule whose conditions all match, or the listener's default actions."""
    for rule in listener_rules(graph, listener):
        if all(_matches(condition, method, path, headers) for condition in rule.inputs["conditions"]):
            return rule.inputs["actions"]
    return only(graph, "aws:lb/listener:Listener", listener).inputs["defaultActions"]


def _matches(condition: Mapping[str, Any], method: str, path: str, headers: Mapping[str, str]) -> bool:
    (kind,) = condition
    match kind:
        case "pathPattern":
            # Without the query, case-sensitive.
            return any(fnmatch.fnmatchcase(path, pattern) for pattern in condition[kind]["values"])
        case "httpRequestMethod":
            return method in condition[kind]["values"]
        case "httpHeader":
            header = headers.get(condition[kind]["httpHeaderName"])
            values = [value.lower() for value in condition[kind]["values"]]
            return header is not None and any(fnmatch.fnmatchcase(header.lower(), value) for value in values)
        case _:
            raise AssertionError(f"{kind} is not supported here")
