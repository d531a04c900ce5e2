"""What docs/aws.md tells people to type and to write is what the code takes."""

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

from components import AwsMlflowProxy, AwsMlflowProxyArgs
from components.validation import nested_model
from preview.answers import ACCOUNT, REGION
from preview.recorder import record

from ..components.aws.iam_decision import allowed
from ..components.aws.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aws.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def settings() -> set[str]:
    """Every setting by its dotted name in a stack's config."""

    def below(model: Any, prefix: str) -> set[str]:
        found: set[str] = set()
        for name, field in model.model_fields.items():
            key = prefix + re.sub(r"_(\w)", lambda letter: letter[1].upper(), name)
            inner = nested_model(field.annotation)
            found |= {key} | (below(inner, f"{key}.") if inner else set[str]())
        return found

    return below(AwsMlflowProxyArgs, "")


@pytest.mark.parametrize("block", blocks("yaml"))
def test_settings_in_the_page_are_taken(block: str) -> None:
    given = cast("dict[str, Any]", yaml.safe_load(block))["mlflow:aws"]
    secret = {"ssoClientSecret": "a-secret"} if "sso" in given["edge"] else {}
    AwsMlflowProxyArgs.read({**given, **secret}, "mlflow:aws")


def test_every_setting_that_the_page_names_is_one() -> None:
    groups = "|".join(sorted({name.partition(".")[0] for name in settings() if "." in name}))
    named = set(re.findall(rf"`((?:{groups})\.\w+)(?::[^`]*)?`", PAGE))
    named |= set(re.findall(r"`(\w+Arn)`", PAGE))
    assert len(named) > 8
    assert named <= settings()
    of_a_vpc = {
        f"network.{name}" for name in re.findall(r"`(vpc\w+|\w+SubnetIds|\w+RouteTableIds|\w+Endpoints)`", PAGE)
    }
    assert of_a_vpc <= settings()


def test_every_output_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"pulumi stack output (\w+)", PAGE))
    assert len(named) > 4
    assert named <= set(AwsMlflowProxy.__annotations__)


def test_the_program_of_the_page_builds_a_proxy() -> None:
    (block,) = blocks("python")

    def program() -> None:
        there = {
            "vpc": SimpleNamespace(id=pulumi.Output.from_input("vpc-0123456789abcdef0")),
            "a": SimpleNamespace(id=pulumi.Output.from_input("subnet-0123456789abcdef0")),
            "b": SimpleNamespace(id="subnet-0123456789abcdef1"),
            "aws_in_ireland": aws.Provider("ireland", region=REGION),
        }
        exec(block, there)

    graph = record(program)
    assert graph.outputs["url"].startswith("http://internal-research-alb")
    (service,) = graph.of("aws:ecs/service:Service")
    assert "::ireland::" in service.provider


def test_every_command_of_make_is_there() -> None:
    named = set(re.findall(r"^\$ make (\w+)|`make (\w+)", PAGE, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    for name in {one or other for one, other in named}:
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_the_secret_of_the_page_is_the_one_that_is_read() -> None:
    (key,) = set(re.findall(r"pulumi config set --secret (\S+)", PAGE))
    scenario = next(one for one in SCENARIOS if one.name == "sso")
    assert key in scenario.config


def test_every_page_that_it_leads_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target
    headings = {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings


# --- The customer key's policy


def key_policy() -> list[dict[str, Any]]:
    (block,) = blocks("json")
    assert (ACCOUNT, REGION) == ("123456789012", "eu-west-1"), "the page's"
    return json.loads(block)["Statement"]


def test_every_right_to_the_key_is_real() -> None:
    known = [str(one) for one in get_actions_for_service("kms")]
    for statement in key_policy():
        for action in [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]:
            pattern = re.compile(action.replace("*", ".*"))
            assert any(pattern.fullmatch(one) for one in known), action


def test_the_key_serves_every_log_group_and_nobody_elses() -> None:
    logs = [one for one in key_policy() if one["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}]
    where = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"

    def served(name: str) -> bool:
        return allowed(logs, "kms:GenerateDataKey", "*", {"kms:EncryptionContext:aws:logs:arn": f"{where}:{name}"})

    graph = next(one for one in SCENARIOS if one.name == "customer-key").graph()
    groups = [
        str(one.inputs.get("name", f"{one.name}-0a1b2c3")) for one in graph.of("aws:cloudwatch/logGroup:LogGroup")
    ]
    assert len(groups) == 3
    assert all(served(name) for name in groups)
    assert not served("/aws/lambda/theirs")


def test_the_key_serves_alarms_and_disks_where_the_program_uses_it_for_them() -> None:
    graph = next(one for one in SCENARIOS if one.name == "customer-key").graph()
    (topic,) = graph.of("aws:sns/topic:Topic")
    (template,) = graph.of("aws:ec2/launchTemplate:LaunchTemplate")
    assert topic.inputs["kmsMasterKeyId"] == template.inputs["blockDeviceMappings"][0]["ebs"]["kmsKeyId"]
    principals = json.dumps([one["Principal"] for one in key_policy()])
    assert "cloudwatch.amazonaws.com" in principals
    assert "AWSServiceRoleForAutoScaling" in principals
