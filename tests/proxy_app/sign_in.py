"""A proxy behind what signs people in, in front of a toy: what the tests of both such ways share.

A test file takes the fixtures by their names: `alb, host, toy, start_sso, proxy = sign_in.BEHIND_ALB`.
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
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles import iap as iaps
from tests.doubles.alb import Alb
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.iap import Iap
from tests.doubles.raw_client import RawResponse, request
from tests.doubles.running_proxy import READ, RunningProxy

from .conftest import StartProxy, StartUpstream

DELETE = "/api/2.0/mlflow/runs/delete"
# Who signs in at the load balancer beside its Ann.
ALB_BOB = {"sub": "bob-1", "email": "bob@example.org"}
ALB_ROOT = {"sub": "root-1", "email": "root@elsewhere.example", "groups": ["ml-admins"]}

Start = Callable[..., Awaitable[RunningProxy]]
Host = TypeVar("Host", albs.KeyHost, iaps.KeyHost)


class SignIn:
    """Asks a proxy with what this header says of the caller."""

    def __init__(self, header: str) -> None:
        self._header = header

    def shown(self, said: str) -> str:
        return f"{self._header}: {said}"

    async def send(
        self, proxy: RunningProxy, said: str, method: str = "GET", target: str = READ, *headers: str
    ) -> RawResponse:
        body = b"{}" if method == "POST" else None
        return await proxy.send(request(method, target, self.shown(said), *headers, body=body))

    async def refused(self, proxy: RunningProxy, said: str, why: str) -> RawResponse:
        """By a 401 that says why, and nothing of who it was."""
        response = await self.send(proxy, said)
        assert response.error == (401, "UNAUTHENTICATED"), response.message
        assert why in response.message, response.message
        line = proxy.lines[-1]
        assert (line["principal"], line["role"], line["error"]) == (None, None, "invalid-assertion"), line
        return response


ALB = SignIn("X-Amzn-Oidc-Data")
IAP = SignIn("X-Goog-Iap-Jwt-Assertion")


async def refused_by_iap(proxy: RunningProxy, said: str, why: str) -> None:
    """And no browser is asked for a password."""
    challenges = (await IAP.refused(proxy, said, why)).all("www-authenticate")
    assert challenges == ["Bearer"], challenges


class Clock:
    """Seconds since the epoch that a test sets, for PyJWT too."""

    now = 2e9

    def __call__(self) -> float:
        return self.now

    def set_for_jwt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """PyJWT checks times by ``datetime.now``."""
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
    """Nobody asks it for anything but keys."""
    async with running as host:
        yield host
        assert host.wrong == [], host.wrong


def starting(start_proxy: StartProxy, fake_upstream: FakeUpstream, values: Callable[..., dict[str, Any]]) -> Start:
    async def start(**changes: Any) -> RunningProxy:
        return await start_proxy(fake_upstream.origin, **values(**changes))

    return start


# --- Behind a load balancer


@pytest.fixture
def alb() -> Alb:
    return Alb()


@pytest_asyncio.fixture(name="host")
async def alb_host(alb: Alb, authority: Authority) -> AsyncGenerator[albs.KeyHost]:
    async with strict(albs.KeyHost.running(alb, authority)) as host:
        yield host


@pytest.fixture
def start_sso(start_proxy: StartProxy, host: albs.KeyHost, authority: Authority, fake_upstream: FakeUpstream) -> Start:
    """`await start_sso(any_setting=...)`: a proxy behind this load balancer, in front of the toy."""
    return starting(start_proxy, fake_upstream, functools.partial(albs.settings, host, authority))


@pytest_asyncio.fixture(name="proxy")
async def alb_proxy(start_sso: Start) -> RunningProxy:
    return await start_sso()


BEHIND_ALB = alb, alb_host, fake_upstream, start_sso, alb_proxy


# --- Behind Identity-Aware Proxy


@pytest.fixture
def iap_double() -> Iap:
    return Iap()


@pytest_asyncio.fixture(name="host")
async def iap_host(iap_double: Iap, authority: Authority) -> AsyncGenerator[iaps.KeyHost]:
    async with strict(iaps.KeyHost.running(iap_double, authority)) as host:
        yield host


@pytest.fixture
def start_iap(start_proxy: StartProxy, host: iaps.KeyHost, authority: Authority, fake_upstream: FakeUpstream) -> Start:
    """`await start_iap(any_setting=...)`: a proxy behind this IAP, in front of the toy."""
    return starting(start_proxy, fake_upstream, functools.partial(iaps.settings, host, authority))


@pytest_asyncio.fixture(name="proxy")
async def iap_proxy(start_iap: Start) -> RunningProxy:
    return await start_iap()


BEHIND_IAP = iap_double, iap_host, fake_upstream, start_iap, iap_proxy
