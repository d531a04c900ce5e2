"""Nodes and edges of AWS: listeners, security group rules, permissions of roles, logs and alarms."""

from collections.abc import Iterator

from ..cloud import Edge, Node
from ..graph import Graph, Resource, as_list, strings_in, value_at
from ..names import ResourceNames
from . import security_groups
from .exposure import LISTENER, LOAD_BALANCER, SERVICE, VPC_ENDPOINT, WAF_ASSOCIATION, peer
from .iam_roles import roles

_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
_NAT = "aws:ec2/natGateway:NatGateway"
_LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
_METRIC_FILTER = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"


def _load_balancer(resource: Resource) -> str:
    return f"{'internal' if resource.inputs.get('internal') else 'public'} load balancer"


def _endpoint(resource: Resource) -> str:
    return f"VPC endpoint: {str(resource.inputs.get('serviceName')).rpartition('.')[2]}"


NODES = {
    LOAD_BALANCER: Node("load balancer", describe=_load_balancer),
    SERVICE: Node("the proxy: ECS on EC2"),
    VPC_ENDPOINT: Node("VPC endpoint", grouped=True, describe=_endpoint),
    _NAT: Node("NAT gateway", grouped=True),
    _ALARM: Node("alarm", grouped=True),
    "aws:cloudwatch/dashboard:Dashboard": Node("dashboard"),
    _LOG_GROUP: Node("log group", store=True),
    "aws:ecr/repository:Repository": Node("image in ECR", store=True),
    "aws:s3/bucket:Bucket": Node("bucket", store=True, named=True),
    "aws:sagemaker/domain:Domain": Node("SageMaker Studio"),
    "aws:sagemaker/mlflowApp:MlflowApp": Node("SageMaker MLflow app"),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": Node("SageMaker MLflow tracking server"),
    "aws:secretsmanager/secret:Secret": Node("secret", store=True, named=True),
    "aws:sns/topic:Topic": Node("SNS topic"),
    "aws:wafv2/webAcl:WebAcl": Node("WAF"),
}


def edges(graph: Graph) -> Iterator[Edge]:
    """Yield the edges; the same edge may come more than once."""
    names = ResourceNames(graph)
    yield from _clients(graph)
    yield from _load_balancers(graph, names)
    yield from _security_groups(graph)
    yield from _permissions(graph, names)
    yield from _monitoring(graph, names)


def _clients(graph: Graph) -> Iterator[Edge]:
    for load_balancer in graph.of(LOAD_BALANCER):
        any_address = "the VPC and connected networks" if load_balancer.inputs.get("internal") else "the internet"
        for rule in security_groups.rules(graph):
            attached = rule.group in strings_in(load_balancer.inputs)
            if rule.inbound and attached and not rule.peer.startswith("sg-"):
                yield peer(graph, rule, any_address), load_balancer, rule.ports


def _load_balancers(graph: Graph, names: ResourceNames) -> Iterator[Edge]:
    for association in graph.of(WAF_ASSOCIATION):
        waf, protected = (names.resource(association.inputs.get(name)) for name in ("webAclArn", "resourceArn"))
        yield waf, protected, "filters"
    for listener in graph.of(LISTENER):
        load_balancer = names.resource(listener.inputs.get("loadBalancerArn"))
        for service in graph.of(SERVICE):
            for target in as_list(service.inputs.get("loadBalancers")):
                if target.get("targetGroupArn") in strings_in(listener.inputs):
                    yield load_balancer, service, str(target.get("containerPort", ""))
    for load_balancer in graph.of(LOAD_BALANCER):
        yield load_balancer, names.resource(value_at(load_balancer.inputs, "accessLogs", "bucket")), "access logs"


def _security_groups(graph: Graph) -> Iterator[Edge]:
    for rule in security_groups.rules(graph):
        if not rule.inbound:
            sources = security_groups.members(graph, rule.group)
            targets = graph.of(_NAT) if rule.is_any_address else security_groups.members(graph, rule.peer)
            yield from ((source, target, rule.ports) for source in sources for target in targets)


def _permissions(graph: Graph, names: ResourceNames) -> Iterator[Edge]:
    """From the resources that use a role to those that it may use, labelled with the names of the services."""
    for role in roles(graph):
        for permission in role.permissions:
            services = ", ".join(sorted({action.partition(":")[0] for action in permission.actions}))
            for found in map(names.split, permission.resources if permission.allow else ()):
                if found is not None:
                    yield from ((_service_of(graph, user), found[0], services) for user in role.used_by)


def _service_of(graph: Graph, resource: Resource) -> Resource:
    """The service of a task definition; any other resource itself."""
    arn = resource.outputs.get("arn")
    return next((service for service in graph.of(SERVICE) if service.inputs.get("taskDefinition") == arn), resource)


def _monitoring(graph: Graph, names: ResourceNames) -> Iterator[Edge]:
    for metric_filter in graph.of(_METRIC_FILTER):
        log = next((log for log in graph.of(_LOG_GROUP) if log.urn in metric_filter.dependencies), None)
        yield from ((log, alarm, "metrics") for alarm in graph.of(_ALARM))
    for alarm in graph.of(_ALARM):
        yield from ((alarm, names.resource(action), "") for action in as_list(alarm.inputs.get("alarmActions")))
    for subscription in graph.of(_SUBSCRIPTION):
        inputs = subscription.inputs
        yield names.resource(inputs.get("topic")), str(inputs.get("endpoint")), str(inputs.get("protocol"))
