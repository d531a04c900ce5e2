"""Fixtures: both kinds of fake SageMaker, and an upstream that records requests."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from aiohttp import web
from multidict import CIMultiDictProxy

from local.fake_sagemaker import FakeSageMaker

CHUNKS = 4
CHUNK = b"x" * 50_000


class Recorder:
    """Responds to each request with 200 KB in four chunks, and records the request headers."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[CIMultiDictProxy[str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.requests.append(request.headers)
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(CHUNKS):
            await response.write(CHUNK)
        await response.write_eof()
        return response


@pytest_asyncio.fixture
async def recorder() -> AsyncGenerator[Recorder]:
    recorder = Recorder()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", recorder.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    recorder.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield recorder
    await runner.cleanup()


@pytest.fixture(params=["tracking server", "app"])
def either(request: pytest.FixtureRequest) -> FakeSageMaker:
    """A fake tracking server, then a fake app."""
    return request.getfixturevalue("fake_sagemaker" if request.param == "tracking server" else "fake_sagemaker_app")
