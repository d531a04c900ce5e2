"""`make sbom` and `make audit`: they see exactly the packages of the images."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script_of(*arguments: str) -> dict[str, object]:
    """The metadata of the script that `.ci/locked-script` prints, by PEP 723."""
    printed = subprocess.run(
        [sys.executable, ".ci/locked-script", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    first, *lines, last = printed.splitlines()
    assert (first, last) == ("# /// script", "# ///")
    assert all(line.startswith("# ") for line in lines)
    return tomllib.loads("\n".join(line[2:] for line in lines))


@pytest.mark.parametrize("image", ["proxy_app", "mlflow_app"])
def test_script_depends_on_every_package_of_the_image(image: str) -> None:
    text = (ROOT / image / "requirements.txt").read_text(encoding="utf-8")
    pinned = [re.sub(r"\s*\\?$", "", line) for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert len(pinned) > 15
    assert all("==" in pin for pin in pinned)
    assert script_of(f"{image}/requirements.txt")["dependencies"] == pinned


def test_packages_that_the_image_leaves_out_are_left_out() -> None:
    lines = (ROOT / "mlflow_app" / "excluded_packages.txt").read_text(encoding="utf-8").splitlines()
    excluded = [line for line in lines if not line.startswith("#")]
    assert excluded
    found = script_of("mlflow_app/requirements.txt", "mlflow_app/excluded_packages.txt")
    assert found["tool"] == {"uv": {"override-dependencies": excluded}}
