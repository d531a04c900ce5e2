"""The container definition of the proxy: environment variables, limits and isolation. Pure functions, for tests."""

from collections.abc import Mapping
from typing import Any

import pulumi

from .. import mlflow_environment, proxy_environment
from ..roles import RoleRules
from .settings import ServiceSettings
from .timing import Timing

CONTAINER = "proxy"
# Client connections (MLFLOW_PROXY_MAX_CONNECTIONS), as many upstream connections, and a margin.
_FILES = 8192
_TMP_OPTIONS = ["nosuid", "nodev", "noexec"]


def environment(
    args: ServiceSettings,
    *,
    region: pulumi.Input[str],
    target_arn: pulumi.Input[str],
    ui: bool,
    assume_role_arn: pulumi.Input[str] | None,
    tokens_secret_arn: pulumi.Input[str],
    timing: Timing,
    roles: RoleRules,
    further: Mapping[str, pulumi.Input[str]],
) -> dict[str, pulumi.Input[str]]:
    """Environment variables of the proxy, with ``further`` ones of other components. None of them is secret: the proxy
    reads secrets itself.
    """
    rules = {proxy_environment.ROLE_RULES: roles.text()} if roles.any() else {}
    assumed = {proxy_environment.ASSUME_ROLE_ARN: assume_role_arn} if assume_role_arn is not None else {}
    return {
        # botocore uses the second, other tools the first.
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        # The proxy uses the task role, never the instance's role.
        "AWS_EC2_METADATA_DISABLED": "true",
        # The task has its own network interface. Metrics stay on loopback, the image's default.
        proxy_environment.LISTEN: f"0.0.0.0:{proxy_environment.PORT}",
        # The image with MLflow's UI sets the proxy's variable itself.
        (mlflow_environment if ui else proxy_environment).TARGET_ARN: target_arn,
        **({mlflow_environment.SHUTDOWN_SECONDS: str(timing.shutdown)} if ui else {}),
        proxy_environment.TOKENS_SECRET: tokens_secret_arn,
        proxy_environment.BODY_LIMIT_MIB: str(args.body_limit_mib),
        proxy_environment.BODY_BUDGET_MIB: str(args.body_budget_mib),
        proxy_environment.RESPONSE_BUDGET_MIB: str(args.response_budget_mib(ui=ui)),
        proxy_environment.BODY_TIMEOUT_SECONDS: str(timing.body_timeout),
        proxy_environment.UPSTREAM_TIMEOUT_SECONDS: str(timing.upstream_timeout),
        proxy_environment.LONG_UPSTREAM_TIMEOUT_SECONDS: str(timing.long_upstream_timeout),
        proxy_environment.KEEPALIVE_SECONDS: str(timing.keepalive),
        proxy_environment.DRAIN_SECONDS: str(timing.drain),
        proxy_environment.GRACE_SECONDS: str(timing.grace),
        **rules,
        **assumed,
        **further,
    }


def container(
    args: ServiceSettings,
    *,
    image: pulumi.Input[str],
    settings: Mapping[str, pulumi.Input[str]],
    log_group: pulumi.Input[str],
    region: pulumi.Input[str],
    timing: Timing,
    ui: bool,
) -> dict[str, Any]:
    """The container definition in ECS's format; values may be Outputs. ``ui``: of the image with MLflow's UI."""
    return {
        "name": CONTAINER,
        "image": image,
        "essential": True,
        "environment": [{"name": name, "value": settings[name]} for name in sorted(settings)],
        "portMappings": [
            {"containerPort": proxy_environment.PORT, "hostPort": proxy_environment.PORT, "protocol": "tcp"},
        ],
        "healthCheck": {
            "command": ["CMD", *(mlflow_environment if ui else proxy_environment).HEALTH_COMMAND],
            "interval": 30,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 60 if ui else 10,
        },
        "stopTimeout": timing.stop_timeout,
        "ulimits": [{"name": "nofile", "softLimit": _FILES, "hardLimit": _FILES}],
        **_isolation(args, ui=ui),
        "logConfiguration": _log(log_group, region),
    }


def _isolation(args: ServiceSettings, *, ui: bool) -> dict[str, Any]:
    return {
        "user": proxy_environment.USER,
        "privileged": False,
        # The ECS Exec agent writes into the container: AWS does not support it with a read-only root file system
        # (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html, considerations).
        "readonlyRootFilesystem": not args.enable_execute_command,
        "dockerSecurityOptions": ["no-new-privileges"],
        "linuxParameters": {
            # Both lists, since ECS returns both: without "add" each update would replace the task definition
            # (braintrustdata/terraform-aws-braintrust-data-plane#335).
            "capabilities": {"add": [], "drop": ["ALL"]},
            # The proxy needs no init process; the ECS Exec agent leaves child processes.
            "initProcessEnabled": args.enable_execute_command,
            # MLflow writes temporary files.
            **({"tmpfs": [{"containerPath": "/tmp", "size": 64, "mountOptions": _TMP_OPTIONS}]} if ui else {}),  # noqa: S108
        },
    }


def _log(group: pulumi.Input[str], region: pulumi.Input[str]) -> dict[str, Any]:
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": group,
            "awslogs-region": region,
            "awslogs-stream-prefix": "proxy",
            # The proxy logs synchronously, so a full pipe would block it. In this mode, lines beyond the buffer (about
            # 80,000 requests) are lost while CloudWatch is unavailable, and tasks can start without it.
            "mode": "non-blocking",
            "max-buffer-size": "25m",
        },
    }
