"""The proxy's log group: name, retention, customer key, deletion."""

import dataclasses
import re

import pytest

from components.aws.proxy_log import ProxyLog
from preview.graph import Resource
from preview.recorder import record

from .helpers import KEY, make_deployment, only


def record_group(
    *, stack: str = "dev", name: str = "proxy", kms_key_arn: str | None = None, deletion_protection: bool = False
) -> Resource:
    def program() -> None:
        deployment = make_deployment(kms_key_arn=kms_key_arn, deletion_protection=deletion_protection)
        ProxyLog(dataclasses.replace(deployment, stack=stack, name=name), days=30)

    return only(record(program), "aws:cloudwatch/logGroup:LogGroup")


def test_retention_is_the_number_of_days() -> None:
    assert record_group().inputs["retentionInDays"] == 30


def test_name_has_stack_and_component() -> None:
    assert record_group().inputs["name"] == "/mlflow/dev/proxy"


@pytest.mark.parametrize(
    ("stack", "name"), [("a b", "proxy"), ("a-b", "proxy"), ("dev", "tor ü"), ("x" * 600, "proxy")]
)
def test_name_is_valid_for_any_stack_name(stack: str, name: str) -> None:
    log_name = record_group(stack=stack, name=name).inputs["name"]
    assert re.fullmatch(r"[.\-_/#A-Za-z0-9]{1,512}", log_name)


def test_stacks_with_similar_names_have_different_log_groups() -> None:
    stacks = ["a b", "a-b", "a_b", "a.b", "x" * 600, "x" * 601]
    assert len({record_group(stack=stack).inputs["name"] for stack in stacks}) == len(stacks)


def test_log_group_uses_the_customer_key() -> None:
    assert record_group(kms_key_arn=KEY).inputs["kmsKeyId"] == KEY


def test_log_group_is_deleted_with_the_stack_and_protected_with_deletion_protection() -> None:
    log_group = record_group()
    assert not log_group.inputs.get("skipDestroy")
    assert not log_group.protect
    assert record_group(deletion_protection=True).protect
    assert not log_group.retain_on_delete
