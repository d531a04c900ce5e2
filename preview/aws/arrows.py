"""Who talks to whom in AWS: listeners, security groups' rules, what roles may do, what watches what."""

from collections.abc import Iterator

from ..cloud import FoundArrow
from ..graph import Graph, Resource, dig, listed, texts
from ..names import Names
from . import firewalls
from .exposure import BALANCER, LISTENER, SERVICE, WAF, who
from .grants import roles

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
NAT = "aws:ec2/natGateway:NatGateway"
_FILTER = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"


def arrows(graph: Graph) -> Iterator[FoundArrow]:
    """Each may come more than once."""
    names = Names(graph)
    yield from _callers(graph)
    yield from _balancers(graph, names)
    yield from _rules(graph)
    yield from _rights(graph, names)
    yield from _watching(graph, names)


def _callers(graph: Graph) -> Iterator[FoundArrow]:
    for balancer in graph.of(BALANCER):
        world = "the VPC and what reaches it" if balancer.inputs.get("internal") else "the internet"
        for rule in firewalls.rules(graph):
            if rule.inbound and rule.group in texts(balancer.inputs) and not rule.other.startswith("sg-"):
                yield who(graph, rule, world), balancer, rule.ports


def _balancers(graph: Graph, names: Names) -> Iterator[FoundArrow]:
    for one in graph.of(WAF):
        yield names.resource(one.inputs.get("webAclArn")), names.resource(one.inputs.get("resourceArn")), "guards"
    for listener in graph.of(LISTENER):
        balancer = names.resource(listener.inputs.get("loadBalancerArn"))
        for service in graph.of(SERVICE):
            for inner in listed(service.inputs.get("loadBalancers")):
                if inner.get("targetGroupArn") in texts(listener.inputs):
                    yield balancer, service, str(inner.get("containerPort", ""))
    for balancer in graph.of(BALANCER):
        yield balancer, names.resource(dig(balancer.inputs, "accessLogs", "bucket")), "access logs"


def _rules(graph: Graph) -> Iterator[FoundArrow]:
    for rule in firewalls.rules(graph):
        inside = firewalls.behind(graph, rule.group)
        if not rule.inbound:
            outside = graph.of(NAT) if rule.world else firewalls.behind(graph, rule.other)
            yield from ((one, other, rule.ports) for one in inside for other in outside)


def _rights(graph: Graph, names: Names) -> Iterator[FoundArrow]:
    """A role's rights are arrows from whoever has it to what it may use, with the services' names on them."""
    for role in roles(graph):
        for may in role.may:
            services = ", ".join(sorted({action.partition(":")[0] for action in may.actions}))
            for found in map(names.within, may.resources if may.allow else ()):
                if found is not None:
                    yield from ((_runs(graph, user), found[0], services) for user in role.used_by)


def _runs(graph: Graph, one: Resource) -> Resource:
    """A task definition is its service's."""
    arn = one.outputs.get("arn")
    return next((service for service in graph.of(SERVICE) if service.inputs.get("taskDefinition") == arn), one)


def _watching(graph: Graph, names: Names) -> Iterator[FoundArrow]:
    for one in graph.of(_FILTER):
        log = next((log for log in graph.of("aws:cloudwatch/logGroup:LogGroup") if log.urn in one.dependencies), None)
        yield from ((log, alarm, "metrics") for alarm in graph.of(ALARM))
    for alarm in graph.of(ALARM):
        yield from ((alarm, names.resource(action), "") for action in listed(alarm.inputs.get("alarmActions")))
    for one in graph.of(_SUBSCRIPTION):
        yield names.resource(one.inputs.get("topic")), str(one.inputs.get("endpoint")), str(one.inputs.get("protocol"))
