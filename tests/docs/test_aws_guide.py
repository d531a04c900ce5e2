"""docs/aws.md: commands, settings, outputs, code blocks and the key policy match the code."""

import fnmatch
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pulumi_aws as aws
import pytest
import yaml
from policy_sentry.querying.actions import get_actions_for_service

from components import AwsMlflowProxy
from components.aws.settings import AwsMlflowProxySettings
from components.validation import nested_model
from preview.aws.mock_outputs import ACCOUNT, REGION
from preview.recorder import record

from ..components.aws.iam_decision import allowed
from ..components.aws.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aws.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def settings() -> set[str]:
    """Return every setting by its dotted name in a stack's config."""

    def below(model: Any, prefix: str) -> set[str]:
        found: set[str] = set()
        for name, field in model.model_fields.items():
            key = prefix + re.sub(r"_(\w)", lambda letter: letter[1].upper(), name)
            inner = nested_model(field.annotation)
            found |= {key} | (below(inner, f"{key}.") if inner else set[str]())
        return found

    return below(AwsMlflowProxySettings, "")


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_blocks_are_valid_settings(block: str) -> None:
    values = cast("dict[str, Any]", yaml.safe_load(block))["mlflow:aws"]
    secret = {"oidcClientSecret": "a-secret"} if "oidc" in values.get("loadBalancer", {}) else {}
    AwsMlflowProxySettings.read({**values, **secret}, "mlflow:aws")


def test_named_settings_exist() -> None:
    groups = "|".join(sorted({name.partition(".")[0] for name in settings() if "." in name}))
    named = set(re.findall(rf"`((?:{groups})\.\w+)(?::[^`]*)?`", PAGE))
    named |= set(re.findall(r"`(\w+Arn)`", PAGE))
    assert len(named) > 8
    assert named <= settings()
    of_a_vpc = {
        f"network.{name}" for name in re.findall(r"`(vpc\w+|\w+SubnetIds|\w+RouteTableIds|\w+Endpoints)`", PAGE)
    }
    assert of_a_vpc <= settings()


def test_named_outputs_exist() -> None:
    named = set(re.findall(r"pulumi stack output (\w+)", PAGE))
    assert len(named) > 4
    assert named <= set(AwsMlflowProxy.__annotations__)


def test_python_block_creates_the_component() -> None:
    (block,) = blocks("python")

    def program() -> None:
        names = {
            "vpc": SimpleNamespace(id=pulumi.Output.from_input("vpc-0123456789abcdef0")),
            "a": SimpleNamespace(id=pulumi.Output.from_input("subnet-0123456789abcdef0")),
            "b": SimpleNamespace(id="subnet-0123456789abcdef1"),
            "aws_in_ireland": aws.Provider("ireland", region=REGION),
        }
        exec(block, names)

    graph = record(program)
    assert graph.outputs["url"].startswith("http://internal-research-alb")
    (service,) = graph.of("aws:ecs/service:Service")
    assert "::ireland::" in service.provider


def test_make_targets_exist() -> None:
    named = set(re.findall(r"^\$ make (\w+)|`make (\w+)", PAGE, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    for name in {first or other for first, other in named}:
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_config_secret_is_the_one_the_program_reads() -> None:
    (key,) = set(re.findall(r"pulumi config set --secret (\S+)", PAGE))
    scenario = next(each for each in SCENARIOS if each.name == "oidc")
    assert key in scenario.config


def test_links_resolve() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target
    headings = {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings


def test_trust_policy_of_another_account_admits_the_task_role_only() -> None:
    (block,) = [block for block in blocks("json") if "sts:AssumeRole" in block]
    (statement,) = json.loads(block)["Statement"]
    pattern = statement["Condition"]["ArnLike"]["aws:PrincipalArn"]
    graph = next(scenario for scenario in SCENARIOS if scenario.name == "other-account").graph()
    # Pulumi adds a hyphen and seven digits to a name.
    roles = {role.name: f"arn:aws:iam::{ACCOUNT}:role/{role.name}-0a1b2c3" for role in graph.of("aws:iam/role:Role")}
    assert [name for name, arn in roles.items() if fnmatch.fnmatchcase(arn, pattern)] == ["mlflow-proxy"]


# --- Key policy


def key_policy() -> list[dict[str, Any]]:
    """Return the statements of the page's key policy."""
    (block,) = [block for block in blocks("json") if "kms:" in block]
    assert (ACCOUNT, REGION) == ("123456789012", "eu-west-1"), "the page's"
    return json.loads(block)["Statement"]


def test_key_policy_actions_exist() -> None:
    known = [str(name) for name in get_actions_for_service("kms")]
    for statement in key_policy():
        for action in [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]:
            pattern = re.compile(action.replace("*", ".*"))
            assert any(pattern.fullmatch(name) for name in known), action


def test_key_policy_allows_the_stacks_log_groups_only() -> None:
    logs = [
        statement for statement in key_policy() if statement["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    ]
    where = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"

    def is_allowed(name: str) -> bool:
        return allowed(logs, "kms:GenerateDataKey", "*", {"kms:EncryptionContext:aws:logs:arn": f"{where}:{name}"})

    graph = next(scenario for scenario in SCENARIOS if scenario.name == "customer-key").graph()
    groups = [
        str(group.inputs.get("name", f"{group.name}-0a1b2c3")) for group in graph.of("aws:cloudwatch/logGroup:LogGroup")
    ]
    assert len(groups) == 3
    assert all(is_allowed(name) for name in groups)
    assert not is_allowed("/aws/lambda/other")


def test_key_policy_allows_alarms_and_disks() -> None:
    graph = next(scenario for scenario in SCENARIOS if scenario.name == "customer-key").graph()
    (topic,) = graph.of("aws:sns/topic:Topic")
    (template,) = graph.of("aws:ec2/launchTemplate:LaunchTemplate")
    assert topic.inputs["kmsMasterKeyId"] == template.inputs["blockDeviceMappings"][0]["ebs"]["kmsKeyId"]
    principals = json.dumps([statement["Principal"] for statement in key_policy()])
    assert "cloudwatch.amazonaws.com" in principals
    assert "AWSServiceRoleForAutoScaling" in principals
