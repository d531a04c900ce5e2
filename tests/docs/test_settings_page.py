from pathlib import Path

from proxy_app.settings import Settings

ROOT = Path(__file__).parents[2]


def test_settings_page_is_current() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == Settings.markdown(), "run `make docs`"
