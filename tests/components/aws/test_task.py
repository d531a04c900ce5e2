"""The proxy's container definition: confinement, log, limits, and environment."""

import json
from typing import Any

import pytest

from components import mlflow_environment, proxy_environment
from components.aws.settings import ServiceSettings
from components.aws.task import container, environment
from components.aws.timing import Timing
from components.roles import RoleRules
from mlflow_app.settings import MLFLOW_SHUTDOWN_SECONDS
from preview.graph import SECRET

from .helpers import IMAGE_URI, TIMING, container_definition, record_stack

TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"


def make_definition(args: ServiceSettings | None = None, *, ui: bool = False) -> dict[str, Any]:
    return container(
        args or ServiceSettings(),
        image=IMAGE_URI,
        settings={"MLFLOW_PROXY_B": "2", "MLFLOW_PROXY_A": "1"},
        log_group="/mlflow/dev/proxy",
        region="eu-west-1",
        timing=TIMING,
        ui=ui,
    )


def make_environment(
    args: ServiceSettings | None = None,
    roles: RoleRules | None = None,
    load_balancer_environment: dict[str, Any] | None = None,
    assume_role_arn: str | None = None,
    *,
    ui: bool = False,
) -> dict[str, Any]:
    return environment(
        args or ServiceSettings(),
        region="eu-west-1",
        target_arn="arn:target",
        ui=ui,
        assume_role_arn=assume_role_arn,
        tokens_secret_arn="arn:secret",
        timing=TIMING,
        roles=roles or RoleRules(),
        further=load_balancer_environment or {},
    )


def test_container_is_unprivileged_with_a_read_only_root_filesystem() -> None:
    definition = make_definition()
    assert definition["user"] == proxy_environment.USER
    assert definition["readonlyRootFilesystem"] is True
    assert definition["privileged"] is False
    assert definition["linuxParameters"]["capabilities"] == {"add": [], "drop": ["ALL"]}
    assert definition["dockerSecurityOptions"] == ["no-new-privileges"]
    assert not {"mountPoints", "secrets", "extraHosts", "systemControls"} & definition.keys()


def test_the_image_with_the_ui_has_a_writable_tmp_and_its_own_health_check() -> None:
    with_ui, without_ui = make_definition(ui=True), make_definition()
    assert {name for name in with_ui if with_ui[name] != without_ui[name]} == {"healthCheck", "linuxParameters"}
    (tmp,) = with_ui["linuxParameters"].pop("tmpfs")
    assert tmp == {"containerPath": "/tmp", "size": 64, "mountOptions": ["nosuid", "nodev", "noexec"]}
    assert with_ui["linuxParameters"] == without_ui["linuxParameters"]
    assert with_ui["healthCheck"]["command"] == ["CMD", *mlflow_environment.HEALTH_COMMAND]


def test_the_image_with_the_ui_gets_the_target_and_stops_in_time() -> None:
    variables = make_environment(ui=True)
    assert variables[mlflow_environment.TARGET_ARN] == "arn:target"
    # It refuses the proxy's variable.
    assert proxy_environment.TARGET_ARN not in variables
    grace, shutdown = (
        int(variables[name]) for name in (proxy_environment.GRACE_SECONDS, mlflow_environment.SHUTDOWN_SECONDS)
    )
    assert grace + MLFLOW_SHUTDOWN_SECONDS + 1 <= shutdown < make_definition(ui=True)["stopTimeout"]


def test_enable_execute_command_changes_root_filesystem_and_init_only() -> None:
    with_exec = make_definition(ServiceSettings(enable_execute_command=True))
    without_exec = make_definition()
    changed = {name for name in without_exec if without_exec[name] != with_exec[name]}
    assert changed == {"readonlyRootFilesystem", "linuxParameters"}
    assert with_exec["linuxParameters"] == {**without_exec["linuxParameters"], "initProcessEnabled": True}


def test_log_driver_is_non_blocking() -> None:
    options = make_definition()["logConfiguration"]["options"]
    assert options["mode"] == "non-blocking"
    assert options["max-buffer-size"].endswith("m")
    assert "awslogs-create-group" not in options


def test_environment_variables_are_sorted() -> None:
    assert [variable["name"] for variable in make_definition()["environment"]] == ["MLFLOW_PROXY_A", "MLFLOW_PROXY_B"]


def test_stop_timeout_is_longer_than_the_grace_period() -> None:
    assert (
        make_definition()["stopTimeout"]
        == TIMING.stop_timeout
        > int(make_environment()[proxy_environment.GRACE_SECONDS])
    )


def test_file_limit_covers_client_and_upstream_connections() -> None:
    (limit,) = make_definition()["ulimits"]
    # By default 1,024 client connections, and as many to the upstream.
    assert limit == {"name": "nofile", "softLimit": limit["hardLimit"], "hardLimit": limit["hardLimit"]}
    assert limit["hardLimit"] >= 2 * 1024 + 512


def test_instance_metadata_is_disabled() -> None:
    assert make_environment()["AWS_EC2_METADATA_DISABLED"] == "true"


def test_metrics_listener_keeps_its_loopback_default() -> None:
    assert "MLFLOW_PROXY_METRICS_LISTEN" not in make_environment()


def test_role_rules_are_set_only_if_there_are_any() -> None:
    assert proxy_environment.ROLE_RULES not in make_environment()
    rules = RoleRules(admin=["group:ml-admins"], viewer=["domain:example.com"])
    assert (
        make_environment(roles=rules)[proxy_environment.ROLE_RULES]
        == "domain:example.com=viewer, group:ml-admins=admin"
    )


def test_proxy_assumes_a_role_only_if_one_is_set() -> None:
    assert proxy_environment.ASSUME_ROLE_ARN not in make_environment()
    role = "arn:aws:iam::210987654321:role/mlflow-proxy"
    assert make_environment(assume_role_arn=role)[proxy_environment.ASSUME_ROLE_ARN] == role


def test_body_limit_and_budget_are_those_of_the_settings() -> None:
    variables = make_environment(ServiceSettings(body_limit_mib=64, body_budget_mib=512, task_memory_mib=1024))
    assert (variables[proxy_environment.BODY_LIMIT_MIB], variables[proxy_environment.BODY_BUDGET_MIB]) == ("64", "512")


@pytest.mark.parametrize("ui", [False, True])
@pytest.mark.parametrize("body_budget_mib", [32, 256, 512])
@pytest.mark.parametrize("spare_mib", [0, 50, 1000])
def test_memory_of_bodies_and_responses_fits_in_the_task(ui: bool, body_budget_mib: int, spare_mib: int) -> None:
    least = max(512, body_budget_mib + 256 + (512 if ui else 0))
    settings = ServiceSettings(body_budget_mib=body_budget_mib, task_memory_mib=least + spare_mib)
    responses = settings.response_budget_mib(ui=ui)
    assert 96 <= responses <= 256
    # With the process itself, the memory of uploads, and of MLflow's UI.
    assert body_budget_mib + responses + 160 + (512 if ui else 0) <= settings.task_memory_mib


def test_environment_of_the_load_balancer_is_included() -> None:
    load_balancer = {proxy_environment.PUBLIC_URL: "https://mlflow.example.com"}
    assert load_balancer.items() <= make_environment(load_balancer_environment=load_balancer).items()


@pytest.mark.parametrize(("upstream_timeout", "long_upstream_timeout"), [(10, 10), (110, 310), (3600, 3600)])
def test_proxy_timeouts_match_load_balancer_and_target_group(upstream_timeout: int, long_upstream_timeout: int) -> None:
    service = {"upstreamTimeoutSeconds": upstream_timeout, "longUpstreamTimeoutSeconds": long_upstream_timeout}
    graph = record_stack({"service": service})
    timing = Timing(upstream_timeout=upstream_timeout, long_upstream_timeout=long_upstream_timeout)
    definition = container_definition(graph)
    environment = {variable["name"]: variable["value"] for variable in definition["environment"]}
    (target_group,) = graph.of("aws:lb/targetGroup:TargetGroup")
    (balancer,) = graph.of("aws:lb/loadBalancer:LoadBalancer")
    assert int(environment[proxy_environment.UPSTREAM_TIMEOUT_SECONDS]) == upstream_timeout
    assert int(environment[proxy_environment.LONG_UPSTREAM_TIMEOUT_SECONDS]) == long_upstream_timeout
    assert (
        long_upstream_timeout < balancer.inputs["idleTimeout"] < int(environment[proxy_environment.KEEPALIVE_SECONDS])
    )
    assert target_group.inputs["deregistrationDelay"] == timing.deregistration_delay
    assert (
        definition["stopTimeout"]
        > int(environment[proxy_environment.GRACE_SECONDS])
        > int(environment[proxy_environment.DRAIN_SECONDS])
    )


def test_container_definitions_contain_no_secret_and_no_missing_value() -> None:
    graph = record_stack()
    (task,) = graph.of("aws:ecs/taskDefinition:TaskDefinition")
    # A single secret value would make the whole JSON text secret.
    assert "containerDefinitions" not in task.secret_inputs
    text = task.inputs["containerDefinitions"]
    assert SECRET not in text
    assert "null" not in text
    assert "None" not in text
    assert json.loads(text)[0]["image"] == IMAGE_URI


def test_runtime_platform_matches_the_architecture() -> None:
    for architecture, platform in (("arm64", "ARM64"), ("amd64", "X86_64")):
        graph = record_stack({"image": {"imageUri": IMAGE_URI, "architecture": architecture}})
        (task,) = graph.of("aws:ecs/taskDefinition:TaskDefinition")
        assert task.inputs["runtimePlatform"] == {"cpuArchitecture": platform, "operatingSystemFamily": "LINUX"}
        assert task.inputs["requiresCompatibilities"] == ["EC2"]
        assert task.inputs["networkMode"] == "awsvpc"
