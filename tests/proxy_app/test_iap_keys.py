"""The keys of Identity-Aware Proxy: there before anybody comes, new ones as they come, through days and troubles."""

import asyncio
import functools
from typing import Any

import pytest

from local.fake_sagemaker.tls import Authority
from proxy_app.auth import signing_keys
from proxy_app.auth.iap import IapAuthenticator
from proxy_app.settings import Settings
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.iap import AUDIENCE, ROOT, Iap, KeyHost
from tests.doubles.key_host import es256
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import READ, RunningProxy, wait_until

from . import sso_fixtures
from .sso_fixtures import Clock, StartSso
from .sso_fixtures import assert_rejected_by_iap as assert_rejected

iap_double, host, fake_upstream, start_iap, proxy = sso_fixtures.IAP_FIXTURES
send = sso_fixtures.IAP.send


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for seconds until keys are fetched again, or readiness is looked at."""
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.02)
    monkeypatch.setattr(signing_keys, "_FETCH_INTERVAL", 0.02)
    monkeypatch.setattr("proxy_app.handlers.health._CACHED_SECONDS", 0.02)


async def is_ready(proxy: RunningProxy) -> bool:
    return (await proxy.send(request("GET", "/readyz"))).status == 200


async def not_ready(proxy: RunningProxy) -> str:
    response = await proxy.send(request("GET", "/readyz"))
    assert response.status == 503
    return response.json()["reason"]


# --- When they are fetched


async def test_keys_are_there_before_anybody_comes(proxy: RunningProxy, iap_double: Iap, host: KeyHost) -> None:
    assert host.requests == 1
    assert await is_ready(proxy)
    responses = await asyncio.gather(*[send(proxy, iap_double.assertion()) for _ in range(30)])
    assert {response.status for response in responses} == {200}
    assert host.requests == 1


async def test_a_new_key_is_taken_as_soon_as_it_signs(proxy: RunningProxy, iap_double: Iap, host: KeyHost) -> None:
    before = iap_double.assertion()
    for _ in range(3):
        assert (await send(proxy, iap_double.assertion())).status == 200
        iap_double.rotate()
    responses = await asyncio.gather(*[send(proxy, iap_double.assertion()) for _ in range(30)])
    assert {response.status for response in responses} == {200}
    assert (await send(proxy, before)).status == 200, "the earlier ones are good until they end"
    assert host.requests == 4


async def test_forged_key_ids_do_not_make_the_proxy_fetch_without_end(
    proxy: RunningProxy, iap_double: Iap, host: KeyHost
) -> None:
    assert (await send(proxy, iap_double.assertion())).status == 200
    for _ in range(30):
        await assert_rejected(proxy, iap_double.assertion(header={"kid": "f9R3yg"}), "its kid is unknown")
    assert host.requests == 2
    statuses = {(await send(proxy, iap_double.assertion(header={"kid": f"1-{number}"}))).status for number in range(60)}
    assert statuses == {401, 503}
    # Ten, and what the seconds of this test have earned.
    assert host.requests <= 12
    assert (await send(proxy, iap_double.assertion())).status == 200


@pytest.mark.usefixtures("quick")
async def test_without_keys_the_proxy_starts_is_not_ready_and_says_so_until_it_has_them(
    start_iap: StartSso, iap_double: Iap, host: KeyHost, fake_upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    host.down = True
    proxy = await start_iap()
    assert await not_ready(proxy) == "signing-keys-unavailable"
    assert (await proxy.send(request("GET", "/healthz"))).status == 200
    response = await send(proxy, iap_double.assertion())
    assert response.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.header("retry-after") == "5"
    assert proxy.lines[-1]["error"] == "signing-keys-unavailable"
    assert (await proxy.send(request("GET", READ))).status == 401
    assert [received.line for received in fake_upstream.requests] == []
    host.down = False
    await wait_until(lambda: is_ready(proxy))
    assert (await send(proxy, iap_double.assertion())).status == 200
    problems = [record.getMessage() for record in caplog.records if "cannot be fetched:" in record.getMessage()]
    assert len(problems) == 1, "once, not at every fetch"
    assert problems[0].startswith(f"The keys at {host.url} cannot be fetched: ")


async def test_a_key_host_that_cannot_be_reached_is_no_reason_not_to_start(
    start_iap: StartSso, iap_double: Iap, authority: Authority
) -> None:
    async with KeyHost.running(iap_double, authority) as gone:
        pass
    proxy = await start_iap(iap_keys_url=gone.url)
    assert await not_ready(proxy) == "signing-keys-unavailable"
    assert (await send(proxy, iap_double.assertion())).status == 503


async def test_a_key_host_that_nobody_trusts_is_not_believed(
    start_iap: StartSso, iap_double: Iap, host: KeyHost
) -> None:
    proxy = await start_iap(ca_bundle=None)
    assert (await send(proxy, iap_double.assertion())).status == 503
    assert host.requests == 0


async def test_an_upstream_in_trouble_is_told_of_when_there_are_keys(start_iap: StartSso) -> None:
    async with FakeUpstream.running(fake_upstreams.close_at_once) as gone:
        pass
    proxy = await start_iap(upstream_url=gone.origin)
    assert await not_ready(proxy) == "upstream-connect-error"


# --- Days


@pytest.mark.usefixtures("quick")
async def test_over_days_keys_come_and_go_and_whoever_comes_through_is_let_in(
    start_iap: StartSso, iap_double: Iap, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clock for IAP, the proxy and its keys, moved on by ten minutes at a time."""
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.002)
    clock = iap_double.clock = Clock()
    clock.set_for_jwt(monkeypatch)
    monkeypatch.setattr(IapAuthenticator, "create", functools.partial(IapAuthenticator, key_clock=clock))
    proxy = await start_iap()
    first, next_key, expired = iap_double.key_id, "", ""
    for step in range(6 * 50):
        clock.now += 600
        # As others rotate: a key is shown first, signs later, and is taken away long after its last assertion.
        match step % 36:
            case 6:
                next_key = iap_double.publish()
            case 18:
                iap_double.key_id = next_key
            case 30:
                for old in [key_id for key_id in iap_double.keys if key_id != iap_double.key_id]:
                    del iap_double.keys[old]
            case _:
                pass
        assert (await send(proxy, iap_double.assertion())).status == 200, step
        if step == 100:
            expired = iap_double.assertion()
    assert (await send(proxy, expired)).status == 401
    assert first not in iap_double.keys
    # Every 3000 seconds at most, which are 5 steps here, once at the start, and for a key that signs before that.
    assert 10 <= host.requests <= 300 / 5 + 1 + 10


@pytest.mark.usefixtures("quick")
async def test_keys_hold_through_a_day_without_their_host_and_new_ones_are_there_with_it(
    start_iap: StartSso,
    iap_double: Iap,
    host: KeyHost,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = iap_double.clock = Clock()
    clock.set_for_jwt(monkeypatch)
    monkeypatch.setattr(IapAuthenticator, "create", functools.partial(IapAuthenticator, key_clock=clock))
    proxy = await start_iap()
    assert (await send(proxy, iap_double.assertion())).status == 200
    host.down = True
    for _ in range(24):
        clock.now += 3600
        assert (await send(proxy, iap_double.assertion())).status == 200
    assert await is_ready(proxy)
    await wait_until(lambda: "cannot be fetched" in caplog.text)
    kept = iap_double.key_id
    iap_double.rotate()
    assert (await send(proxy, iap_double.assertion())).status == 503, "nobody can tell"
    del iap_double.keys[kept]
    host.down = False
    clock.now += 60
    assert (await send(proxy, iap_double.assertion())).status == 200
    assert host.requests == 2


@pytest.mark.usefixtures("quick")
async def test_a_key_that_is_taken_away_opens_nothing_within_the_hour(
    start_iap: StartSso, iap_double: Iap, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.caching = [b"Cache-Control: public, max-age=999999999"]
    clock = iap_double.clock = Clock()
    clock.set_for_jwt(monkeypatch)
    monkeypatch.setattr(IapAuthenticator, "create", functools.partial(IapAuthenticator, key_clock=clock))
    proxy = await start_iap()
    stolen, key_id = iap_double.keys[iap_double.key_id], iap_double.key_id
    assert (await send(proxy, iap_double.assertion())).status == 200
    iap_double.rotate()
    del iap_double.keys[key_id]
    clock.now += 3600
    await wait_until(lambda: host.requests == 2)
    await asyncio.sleep(0.05)
    await assert_rejected(
        proxy,
        iap_double.assertion(ROOT, header={"kid": key_id}, sign=lambda data: es256(stolen, data)),
        "its kid is unknown",
    )


# --- Where they are


def test_the_keys_are_where_google_documents_them(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[str] = []

    def key_set(url: str, *_: Any) -> None:
        received.append(url)

    monkeypatch.setattr(signing_keys, "JwkSet", key_set)
    IapAuthenticator(Settings.build({"iap_audience": AUDIENCE, "role_rules": "email:a@b.example=admin"}))
    assert received == ["https://www.gstatic.com/iap/verify/public_key-jwk"]
