"""The proxy's log group: a name to type, an end for every line."""

import dataclasses
import re

import pytest

from components.aws.proxy_log import ProxyLog
from preview.graph import Resource
from preview.recorder import record

from .helpers import KEY, make_deployment, only


def group(*, stack: str = "dev", name: str = "proxy", kms_key_arn: str | None = None) -> Resource:
    def program() -> None:
        ProxyLog(dataclasses.replace(make_deployment(kms_key_arn=kms_key_arn), stack=stack, name=name), days=30)

    return only(record(program), "aws:cloudwatch/logGroup:LogGroup")


def test_lines_end_after_the_days_that_are_set() -> None:
    assert group().inputs["retentionInDays"] == 30


def test_the_name_can_be_typed() -> None:
    assert group().inputs["name"] == "/mlflow/dev/proxy"


@pytest.mark.parametrize(
    ("stack", "name"), [("a b", "proxy"), ("a-b", "proxy"), ("dev", "tor ü"), ("x" * 600, "proxy")]
)
def test_the_name_fits_for_any_stack(stack: str, name: str) -> None:
    found = group(stack=stack, name=name).inputs["name"]
    assert re.fullmatch(r"[.\-_/#A-Za-z0-9]{1,512}", found)


def test_two_stacks_never_share_a_log() -> None:
    stacks = ["a b", "a-b", "a_b", "a.b", "x" * 600, "x" * 601]
    assert len({group(stack=stack).inputs["name"] for stack in stacks}) == len(stacks)


def test_it_uses_the_customers_key() -> None:
    assert group(kms_key_arn=KEY).inputs["kmsKeyId"] == KEY


def test_it_goes_with_the_stack() -> None:
    made = group()
    assert not made.inputs.get("skipDestroy")
    assert not made.protect
    assert not made.retain_on_delete
