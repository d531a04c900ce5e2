"""Chromium for tests in a real browser."""

import contextlib
import shutil
from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import Browser, Playwright

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@contextlib.asynccontextmanager
async def launch(playwright: Playwright) -> AsyncGenerator[Browser]:
    """A headless Chromium; the test is skipped if none is installed."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium on PATH: apt-get install chromium")
    browser = await playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
    try:
        yield browser
    finally:
        await browser.close()
