"""PEM public keys, one document for each: fetches, limits, caching, and failures of the host."""

import asyncio
import contextlib
import gzip
import logging
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from local.fake_sagemaker.tls import Authority
from proxy_app.auth import signing_keys
from proxy_app.auth.signing_keys import PemKeys
from proxy_app.errors import ApiError
from proxy_app.setting_table import SettingsError
from tests.doubles.alb import Alb, KeyHost, public_pem
from tests.doubles.fake_upstreams import response_with_length
from tests.doubles.running_proxy import wait_until

from .sso_fixtures import Clock


@pytest.fixture
def alb() -> Alb:
    return Alb()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def host(alb: Alb, authority: Authority) -> AsyncGenerator[KeyHost]:
    async with KeyHost.running(alb, authority) as host:
        yield host
        assert host.wrong == []


@pytest.fixture
def keys(host: KeyHost, authority: Authority, clock: Clock) -> PemKeys:
    return PemKeys(host.url, authority.ca_file, clock)


async def assert_unavailable(keys: PemKeys, key_id: str) -> None:
    with pytest.raises(ApiError) as error:
        await keys.find(key_id)
    assert (error.value.status, error.value.reason) == (503, "signing-keys-unavailable")
    assert dict(error.value.headers)["Retry-After"] == "5"


def unknown_id(number: int) -> str:
    return f"{number:08x}-0000-0000-0000-000000000000"


async def test_key_is_fetched_once(keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock) -> None:
    key = await keys.find(alb.key_id)
    assert key is not None
    assert key.public_numbers() == alb.keys[alb.key_id].public_key().public_numbers()
    clock.now += 1e6
    assert await keys.find(alb.key_id) is key
    assert host.requests == [alb.key_id]


async def test_concurrent_lookups_share_one_fetch_even_if_the_first_is_cancelled(
    keys: PemKeys, host: KeyHost, alb: Alb
) -> None:
    host.open.clear()
    lookups = [asyncio.create_task(keys.find(alb.key_id)) for _ in range(50)]
    await wait_until(lambda: bool(host.requests))
    # The lookup that started the fetch is cancelled.
    lookups[0].cancel()
    await asyncio.sleep(0)
    host.open.set()
    with contextlib.suppress(asyncio.CancelledError):
        await lookups[0]
    assert len({id(await task) for task in lookups[1:]}) == 1
    assert host.requests == [alb.key_id]


async def test_concurrent_lookups_share_one_failed_fetch(keys: PemKeys, host: KeyHost, alb: Alb) -> None:
    host.open.clear()
    host.fault = response_with_length(b"", status=b"500 Internal Server Error")
    lookups = [asyncio.create_task(assert_unavailable(keys, alb.key_id)) for _ in range(50)]
    await wait_until(lambda: bool(host.requests))
    host.open.set()
    assert len(await asyncio.gather(*lookups)) == 50
    assert len(host.requests) == 1


@pytest.mark.parametrize("missing", [b"403 Forbidden", b"404 Not Found"])
async def test_unknown_id_is_cached_for_30_seconds(
    keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock, missing: bytes
) -> None:
    host.missing = missing
    assert [await keys.find(unknown_id(1)) for _ in range(20)] == [None] * 20
    assert host.requests == [unknown_id(1)]
    alb.keys[unknown_id(1)] = ec.generate_private_key(ec.SECP256R1())  # published now
    clock.now += 29
    assert await keys.find(unknown_id(1)) is None
    clock.now += 1
    assert await keys.find(unknown_id(1)) is not None


async def test_fetches_for_unknown_ids_are_limited_to_ten_and_one_every_five_seconds(
    keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock
) -> None:
    known = await keys.find(alb.key_id)
    for number in range(9):
        assert await keys.find(unknown_id(number)) is None
    for number in range(9, 100):
        await assert_unavailable(keys, unknown_id(number))
    assert len(host.requests) == 10
    assert await keys.find(alb.key_id) is known, "a cached key requires no fetch"
    clock.now += 4.9
    await assert_unavailable(keys, alb.rotate())
    clock.now += 0.1
    assert await keys.find(alb.key_id) is not None
    await assert_unavailable(keys, unknown_id(200))
    clock.now += 1e6
    for number in range(300, 400):
        with contextlib.suppress(ApiError):
            await keys.find(unknown_id(number))
    assert len(host.requests) == 11 + 10, "after a long pause the burst is ten again"


async def test_sixteen_most_recently_used_keys_are_cached(keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock) -> None:
    used, others = alb.key_id, [alb.rotate() for _ in range(20)]
    for other in others:
        clock.now += 10
        assert await keys.find(used) is not None
        assert await keys.find(other) is not None
    assert host.requests.count(used) == 1
    for key_id in (others[5], others[4]):  # the fifteenth from the end is still cached
        assert await keys.find(key_id) is not None
    assert [host.requests.count(key_id) for key_id in (others[5], others[4])] == [1, 2]


async def test_number_of_cached_unknown_ids_is_limited(
    keys: PemKeys, host: KeyHost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "_MAX_UNKNOWN", 5)
    monkeypatch.setattr(signing_keys, "_UNKNOWN_SECONDS", 1e6)
    for number in (0, 1, 2, 3, 4, 5, 1, 0):
        clock.now += 5
        assert await keys.find(unknown_id(number)) is None
    assert host.requests == [unknown_id(number) for number in (0, 1, 2, 3, 4, 5, 0)]


P256 = public_pem(ec.generate_private_key(ec.SECP256R1()))
NOT_PEM, NOT_P256 = "the response is not a PEM key", "the key is not on the curve P-256"
INVALID_RESPONSES = {
    "500": (response_with_length(b"", status=b"500 Internal Server Error"), "the host responds with status 500"),
    "429": (response_with_length(b"", status=b"429 Too Many Requests"), "the host responds with status 429"),
    "redirect": (
        response_with_length(P256, b"Location: /elsewhere", status=b"302 Found"),
        "the host responds with status 302",
    ),
    "206": (response_with_length(P256, status=b"206 Partial Content"), "the host responds with status 206"),
    "HTML": (response_with_length(b"<html>Please sign in to this network</html>"), NOT_PEM),
    "empty body": (response_with_length(b""), NOT_PEM),
    "truncated PEM": (response_with_length(P256[:-40]), NOT_PEM),
    "gzip": (response_with_length(gzip.compress(P256), b"Content-Encoding: gzip"), NOT_PEM),
    "too long": (response_with_length(P256 + b" " * 66_000), "the response is longer than 65536 bytes"),
    "P-384": (response_with_length(public_pem(ec.generate_private_key(ec.SECP384R1()))), NOT_P256),
    "secp256k1": (response_with_length(public_pem(ec.generate_private_key(ec.SECP256K1()))), NOT_P256),
    "RSA": (response_with_length(public_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))), NOT_P256),
    "Ed25519": (response_with_length(public_pem(ed25519.Ed25519PrivateKey.generate())), NOT_P256),
    "truncated response": (response_with_length(P256)[:-20], ""),
    "not HTTP": (b"not HTTP\r\n\r\n", ""),
}


@pytest.mark.parametrize("kind", INVALID_RESPONSES)
async def test_invalid_response_is_a_failed_fetch_that_is_logged_once(
    keys: PemKeys,
    host: KeyHost,
    alb: Alb,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(signing_keys, "_TIMEOUT", 1.0)
    host.fault, problem = INVALID_RESPONSES[kind]
    for _ in range(2):
        await assert_unavailable(keys, alb.key_id)
    [record] = caplog.records  # not one for each fetch
    assert record.getMessage().startswith(f"The keys at {host.url} cannot be fetched: {problem}")
    assert record.levelno == logging.ERROR
    host.fault = None
    caplog.set_level(logging.INFO)
    assert await keys.find(alb.key_id) is not None
    assert caplog.records[-1].getMessage() == f"The keys at {host.url} can be fetched again."


async def test_fetch_times_out(keys: PemKeys, host: KeyHost, alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "_TIMEOUT", 0.2)
    host.open.clear()
    started = asyncio.get_running_loop().time()
    await assert_unavailable(keys, alb.key_id)
    assert asyncio.get_running_loop().time() - started < 2


async def test_host_with_an_untrusted_certificate_receives_no_request(
    host: KeyHost, alb: Alb, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await assert_unavailable(PemKeys(host.url, None, clock), alb.key_id)
    assert "certificate verify failed" in caplog.text
    assert host.requests == []


async def test_host_with_a_certificate_for_another_name_receives_no_request(
    host: KeyHost,
    authority: Authority,
    alb: Alb,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def resolve(_: object, name: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        return [{"hostname": name, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    url = host.url.replace("localhost", "keys.example")
    await assert_unavailable(PemKeys(url, authority.ca_file, clock), alb.key_id)
    assert "certificate is not valid for 'keys.example'" in caplog.text
    assert host.requests == []


async def test_unreachable_host_is_a_failed_fetch(authority: Authority, alb: Alb, clock: Clock) -> None:
    async with KeyHost.running(alb, authority) as host:
        pass
    await assert_unavailable(PemKeys(host.url, authority.ca_file, clock), alb.key_id)


def test_unreadable_ca_bundle_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="AWS_CA_BUNDLE: /no/such/file holds no certificates"):
        PemKeys("https://localhost", Path("/no/such/file"))
