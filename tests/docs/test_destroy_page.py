"""docs/destroy.md: bash parses the commands, and each AWS CLI operation and option exists."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.aws_cli import calls, check

PAGE = Path(__file__).parents[2] / "docs/destroy.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_bash_parses_the_commands(block: str) -> None:
    assert not subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False).stderr


def test_aws_cli_commands_and_options_exist() -> None:
    found = list(calls(BLOCKS))
    assert {(service, operation) for service, operation, _ in found} >= {
        ("sagemaker", "delete-space"),
        ("efs", "delete-mount-target"),
        ("ec2", "delete-security-group"),
    }
    check(found)
