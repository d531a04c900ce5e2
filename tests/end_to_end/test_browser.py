"""Authentication and the proxy's page in a real browser."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Page, async_playwright

from local.fake_sagemaker import FakeSageMaker
from tests.doubles.chromium import launch
from tests.doubles.proxy_process import ProxyProcess


@pytest_asyncio.fixture
async def browser() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright, launch(playwright) as browser:
        yield browser


async def open_page(browser: Browser, proxy: ProxyProcess, role: str) -> tuple[Page, list[str]]:
    """Open the proxy's page with the role's token as the password; returns the page and its console errors."""
    context = await browser.new_context(http_credentials={"username": "any", "password": proxy.tokens.all[role]})
    page = await context.new_page()
    console_errors: list[str] = []
    page.on("console", lambda message: console_errors.append(message.text) if message.type == "error" else None)
    response = await page.goto(proxy.url)
    assert response is not None
    assert response.status == 200
    return page, console_errors


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_page_shows_user_role_and_client_setup(browser: Browser, proxy: ProxyProcess, role: str) -> None:
    page, console_errors = await open_page(browser, proxy, role)
    text = await page.inner_text("main")
    assert "SageMaker MLflow tracking server" in text
    assert f"User\nsome-{role} {role}" in text.replace("\n\n", "\n")
    assert f"export MLFLOW_TRACKING_URI={proxy.url}" in text
    assert "a client needs AWS credentials for the artifact bucket" in " ".join(text.split())
    assert proxy.tokens.all[role] not in await page.content()
    assert (await page.locator("button").count() == 1) == (role == "admin")
    assert console_errors == []


async def test_admin_button_opens_mlflow_ui(
    browser: Browser, proxy: ProxyProcess, fake_sagemaker: FakeSageMaker
) -> None:
    page, _ = await open_page(browser, proxy, "admin")
    await page.click("button")
    await page.wait_for_url(f"{fake_sagemaker.ui_endpoint}/**")
    assert await page.title() == "MLflow"
    assert [line["principal"] for line in proxy.requests if line["route"] == "/proxy/ui-link"] == ["some-admin"]


async def test_browser_without_token_gets_401_and_credentials_prompt(browser: Browser, proxy: ProxyProcess) -> None:
    page = await browser.new_page()
    # A headless browser cannot prompt, so navigation fails.
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
        await page.goto(proxy.url)
    response = await page.request.get(proxy.url, headers={"Accept": "text/html"})
    assert response.status == 401
    assert "your token" in await response.text()


async def test_cross_origin_form_is_rejected(browser: Browser, proxy: ProxyProcess) -> None:
    page, _ = await open_page(browser, proxy, "admin")
    other_origin = proxy.url.replace("127.0.0.1", "localhost")
    await page.goto(f"{other_origin}/healthz")
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
    assert "may not make it" in await page.content()
