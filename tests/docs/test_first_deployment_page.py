"""docs/first-deployment.md: its commands parse, and name settings, outputs and resources that exist."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from preview.graph import Graph
from tests.components.aws.policies import action_data
from tests.docs import aws_cli
from tests.preflight.stacks import graph_of, stack_of
from verify.form import BY_HAND
from verify.target import read_target

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "first-deployment.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)


def graph(stack: str) -> Graph:
    return graph_of(stack_of(stack))


@pytest.mark.parametrize("script", [*SCRIPTS, *dict.fromkeys(COMMANDS)])
def test_bash_parses_the_commands(script: str) -> None:
    assert not subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False).stderr


def test_aws_cli_commands_exist() -> None:
    found = list(aws_cli.calls(SCRIPTS))
    assert {operation for _, operation, _ in found} == {"put-role-policy", "delete-role-policy"}
    aws_cli.check(found)


def test_settings_exist_and_the_values_differ_from_the_defaults() -> None:
    found = re.findall(r"config set --path 'mlflow:(aws|gcp)\.([\w.]+)' (\d+)", PAGE)
    assert {cloud for cloud, _, _ in found} == {"aws", "gcp"}
    for cloud, name, value in found:
        row = re.search(
            rf"^\| `{re.escape(name)}` \|[^|]*\| `(\d+)`", (DOCS / f"{cloud}-settings.md").read_text(), re.MULTILINE
        )
        assert row, name
        assert row[1] != value


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_outputs_exist(stack: str) -> None:
    named = set(re.findall(r"pulumi stack output (\w+)", PAGE))
    only_aws = {"port_forward"}
    assert named == {"client_setup", *only_aws}
    assert named - (only_aws if stack == "gcp-dev" else set()) <= set(graph(stack).outputs)


def test_the_denied_role_is_that_of_the_proxy_and_the_policy_concerns_new_credentials() -> None:
    [script] = [script for script in SCRIPTS if "put-role-policy" in script]
    [suffix] = re.findall(r'endswith\("([^"]+)"\)', script)
    [role] = [one for one in graph("dev").resources if one.urn.endswith(suffix)]
    [allowed] = [one for one in graph("dev").of("aws:iam/rolePolicy:RolePolicy") if one.name == role.name]
    stubs = "pulumi() { :; }; jq() { echo a-role; }; aws() { printf '%s\\0' \"$@\"; }\n"
    done = subprocess.run(["bash", "-euc", stubs + script], capture_output=True, text=True, check=True)
    arguments = done.stdout.split("\0")
    assert arguments[arguments.index("--role-name") + 1] == "a-role"
    [statement] = json.loads(arguments[arguments.index("--policy-document") + 1])["Statement"]
    assert statement["Effect"] == "Deny"
    services = {action.partition(":")[0] for action in statement["Action"]}
    permitted = {action for one in _statements(allowed.inputs["policy"]) for action in one}
    assert services & {action.partition(":")[0] for action in permitted}
    assert all(action_data(action) for action in permitted if action.startswith("sagemaker"))
    (after,) = statement["Condition"]["DateGreaterThan"].values()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", after)


def _statements(policy: Any) -> list[list[str]]:
    document: Any = json.loads(policy) if isinstance(policy, str) else policy
    actions = [one["Action"] for one in document["Statement"]]
    return [[one] if isinstance(one, str) else one for one in actions]


def test_the_disabled_secret_is_that_of_the_database_password() -> None:
    secrets = {str(one.inputs["secretId"]) for one in graph("gcp-dev").of("gcp:secretmanager/secret:Secret")}
    named = re.findall(r"--secret (\S+)", "\n".join(SCRIPTS))
    assert len(named) == 2
    assert {*named} <= secrets


def test_the_form_is_written_as_the_page_says() -> None:
    assert re.search(r"make verify FORM=(\S+)\n", PAGE)
    for name in re.findall(r"FORM=([\w.]+)", PAGE):
        assert read_target([], {"URL": "https://a.example", "TOKEN": "t", "FORM": name}).form == Path(name)
    assert [name for name in BY_HAND if name not in PAGE] == []
