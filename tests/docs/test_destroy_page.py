"""docs/destroy.md: bash parses the commands, and each AWS CLI operation and option exists."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

PAGE = Path(__file__).parents[2] / "docs/destroy.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
# Options of the CLI itself.
GLOBAL = {"query", "output"}


def calls() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield (service, operation, options) of each AWS CLI command."""
    for block in BLOCKS:
        for command in re.split(r"[|;]|\$\(|\bdo\b|\n(?!\s*--)", block.replace("\\\n", " ")):
            found = re.search(r"\baws ([a-z0-9]+) ([a-z-]+)(.*)", command, re.DOTALL)
            if found:
                yield found[1], found[2], frozenset(re.findall(r"\s--([a-z-]+)", found[3])) - GLOBAL


@pytest.mark.parametrize("block", BLOCKS)
def test_bash_parses_the_commands(block: str) -> None:
    assert not subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False).stderr


def test_aws_cli_commands_and_options_exist() -> None:
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
