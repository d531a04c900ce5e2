"""The commands of docs/destroy.md: a shell can read them, and the AWS CLI knows every one."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

PAGE = Path(__file__).parents[2] / "docs/destroy.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
# The CLI's own.
GLOBAL = {"query", "output"}


def calls() -> Iterator[tuple[str, str, frozenset[str]]]:
    """(service, operation, options) of each call."""
    for block in BLOCKS:
        for command in re.split(r"[|;]|\$\(|\bdo\b|\n(?!\s*--)", block.replace("\\\n", " ")):
            found = re.search(r"\baws ([a-z0-9]+) ([a-z-]+)(.*)", command, re.DOTALL)
            if found:
                yield found[1], found[2], frozenset(re.findall(r"\s--([a-z-]+)", found[3])) - GLOBAL


@pytest.mark.parametrize("block", BLOCKS)
def test_a_shell_can_read_it(block: str) -> None:
    assert not subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False).stderr


def test_the_cli_knows_every_command() -> None:
    found = list(calls())
    session = botocore.session.Session()
    assert {(service, operation) for service, operation, _ in found} >= {
        ("sagemaker", "delete-space"),
        ("efs", "delete-mount-target"),
        ("ec2", "delete-security-group"),
    }
    for service, operation, options in found:
        model = session.get_service_model(service)
        names = {xform_name(name, "-"): name for name in model.operation_names}
        assert operation in names, f"aws {service} {operation}"
        shape = model.operation_model(names[operation]).input_shape
        assert shape is not None
        takes = {xform_name(name, "-"): name for name in shape.members}
        assert options <= set(takes), f"aws {service} {operation}"
        required = {xform_name(name, "-") for name in shape.required_members}
        assert required <= options, f"aws {service} {operation}"
