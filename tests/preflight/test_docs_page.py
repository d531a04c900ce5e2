"""docs/preflight.md lists every check, with a run against the doubles."""

from pathlib import Path

from tests.components.scenario import ROOT
from tests.preflight import docs_page


def test_page_is_current() -> None:
    page = (Path(ROOT) / "docs" / "preflight.md").read_text()
    assert page == docs_page.page(), "run `make docs`"
