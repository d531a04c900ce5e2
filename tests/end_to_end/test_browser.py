"""A real browser finds its way in."""

import shutil
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Page, async_playwright

from local.fake_sagemaker import FakeSageMaker
from tests.doubles.proxy_process import ProxyProcess


@pytest_asyncio.fixture
async def browser() -> AsyncGenerator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium on PATH: apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=flags)
        try:
            yield running
        finally:
            await running.close()


async def opened(browser: Browser, proxy: ProxyProcess, role: str) -> tuple[Page, list[str]]:
    """The proxy's page as the browser of a person who has typed any name and the token, and what it complained of."""
    context = await browser.new_context(http_credentials={"username": "anybody", "password": proxy.tokens.all[role]})
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    answer = await page.goto(proxy.url)
    assert answer is not None
    assert answer.status == 200
    return page, complaints


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_the_page_says_who_you_are_and_gives_the_lines_to_paste(
    browser: Browser, proxy: ProxyProcess, role: str
) -> None:
    page, complaints = await opened(browser, proxy, role)
    text = await page.inner_text("main")
    assert "SageMaker MLflow tracking server" in text
    assert f"You are\nsome-{role} {role}" in text.replace("\n\n", "\n")
    assert f"export MLFLOW_TRACKING_URI={proxy.url}" in text
    assert "a client needs AWS credentials of its own for the artifact bucket" in " ".join(text.split())
    assert proxy.tokens.all[role] not in await page.content()
    assert (await page.locator("button").count() == 1) == (role == "admin")
    assert complaints == []


async def test_an_admins_button_leads_into_mlflows_own_pages(
    browser: Browser, proxy: ProxyProcess, fake_sagemaker: FakeSageMaker
) -> None:
    page, _ = await opened(browser, proxy, "admin")
    await page.click("button")
    await page.wait_for_url(f"{fake_sagemaker.ui_endpoint}/**")
    assert await page.title() == "MLflow"
    assert [line["caller"] for line in proxy.requests if line["route"] == "/proxy/ui-link"] == ["some-admin"]


async def test_a_browser_without_a_token_understands_that_it_must_ask_for_one(
    browser: Browser, proxy: ProxyProcess
) -> None:
    page = await browser.new_page()
    # With nobody to ask, a headless browser gives up.
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
        await page.goto(proxy.url)
    answer = await page.request.get(proxy.url, headers={"Accept": "text/html"})
    assert answer.status == 401
    assert "your token" in await answer.text()


async def test_a_foreign_page_cannot_use_the_browsers_credentials(browser: Browser, proxy: ProxyProcess) -> None:
    page, _ = await opened(browser, proxy, "admin")
    foreign = proxy.url.replace("127.0.0.1", "localhost")
    await page.goto(f"{foreign}/healthz")
    status = await page.evaluate(
        """async url => {
            const form = document.createElement('form');
            form.method = 'post'; form.action = url; document.body.append(form);
            form.submit();
        }""",
        f"{proxy.url}/proxy/ui-link",
    )
    await page.wait_for_url(f"{proxy.url}/**")
    assert status is None
    assert "may not change anything here" in await page.content()
