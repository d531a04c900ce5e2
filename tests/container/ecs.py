"""Converts a container definition to flags of `docker run`, as the ECS agent does.

Source: aws/amazon-ecs-agent, agent/api/task/task.go, dockerConfig and dockerHostConfig. Left out is what exists only in
AWS: the image's registry, the log driver, the task's network interface.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_SUPPORTED = {
    "name",
    "image",
    "essential",
    "environment",
    "portMappings",
    "healthCheck",
    "stopTimeout",
    "ulimits",
    "user",
    "privileged",
    "readonlyRootFilesystem",
    "dockerSecurityOptions",
    "linuxParameters",
    "logConfiguration",
}


def docker_flags(definition: Mapping[str, Any], overrides: Mapping[str, str]) -> list[str]:
    """The flags; ``overrides`` replace or extend the definition's environment. Fails for unknown keys."""
    assert not definition.keys() - _SUPPORTED, (
        f"unknown keys of the container definition: {definition.keys() - _SUPPORTED}"
    )
    assert not definition["linuxParameters"].keys() - {"capabilities", "initProcessEnabled", "tmpfs"}
    return list(_flags(definition, overrides))


def _flags(definition: Mapping[str, Any], overrides: Mapping[str, str]) -> Iterator[str]:
    own = {entry["name"]: entry["value"] for entry in definition["environment"]}
    for name, value in {**own, **overrides}.items():
        yield from ("--env", f"{name}={value}")
    yield from ("--user", definition["user"])
    if definition["privileged"]:
        yield "--privileged"
    if definition["readonlyRootFilesystem"]:
        yield "--read-only"
    for option in definition["dockerSecurityOptions"]:
        yield from ("--security-opt", option)
    linux = definition["linuxParameters"]
    for action, names in linux["capabilities"].items():
        for name in names:
            yield from (f"--cap-{action}", name)
    for tmpfs in linux.get("tmpfs", []):
        options = [*tmpfs["mountOptions"], f"size={tmpfs['size']}m"]
        yield from ("--tmpfs", f"{tmpfs['containerPath']}:{','.join(options)}")
    if linux["initProcessEnabled"]:
        yield "--init"
    for limit in definition["ulimits"]:
        yield from ("--ulimit", f"{limit['name']}={limit['softLimit']}:{limit['hardLimit']}")
    yield from ("--stop-timeout", str(definition["stopTimeout"]))
    # `docker run` accepts shell commands only. The image's own command stays, and a test compares it.
    check = definition["healthCheck"]
    yield from ("--health-interval", f"{check['interval']}s", "--health-timeout", f"{check['timeout']}s")
    yield from ("--health-retries", str(check["retries"]), "--health-start-period", f"{check['startPeriod']}s")
