"""Variables, ports and paths that components/ sets are those of proxy_app/, which it does not import."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import mlflow_environment, proxy_environment
from components.roles import RoleRules
from mlflow_app.settings import Settings as AppSettings
from mlflow_app.settings import read_settings
from preview.graph import Graph
from proxy_app.access_log import AccessLog
from proxy_app.app import create_app, target_of
from proxy_app.auth import Role
from proxy_app.auth.no_auth import AuthSettings
from proxy_app.auth.role_rules import RoleRulesSettings, parse
from proxy_app.auth.tokens import Token
from proxy_app.settings import Settings
from tests.components.aws.scenarios import SCENARIOS
from tests.components.scenario import Scenario
from tests.doubles.request_factory import make_request

DOCKERFILES = {
    name: (Path(__file__).parents[2] / name / "Dockerfile").read_text(encoding="utf-8")
    for name in ("proxy_app", "mlflow_app")
}
PROXY_VARIABLES = {name for name, _, _ in Settings.table()}
APP_VARIABLES = {name for name, _, _ in AppSettings.table()}
# Read by botocore. Those that are settings of the proxy too are in its table.
BOTOCORE_VARIABLES = {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED"}


def containers(graph: Graph) -> list[dict[str, Any]]:
    tasks = graph.of("aws:ecs/taskDefinition:TaskDefinition")
    return [container for task in tasks for container in json.loads(task.inputs["containerDefinitions"])]


def environment_of(definition: Mapping[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in definition["environment"]}


def instruction(name: str, image: str) -> str:
    """The arguments of the last such instruction in the Dockerfile of the image."""
    arguments = re.findall(rf"^{name} ((?:.*\\\n)*.*)$", DOCKERFILES[image], re.MULTILINE)
    return arguments[-1]


def image_of(definition: Mapping[str, Any]) -> str:
    """The folder of the image for which the environment is made."""
    return "mlflow_app" if mlflow_environment.TARGET_ARN in environment_of(definition) else "proxy_app"


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def definitions(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    scenario: Scenario = request.param
    definitions = containers(scenario.graph())
    assert definitions
    return definitions


def test_every_variable_in_proxy_environment_is_a_setting_of_the_proxy() -> None:
    named = {
        value
        for value in vars(proxy_environment).values()
        if isinstance(value, str) and value.startswith("MLFLOW_PROXY_")
    }
    assert len(named) > 10
    assert named <= PROXY_VARIABLES


def test_every_variable_of_a_task_is_read_by_its_image_or_botocore(definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        names = [variable["name"] for variable in definition["environment"]]
        assert len(set(names)) == len(names)
        own = APP_VARIABLES if image_of(definition) == "mlflow_app" else set[str]()
        assert set(names) <= PROXY_VARIABLES | BOTOCORE_VARIABLES | own


def test_scenarios_have_both_images() -> None:
    images = {image_of(definition) for scenario in SCENARIOS for definition in containers(scenario.graph())}
    assert images == {"proxy_app", "mlflow_app"}


def test_proxy_settings_accept_the_environment_of_a_task(definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        environment = environment_of(definition)
        with_ui = image_of(definition) == "mlflow_app"
        settings = read_settings(environment)[1] if with_ui else Settings.from_env(environment)
        target = target_of(settings)
        assert target.label
        if rules := settings.section(RoleRulesSettings).role_rules:
            assert parse(rules)
        assert settings.listen.port == proxy_environment.PORT
        assert not settings.listen.loopback
        assert settings.metrics_listen.loopback
        assert settings.section(AuthSettings).auth


def test_container_and_host_port_are_the_proxy_port(definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        (mapping,) = definition["portMappings"]
        assert mapping["containerPort"] == mapping["hostPort"] == proxy_environment.PORT


@pytest.mark.parametrize(
    ("image", "command"),
    [("proxy_app", proxy_environment.HEALTH_COMMAND), ("mlflow_app", mlflow_environment.HEALTH_COMMAND)],
)
def test_port_user_and_health_check_equal_those_of_the_dockerfile(image: str, command: tuple[str, ...]) -> None:
    assert instruction("EXPOSE", image) == str(proxy_environment.PORT)
    assert instruction("USER", image) == proxy_environment.USER
    check = instruction("HEALTHCHECK", image)
    assert json.loads(check[check.index("CMD ") + 4 :]) == list(command)


def test_task_health_check_has_the_intervals_of_the_dockerfile(definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        image, check = image_of(definition), definition["healthCheck"]
        words = shlex.split(instruction("HEALTHCHECK", image))
        options = dict(word[2:].split("=") for word in words if word.startswith("--"))
        assert check["command"] == ["CMD", "python", "-m", image, "healthcheck"]
        assert options == {
            "interval": f"{check['interval']}s",
            "timeout": f"{check['timeout']}s",
            "start-period": f"{check['startPeriod']}s",
            "retries": str(check["retries"]),
        }


@pytest.mark.parametrize("path", [proxy_environment.HEALTH, proxy_environment.STARTED, proxy_environment.READY])
async def test_health_paths_need_no_authentication_and_are_not_logged(path: str) -> None:
    lines: list[str] = []
    settings = Settings.from_env(
        {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:1", "MLFLOW_PROXY_TOKENS_FILE": "/tokens"}
    )
    app = create_app(settings, access_log=AccessLog(lines.append))
    request = make_request({}, "GET")
    assert (await app.proxy.handle(request.clone(rel_url=path))).status in {200, 503}
    assert lines == []
    assert (await app.proxy.handle(request.clone(rel_url="/"))).status == 401
    assert len(lines) == 1


def test_proxy_tokens_have_the_prefix_of_the_components() -> None:
    _, plain = Token.new("ann", Role.VIEWER, 1)
    assert plain.startswith(f"{proxy_environment.TOKEN_PREFIX}_")


_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
_RULES = st.one_of(
    st.builds("group:{}".format, _TEXT),
    st.builds("domain:{}".format, st.one_of(_TEXT, st.from_regex(r"[a-z0-9.-]+", fullmatch=True))),
    st.builds("email:{}@{}".format, _TEXT, _TEXT),
    st.builds("email:{}@{}".format, st.text("ab.-+;<>\"'", min_size=1, max_size=5), st.just("example.com")),
)


@given(st.lists(_RULES, max_size=3), st.lists(_RULES, max_size=3), st.sampled_from([None, "viewer", "editor", "admin"]))
def test_proxy_parses_every_role_rule_that_components_accept(
    viewers: list[str], admins: list[str], everyone: Literal["viewer", "editor", "admin"] | None
) -> None:
    rules = RoleRules(viewer=viewers, admin=admins, everyone=everyone)
    if not rules.any() or list(rules.conflicts()):
        return
    parsed = {(rule.kind, rule.value, rule.role.label) for rule in parse(rules.text())}
    expected = {
        *((*rule.split(":", 1), "viewer") for rule in viewers),
        *((*rule.split(":", 1), "admin") for rule in admins),
        *([("everyone", "*", everyone)] if everyone else []),
    }
    assert {(kind, value if kind == "group" else value.lower(), role) for kind, value, role in expected} == parsed
