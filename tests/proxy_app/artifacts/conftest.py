"""A proxy that serves artifacts on an S3 server."""

import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.doubles.fixtures import Server
from tests.doubles.object_stores import ObjectStore, credentials, versitygw
from tests.doubles.running_proxy import RunningProxy, Tokens, running_proxy

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ArtifactProxy:
    """A running proxy with a client that sends paths as they are."""

    def __init__(self, proxy: RunningProxy, store: ObjectStore, session: aiohttp.ClientSession) -> None:
        self.proxy = proxy
        self.store = store
        self._session = session

    async def send(self, method: str, target: str, *, role: str = "admin", **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.proxy.tokens.all[role]}", **options.pop("headers", {})}
        url = URL(f"http://{self.proxy.address}{target}", encoded=True)
        async with self._session.request(method, url, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def put(self, path: str, data: Any, **options: Any) -> Answer:
        return await self.send("PUT", f"{ARTIFACTS}/{path}", data=data, **options)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.send("GET", f"{ARTIFACTS}/{path}", **options)

    async def list(self, path: str, **options: Any) -> Answer:
        return await self.send("GET", f"{ARTIFACTS}?path={path}", **options)


StartArtifactProxy = Callable[..., Awaitable[ArtifactProxy]]


@pytest.fixture(scope="session")
def versity(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The URL of a running versitygw."""
    with versitygw(tmp_path_factory.mktemp("versitygw")) as url:
        yield url


@pytest.fixture(params=["moto", "versitygw"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """A bucket of each S3 server."""
    if request.param == "moto":
        server: Server = request.getfixturevalue("s3")
        return ObjectStore.at(server.url)
    return ObjectStore.at(request.getfixturevalue("versity"))


@pytest_asyncio.fixture
async def start_artifact_proxy(
    running: contextlib.AsyncExitStack, tokens: Tokens, store: ObjectStore
) -> StartArtifactProxy:
    """`await start_artifact_proxy(upstream=..., SETTING=...)`."""

    async def start(upstream: str = "http://127.0.0.1:9", s3: str = "", **changes: Any) -> ArtifactProxy:
        settings: dict[str, Any] = {
            "artifacts_root": store.root,
            "s3_endpoint": s3 or store.url,
            "source": credentials,
            **changes,
        }
        proxy = await running.enter_async_context(running_proxy(upstream, tokens, signed=True, **settings))
        session = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        return ArtifactProxy(proxy, store, await running.enter_async_context(session))

    return start


@pytest_asyncio.fixture
async def artifacts(start_artifact_proxy: StartArtifactProxy) -> AsyncGenerator[ArtifactProxy]:
    """A proxy in front of the store; its SageMaker does not exist."""
    yield await start_artifact_proxy()
