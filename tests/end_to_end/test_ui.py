"""MLflow's UI in Chromium, through the image: the proxy, MLflow's page and the fake SageMaker, with artifacts in S3."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Response,
    async_playwright,
    expect,
)

from local import s3 as s3_settings
from local.fake_sagemaker import TRACKING_SERVER_ARN, Authority, serve
from tests.doubles.chromium import launch
from tests.doubles.fixtures import Server
from tests.doubles.running_proxy import Tokens
from tests.mlflow_app.app_process import AppProcess

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
# A page loads its parts one after the other, and the machine may be busy.
expect.set_options(timeout=30_000)


@dataclass(frozen=True)
class Ui:
    """The running image, and what `ui_data.py` has logged through it."""

    url: str
    tokens: Tokens
    experiment: str
    runs: list[str]
    link: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ui(
    mlflow_server: Server, s3: Server, authority: Authority, tokens: Tokens, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Ui]:
    async with serve(target_arn=TRACKING_SERVER_ARN, upstream=mlflow_server.url, authority=authority) as fake:
        settings = {
            **fake.environ,
            "AWS_ENDPOINT_URL_S3": s3.url,
            "MLFLOW_APP_TARGET_ARN": fake.target.arn,
            "MLFLOW_PROXY_TARGET_ENDPOINT": fake.endpoint,
            "MLFLOW_PROXY_ARTIFACTS_URI": s3_settings.ARTIFACTS,
            "MLFLOW_PROXY_TOKENS_FILE": str(tokens.file),
        }
        folder = tmp_path_factory.mktemp("ui")
        app = AppProcess(folder, settings)
        try:
            await asyncio.to_thread(app.wait, lambda: app.messages_with("Serving MLflow's UI"))
            await asyncio.to_thread(app.wait, lambda: app.status("/readyz") == 200)
            yield Ui(app.url, tokens, **await _log_data(app.url, tokens.editor, folder))
        finally:
            await asyncio.to_thread(app.kill_all)


async def _log_data(url: str, token: str, folder: Path) -> dict[str, Any]:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_TRACKING_TOKEN": token,
    }
    script = str(Path(__file__).with_name("ui_data.py"))
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, script, env=environ, cwd=folder, stdout=pipe, stderr=pipe
    )
    out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    return json.loads(out.splitlines()[-1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright, launch(playwright) as browser:
        yield browser


@dataclass
class Tab:
    """A page of a signed-in user, and what went wrong in it."""

    page: Page
    problems: list[str] = field(default_factory=list[str])
    _origin: str = ""

    def watch(self, origin: str) -> None:
        """Record failed requests, errors, and requests to other origins."""
        self._origin = origin
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("response", self._on_response)
        self.page.on("request", lambda request: self._check_origin(request.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        # Chromium reports it for a layout that takes two frames.
        if message.type == "error" and "ResizeObserver loop" not in message.text:
            self.problems.append(message.text)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.request.method} {response.url}")

    def _check_origin(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and f"{parts.scheme}://{parts.netloc}" != self._origin:
            self.problems.append(f"a request to another origin: {url}")


@contextlib.asynccontextmanager
async def signed_in(browser: Browser, ui: Ui, role: str, **options: Any) -> AsyncGenerator[Tab]:
    """A tab of a user with this role, who gives any user name and the token as the password."""
    credentials = {"username": "any", "password": ui.tokens.all[role]}
    context: BrowserContext = await browser.new_context(http_credentials=credentials, **options)  # pyright: ignore
    async with context:
        tab = Tab(await context.new_page())
        tab.watch(ui.url)
        yield tab


async def test_page_requires_a_token(browser: Browser, ui: Ui) -> None:
    async with await browser.new_context() as context:
        page = await context.new_page()
        # A headless browser cannot prompt, so navigation fails.
        with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
            await page.goto(ui.url)


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_experiments_runs_and_charts_are_shown(browser: Browser, ui: Ui, role: str) -> None:
    async with signed_in(browser, ui, role) as tab:
        page = tab.page
        await page.goto(ui.url)
        await page.get_by_role("link", name="Experiments").click()
        await page.get_by_role("link", name="churn").click()
        await page.goto(f"{ui.url}/#/experiments/{ui.experiment}/runs")
        for name in ("depth-3", "depth-4", "depth-5"):
            await expect(page.get_by_role("link", name=name)).to_be_visible()
        await page.goto(f"{ui.url}/#/experiments/{ui.experiment}/runs/{ui.runs[-1]}/model-metrics")
        await expect(page.locator(".js-plotly-plot").first).to_be_visible()
        await expect(page.locator(".js-plotly-plot .scatterlayer path.js-line").first).to_be_attached()
        assert tab.problems == []


async def test_link_that_the_client_prints_opens_the_run(browser: Browser, ui: Ui) -> None:
    async with signed_in(browser, ui, "viewer") as tab:
        assert ui.link.startswith(ui.url)
        await tab.page.goto(ui.link)
        await expect(tab.page.get_by_role("heading", name="depth-5")).to_be_visible()
        await expect(tab.page.get_by_text("accuracy per depth")).to_be_visible()
        assert tab.problems == []


async def test_artifacts_are_previewed_without_running_their_scripts(browser: Browser, ui: Ui) -> None:
    async with signed_in(browser, ui, "viewer") as tab:
        page, artifacts = tab.page, f"{ui.url}/#/experiments/{ui.experiment}/runs/{ui.runs[-1]}/artifacts"
        await page.goto(artifacts)
        await page.get_by_text("notes", exact=True).click()
        await page.get_by_text("summary + notes.txt").click()
        await expect(page.get_by_text("some notes, it's 100% & <b>more</b>")).to_be_visible()
        await page.get_by_text("images", exact=True).click()
        await page.get_by_text("pixel.png").click()
        await expect(page.locator("main img[src^='blob:']").first).to_be_attached()
        await page.get_by_text("report.html").click()
        await expect(page.frame_locator("iframe").get_by_role("heading", name="A report")).to_be_visible()
        assert await page.title() != "script"
        assert tab.problems == []


async def test_registered_model_and_trace_are_shown(browser: Browser, ui: Ui) -> None:
    async with signed_in(browser, ui, "viewer") as tab:
        page = tab.page
        await page.goto(f"{ui.url}/#/models/churn%20model")
        await expect(page.get_by_text("predicts churn")).to_be_visible()
        await expect(page.get_by_role("link", name="Version 1")).to_be_visible()
        await page.goto(f"{ui.url}/#/experiments/{ui.experiment}/traces")
        await page.get_by_text("it's 1+1?").first.click()
        await expect(page.get_by_text("retrieve").first).to_be_visible()
        assert tab.problems == []


async def test_viewer_sees_why_a_deletion_is_refused_and_an_admin_deletes(browser: Browser, ui: Ui) -> None:
    refused = "some-viewer has the role viewer; this request requires admin"
    for role in ("viewer", "admin"):
        async with signed_in(browser, ui, role) as tab:
            page = tab.page
            await page.goto(f"{ui.url}/#/experiments/{ui.experiment}/runs/{ui.runs[1]}")
            await page.get_by_role("heading", name="depth-4").wait_for()
            await page.locator("[data-component-id*='overflow_menu'], [data-testid='overflow-menu-trigger']").click()
            await page.get_by_role("menuitem", name="Delete").click()
            async with page.expect_response("**/runs/delete") as deleted:
                await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            if role == "viewer":
                await expect(page.get_by_text(refused)).to_be_visible()
                assert [problem for problem in tab.problems if not problem.startswith("Failed to load")] == [
                    f"403 POST {ui.url}/ajax-api/2.0/mlflow/runs/delete"
                ]
            else:
                assert (await deleted.value).status == 200
                assert tab.problems == []


async def test_what_does_not_work_here_is_hidden(browser: Browser, ui: Ui) -> None:
    async with signed_in(browser, ui, "admin") as tab:
        await tab.page.goto(ui.url)
        await tab.page.get_by_text("Recent Experiments").wait_for()
        text = await tab.page.inner_text("body")
        for hidden in ("Assistant", "telemetry", "AI Gateway", "MCP registry", "Start Demo"):
            assert hidden not in text
        await tab.page.goto(f"{ui.url}/#/settings")
        await tab.page.get_by_text("Theme preference", exact=True).wait_for()
        text = await tab.page.inner_text("body")
        for hidden in ("Enable telemetry", "Demo data", "LLM Connections"):
            assert hidden not in text
        assert tab.problems == []


async def test_page_cannot_be_framed_by_another_site(browser: Browser, ui: Ui) -> None:
    other = ui.url.replace("127.0.0.1", "localhost")
    # Chromium sends no Basic credentials in a frame of another site, a load balancer's session may be sent.
    headers = {"Authorization": f"Bearer {ui.tokens.admin}"}
    async with await browser.new_context(extra_http_headers=headers) as context:
        page = await context.new_page()
        await page.goto(f"{other}/healthz")
        async with page.expect_response(f"{ui.url}/") as framed:
            await page.evaluate(
                "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f); }", ui.url
            )
        assert (await framed.value).status == 403


async def test_pages_of_the_screenshots_show_charts_and_a_refusal(browser: Browser, ui: Ui, tmp_path: Path) -> None:
    """With SCREENSHOTS=write in the environment, it writes the screenshots of docs/ui.md and README.md."""
    folder = ROOT / "docs" if os.environ.get("SCREENSHOTS") == "write" else tmp_path
    run = f"{ui.url}/#/experiments/{ui.experiment}/runs/{ui.runs[-1]}"
    async with signed_in(browser, ui, "viewer", viewport={"width": 1100, "height": 620}) as tab:
        page = tab.page
        await page.goto(f"{ui.url}/#/experiments/{ui.experiment}/runs?compareRunsMode=CHART")
        await expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
        await page.wait_for_timeout(2000)  # until the charts have their size
        await page.screenshot(path=folder / "ui-charts.png")
        await page.goto(f"{run}/artifacts")
        await page.get_by_text("report.html").click()
        await expect(page.frame_locator("iframe").get_by_role("heading", name="A report")).to_be_visible()
        await page.locator("[data-component-id*='overflow_menu'], [data-testid='overflow-menu-trigger']").click()
        await page.get_by_role("menuitem", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("this request requires admin")).to_be_visible()
        await page.wait_for_timeout(1000)  # until the message has moved in
        await page.screenshot(path=folder / "ui-refused.png")
    sizes = [file.stat().st_size for file in folder.glob("ui-*.png")]
    assert len(sizes) == 2
    assert max(sizes) < 150_000
