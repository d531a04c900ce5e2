from pathlib import Path

from components.settings_page import aws_settings
from preview import diagrams_page

ROOT = Path(__file__).parents[2]
STALE = "run `make docs`"


def test_aws_settings_page_is_current() -> None:
    assert (ROOT / "docs" / "aws-settings.md").read_text() == aws_settings(), STALE


def test_diagrams_page_is_current() -> None:
    page = (ROOT / "docs" / "diagrams.md").read_text()
    assert page == diagrams_page.page(), STALE
    assert page.count("```mermaid\nflowchart LR\n  outside0") == len(list(ROOT.glob("Pulumi.*.yaml")))
