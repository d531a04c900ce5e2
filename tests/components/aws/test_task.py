"""The proxy's container: how it is confined, and what it is told."""

import json
from typing import Any

import pytest

from components import proxy_environment
from components.aws.settings import ServiceSettings
from components.aws.task import container, environment
from components.aws.timing import Timing
from components.roles import RoleRules
from preview.graph import SECRET
from tests.doubles.provider.kinds import KINDS

from .helpers import IMAGE_URI, container_definition, record_stack

TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
TIMING = Timing(idle_timeout_seconds=180)


def definition(args: ServiceSettings | None = None) -> dict[str, Any]:
    return container(
        args or ServiceSettings(),
        image=IMAGE_URI,
        settings={"MLFLOW_PROXY_B": "2", "MLFLOW_PROXY_A": "1"},
        log_group="/mlflow/dev/proxy",
        region="eu-west-1",
        timing=TIMING,
    )


def settings(
    args: ServiceSettings | None = None,
    roles: RoleRules | None = None,
    load_balancer_environment: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return environment(
        args or ServiceSettings(),
        region="eu-west-1",
        target_arn="arn:target",
        tokens_secret_arn="arn:secret",
        timing=TIMING,
        roles=roles or RoleRules(),
        load_balancer_environment=load_balancer_environment or {},
    )


def test_it_runs_as_nobody_in_particular_with_nothing_to_write_to_and_no_rights() -> None:
    found = definition()
    assert found["user"] == proxy_environment.USER
    assert found["readonlyRootFilesystem"] is True
    assert found["privileged"] is False
    assert found["linuxParameters"]["capabilities"] == {"add": [], "drop": ["ALL"]}
    assert found["dockerSecurityOptions"] == ["no-new-privileges"]
    assert not {"mountPoints", "secrets", "extraHosts", "systemControls"} & found.keys()


def test_only_exec_access_gives_it_a_root_to_write_to() -> None:
    opened = definition(ServiceSettings(enable_execute_command=True))
    closed = definition()
    changed = {name for name in closed if closed[name] != opened[name]}
    assert changed == {"readonlyRootFilesystem", "linuxParameters"}
    assert opened["linuxParameters"] == {**closed["linuxParameters"], "initProcessEnabled": True}


def test_a_log_that_cannot_be_written_stops_no_proxy() -> None:
    options = definition()["logConfiguration"]["options"]
    assert options["mode"] == "non-blocking"
    assert options["max-buffer-size"].endswith("m")
    assert not {"awslogs-create-group"} & options.keys()


def test_the_order_of_settings_does_not_make_a_new_revision() -> None:
    assert [one["name"] for one in definition()["environment"]] == ["MLFLOW_PROXY_A", "MLFLOW_PROXY_B"]


def test_it_is_killed_only_after_the_proxy_could_end() -> None:
    assert definition()["stopTimeout"] == TIMING.stop_timeout > int(settings()[proxy_environment.GRACE_SECONDS])


def test_there_are_files_for_every_connection() -> None:
    (limit,) = definition()["ulimits"]
    # 1,024 callers by default, and as many to the upstream.
    assert limit == {"name": "nofile", "softLimit": limit["hardLimit"], "hardLimit": limit["hardLimit"]}
    assert limit["hardLimit"] >= 2 * 1024 + 512


def test_the_proxy_never_takes_the_instances_rights() -> None:
    assert settings()["AWS_EC2_METADATA_DISABLED"] == "true"


def test_the_metrics_are_not_offered_to_the_network() -> None:
    assert "MLFLOW_PROXY_METRICS_LISTEN" not in settings()


def test_roles_are_told_only_where_there_are_some() -> None:
    assert proxy_environment.ROLE_RULES not in settings()
    rules = RoleRules(admin=["group:ml-admins"], viewer=["domain:example.com"])
    assert settings(roles=rules)[proxy_environment.ROLE_RULES] == "domain:example.com=viewer, group:ml-admins=admin"


def test_sizes_are_the_settings() -> None:
    told = settings(ServiceSettings(body_limit_mib=64, body_budget_mib=512, task_memory_mib=1024))
    assert (told[proxy_environment.BODY_LIMIT_MIB], told[proxy_environment.BODY_BUDGET_MIB]) == ("64", "512")


def test_what_the_load_balancer_says_of_itself_arrives() -> None:
    load_balancer = {proxy_environment.PUBLIC_URL: "https://mlflow.example.com"}
    assert load_balancer.items() <= settings(load_balancer_environment=load_balancer).items()


@pytest.mark.parametrize("idle_timeout_seconds", [60, 180, 4000])
def test_the_proxy_and_the_target_group_go_by_the_same_load_balancer(idle_timeout_seconds: int) -> None:
    graph = record_stack({"loadBalancer": {"idleTimeoutSeconds": idle_timeout_seconds}})
    timing = Timing(idle_timeout_seconds=idle_timeout_seconds)
    found = container_definition(graph)
    told = {one["name"]: one["value"] for one in found["environment"]}
    (proxies,) = graph.of("aws:lb/targetGroup:TargetGroup")
    (balancer,) = graph.of("aws:lb/loadBalancer:LoadBalancer")
    assert balancer.inputs["idleTimeout"] == idle_timeout_seconds < int(told[proxy_environment.KEEPALIVE_SECONDS])
    assert int(told[proxy_environment.UPSTREAM_TIMEOUT_SECONDS]) < idle_timeout_seconds
    assert proxies.inputs["deregistrationDelay"] == timing.deregistration_delay
    assert (
        found["stopTimeout"] > int(told[proxy_environment.GRACE_SECONDS]) > int(told[proxy_environment.DRAIN_SECONDS])
    )


def test_no_secret_gets_into_the_definition_and_nothing_is_missing() -> None:
    graph = record_stack()
    (task,) = graph.of("aws:ecs/taskDefinition:TaskDefinition")
    # One secret within would make all of it one.
    assert "containerDefinitions" not in task.secret_inputs
    text = task.inputs["containerDefinitions"]
    assert SECRET not in text
    assert "null" not in text
    assert "None" not in text
    assert json.loads(text)[0]["image"] == IMAGE_URI


@pytest.mark.parametrize("enable_execute_command", [False, True])
def test_container_definitions_have_the_normal_form_that_ecs_returns(*, enable_execute_command: bool) -> None:
    (task,) = record_stack({"service": {"enable_execute_command": enable_execute_command}}).of(TASK_DEFINITION)
    assert KINDS[TASK_DEFINITION].normal_form(task.inputs) == task.inputs


def test_the_task_is_for_the_instances_that_there_are() -> None:
    for architecture, platform in (("arm64", "ARM64"), ("amd64", "X86_64")):
        graph = record_stack({"image": {"imageUri": IMAGE_URI, "architecture": architecture}})
        (task,) = graph.of("aws:ecs/taskDefinition:TaskDefinition")
        assert task.inputs["runtimePlatform"] == {"cpuArchitecture": platform, "operatingSystemFamily": "LINUX"}
        assert task.inputs["requiresCompatibilities"] == ["EC2"]
        assert task.inputs["networkMode"] == "awsvpc"
