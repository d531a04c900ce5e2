"""Inbound and outbound access in AWS, from security groups, listeners, tasks, endpoints and resource policies."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..cloud import Egress, Exposure, Ingress, PolicyGrant
from ..graph import Graph, Resource, as_list, value_at
from ..names import ResourceNames
from . import policies, security_groups

LOAD_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
LISTENER_RULE = "aws:lb/listenerRule:ListenerRule"
SERVICE = "aws:ecs/service:Service"
VPC_ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
WAF_ASSOCIATION = "aws:wafv2/webAclAssociation:WebAclAssociation"
# The environment variables of a proxy that authenticates tokens, and that trusts the load balancer's sign-in:
# components/proxy_environment.py.
_TOKENS, _OIDC = "MLFLOW_PROXY_TOKENS_SECRET", "MLFLOW_PROXY_ALB_ISSUER"
_UNAUTHENTICATED = {"authenticate": "otherwise redirect to sign-in", "deny": "otherwise 401"}
_CONNECTED = "the VPC and connected networks"


def exposure(graph: Graph) -> Exposure:
    """Return the access that the graph's resources would have."""
    names = ResourceNames(graph)
    rules = security_groups.rules(graph)
    return Exposure(
        ingress=list(_ingress(graph, names, rules)),
        egress=list(_egress(graph, rules)),
        policy_grants=list(_policy_grants(graph, names)),
    )


def _ingress(graph: Graph, names: ResourceNames, rules: Sequence[security_groups.Rule]) -> Iterator[Ingress]:
    inbound = [rule for rule in rules if rule.inbound]
    for load_balancer in graph.of(LOAD_BALANCER):
        yield from _through(graph, names, inbound, load_balancer)
    for rule in inbound:
        members = security_groups.members(graph, rule.group)
        targets = [resource for resource in members if resource.type != LOAD_BALANCER]
        if targets or not members:
            source = peer(graph, rule, _CONNECTED)
            yield Ingress(source, _join(targets), rule.ports, "", _authentication(graph, targets))


def _through(
    graph: Graph, names: ResourceNames, inbound: Sequence[security_groups.Rule], load_balancer: Resource
) -> Iterator[Ingress]:
    """The paths through a load balancer: the sources that its security groups allow, and its listeners' actions."""
    any_address = _CONNECTED if load_balancer.inputs.get("internal") else "the internet"
    groups = as_list(load_balancer.inputs.get("securityGroups"))
    has_waf = any(
        names.resource(association.inputs.get("resourceArn")) is load_balancer
        for association in graph.of(WAF_ASSOCIATION)
    )
    for listener in graph.of(LISTENER):
        if names.resource(listener.inputs.get("loadBalancerArn")) is not load_balancer:
            continue
        port = int(listener.inputs["port"])
        port_label = f"{port} {listener.inputs.get('protocol', '')}{', WAF' if has_waf else ''}"
        for rule in inbound:
            if rule.group in groups and rule.allows(port):
                source = peer(graph, rule, any_address)
                for requests, target, authentication in _listener_rules(graph, names, listener, load_balancer):
                    yield Ingress(source, target, port_label, requests, authentication)


def _listener_rules(
    graph: Graph, names: ResourceNames, listener: Resource, load_balancer: Resource
) -> Iterator[tuple[str, str, str]]:
    """(requests, target, authentication) of each rule and of the default actions, in the order of evaluation."""
    rules = [
        listener_rule
        for listener_rule in graph.of(LISTENER_RULE)
        if names.resource(listener_rule.inputs.get("listenerArn")) is listener
    ]
    for rule in sorted(rules, key=lambda listener_rule: int(listener_rule.inputs.get("priority", 0))):
        requests = " and ".join(_condition(condition) for condition in as_list(rule.inputs.get("conditions")))
        yield requests, *_target(graph, names, as_list(rule.inputs.get("actions")), load_balancer)
    actions = as_list(listener.inputs.get("defaultActions"))
    yield "all others" if rules else "all", *_target(graph, names, actions, load_balancer)


def _condition(condition: Mapping[str, Any]) -> str:
    for name, value in condition.items():
        values = " or ".join(value["values"])
        return f"{value['httpHeaderName']}: {values}" if name == "httpHeader" else values
    return "all"


def _target(
    graph: Graph, names: ResourceNames, actions: Sequence[Mapping[str, Any]], load_balancer: Resource
) -> tuple[str, str]:
    """(target, authentication) of a listener's or a rule's actions."""
    steps: list[str] = []
    for action in sorted(actions, key=lambda action: int(action.get("order", 0))):
        match str(action["type"]):
            case "redirect":
                to = action["redirect"]
                destination = f"{to.get('protocol', '')} {to.get('port', '')}".strip()
                return load_balancer.name, f"none (redirect to {destination})"
            case "fixed-response":
                return load_balancer.name, f"none (fixed response {action['fixedResponse'].get('statusCode', '')})"
            case "forward":
                targets = _services(graph, names, action["targetGroupArn"])
                authentication = _authentication(graph, targets, signed_in=bool(steps))
                return f"{load_balancer.name} > {_join(targets)}", ", then ".join([*steps, authentication])
            case _:
                steps.append(_oidc(action))
    return load_balancer.name, ", then ".join(steps)


def _oidc(action: Mapping[str, Any]) -> str:
    issuer = urlsplit(str(value_at(action, "authenticateOidc", "issuer"))).hostname
    otherwise = value_at(action, "authenticateOidc", "onUnauthenticatedRequest") or "authenticate"
    return f"OIDC sign-in at {issuer} ({_UNAUTHENTICATED[otherwise]})"


def _services(graph: Graph, names: ResourceNames, target_group: Any) -> list[Resource]:
    """The services that register their tasks with a target group; the target group itself if there is none."""
    return [
        service
        for service in graph.of(SERVICE)
        if any(target.get("targetGroupArn") == target_group for target in as_list(service.inputs.get("loadBalancers")))
    ] or [found for found in [names.resource(target_group)] if found is not None]


def _authentication(graph: Graph, targets: Sequence[Resource], *, signed_in: bool = False) -> str:
    """The authentication that the targets behind a port require."""
    endpoints = [target for target in targets if target.type == VPC_ENDPOINT]
    found = {
        _proxy_authentication(graph, target, signed_in=signed_in) for target in targets if target.type != VPC_ENDPOINT
    }
    if endpoints:
        count = sum("policy" in endpoint.inputs for endpoint in endpoints)
        found.add(f"AWS signature{f' ({count} of {len(endpoints)} have a policy)' if count else ''}")
    return " or ".join(sorted(found)) or "no target"


def _proxy_authentication(graph: Graph, service: Resource, *, signed_in: bool) -> str:
    task = ResourceNames(graph).resource(service.inputs.get("taskDefinition"))
    containers: Any = json.loads(task.inputs["containerDefinitions"]) if task is not None else []
    variables = {
        value_at(variable, "name")
        for container in as_list(containers)
        for variable in as_list(value_at(container, "environment"))
    }
    if signed_in and _OIDC in variables:
        return "role"
    return "token" if _TOKENS in variables else "unknown"


def peer(graph: Graph, rule: security_groups.Rule, any_address: str) -> str:
    """Return the other side of a rule as text; ``any_address`` if the rule is for any address."""
    names = ResourceNames(graph)
    if rule.is_any_address:
        return any_address
    if rule.peer.startswith("sg-"):
        return _join(security_groups.members(graph, rule.peer)) or names.display(rule.peer)
    is_vpc = any(network.inputs.get("cidrBlock") == rule.peer for network in graph.of("aws:ec2/vpc:Vpc"))
    return f"the VPC ({rule.peer})" if is_vpc else names.display(rule.peer)


def _join(resources: Sequence[Resource]) -> str:
    endpoints = [resource for resource in resources if resource.type == VPC_ENDPOINT]
    if len(endpoints) > 1:
        others = [resource.name for resource in resources if resource not in endpoints]
        return ", ".join([*others, f"{len(endpoints)} VPC endpoints"])
    return ", ".join(resource.name for resource in resources)


def _egress(graph: Graph, rules: Sequence[security_groups.Rule]) -> Iterator[Egress]:
    any_address = "any address" if graph.of("aws:ec2/natGateway:NatGateway") else "any address with a route"
    for rule in rules:
        sources = security_groups.members(graph, rule.group)
        if not rule.inbound and sources:
            yield Egress(_join(sources), peer(graph, rule, any_address), rule.ports)


def _policy_grants(graph: Graph, names: ResourceNames) -> Iterator[PolicyGrant]:
    for resource in graph.resources:
        if not resource.custom or resource.type.startswith("aws:iam/") or resource.type == VPC_ENDPOINT:
            continue
        for value in resource.inputs.values():
            for statement in policies.statements(value):
                if statement.principals:
                    yield PolicyGrant(
                        effect="Allow" if statement.allow else "Deny",
                        principals=", ".join(statement.principals),
                        actions=", ".join(statement.actions),
                        resources=", ".join(map(names.display, statement.resources)) or resource.name,
                        conditions=" and ".join(statement.conditions),
                    )
