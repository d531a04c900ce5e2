"""A fake SageMaker of either kind, and an upstream that only remembers, for what MLflow itself would not tell."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from aiohttp import web
from multidict import CIMultiDictProxy

from local.fake_sagemaker import FakeSageMaker

PIECES = 4
PIECE = b"x" * 50_000


class Recorder:
    """Answers everything with 200 KB in four pieces, and keeps the headers of what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[CIMultiDictProxy[str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.requests.append(request.headers)
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(PIECES):
            await response.write(PIECE)
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
    """A fake SageMaker of each kind in turn."""
    return request.getfixturevalue("fake_sagemaker" if request.param == "tracking server" else "fake_sagemaker_app")
