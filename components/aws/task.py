"""The proxy's task: what its container is told, and how it is confined. Pure functions, so that a test can run it."""

from collections.abc import Mapping
from typing import Any

import pulumi

from .. import proxy_environment
from ..roles import RoleRules
from .settings import ServiceSettings
from .timing import Timing

CONTAINER = "proxy"
# Callers' connections (MLFLOW_PROXY_MAX_CONNECTIONS), as many to the upstream, and room.
_FILES = 8192


def environment(
    args: ServiceSettings,
    *,
    region: pulumi.Input[str],
    target_arn: pulumi.Input[str],
    tokens_secret_arn: pulumi.Input[str],
    timing: Timing,
    roles: RoleRules,
    load_balancer_environment: Mapping[str, pulumi.Input[str]],
) -> dict[str, pulumi.Input[str]]:
    """The proxy's settings, by their names in its contract. None of them is a secret: the proxy reads those itself."""
    rules = {proxy_environment.ROLE_RULES: roles.text()} if roles.any() else {}
    return {
        # botocore goes by the second, other tools by the first.
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        # Its rights are the task's, and never the instance's.
        "AWS_EC2_METADATA_DISABLED": "true",
        # In a network namespace of its own. The metrics stay on loopback, as the image has them.
        proxy_environment.LISTEN: f"0.0.0.0:{proxy_environment.PORT}",
        proxy_environment.TARGET_ARN: target_arn,
        proxy_environment.TOKENS_SECRET: tokens_secret_arn,
        proxy_environment.BODY_LIMIT_MIB: str(args.body_limit_mib),
        proxy_environment.BODY_BUDGET_MIB: str(args.body_budget_mib),
        proxy_environment.BODY_TIMEOUT_SECONDS: str(timing.body_timeout),
        proxy_environment.UPSTREAM_TIMEOUT_SECONDS: str(timing.upstream_timeout),
        proxy_environment.KEEPALIVE_SECONDS: str(timing.keepalive),
        proxy_environment.DRAIN_SECONDS: str(timing.drain),
        proxy_environment.GRACE_SECONDS: str(timing.grace),
        **rules,
        **load_balancer_environment,
    }


def container(
    args: ServiceSettings,
    *,
    image: pulumi.Input[str],
    settings: Mapping[str, pulumi.Input[str]],
    log_group: pulumi.Input[str],
    region: pulumi.Input[str],
    timing: Timing,
) -> dict[str, Any]:
    """The container's definition, as ECS has it; values may be Outputs."""
    return {
        "name": CONTAINER,
        "image": image,
        "essential": True,
        "environment": [{"name": name, "value": settings[name]} for name in sorted(settings)],
        "portMappings": [
            {"containerPort": proxy_environment.PORT, "hostPort": proxy_environment.PORT, "protocol": "tcp"},
        ],
        "healthCheck": {
            "command": ["CMD", *proxy_environment.HEALTH_COMMAND],
            "interval": 30,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 10,
        },
        "stopTimeout": timing.stop_timeout,
        "ulimits": [{"name": "nofile", "softLimit": _FILES, "hardLimit": _FILES}],
        **_confined(args),
        "logConfiguration": _log(log_group, region),
    }


def _confined(args: ServiceSettings) -> dict[str, Any]:
    return {
        "user": proxy_environment.USER,
        "privileged": False,
        # ECS Exec's agent lives in the container and has to write there: AWS supports it with no read-only root
        # (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html, considerations).
        "readonlyRootFilesystem": not args.enable_execute_command,
        "dockerSecurityOptions": ["no-new-privileges"],
        "linuxParameters": {
            # Both lists, since ECS returns both: without "add" each update would replace the task definition
            # (braintrustdata/terraform-aws-braintrust-data-plane#335).
            "capabilities": {"add": [], "drop": ["ALL"]},
            # The proxy is a good first process itself; that agent leaves children behind.
            "initProcessEnabled": args.enable_execute_command,
        },
    }


def _log(group: pulumi.Input[str], region: pulumi.Input[str]) -> dict[str, Any]:
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": group,
            "awslogs-region": region,
            "awslogs-stream-prefix": "proxy",
            # The proxy's log is synchronous: a full pipe would stop it. Here what CloudWatch does not take in time is
            # lost beyond the buffer (some 80,000 requests), and a proxy starts while CloudWatch is away.
            "mode": "non-blocking",
            "max-buffer-size": "25m",
        },
    }
