"""JWK sets, one document for all public keys: fetches, limits, refreshing, and failures of the host."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from local.fake_sagemaker.tls import Authority
from proxy_app.auth import signing_keys
from proxy_app.auth.signing_keys import JwkSet
from proxy_app.errors import ApiError
from tests.doubles.alb import public_pem
from tests.doubles.fake_upstreams import response_with_length
from tests.doubles.iap import Iap, KeyHost, jwk
from tests.doubles.running_proxy import wait_until

from .sso_fixtures import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def iap() -> Iap:
    return Iap()


@pytest_asyncio.fixture
async def host(iap: Iap, authority: Authority) -> AsyncGenerator[KeyHost]:
    async with KeyHost.running(iap, authority) as host:
        yield host
        assert host.wrong == []


@pytest.fixture
def keys(host: KeyHost, authority: Authority, clock: Clock) -> JwkSet:
    return JwkSet(host.url, authority.ca_file, clock)


async def test_one_fetch_returns_all_keys(keys: JwkSet, host: KeyHost, iap: Iap, clock: Clock) -> None:
    for _ in range(7):
        iap.publish()
    assert not keys.ready
    found = await asyncio.gather(*[keys.find(key_id) for key_id in iap.keys])
    assert [key and key.public_numbers() for key in found] == [
        key.public_key().public_numbers() for key in iap.keys.values()
    ]
    clock.now += 80_000
    assert await keys.find(iap.key_id) is not None
    assert (host.requests, keys.ready) == (1, True)


async def test_refetched_set_replaces_the_earlier_one(keys: JwkSet, host: KeyHost, iap: Iap) -> None:
    removed = iap.key_id
    assert await keys.find(removed) is not None
    iap.rotate()
    del iap.keys[removed]
    assert await keys.find(iap.key_id) is not None
    assert await keys.find(removed) is None
    assert host.requests == 3


async def test_fetches_for_unknown_ids_are_limited_to_ten_and_one_every_five_seconds(
    keys: JwkSet, host: KeyHost, iap: Iap, clock: Clock
) -> None:
    assert await keys.find(iap.key_id) is not None
    for number in range(9):
        assert [await keys.find(f"unknown-{number}") for _ in range(3)] == [None] * 3
    for number in range(9, 100):
        with pytest.raises(ApiError):
            await keys.find(f"unknown-{number}")
    assert host.requests == 10
    assert await keys.find(iap.key_id) is not None
    clock.now += 5
    assert await keys.find(iap.rotate()) is not None


def entry(**changes: Any) -> dict[str, Any]:
    key: dict[str, Any] = {**jwk("other", ec.generate_private_key(ec.SECP256R1())), **changes}
    return {field: value for field, value in key.items() if value is not None}


@pytest.mark.parametrize(
    "other",
    [
        entry(alg="RS256"),
        entry(use="enc"),
        {"kty": "RSA", "kid": "other", "n": "AQAB", "e": "AQAB", "alg": "RS256", "use": "sig"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "other", "x": "AQAB"},
        {**jwk("other", ec.generate_private_key(ec.SECP384R1())), "crv": "P-384", "alg": "ES384"},
        {**jwk("other", ec.generate_private_key(ec.SECP256K1())), "crv": "secp256k1", "alg": "ES256K"},
        {"kty": "new", "kid": "other"},
    ],
    ids=["alg RS256", "use enc", "RSA", "Ed25519", "P-384", "secp256k1", "unknown kty"],
)
async def test_keys_of_other_types_and_uses_are_ignored(
    keys: JwkSet, host: KeyHost, iap: Iap, other: dict[str, Any]
) -> None:
    entries = [other, *json.loads(iap.jwks())["keys"]]
    host.fault = response_with_length(json.dumps({"keys": entries, "more": 1}).encode())
    assert await keys.find(iap.key_id) is not None
    assert await keys.find("other") is None


@pytest.mark.parametrize("optional", ["alg", "use"])
async def test_alg_and_use_are_optional(keys: JwkSet, host: KeyHost, optional: str) -> None:
    host.fault = response_with_length(json.dumps({"keys": [entry(**{optional: None})]}).encode())
    assert await keys.find("other") is not None


NOT_A_SET, NO_ES256_KEY = "the response is not a JWK set", "the JWK set has no key for ES256"
VALID_KEY = entry()
INVALID_SETS: dict[str, tuple[Any, str]] = {
    "empty body": (b"", NOT_A_SET),
    "HTML": (b"<html>Please sign in to this network</html>", NOT_A_SET),
    "PEM": (public_pem(ec.generate_private_key(ec.SECP256R1())), NOT_A_SET),
    "a list": ([VALID_KEY], NOT_A_SET),
    "no field keys": ({}, NOT_A_SET),
    "keys is an object": ({"keys": {"other": VALID_KEY}}, NOT_A_SET),
    "deeply nested": (b"[" * 60_000, NOT_A_SET),
    "an empty set": ({"keys": []}, NO_ES256_KEY),
    "other keys only": ({"keys": [entry(alg="RS256")]}, NO_ES256_KEY),
    "key without y": ({"keys": [VALID_KEY, entry(y=None)]}, NOT_A_SET),
    "truncated x": ({"keys": [VALID_KEY, entry(x=VALID_KEY["x"][:-4])]}, NOT_A_SET),
    "point not on the curve": ({"keys": [VALID_KEY, entry(x=VALID_KEY["y"], y=VALID_KEY["x"])]}, NOT_A_SET),
    "key without kid": ({"keys": [VALID_KEY, entry(kid=None)]}, NOT_A_SET),
    "key without crv": ({"keys": [entry(crv=None)]}, NOT_A_SET),
    "too long": (b" " * 66_000, "the response is longer than 65536 bytes"),
}


@pytest.mark.parametrize("kind", INVALID_SETS)
async def test_invalid_set_leaves_the_earlier_one_valid(
    keys: JwkSet,
    host: KeyHost,
    iap: Iap,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    content, problem = INVALID_SETS[kind]
    assert await keys.find(iap.key_id) is not None
    host.fault = response_with_length(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ApiError):
        await keys.find("other")
    assert [record.getMessage() for record in caplog.records] == [
        f"The keys at {host.url} cannot be fetched: {problem}."
    ]
    assert await keys.find(iap.key_id) is not None
    host.fault = None
    clock.now += 60
    assert await keys.find("other") is None


@pytest.mark.parametrize("status", [b"403 Forbidden", b"404 Not Found", b"500 Internal Server Error"])
async def test_error_status_is_a_failed_fetch(keys: JwkSet, host: KeyHost, iap: Iap, status: bytes) -> None:
    host.fault = response_with_length(b"", status=status)
    with pytest.raises(ApiError):
        await keys.find(iap.key_id)
    host.fault = None
    assert await keys.find(iap.key_id) is not None


@pytest.mark.parametrize(
    ("caching", "seconds"),
    [
        ([b"Cache-Control: public, max-age=3000"], 3000),
        ([b"Cache-Control: public, max-age=3000", b"Age: 1358"], 1642),
        ([b"Cache-Control: MAX-AGE=3000,must-revalidate", b"Age: invalid"], 3000),
        ([b"Cache-Control: public, max-age=3000", b"Age: 2999"], 300),
        ([b"Cache-Control: max-age=0, no-store"], 300),
        ([b"Cache-Control: max-age=86400"], 3600),
        ([b"Cache-Control: max-age=" + b"9" * 4000], 3600),
        ([b"Cache-Control: max-age=600", b"Age: " + b"9" * 4000], 600),
        ([b"Cache-Control: s-maxage=5"], 3600),
        ([b"Age: 5"], 3600),
        ([], 3600),
    ],
)
async def test_set_is_refetched_after_its_max_age_within_bounds(
    keys: JwkSet,
    host: KeyHost,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caching: list[bytes],
    seconds: int,
) -> None:
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.01)
    host.caching = caching
    async with keys.running():
        clock.now += seconds - 1
        await asyncio.sleep(0.05)
        assert host.requests == 1
        clock.now += 1
        await wait_until(lambda: host.requests == 2)
        await asyncio.sleep(0.05)
        assert host.requests == 2


async def test_failed_refetch_is_retried_and_leaves_the_earlier_set_valid(
    keys: JwkSet,
    host: KeyHost,
    iap: Iap,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.01)
    async with keys.running():
        host.fault = response_with_length(b"", status=b"503 Service Unavailable")
        for _ in range(20):
            clock.now += 3600
            await asyncio.sleep(0.02)
        assert host.requests > 10
        assert keys.ready
        assert await keys.find(iap.key_id) is not None
        host.fault = None
        added = iap.publish()
        await wait_until(lambda: "can be fetched again" in caplog.text)
        requests = host.requests
        assert await keys.find(added) is not None
        assert host.requests == requests
    # An hour passes between the fetches, and each failure is logged again.
    levels = [record.levelname for record in caplog.records]
    assert levels[-1] == "INFO"
    assert set(levels[:-1]) == {"ERROR"}
    assert len(levels) > 10


async def test_stale_set_is_not_used_beyond_the_longest_time(
    host: KeyHost, iap: Iap, authority: Authority, clock: Clock
) -> None:
    host.caching = []  # fresh for an hour
    keys = JwkSet(host.url, authority.ca_file, clock, max_stale=600)
    assert await keys.find(iap.key_id) is not None
    host.fault = response_with_length(b"", status=b"503 Service Unavailable")
    clock.now += 3600 + 599
    assert keys.ready
    assert await keys.find(iap.key_id) is not None
    clock.now += 1
    assert not keys.ready
    with pytest.raises(ApiError) as error:
        await keys.find(iap.key_id)
    assert (error.value.status, error.value.reason) == (503, "signing-keys-unavailable")
    host.fault = None
    clock.now += 60
    assert await keys.find(iap.key_id) is not None
    assert keys.ready


async def test_invalid_host_name_is_a_failed_fetch(clock: Clock) -> None:
    """Python raises UnicodeError for such a name, not an OSError."""
    keys = JwkSet("https://a..example/keys", None, clock)
    async with keys.running():
        assert not keys.ready


async def test_startup_waits_for_one_fetch_timeout_at_most(
    keys: JwkSet, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "_TIMEOUT", 0.2)
    host.open.clear()
    async with asyncio.timeout(2), keys.running():
        assert not keys.ready
