"""Facts in README.md, CONTRIBUTING.md and every page of docs/: variables, make targets, links, costs."""

import fnmatch
import re
import subprocess
from pathlib import Path

import pytest

from .cost_tables import stated_total

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "mlflow_iap/README.md")),
        *sorted((ROOT / "docs").glob("*.md")),
    ]
}
VARIABLES = {
    name
    for page in ("docs/settings.md", "docs/mlflow-settings.md", "mlflow_iap/README.md")
    for name in re.findall(r"^\| `(MLFLOW_[A-Z_]+)`", PAGES[page], re.MULTILINE)
}
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_named_environment_variables_exist(page: str) -> None:
    assert len(VARIABLES) > 50
    named = set(re.findall(r"\bMLFLOW_(?:PROXY|APP|IAP)_[A-Z_]*[A-Z]\b", PAGES[page]))
    assert named - VARIABLES == set()


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    for target in re.findall(r"(?:^\$ |`|\"\s)make ([a-z-]+)", PAGES[page], re.MULTILINE):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/reliability.md"])
def test_named_files_and_directories_exist(page: str) -> None:
    """A name in backticks may be relative to any directory, and may have wildcards and capitals as placeholders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = [f"/{path}" for path in listed]
    text = PAGES[page].replace("STACK", "*")
    named = re.findall(r"`((?:[\w.*-]+/)*(?:[\w.*-]+\.(?:py|toml|json|md|ya?ml|txt)|[\w.*-]+/))`", text)
    missing = [
        name
        for name in named
        if not name.startswith(".local/")
        and not any(fnmatch.fnmatchcase(path, f"*/{name}{'*' if name.endswith('/') else ''}") for path in files)
    ]
    assert named
    assert missing == []


def test_readme_has_at_most_200_lines() -> None:
    assert len(README.splitlines()) <= 200


def test_readme_states_the_costs_of_the_stacks() -> None:
    aws, gcp = PAGES["docs/costs.md"], PAGES["docs/gcp-costs.md"]
    stated = [int(amount) for amount in re.findall(r"about \$(\d+)\s+a\s+month", README)]
    totals = [stated_total(aws, "dev"), stated_total(aws, "prod"), stated_total(gcp, "gcp-dev")]
    assert stated == [round(total) for total in totals]
