"""Physical names, tags and descriptions are valid in their services, and unique for each deployment."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from components import AwsMlflowProxy
from preview.graph import Graph, Resource, value_at

from ..scenario import run
from .scenarios import SCENARIOS
from .test_invariants import COMPONENT, class_of, stack, tags_of

# -- limits of the services

# (maximum length, pattern of the physical name) by type, from the API reference of each service; 255 if that has no
# maximum. Auto-naming appends eight characters to the logical name.
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
UNUSUAL_STACK_NAMES = ["a" * 100, "9.Lives_-", "-"]
# Together they have every type.
_CONFIGS = {
    name: next(scenario.config for scenario in SCENARIOS if scenario.name == name)
    for name in ("production-server", "studio")
}


@pytest.fixture(scope="module", params=UNUSUAL_STACK_NAMES)
def unusual_graphs(request: pytest.FixtureRequest) -> list[Graph]:
    """Stacks with an unusual name, and a component name of the maximum length."""

    def build(config: Mapping[str, str]) -> Callable[[], None]:
        def program() -> None:
            AwsMlflowProxy("mlflow-long-name", json.loads(config["mlflow:aws"]))

        return program

    return [
        run(config, build(config), stack=request.param, project="long-project-name") for config in _CONFIGS.values()
    ]


def test_physical_names_are_valid_for_any_stack_name(unusual_graphs: list[Graph]) -> None:
    checked: set[str] = set()
    for graph in unusual_graphs:
        for resource in graph.resources:
            if resource.type not in LIMITS:
                continue
            max_length, pattern = LIMITS[resource.type]
            chosen = [
                resource.inputs[name] for name in NAME_PROPERTIES.get(resource.type, ()) if name in resource.inputs
            ]
            # Auto-naming appends "-" and seven hexadecimal digits.
            for name in chosen or [f"{resource.name}-0a1b2c3"]:
                assert len(name) <= max_length, f"{resource.type}: {name}"
                assert re.fullmatch(pattern, name), f"{resource.type}: {name}"
            checked.add(resource.type)
    assert checked == set(LIMITS)


def test_every_type_with_a_name_has_a_limit(unusual_graphs: list[Graph]) -> None:
    # Types without a physical name, or with one that the settings give.
    unchecked = {
        "aws:acm/certificateValidation:CertificateValidation",
        "aws:appautoscaling/policy:Policy",
        "aws:route53/record:Record",
    }
    for graph in unusual_graphs:
        for resource in graph.resources:
            if resource.type.startswith("aws:") and resource.type not in LIMITS and resource.type not in unchecked:
                parameters = inspect.signature(class_of(resource)._internal_init).parameters
                assert "name" not in parameters, resource.type


# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
TAG = re.compile(r"[\w\s.:/=+\-@]{0,256}")
DESCRIPTIONS: Mapping[str, str] = {
    "aws:ec2/securityGroup:SecurityGroup": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:iam/role:Role": r"[\t\n\r\x20-\x7e\xa1-\xff]{1,1000}",
    "aws:ec2/launchTemplate:LaunchTemplate": r".{1,255}",
}


def test_tags_and_descriptions_are_valid(unusual_graphs: list[Graph]) -> None:
    checked: set[str] = set()
    for graph in unusual_graphs:
        for resource in graph.resources:
            for name, value in tags_of(resource).items():
                assert len(name) <= 128
                assert TAG.fullmatch(value), f"{resource.name}: {value}"
            pattern = DESCRIPTIONS.get(resource.type)
            if pattern and "description" in resource.inputs:
                checked.add(resource.type)
                assert re.fullmatch(pattern, resource.inputs["description"]), resource.inputs["description"]
    assert checked == set(DESCRIPTIONS)


# -- uniqueness


def _physical_names(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """(type, property, name) of names that the program sets, except those that contain a generated name."""
    for resource in graph.resources:
        for name in NAME_PROPERTIES.get(resource.type, ()):
            if name in resource.inputs and depends_on_original_names_only(resource, name):
                yield resource.type, name, resource.inputs[name]


def depends_on_original_names_only(resource: Resource, name: str) -> bool:
    """Whether an input does not depend on other resources than the Stash with the component's original names."""
    return all("$pulumi:index:Stash::" in urn for urn in resource.property_dependencies.get(name, ()))


NAME_PROPERTIES: Mapping[str, tuple[str, ...]] = {
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
            str(value_at(resource.inputs, "metricTransformation", "namespace")),
            str(value_at(resource.inputs, "metricTransformation", "name")),
        )
        for resource in graph.of("aws:cloudwatch/logMetricFilter:LogMetricFilter")
    ]


def test_two_components_in_one_stack_have_different_names_and_metrics() -> None:
    graph = stack("two-in-one-stack")
    assert [component.name for component in graph.of(COMPONENT)] == ["first", "second"]
    physical = list(_physical_names(graph))
    assert len(physical) >= 6
    assert len(set(physical)) == len(physical)
    assert len(set(_metrics(graph))) == len(_metrics(graph))


@pytest.mark.parametrize("name", ["production-server", "studio"])
def test_two_stacks_in_one_account_have_different_names_and_metrics(name: str) -> None:
    scenario = next(candidate for candidate in SCENARIOS if candidate.name == name)
    first, second = (run(scenario.config, stack=stack) for stack in ("first", "second"))
    assert list(_physical_names(first))
    assert not set(_physical_names(first)) & set(_physical_names(second))
    assert not set(_metrics(first)) & set(_metrics(second))
