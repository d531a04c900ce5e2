"""Fixtures of the tests of single sign-on: a proxy behind a load balancer or IAP, in front of a fake upstream.

A test file imports a set of fixtures: `alb, host, fake_upstream, start_sso, proxy = sso_fixtures.ALB_FIXTURES`.
"""

import contextlib
import datetime
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Self, TypeVar

import pytest
import pytest_asyncio

from local.fake_sagemaker.tls import Authority
from tests.doubles import alb as albs
from tests.doubles import fake_upstreams
from tests.doubles import iap as iaps
from tests.doubles.alb import Alb
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.iap import Iap
from tests.doubles.raw_client import RawResponse, request
from tests.doubles.running_proxy import READ, RunningProxy

from .conftest import StartProxy, StartUpstream

DELETE = "/api/2.0/mlflow/runs/delete"
# Claims of the load balancer's other users; Ann is the default of `Alb.assertion`.
ALB_BOB = {"sub": "bob-1", "email": "bob@example.org"}
ALB_ROOT = {"sub": "root-1", "email": "root@elsewhere.example", "groups": ["ml-admins"]}

StartSso = Callable[..., Awaitable[RunningProxy]]
Host = TypeVar("Host", albs.KeyHost, iaps.KeyHost)


class AssertionHeader:
    """The request header that carries an assertion."""

    def __init__(self, name: str) -> None:
        self._name = name

    def header(self, assertion: str) -> str:
        return f"{self._name}: {assertion}"

    async def send(
        self, proxy: RunningProxy, assertion: str, method: str = "GET", target: str = READ, *headers: str
    ) -> RawResponse:
        body = b"{}" if method == "POST" else None
        return await proxy.send(request(method, target, self.header(assertion), *headers, body=body))

    async def assert_rejected(self, proxy: RunningProxy, assertion: str, reason: str) -> RawResponse:
        """Assert a 401 with this reason; the access log has no principal and no role."""
        response = await self.send(proxy, assertion)
        assert response.error == (401, "UNAUTHENTICATED"), response.message
        assert reason in response.message, response.message
        line = proxy.lines[-1]
        assert (line["principal"], line["role"], line["error"]) == (None, None, "invalid-assertion"), line
        return response


ALB = AssertionHeader("X-Amzn-Oidc-Data")
IAP = AssertionHeader("X-Goog-Iap-Jwt-Assertion")


async def assert_rejected_by_iap(proxy: RunningProxy, assertion: str, reason: str) -> None:
    """Assert the rejection, without a Basic challenge, for which browsers prompt for a password."""
    challenges = (await IAP.assert_rejected(proxy, assertion, reason)).all("www-authenticate")
    assert challenges == ["Bearer"], challenges


class Clock:
    """A clock that tests set, in seconds since the epoch."""

    now = 2e9

    def __call__(self) -> float:
        return self.now

    def set_for_jwt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make PyJWT, which calls `datetime.now`, use this clock too."""
        clock = self

        class _Datetime(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Self:
                return cls.fromtimestamp(clock.now, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", _Datetime)


@pytest_asyncio.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))


@contextlib.asynccontextmanager
async def strict(running: contextlib.AbstractAsyncContextManager[Host]) -> AsyncGenerator[Host]:
    """Fail the test if the host receives a request for anything but keys."""
    async with running as host:
        yield host
        assert host.wrong == [], host.wrong


def make_start(
    start_proxy: StartProxy, fake_upstream: FakeUpstream, settings: Callable[..., dict[str, Any]]
) -> StartSso:
    async def start(**changes: Any) -> RunningProxy:
        return await start_proxy(fake_upstream.origin, **settings(**changes))

    return start


# --- Load balancer


@pytest.fixture
def alb() -> Alb:
    return Alb()


@pytest_asyncio.fixture(name="host")
async def alb_host(alb: Alb, authority: Authority) -> AsyncGenerator[albs.KeyHost]:
    async with strict(albs.KeyHost.running(alb, authority)) as host:
        yield host


@pytest.fixture
def start_sso(
    start_proxy: StartProxy, host: albs.KeyHost, authority: Authority, fake_upstream: FakeUpstream
) -> StartSso:
    """`await start_sso(SETTING=...)`: a proxy that trusts the load balancer, in front of the fake upstream."""
    return make_start(start_proxy, fake_upstream, functools.partial(albs.settings, host, authority))


@pytest_asyncio.fixture(name="proxy")
async def alb_proxy(start_sso: StartSso) -> RunningProxy:
    return await start_sso()


ALB_FIXTURES = alb, alb_host, fake_upstream, start_sso, alb_proxy


# --- Identity-Aware Proxy


@pytest.fixture
def fake_iap() -> Iap:
    return Iap()


@pytest_asyncio.fixture(name="host")
async def iap_host(fake_iap: Iap, authority: Authority) -> AsyncGenerator[iaps.KeyHost]:
    async with strict(iaps.KeyHost.running(fake_iap, authority)) as host:
        yield host


@pytest.fixture
def start_iap(
    start_proxy: StartProxy, host: iaps.KeyHost, authority: Authority, fake_upstream: FakeUpstream
) -> StartSso:
    """`await start_iap(SETTING=...)`: a proxy that trusts IAP, in front of the fake upstream."""
    return make_start(start_proxy, fake_upstream, functools.partial(iaps.settings, host, authority))


@pytest_asyncio.fixture(name="proxy")
async def iap_proxy(start_iap: StartSso) -> RunningProxy:
    return await start_iap()


IAP_FIXTURES = fake_iap, iap_host, fake_upstream, start_iap, iap_proxy
