from pathlib import Path

from components.settings_page import aws_settings
from preview import pictures

ROOT = Path(__file__).parents[2]
STALE = "run `make docs`"


def test_the_page_of_aws_settings_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "aws-settings.md").read_text() == aws_settings(), STALE


def test_readmes_picture_is_what_the_program_asks_for() -> None:
    page = (ROOT / "README.md").read_text()
    assert page == pictures.readme(page), STALE
    assert "```mermaid\nflowchart LR\n  outside0" in page


def test_the_page_of_pictures_is_what_the_program_asks_for() -> None:
    page = (ROOT / "docs" / "pictures.md").read_text()
    assert page == pictures.page(), STALE
    assert page.count("```mermaid\n") == len(list(ROOT.glob("Pulumi.*.yaml")))
