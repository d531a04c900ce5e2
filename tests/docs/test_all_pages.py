"""Facts in README.md, CONTRIBUTING.md and every page of docs/: variables, make targets, links, costs."""

import re
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


def test_readme_has_at_most_200_lines() -> None:
    assert len(README.splitlines()) <= 200


def test_readme_states_the_costs_of_the_stacks() -> None:
    aws, gcp = PAGES["docs/costs.md"], PAGES["docs/gcp-costs.md"]
    stated = [int(amount) for amount in re.findall(r"about \$(\d+)\s+a\s+month", README)]
    totals = [stated_total(aws, "dev"), stated_total(aws, "prod"), stated_total(gcp, "gcp-dev")]
    assert stated == [round(total) for total in totals]
