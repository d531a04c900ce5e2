"""What ECS's agent makes of a container definition, as flags of `docker run`.

By aws/amazon-ecs-agent: agent/api/task/task.go, dockerConfig and dockerHostConfig. What only the cloud has stays out:
the image's registry, the log driver, the task's own network interface.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_DONE = {
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


def docker_flags(definition: Mapping[str, Any], replaced: Mapping[str, str]) -> list[str]:
    """``replaced`` settings take the place of the definition's, or are added. A key that is not known is an error."""
    assert not definition.keys() - _DONE, f"How does ECS run {definition.keys() - _DONE}?"
    assert not definition["linuxParameters"].keys() - {"capabilities", "initProcessEnabled"}
    return list(_flags(definition, replaced))


def _flags(definition: Mapping[str, Any], replaced: Mapping[str, str]) -> Iterator[str]:
    given = {one["name"]: one["value"] for one in definition["environment"]}
    for name, value in {**given, **replaced}.items():
        yield from ("--env", f"{name}={value}")
    yield from ("--user", definition["user"])
    if definition["privileged"]:
        yield "--privileged"
    if definition["readonlyRootFilesystem"]:
        yield "--read-only"
    for option in definition["dockerSecurityOptions"]:
        yield from ("--security-opt", option)
    linux = definition["linuxParameters"]
    for way, names in linux["capabilities"].items():
        for name in names:
            yield from (f"--cap-{way}", name)
    if linux["initProcessEnabled"]:
        yield "--init"
    for limit in definition["ulimits"]:
        yield from ("--ulimit", f"{limit['name']}={limit['softLimit']}:{limit['hardLimit']}")
    yield from ("--stop-timeout", str(definition["stopTimeout"]))
    # The command line knows no command without a shell: the image's own stays, and the test compares it.
    check = definition["healthCheck"]
    yield from ("--health-interval", f"{check['interval']}s", "--health-timeout", f"{check['timeout']}s")
    yield from ("--health-retries", str(check["retries"]), "--health-start-period", f"{check['startPeriod']}s")
