"""Names fit their services, and no two deployments claim the same one."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from components import AwsMlflowProxy
from preview.graph import Graph, Resource, dig

from ..scenario import run
from .scenarios import SCENARIOS
from .test_invariants import COMPONENT, class_of, stack, tags_of

# -- limits of the services

# (letters, form of the whole name) by type and property; autonaming adds eight letters to the program's name.
# Each from the service's API reference; the numbers that are not there are the service's own default of 255.
LIMITS: Mapping[str, tuple[int, str]] = {
    "aws:autoscaling/group:Group": (255, r"[^:]+"),
    "aws:cloudwatch/dashboard:Dashboard": (255, r"[A-Za-z0-9_-]+"),
    "aws:cloudwatch/logGroup:LogGroup": (512, r"[A-Za-z0-9_/.#-]+"),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": (512, r"[^:*]+"),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": (255, r".+"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (255, r".+"),
    "aws:ec2/launchTemplate:LaunchTemplate": (128, r"[A-Za-z0-9().\-/_]{3,}"),
    "aws:ec2/securityGroup:SecurityGroup": (255, r"(?!sg-)[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+"),
    "aws:ecr/repository:Repository": (256, r"[a-z0-9]+([._-][a-z0-9]+)*"),
    "aws:ecs/capacityProvider:CapacityProvider": (255, r"(?!aws|ecs|fargate)[A-Za-z0-9_-]+"),
    "aws:ecs/cluster:Cluster": (255, r"[A-Za-z0-9_-]+"),
    "aws:ecs/service:Service": (255, r"[A-Za-z0-9_-]+"),
    "aws:ecs/taskDefinition:TaskDefinition": (255, r"[A-Za-z0-9_-]+"),
    "aws:iam/instanceProfile:InstanceProfile": (128, r"[\w+=,.@-]+"),
    "aws:iam/role:Role": (64, r"[\w+=,.@-]+"),
    "aws:iam/rolePolicy:RolePolicy": (128, r"[\w+=,.@-]+"),
    "aws:lb/loadBalancer:LoadBalancer": (32, r"(?!internal-|-)[A-Za-z0-9-]+(?<!-)"),
    "aws:lb/targetGroup:TargetGroup": (32, r"(?!-)[A-Za-z0-9-]+(?<!-)"),
    "aws:s3/bucket:Bucket": (63, r"[a-z0-9][a-z0-9.-]+[a-z0-9]"),
    "aws:sagemaker/domain:Domain": (63, r"[A-Za-z0-9](-*[A-Za-z0-9])*"),
    "aws:sagemaker/mlflowApp:MlflowApp": (64, r"[A-Za-z0-9](-*[A-Za-z0-9])*"),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": (256, r"[A-Za-z0-9](-*[A-Za-z0-9])*"),
    "aws:secretsmanager/secret:Secret": (512, r"[A-Za-z0-9/_+=.@-]+"),
    "aws:sns/topic:Topic": (256, r"[A-Za-z0-9_-]+"),
    "aws:wafv2/webAcl:WebAcl": (128, r"[\w-]+"),
}
ODD_STACKS = ["a" * 100, "9.Lives_-", "-"]
# Between them they have every type.
_CONFIGS = {name: next(one.config for one in SCENARIOS if one.name == name) for name in ("production", "studio")}


@pytest.fixture(scope="module", params=ODD_STACKS)
def odd(request: pytest.FixtureRequest) -> list[Graph]:
    """Stacks with an odd name, whose component's name is as long as it may be."""

    def build(config: Mapping[str, str]) -> Callable[[], None]:
        def program() -> None:
            AwsMlflowProxy("mlflow-long-name", json.loads(config["mlflow:aws"]))

        return program

    return [
        run(config, build(config), stack=request.param, project="long-project-name") for config in _CONFIGS.values()
    ]


def test_names_fit_their_services_whatever_the_stack_is_called(odd: list[Graph]) -> None:
    checked: set[str] = set()
    for graph in odd:
        for one in graph.resources:
            if one.type not in LIMITS:
                continue
            most, form = LIMITS[one.type]
            chosen = [one.inputs[name] for name in PHYSICAL.get(one.type, ()) if name in one.inputs]
            # "-" and seven hexadecimal digits.
            for name in chosen or [f"{one.name}-0a1b2c3"]:
                assert len(name) <= most, f"{one.type}: {name}"
                assert re.fullmatch(form, name), f"{one.type}: {name}"
            checked.add(one.type)
    assert checked == set(LIMITS)


def test_every_type_that_has_a_name_has_its_limit_here(odd: list[Graph]) -> None:
    # Nothing in their service is called by a name of theirs, or it is a name that the settings give.
    without = {
        "aws:acm/certificateValidation:CertificateValidation",
        "aws:appautoscaling/policy:Policy",
        "aws:route53/record:Record",
    }
    for graph in odd:
        for one in graph.resources:
            if one.type.startswith("aws:") and one.type not in LIMITS and one.type not in without:
                parameters = inspect.signature(class_of(one)._internal_init).parameters
                assert "name" not in parameters, one.type


# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
TAG = re.compile(r"[\w\s.:/=+\-@]{0,256}")
DESCRIPTIONS: Mapping[str, str] = {
    "aws:ec2/securityGroup:SecurityGroup": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:iam/role:Role": r"[\t\n\r\x20-\x7e\xa1-\xff]{1,1000}",
    "aws:ec2/launchTemplate:LaunchTemplate": r".{1,255}",
}


def test_tags_and_descriptions_are_what_their_services_take(odd: list[Graph]) -> None:
    seen: set[str] = set()
    for graph in odd:
        for one in graph.resources:
            for name, value in tags_of(one).items():
                assert len(name) <= 128
                assert TAG.fullmatch(value), f"{one.name}: {value}"
            form = DESCRIPTIONS.get(one.type)
            if form and "description" in one.inputs:
                seen.add(one.type)
                assert re.fullmatch(form, one.inputs["description"]), one.inputs["description"]
    assert "aws:ec2/securityGroup:SecurityGroup" in seen


# -- more than one, and other programs


def _physical(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """(type, property, name) of names that the program chose. What it made of a generated one is as unique as that."""
    for one in graph.resources:
        for name in PHYSICAL.get(one.type, ()):
            if name in one.inputs and not one.property_dependencies.get(name):
                yield one.type, name, one.inputs[name]


PHYSICAL: Mapping[str, tuple[str, ...]] = {
    "aws:cloudwatch/dashboard:Dashboard": ("dashboardName",),
    "aws:cloudwatch/logGroup:LogGroup": ("name",),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": ("policyName",),
    "aws:ecs/capacityProvider:CapacityProvider": ("name",),
    "aws:ecs/taskDefinition:TaskDefinition": ("family",),
    "aws:sagemaker/domain:Domain": ("domainName",),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": ("trackingServerName",),
}


def _metrics(graph: Graph) -> list[tuple[str, str]]:
    return [
        (
            str(dig(one.inputs, "metricTransformation", "namespace")),
            str(dig(one.inputs, "metricTransformation", "name")),
        )
        for one in graph.of("aws:cloudwatch/logMetricFilter:LogMetricFilter")
    ]


def test_two_in_one_stack_do_not_collide() -> None:
    graph = stack("two-in-one-stack")
    assert [one.name for one in graph.of(COMPONENT)] == ["first", "second"]
    physical = list(_physical(graph))
    assert len(physical) >= 6
    assert len(set(physical)) == len(physical)
    assert len(set(_metrics(graph))) == len(_metrics(graph))
    first, second = graph.of(COMPONENT)
    for one in graph.resources:
        if first in graph.ancestors(one):
            assert not [urn for urn in one.dependencies if second in graph.ancestors(_at(graph, urn))], one.urn


def _at(graph: Graph, urn: str) -> Resource:
    found = graph.by_urn(urn)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["production", "studio"])
def test_two_stacks_in_one_account_do_not_collide(name: str) -> None:
    scenario = next(one for one in SCENARIOS if one.name == name)
    one, other = (run(scenario.config, stack=stack) for stack in ("one", "other"))
    assert list(_physical(one))
    assert not set(_physical(one)) & set(_physical(other))
    assert not set(_metrics(one)) & set(_metrics(other))
