"""The documentation as a website: it builds without warnings, and its pages load nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from playwright.async_api import async_playwright

from website import hooks, vendor

ROOT = Path(__file__).parents[2]
# What a browser loads by itself, by element: a link to another page is not among them.
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "link": "href",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
}


class Loads(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == LOADED.get(tag) or name in ("srcset", "poster", "background")):
                self.addresses.append(value)
            if value and name == "style":
                self.addresses += css_addresses(value)


def css_addresses(text: str) -> list[str]:
    return re.findall(r"(?:@import\s+|url\()\s*[\"']?([^\"')\s]+)", text)


def is_external(address: str) -> bool:
    return bool(re.match(r"(?:[a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE))


def build(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """MkDocs as `make site` runs it. With --quiet it would not count warnings, and a strict build would never fail."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(r"\$\(RUN\) -m (mkdocs build.*)", makefile)
    return subprocess.run(
        [sys.executable, "-m", *command.split(), *options],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    if not all((vendor.FOLDER / script.path).is_file() for script in vendor.SCRIPTS):
        vendor.main()  # as `make test` has done before
    folder = tmp_path_factory.mktemp("site")
    built = build("--site-dir", folder)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@pytest.mark.parametrize(
    ("page", "extra", "message"),
    [
        ("[x](other.md)", "", "the target is not found"),
        ("[x](#missing)", "", "there is no such anchor"),
        ("x", "other.md", 'not included in the "nav" configuration'),
    ],
)
def test_build_fails_on_warnings(tmp_path: Path, page: str, extra: str, message: str) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(page)
    if extra:
        (docs / extra).write_text("x")
    config = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": str(docs),
        "site_dir": str(tmp_path / "site"),
        "theme": {"custom_dir": str(ROOT / "website" / "theme")},
        "hooks": [],
        "nav": ["index.md"],
    }
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    built = build("--config-file", tmp_path / "mkdocs.yml")
    assert built.returncode == 1, built.stderr
    assert message in built.stderr


def test_every_page_is_built(site: Path) -> None:
    expected = {path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")}
    expected |= {Path(path).with_suffix(".html").name for path in hooks.PAGES.values()}
    assert {path.name for path in site.glob("*.html")} == expected | {"404.html"}


def test_pages_load_nothing_external(site: Path) -> None:
    external: list[str] = []
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        found = Loads()
        found.feed(page.read_text(encoding="utf-8"))
        assert found.addresses
        external += [f"{page.name}: {address}" for address in found.addresses if is_external(address)]
    for sheet in site.rglob("*.css"):
        addresses = css_addresses(sheet.read_text(encoding="utf-8"))
        external += [f"{sheet.name}: {address}" for address in addresses if is_external(address)]
    assert external == []


async def test_browser_draws_diagrams_and_searches_without_network(site: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium on PATH: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            page = await browser.new_page()
            requests: list[str] = []
            errors: list[str] = []
            page.on("request", lambda request: requests.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto((site / "diagrams.html").as_uri())
            # Material for MkDocs puts each diagram into an element whose content is closed to scripts.
            drawn = "[...document.querySelectorAll('div.mermaid')].filter(one => one.offsetHeight > 100).length >= 4"
            await page.wait_for_function(drawn, timeout=20_000)
            await page.click(".md-search__input")
            await page.keyboard.type("alarm")
            await page.wait_for_selector(".md-search-result__item", timeout=20_000)
            assert errors == []
            assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
        finally:
            await browser.close()


def test_links_of_the_readme_lead_to_files_and_headings(site: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^()\s]+)\)", readme)
    assert links
    for path, _, anchor in (link.partition("#") for link in links):
        if re.match(r"[a-z]+:", path) or not path:
            continue
        assert (ROOT / path).exists(), path
        if anchor:
            page = (site / Path(path).with_suffix(".html").name).read_text(encoding="utf-8")
            assert f'id="{anchor}"' in page, f"{path}#{anchor}"


def test_link_to_a_missing_file_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    hooks.rewrite_links("[x](../components/missing.py)", "docs/aws.md", {})
    assert "docs/aws.md: the link to ../components/missing.py leads to no file" in caplog.text


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("docs/aws.md", "[costs.md](costs.md#prices)", "[AWS costs](costs.md#prices)"),
        ("docs/aws.md", "[who](#who-may-deploy)", "[who](#who-may-deploy)"),
        ("docs/aws.md", "[Pulumi](https://www.pulumi.com/)", "[Pulumi](https://www.pulumi.com/)"),
        ("docs/aws.md", "[the client](../mlflow_iap/README.md)", "[the client](mlflow-iap.md)"),
        ("docs/aws.md", "[kinds/](../tests/doubles/provider/kinds/)", "`kinds/`"),
        ("docs/aws.md", "[the table](../pyproject.toml)", "the table"),
        ("SECURITY.md", "[docs/costs.md](docs/costs.md)", "[AWS costs](costs.md)"),
        ("mlflow_iap/README.md", "[guide](../docs/gcp.md#ci)", "[guide](gcp.md#ci)"),
        ("CONTRIBUTING.md", "[home](README.md)", "[home](index.md)"),
        ("docs/index.md", "![page](page.png)", "![page](page.png)"),
    ],
)
def test_links_are_those_of_the_site(source: str, text: str, expected: str) -> None:
    assert hooks.rewrite_links(text, source, {"costs.md": "AWS costs"}) == expected


def test_titles_come_from_the_navigation() -> None:
    nav = [{"Home": ["index.md", {"Limitations": "limits.md"}]}, {"Changelog": "changelog.md"}]
    assert hooks.titles_in(nav) == {"limits.md": "Limitations", "changelog.md": "Changelog"}


def test_links_in_code_blocks_stay() -> None:
    block = "```text\n[a](../b)\n```"
    assert hooks.map_outside_fences(f"x\n{block}\nx", lambda text: text.replace("x", "y")) == f"y\n{block}\ny"


@pytest.mark.parametrize(
    ("github", "python_markdown"),
    [
        ("- a\n  b\n- c", "-   a\n    b\n-   c"),
        ("1. a\n\n   b\n2. c\n\nd", "1.  a\n\n    b\n2.  c\n\nd"),
        ("- a\n  - b\n    c\n- d", "-   a\n    -   b\n        c\n-   d"),
        ("- a\n\n  ```text\n  - b\n  ```\n\nc", "-   a\n\n    ```text\n    - b\n    ```\n\nc"),
        ("a\n- b", "a\n\n-   b"),
        ("```text\n- a\n  b\n```", "```text\n- a\n  b\n```"),
        ("| a | b |\n|---|---|\n| - c | d |", "| a | b |\n|---|---|\n| - c | d |"),
    ],
)
def test_list_content_is_indented_by_four_spaces(github: str, python_markdown: str) -> None:
    assert hooks.indent_lists(github) == python_markdown


def test_package_with_another_checksum_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "mermaid.tgz"
    archive.write_bytes(b"something else")
    with pytest.raises(vendor.VendorError, match="checksum"):
        vendor.extract(archive, vendor.SCRIPTS[0])


def test_integrity_is_a_sha512_in_base64() -> None:
    # printf a | openssl dgst -sha512 -binary | base64
    digest = "H0D8ktokFpR1CXnubPWC8tXX0o4YM13gWrxU0FYOD1MChgxlK/CNVgJSql50IQVG82n7u86MEs/HlXsmUv6adQ=="
    assert vendor.check_integrity(b"a", f"sha512-{digest}")
    assert not vendor.check_integrity(b"b", f"sha512-{digest}")
