"""components/ and proxy_app/ know nothing of each other; what one tells the other is held together here."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import proxy_environment
from components.roles import RoleRules
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

DOCKERFILE = (Path(__file__).parents[2] / "proxy_app" / "Dockerfile").read_text(encoding="utf-8")
KNOWN = {name for name, _, _ in Settings.table()}
# What botocore reads; the proxy's own settings among them are in its table.
OF_AWS = {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED"}


def containers(graph: Graph) -> list[dict[str, Any]]:
    tasks = graph.of("aws:ecs/taskDefinition:TaskDefinition")
    return [one for task in tasks for one in json.loads(task.inputs["containerDefinitions"])]


def told(definition: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in definition["environment"]}


def instruction(name: str) -> str:
    """What follows the last such instruction of the proxy's Dockerfile."""
    found = re.findall(rf"^{name} ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return found[-1]


@pytest.fixture(params=SCENARIOS, ids=lambda one: one.name)
def definitions(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    scenario: Scenario = request.param
    found = containers(scenario.graph())
    assert found
    return found


def test_every_setting_that_components_name_is_one_of_the_proxy() -> None:
    named = {
        value
        for value in vars(proxy_environment).values()
        if isinstance(value, str) and value.startswith("MLFLOW_PROXY_")
    }
    assert len(named) > 10
    assert named <= KNOWN


def test_every_variable_in_a_task_is_a_setting_of_the_proxy_or_awss(definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        names = [one["name"] for one in definition["environment"]]
        assert len(set(names)) == len(names)
        assert set(names) <= KNOWN | OF_AWS


def test_the_proxy_starts_with_what_a_task_tells_it(definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        settings = Settings.from_env(told(definition))
        target = target_of(settings)
        assert target.label
        if rules := settings.section(RoleRulesSettings).role_rules:
            assert parse(rules)
        assert settings.listen.port == proxy_environment.PORT
        assert not settings.listen.loopback
        assert settings.metrics_listen.loopback
        assert settings.section(AuthSettings).auth


def test_a_task_listens_where_the_load_balancer_asks(definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        (mapping,) = definition["portMappings"]
        assert mapping["containerPort"] == mapping["hostPort"] == proxy_environment.PORT


def test_port_user_and_health_check_are_the_images() -> None:
    assert instruction("EXPOSE") == str(proxy_environment.PORT)
    assert instruction("USER") == proxy_environment.USER
    check = instruction("HEALTHCHECK")
    assert json.loads(check[check.index("CMD ") + 4 :]) == list(proxy_environment.HEALTH_COMMAND)


def test_a_task_is_checked_as_the_image_says(definitions: list[dict[str, Any]]) -> None:
    said = dict(word[2:].split("=") for word in shlex.split(instruction("HEALTHCHECK")) if word.startswith("--"))
    for definition in definitions:
        check = definition["healthCheck"]
        assert check["command"] == ["CMD", *proxy_environment.HEALTH_COMMAND]
        assert said == {
            "interval": f"{check['interval']}s",
            "timeout": f"{check['timeout']}s",
            "start-period": f"{check['startPeriod']}s",
            "retries": str(check["retries"]),
        }


@pytest.mark.parametrize("path", [proxy_environment.HEALTH, proxy_environment.READY])
async def test_the_proxy_answers_at_the_health_paths_whoever_asks(path: str) -> None:
    lines: list[str] = []
    settings = Settings.from_env({"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:1", "MLFLOW_PROXY_AUTH": "off"})
    app = create_app(settings, access_log=AccessLog(lines.append))
    request = make_request({}, "GET").clone(rel_url=path)
    assert (await app.proxy.handle(request)).status in {200, 503}
    # Any other path is logged.
    assert lines == []


def test_tokens_begin_as_the_proxy_do() -> None:
    _, plain = Token.new("ann", Role.VIEWER, 1)
    assert plain.startswith(f"{proxy_environment.TOKEN_PREFIX}_")


_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
_RULES = st.one_of(
    st.builds("group:{}".format, _TEXT),
    st.builds("domain:{}".format, st.one_of(_TEXT, st.from_regex(r"[a-z0-9.-]+", fullmatch=True))),
    st.builds("email:{}@{}".format, _TEXT, _TEXT),
    st.builds("email:{}@{}".format, st.text("ab.-+;<>\"'", min_size=1, max_size=5), st.just("example.com")),
)


@given(st.lists(_RULES, max_size=3), st.lists(_RULES, max_size=3))
def test_the_proxy_understands_every_role_rule_that_components_take(viewers: list[str], admins: list[str]) -> None:
    rules = RoleRules(viewer=viewers, admin=admins)
    if not rules.any() or list(rules.conflicts()):
        return
    understood = {(rule.kind, rule.value, rule.role.label) for rule in parse(rules.text())}
    meant = {(*one.split(":", 1), "viewer") for one in viewers} | {(*one.split(":", 1), "admin") for one in admins}
    assert {(kind, value if kind == "group" else value.lower(), role) for kind, value, role in meant} == understood
