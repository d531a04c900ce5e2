"""Identity-Aware Proxy's public keys: when the proxy fetches them, rotation, expiry, and failures of their host."""

import asyncio
import functools
from typing import Any

import pytest

from local.fake_sagemaker.tls import Authority
from proxy_app.auth import signing_keys
from proxy_app.auth.iap import IapAuthenticator
from proxy_app.settings import Settings
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.iap import AUDIENCE, ROOT, Iap, KeyHost
from tests.doubles.key_host import es256
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import READ, RunningProxy, wait_until

from . import sso_fixtures
from .sso_fixtures import Clock, StartSso
from .sso_fixtures import assert_rejected_by_iap as assert_rejected

fake_iap, host, fake_upstream, start_iap, proxy = sso_fixtures.IAP_FIXTURES
send = sso_fixtures.IAP.send


@pytest.fixture
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the intervals between fetches of keys and between readiness probes."""
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.02)
    monkeypatch.setattr(signing_keys, "_FETCH_INTERVAL", 0.02)
    monkeypatch.setattr("proxy_app.handlers.health._CACHED_SECONDS", 0.02)


async def is_ready(proxy: RunningProxy) -> bool:
    return (await proxy.send(request("GET", "/readyz"))).status == 200


async def not_ready_reason(proxy: RunningProxy) -> str:
    response = await proxy.send(request("GET", "/readyz"))
    assert response.status == 503
    return response.json()["reason"]


# --- Fetches


async def test_keys_are_fetched_once_before_the_first_request(
    proxy: RunningProxy, fake_iap: Iap, host: KeyHost
) -> None:
    assert host.requests == 1
    assert await is_ready(proxy)
    responses = await asyncio.gather(*[send(proxy, fake_iap.assertion()) for _ in range(30)])
    assert {response.status for response in responses} == {200}
    assert host.requests == 1


async def test_new_key_is_fetched_when_it_first_signs(proxy: RunningProxy, fake_iap: Iap, host: KeyHost) -> None:
    before = fake_iap.assertion()
    for _ in range(3):
        assert (await send(proxy, fake_iap.assertion())).status == 200
        fake_iap.rotate()
    responses = await asyncio.gather(*[send(proxy, fake_iap.assertion()) for _ in range(30)])
    assert {response.status for response in responses} == {200}
    assert (await send(proxy, before)).status == 200, "earlier assertions stay valid until they expire"
    assert host.requests == 4


async def test_fetches_for_unknown_key_ids_are_limited(proxy: RunningProxy, fake_iap: Iap, host: KeyHost) -> None:
    assert (await send(proxy, fake_iap.assertion())).status == 200
    for _ in range(30):
        await assert_rejected(proxy, fake_iap.assertion(header={"kid": "f9R3yg"}), "its kid is unknown")
    assert host.requests == 2
    statuses = {(await send(proxy, fake_iap.assertion(header={"kid": f"1-{number}"}))).status for number in range(60)}
    assert statuses == {401, 503}
    # The burst of ten, and one more for every five seconds of this test.
    assert host.requests <= 12
    assert (await send(proxy, fake_iap.assertion())).status == 200


@pytest.mark.usefixtures("short_intervals")
async def test_proxy_without_keys_starts_and_is_not_ready_until_keys_are_fetched(
    start_iap: StartSso, fake_iap: Iap, host: KeyHost, fake_upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    host.down = True
    proxy = await start_iap()
    assert await not_ready_reason(proxy) == "signing-keys-unavailable"
    assert (await proxy.send(request("GET", "/healthz"))).status == 200
    response = await send(proxy, fake_iap.assertion())
    assert response.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.header("retry-after") == "5"
    assert proxy.lines[-1]["error"] == "signing-keys-unavailable"
    assert (await proxy.send(request("GET", READ))).status == 401
    assert [received.line for received in fake_upstream.requests] == []
    host.down = False
    await wait_until(lambda: is_ready(proxy))
    assert (await send(proxy, fake_iap.assertion())).status == 200
    problems = [record.getMessage() for record in caplog.records if "cannot be fetched:" in record.getMessage()]
    assert len(problems) == 1, "logged once, not at every fetch"
    assert problems[0].startswith(f"The keys at {host.url} cannot be fetched: ")


async def test_proxy_starts_when_the_key_host_is_unreachable(
    start_iap: StartSso, fake_iap: Iap, authority: Authority
) -> None:
    async with KeyHost.running(fake_iap, authority) as stopped_host:
        pass
    proxy = await start_iap(iap_keys_url=stopped_host.url)
    assert await not_ready_reason(proxy) == "signing-keys-unavailable"
    assert (await send(proxy, fake_iap.assertion())).status == 503


async def test_key_host_with_an_untrusted_certificate_receives_no_request(
    start_iap: StartSso, fake_iap: Iap, host: KeyHost, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await start_iap(ca_bundle=None)
    assert (await send(proxy, fake_iap.assertion())).status == 503
    assert "certificate verify failed" in caplog.text
    assert host.requests == 0


async def test_readyz_reports_the_upstream_error_when_keys_are_present(start_iap: StartSso) -> None:
    async with FakeUpstream.running(fake_upstreams.close_at_once) as stopped_upstream:
        pass
    proxy = await start_iap(upstream_url=stopped_upstream.origin)
    assert await not_ready_reason(proxy) == "upstream-connect-error"


# --- Rotation and expiry over hours and days


@pytest.mark.usefixtures("short_intervals")
async def test_key_rotation_over_two_days_rejects_no_valid_assertion(
    start_iap: StartSso, fake_iap: Iap, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clock for IAP, the proxy and its keys advances by ten minutes at a time."""
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.002)
    clock = fake_iap.clock = Clock()
    clock.set_for_jwt(monkeypatch)
    monkeypatch.setattr(IapAuthenticator, "create", functools.partial(IapAuthenticator, key_clock=clock))
    proxy = await start_iap()
    first, next_key, expired = fake_iap.key_id, "", ""
    for step in range(6 * 50):
        clock.now += 600
        # A key is published first, signs later, and is removed after its last assertion has expired.
        match step % 36:
            case 6:
                next_key = fake_iap.publish()
            case 18:
                fake_iap.key_id = next_key
            case 30:
                for old in [key_id for key_id in fake_iap.keys if key_id != fake_iap.key_id]:
                    del fake_iap.keys[old]
            case _:
                pass
        assert (await send(proxy, fake_iap.assertion())).status == 200, step
        if step == 100:
            expired = fake_iap.assertion()
    assert (await send(proxy, expired)).status == 401
    assert first not in fake_iap.keys
    # One at the start, one for every 3000 seconds (5 steps), and one for each key that signs before the next fetch.
    assert 10 <= host.requests <= 300 / 5 + 1 + 10


@pytest.mark.usefixtures("short_intervals")
async def test_keys_stay_valid_for_a_day_without_their_host_and_new_ones_are_fetched_afterwards(
    start_iap: StartSso,
    fake_iap: Iap,
    host: KeyHost,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = fake_iap.clock = Clock()
    clock.set_for_jwt(monkeypatch)
    monkeypatch.setattr(IapAuthenticator, "create", functools.partial(IapAuthenticator, key_clock=clock))
    proxy = await start_iap()
    assert (await send(proxy, fake_iap.assertion())).status == 200
    host.down = True
    for _ in range(24):
        clock.now += 3600
        assert (await send(proxy, fake_iap.assertion())).status == 200
    assert await is_ready(proxy)
    await wait_until(lambda: "cannot be fetched" in caplog.text)
    previous = fake_iap.key_id
    fake_iap.rotate()
    assert (await send(proxy, fake_iap.assertion())).status == 503, "a new key cannot be fetched"
    del fake_iap.keys[previous]
    host.down = False
    clock.now += 60
    assert (await send(proxy, fake_iap.assertion())).status == 200
    assert host.requests == 2


@pytest.mark.usefixtures("short_intervals")
async def test_removed_key_is_rejected_after_an_hour(
    start_iap: StartSso, fake_iap: Iap, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.caching = [b"Cache-Control: public, max-age=999999999"]
    clock = fake_iap.clock = Clock()
    clock.set_for_jwt(monkeypatch)
    monkeypatch.setattr(IapAuthenticator, "create", functools.partial(IapAuthenticator, key_clock=clock))
    proxy = await start_iap()
    removed, key_id = fake_iap.keys[fake_iap.key_id], fake_iap.key_id
    assert (await send(proxy, fake_iap.assertion())).status == 200
    fake_iap.rotate()
    del fake_iap.keys[key_id]
    clock.now += 3600
    await wait_until(lambda: host.requests == 2)
    await asyncio.sleep(0.05)
    await assert_rejected(
        proxy,
        fake_iap.assertion(ROOT, header={"kid": key_id}, sign=lambda data: es256(removed, data)),
        "its kid is unknown",
    )


# --- URL


def test_default_keys_url_is_the_documented_one(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    def key_set(url: str, *_: Any, **__: Any) -> None:
        urls.append(url)

    monkeypatch.setattr(signing_keys, "JwkSet", key_set)
    IapAuthenticator(Settings.build({"iap_audience": AUDIENCE, "role_rules": "email:a@b.example=admin"}))
    assert urls == ["https://www.gstatic.com/iap/verify/public_key-jwk"]
