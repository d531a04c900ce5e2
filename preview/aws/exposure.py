"""What AWS would let in and out: rules, listeners, policies and endpoints, as it would get them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..cloud import Exposure, Grant, Out, Reach
from ..graph import Graph, Resource, dig, listed
from ..names import Names
from . import firewalls, policies

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
LISTENER_RULE = "aws:lb/listenerRule:ListenerRule"
SERVICE = "aws:ecs/service:Service"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
WAF = "aws:wafv2/webAclAssociation:WebAclAssociation"
# What the proxy is told when it asks for tokens, and when it believes in sign-ins: components/proxy_environment.py.
_TOKENS, _SIGN_IN = "MLFLOW_PROXY_TOKENS_SECRET", "MLFLOW_PROXY_OIDC_ISSUER"
_ELSE = {"authenticate": "else the sign-in page", "deny": "else 401", "allow": "or nobody"}


def exposure(graph: Graph) -> Exposure:
    names = Names(graph)
    found = firewalls.rules(graph)
    return Exposure(
        ways_in=list(_ways_in(graph, names, found)),
        ways_out=list(_ways_out(graph, names, found)),
        grants=list(_grants(graph, names)),
    )


def _ways_in(graph: Graph, names: Names, found: Sequence[firewalls.Rule]) -> Iterator[Reach]:
    inbound = [rule for rule in found if rule.inbound]
    for balancer in graph.of(BALANCER):
        yield from _through(graph, names, inbound, balancer)
    for rule in inbound:
        targets = [one for one in firewalls.behind(graph, rule.group) if one.type != BALANCER]
        if targets or not firewalls.behind(graph, rule.group):
            source = who(graph, rule, "anything that reaches the VPC")
            yield Reach(source, _together(targets), rule.ports, "", _asks(graph, targets))


def _through(graph: Graph, names: Names, inbound: Sequence[firewalls.Rule], balancer: Resource) -> Iterator[Reach]:
    """The ways through a load balancer: who its groups let in, and what its listeners then do."""
    world = "anything that reaches the VPC" if balancer.inputs.get("internal") else "the internet"
    groups = listed(balancer.inputs.get("securityGroups"))
    guarded = any(names.resource(one.inputs.get("resourceArn")) is balancer for one in graph.of(WAF))
    for listener in graph.of(LISTENER):
        if names.resource(listener.inputs.get("loadBalancerArn")) is not balancer:
            continue
        port = int(listener.inputs["port"])
        shown = f"{port} {listener.inputs.get('protocol', '')}{', WAF' if guarded else ''}"
        for rule in inbound:
            if rule.group in groups and rule.lets(port):
                source = who(graph, rule, world)
                for requests, target, asked in _answers(graph, names, listener, balancer):
                    yield Reach(source, target, shown, requests, asked)


def _answers(graph: Graph, names: Names, listener: Resource, balancer: Resource) -> Iterator[tuple[str, str, str]]:
    """(which requests, where they end, who is asked for what), in the order in which a listener looks."""
    rules = [one for one in graph.of(LISTENER_RULE) if names.resource(one.inputs.get("listenerArn")) is listener]
    for rule in sorted(rules, key=lambda one: int(one.inputs.get("priority", 0))):
        which = " and ".join(_condition(one) for one in listed(rule.inputs.get("conditions")))
        yield which, *_end(graph, names, listed(rule.inputs.get("actions")), balancer)
    target, asked = _end(graph, names, listed(listener.inputs.get("defaultActions")), balancer)
    yield "all others" if rules else "all", target, asked


def _condition(condition: Mapping[str, Any]) -> str:
    for name, given in condition.items():
        if name == "httpHeader":
            return f"{given['httpHeaderName']}: {' or '.join(given['values'])}"
        return " or ".join(given["values"])
    return "all"


def _end(graph: Graph, names: Names, actions: Sequence[Mapping[str, Any]], balancer: Resource) -> tuple[str, str]:
    asked: list[str] = []
    for action in sorted(actions, key=lambda one: int(one.get("order", 0))):
        kind = str(action["type"])
        if kind == "redirect":
            to = action["redirect"]
            return balancer.name, f"none: sent on to {to.get('protocol', '')} {to.get('port', '')}".strip()
        if kind == "fixed-response":
            return balancer.name, f"none: answered {action['fixedResponse'].get('statusCode', '')}"
        if kind == "forward":
            targets = _members(graph, names, action["targetGroupArn"])
            last = _asks(graph, targets, signed_in=bool(asked))
            return f"{balancer.name} > {_together(targets)}", ", then ".join([*asked, last])
        asked.append(_authentication(action))
    return balancer.name, ", then ".join(asked)


def _authentication(action: Mapping[str, Any]) -> str:
    where = urlsplit(str(dig(action, "authenticateOidc", "issuer"))).hostname
    otherwise = dig(action, "authenticateOidc", "onUnauthenticatedRequest") or "authenticate"
    return f"sign-in at {where} ({_ELSE[otherwise]})"


def _members(graph: Graph, names: Names, group: Any) -> list[Resource]:
    """The services that put their tasks into a target group."""
    return [
        one
        for one in graph.of(SERVICE)
        if any(inner.get("targetGroupArn") == group for inner in listed(one.inputs.get("loadBalancers")))
    ] or [found for found in [names.resource(group)] if found is not None]


def _asks(graph: Graph, targets: Sequence[Resource], *, signed_in: bool = False) -> str:
    """What those behind a port ask of a caller."""
    ends = [one for one in targets if one.type == ENDPOINT]
    said = {_asks_one(graph, one, signed_in=signed_in) for one in targets if one.type != ENDPOINT}
    if ends:
        bounded = sum("policy" in one.inputs for one in ends)
        said.add(f"AWS signature{f'; {bounded} of {len(ends)} have a policy' if bounded else ''}")
    return " or ".join(sorted(said)) or "nothing listens"


def _asks_one(graph: Graph, one: Resource, *, signed_in: bool) -> str:
    task = Names(graph).resource(one.inputs.get("taskDefinition"))
    containers: Any = json.loads(task.inputs["containerDefinitions"]) if task is not None else []
    settings = {dig(one, "name") for each in listed(containers) for one in listed(dig(each, "environment"))}
    if signed_in and _SIGN_IN in settings:
        return "a role"
    return "a token" if _TOKENS in settings else "not known"


def who(graph: Graph, rule: firewalls.Rule, world: str) -> str:
    """The other side of a rule; ``world`` if that is everybody."""
    names = Names(graph)
    if rule.world:
        return world
    if rule.other.startswith("sg-"):
        return _together(firewalls.behind(graph, rule.other)) or names.called(rule.other)
    vpc = any(one.inputs.get("cidrBlock") == rule.other for one in graph.of("aws:ec2/vpc:Vpc"))
    return f"the VPC ({rule.other})" if vpc else names.called(rule.other)


def _together(resources: Sequence[Resource]) -> str:
    ends = [one for one in resources if one.type == ENDPOINT]
    if len(ends) > 1:
        rest = [one.name for one in resources if one not in ends]
        return ", ".join([*rest, f"{len(ends)} VPC endpoints"])
    return ", ".join(one.name for one in resources)


def _ways_out(graph: Graph, names: Names, found: Sequence[firewalls.Rule]) -> Iterator[Out]:
    way = "anywhere" if graph.of("aws:ec2/natGateway:NatGateway") else "any address that its routes reach"
    for rule in found:
        source = firewalls.behind(graph, rule.group)
        if not rule.inbound and source:
            yield Out(_together(source), who(graph, rule, way), rule.ports)


def _allowed(said: policies.Statement) -> str:
    if said.allow:
        return ", ".join(said.who)
    return "nobody" if said.who == ("everybody",) else f"never {', '.join(said.who)}"


def _grants(graph: Graph, names: Names) -> Iterator[Grant]:
    for one in graph.resources:
        if not one.custom or one.type.startswith("aws:iam/") or one.type == ENDPOINT:
            continue
        for value in one.inputs.values():
            for said in policies.statements(value):
                if said.who:
                    yield Grant(
                        who=_allowed(said),
                        may=", ".join(said.actions),
                        on=", ".join(map(names.called, said.resources)) or one.name,
                        where=" and ".join(said.conditions),
                    )
