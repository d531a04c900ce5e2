"""Public keys from their host: fetched once, kept, and never asked for without end."""

import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from local.fake_sagemaker.tls import Authority
from proxy_app.auth import signing_keys
from proxy_app.auth.signing_keys import JwkSet, PemKeys
from proxy_app.errors import ApiError
from proxy_app.setting_table import SettingsError
from tests.doubles import iap
from tests.doubles.alb import Alb, KeyHost, public_pem
from tests.doubles.fake_upstreams import response_with_length
from tests.doubles.running_proxy import wait_until


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


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


async def refused(keys: PemKeys, key_id: str) -> ApiError:
    with pytest.raises(ApiError) as refusal:
        await keys.find(key_id)
    assert (refusal.value.status, refusal.value.reason) == (503, "signing-keys-unavailable")
    assert dict(refusal.value.headers)["Retry-After"] == "5"
    return refusal.value


def unknown(number: int) -> str:
    return f"{number:08x}-0000-0000-0000-000000000000"


async def test_a_key_is_fetched_once_and_kept(keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock) -> None:
    found = await keys.find(alb.key_id)
    assert found is not None
    assert found.public_numbers() == alb.keys[alb.key_id].public_key().public_numbers()
    clock.now += 1e6
    assert await keys.find(alb.key_id) is found
    assert host.requests == [alb.key_id]


async def test_all_who_wait_for_a_key_get_it_from_one_fetch(keys: PemKeys, host: KeyHost, alb: Alb) -> None:
    host.open.clear()
    waiting = [asyncio.create_task(keys.find(alb.key_id)) for _ in range(50)]
    await wait_until(lambda: bool(host.requests))
    # The one who came first leaves.
    waiting[0].cancel()
    await asyncio.sleep(0)
    host.open.set()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting[0]
    assert len({id(await task) for task in waiting[1:]}) == 1
    assert host.requests == [alb.key_id]


async def test_all_who_wait_learn_that_it_cannot_be_had(keys: PemKeys, host: KeyHost, alb: Alb) -> None:
    host.open.clear()
    host.fault = response_with_length(b"", status=b"500 Internal Server Error")
    waiting = [asyncio.create_task(refused(keys, alb.key_id)) for _ in range(50)]
    await wait_until(lambda: bool(host.requests))
    host.open.set()
    assert len(await asyncio.gather(*waiting)) == 50
    assert len(host.requests) == 1


@pytest.mark.parametrize("missing", [b"403 Forbidden", b"404 Not Found"])
async def test_an_id_without_a_key_is_remembered_for_a_while(
    keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock, missing: bytes
) -> None:
    host.missing = missing
    assert [await keys.find(unknown(1)) for _ in range(20)] == [None] * 20
    assert host.requests == [unknown(1)]
    alb.keys[unknown(1)] = ec.generate_private_key(ec.SECP256R1())  # published only now
    clock.now += 29
    assert await keys.find(unknown(1)) is None
    clock.now += 1
    assert await keys.find(unknown(1)) is not None


async def test_forged_ids_make_the_host_be_asked_ten_times_and_then_once_in_five_seconds(
    keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock
) -> None:
    known = await keys.find(alb.key_id)
    for number in range(9):
        assert await keys.find(unknown(number)) is None
    for number in range(9, 100):
        await refused(keys, unknown(number))
    assert len(host.requests) == 10
    assert await keys.find(alb.key_id) is known, "what is known needs nobody to be asked"
    clock.now += 4.9
    await refused(keys, alb.rotate())
    clock.now += 0.1
    assert await keys.find(alb.key_id) is not None
    await refused(keys, unknown(200))
    clock.now += 1e6
    for number in range(300, 400):
        with contextlib.suppress(ApiError):
            await keys.find(unknown(number))
    assert len(host.requests) == 11 + 10, "a long quiet time lets no more through"


async def test_sixteen_keys_are_kept_and_the_one_in_use_is_among_them(
    keys: PemKeys, host: KeyHost, alb: Alb, clock: Clock
) -> None:
    used, others = alb.key_id, [alb.rotate() for _ in range(20)]
    for other in others:
        clock.now += 10
        assert await keys.find(used) is not None
        assert await keys.find(other) is not None
    assert host.requests.count(used) == 1
    for key_id in (others[5], others[4]):  # the fifteenth from the end is there still
        assert await keys.find(key_id) is not None
    assert [host.requests.count(key_id) for key_id in (others[5], others[4])] == [1, 2]


async def test_ids_without_a_key_are_not_remembered_without_end(
    keys: PemKeys, host: KeyHost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "_MAX_UNKNOWN", 5)
    monkeypatch.setattr(signing_keys, "_UNKNOWN_SECONDS", 1e6)
    for number in (0, 1, 2, 3, 4, 5, 1, 0):
        clock.now += 5
        assert await keys.find(unknown(number)) is None
    assert host.requests == [unknown(number) for number in (0, 1, 2, 3, 4, 5, 0)]


P256 = public_pem(ec.generate_private_key(ec.SECP256R1()))
NO_PEM, NOT_P256 = "the response is not a PEM key", "the key is not on the curve P-256"
NONSENSE = {
    "fault": (response_with_length(b"", status=b"500 Internal Server Error"), "the host responds with status 500"),
    "throttled": (response_with_length(b"", status=b"429 Too Many Requests"), "the host responds with status 429"),
    "elsewhere": (
        response_with_length(P256, b"Location: /elsewhere", status=b"302 Found"),
        "the host responds with status 302",
    ),
    "part": (response_with_length(P256, status=b"206 Partial Content"), "the host responds with status 206"),
    "html": (response_with_length(b"<html>Please sign in to this network</html>"), NO_PEM),
    "nothing": (response_with_length(b""), NO_PEM),
    "too short": (response_with_length(P256[:-40]), NO_PEM),
    "packed": (response_with_length(gzip.compress(P256), b"Content-Encoding: gzip"), NO_PEM),
    "too long": (response_with_length(P256 + b" " * 66_000), "the response is longer than 65536 bytes"),
    "P-384": (response_with_length(public_pem(ec.generate_private_key(ec.SECP384R1()))), NOT_P256),
    "secp256k1": (response_with_length(public_pem(ec.generate_private_key(ec.SECP256K1()))), NOT_P256),
    "RSA": (response_with_length(public_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))), NOT_P256),
    "Ed25519": (response_with_length(public_pem(ed25519.Ed25519PrivateKey.generate())), NOT_P256),
    "cut off": (response_with_length(P256)[:-20], ""),
    "no HTTP": (b"nonsense\r\n\r\n", ""),
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_a_host_that_answers_nonsense_is_a_host_that_does_not_answer(
    keys: PemKeys,
    host: KeyHost,
    alb: Alb,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(signing_keys, "_TIMEOUT", 1.0)
    host.fault, says = NONSENSE[kind]
    for _ in range(2):
        await refused(keys, alb.key_id)
    [record] = caplog.records  # once, not for each
    assert record.getMessage().startswith(f"The keys at {host.url} cannot be fetched: {says}")
    assert record.levelno == logging.ERROR
    host.fault = None
    caplog.set_level(logging.INFO)
    assert await keys.find(alb.key_id) is not None
    assert caplog.records[-1].getMessage() == f"The keys at {host.url} can be fetched again."


async def test_a_host_that_is_silent_is_not_waited_for_long(
    keys: PemKeys, host: KeyHost, alb: Alb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "_TIMEOUT", 0.2)
    host.open.clear()
    started = asyncio.get_running_loop().time()
    await refused(keys, alb.key_id)
    assert asyncio.get_running_loop().time() - started < 2


async def test_a_host_that_nobody_trusts_is_not_believed(host: KeyHost, alb: Alb, clock: Clock) -> None:
    await refused(PemKeys(host.url, None, clock), alb.key_id)
    assert host.requests == []


async def test_a_host_by_another_name_than_its_certificates_is_not_believed(
    host: KeyHost, authority: Authority, alb: Alb, clock: Clock
) -> None:
    await refused(PemKeys(host.url.replace("localhost", "127.0.0.2"), authority.ca_file, clock), alb.key_id)
    assert host.requests == []


async def test_a_host_that_is_not_there(authority: Authority, alb: Alb, clock: Clock) -> None:
    async with KeyHost.running(alb, authority) as host:
        pass
    await refused(PemKeys(host.url, authority.ca_file, clock), alb.key_id)


def test_a_bundle_that_cannot_be_read_ends_the_start() -> None:
    with pytest.raises(SettingsError, match="AWS_CA_BUNDLE: /no/such/file holds no certificates"):
        PemKeys("https://localhost", Path("/no/such/file"))


# --- All in one set


@pytest.fixture
def proxy() -> iap.Iap:
    return iap.Iap()


@pytest_asyncio.fixture
async def set_host(proxy: iap.Iap, authority: Authority) -> AsyncGenerator[iap.KeyHost]:
    async with iap.KeyHost.running(proxy, authority) as host:
        yield host
        assert host.wrong == []


@pytest.fixture
def key_set(set_host: iap.KeyHost, authority: Authority, clock: Clock) -> JwkSet:
    return JwkSet(set_host.url, authority.ca_file, clock)


async def test_one_fetch_brings_all_keys(key_set: JwkSet, set_host: iap.KeyHost, proxy: iap.Iap, clock: Clock) -> None:
    for _ in range(7):
        proxy.publish()
    assert not key_set.ready
    found = await asyncio.gather(*[key_set.find(key_id) for key_id in proxy.keys])
    assert [key and key.public_numbers() for key in found] == [
        key.public_key().public_numbers() for key in proxy.keys.values()
    ]
    clock.now += 1e6
    assert await key_set.find(proxy.key_id) is not None
    assert (set_host.requests, key_set.ready) == (1, True)


async def test_a_set_that_is_read_again_takes_the_place_of_the_one_before(
    key_set: JwkSet, set_host: iap.KeyHost, proxy: iap.Iap
) -> None:
    gone = proxy.key_id
    assert await key_set.find(gone) is not None
    proxy.rotate()
    del proxy.keys[gone]
    assert await key_set.find(proxy.key_id) is not None
    assert await key_set.find(gone) is None
    assert set_host.requests == 3


async def test_unknown_ids_make_the_set_be_read_ten_times_and_then_once_in_five_seconds(
    key_set: JwkSet, set_host: iap.KeyHost, proxy: iap.Iap, clock: Clock
) -> None:
    assert await key_set.find(proxy.key_id) is not None
    for number in range(9):
        assert [await key_set.find(unknown(number)) for _ in range(3)] == [None] * 3
    for number in range(9, 100):
        with pytest.raises(ApiError):
            await key_set.find(unknown(number))
    assert set_host.requests == 10
    assert await key_set.find(proxy.key_id) is not None
    clock.now += 5
    assert await key_set.find(proxy.rotate()) is not None


def entry(**changes: Any) -> dict[str, Any]:
    key: dict[str, Any] = {**iap.jwk("other", ec.generate_private_key(ec.SECP256R1())), **changes}
    return {field: value for field, value in key.items() if value is not None}


@pytest.mark.parametrize(
    "other",
    [
        entry(alg="RS256"),
        entry(use="enc"),
        {"kty": "RSA", "kid": "other", "n": "AQAB", "e": "AQAB", "alg": "RS256", "use": "sig"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "other", "x": "AQAB"},
        {**iap.jwk("other", ec.generate_private_key(ec.SECP384R1())), "crv": "P-384", "alg": "ES384"},
        {**iap.jwk("other", ec.generate_private_key(ec.SECP256K1())), "crv": "secp256k1", "alg": "ES256K"},
        {"kty": "new", "kid": "other"},
    ],
    ids=range(7),
)
async def test_keys_for_other_ends_are_passed_over(
    key_set: JwkSet, set_host: iap.KeyHost, proxy: iap.Iap, other: dict[str, Any]
) -> None:
    keys = [other, *json.loads(proxy.jwks())["keys"]]
    set_host.fault = response_with_length(json.dumps({"keys": keys, "more": 1}).encode())
    assert await key_set.find(proxy.key_id) is not None
    assert await key_set.find("other") is None


@pytest.mark.parametrize("optional", ["alg", "use"])
async def test_what_a_key_is_for_need_not_be_said(key_set: JwkSet, set_host: iap.KeyHost, optional: str) -> None:
    set_host.fault = response_with_length(json.dumps({"keys": [entry(**{optional: None})]}).encode())
    assert await key_set.find("other") is not None


NO_SET, NO_KEY = "the response is not a JWK set", "the JWK set has no key for ES256"
GOOD = entry()
NO_SETS: dict[str, tuple[Any, str]] = {
    "nothing": (b"", NO_SET),
    "html": (b"<html>Please sign in to this network</html>", NO_SET),
    "PEM": (P256, NO_SET),
    "a list": ([GOOD], NO_SET),
    "no keys": ({}, NO_SET),
    "keys by their ids": ({"keys": {"other": GOOD}}, NO_SET),
    "nested": (b"[" * 60_000, NO_SET),
    "an empty set": ({"keys": []}, NO_KEY),
    "other keys only": ({"keys": [entry(alg="RS256")]}, NO_KEY),
    "half a key": ({"keys": [GOOD, entry(y=None)]}, NO_SET),
    "half a number": ({"keys": [GOOD, entry(x=GOOD["x"][:-4])]}, NO_SET),
    "no point of the curve": ({"keys": [GOOD, entry(x=GOOD["y"], y=GOOD["x"])]}, NO_SET),
    "no id": ({"keys": [GOOD, entry(kid=None)]}, NO_SET),
    "a curve by another name": ({"keys": [entry(crv=None)]}, NO_SET),
    "too long": (b" " * 66_000, "the response is longer than 65536 bytes"),
}


@pytest.mark.parametrize("kind", NO_SETS)
async def test_what_is_no_set_changes_nothing(
    key_set: JwkSet,
    set_host: iap.KeyHost,
    proxy: iap.Iap,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    content, says = NO_SETS[kind]
    assert await key_set.find(proxy.key_id) is not None
    set_host.fault = response_with_length(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ApiError):
        await key_set.find("other")
    assert [record.getMessage() for record in caplog.records] == [
        f"The keys at {set_host.url} cannot be fetched: {says}."
    ]
    assert await key_set.find(proxy.key_id) is not None
    set_host.fault = None
    clock.now += 60
    assert await key_set.find("other") is None


@pytest.mark.parametrize("status", [b"403 Forbidden", b"404 Not Found", b"500 Internal Server Error"])
async def test_a_set_that_is_not_there_does_not_say_that_there_is_no_key(
    key_set: JwkSet, set_host: iap.KeyHost, proxy: iap.Iap, status: bytes
) -> None:
    set_host.fault = response_with_length(b"", status=status)
    with pytest.raises(ApiError):
        await key_set.find(proxy.key_id)
    set_host.fault = None
    assert await key_set.find(proxy.key_id) is not None


@pytest.mark.parametrize(
    ("caching", "seconds"),
    [
        ([b"Cache-Control: public, max-age=3000"], 3000),
        ([b"Cache-Control: public, max-age=3000", b"Age: 1358"], 1642),
        ([b"Cache-Control: MAX-AGE=3000,must-revalidate", b"Age: nonsense"], 3000),
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
async def test_a_set_is_good_for_as_long_as_its_host_says_within_bounds(
    key_set: JwkSet,
    set_host: iap.KeyHost,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caching: list[bytes],
    seconds: int,
) -> None:
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.01)
    set_host.caching = caching
    async with key_set.running():
        clock.now += seconds - 1
        await asyncio.sleep(0.05)
        assert set_host.requests == 1
        clock.now += 1
        await wait_until(lambda: set_host.requests == 2)
        await asyncio.sleep(0.05)
        assert set_host.requests == 2


async def test_a_set_that_cannot_be_read_again_stays_and_is_tried_again(
    key_set: JwkSet,
    set_host: iap.KeyHost,
    proxy: iap.Iap,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(signing_keys, "_REFRESH_INTERVAL", 0.01)
    async with key_set.running():
        set_host.fault = response_with_length(b"", status=b"503 Service Unavailable")
        for _ in range(20):
            clock.now += 3600
            await asyncio.sleep(0.02)
        assert set_host.requests > 10
        assert key_set.ready
        assert await key_set.find(proxy.key_id) is not None
        set_host.fault = None
        added = proxy.publish()
        await wait_until(lambda: "can be fetched again" in caplog.text)
        received = set_host.requests
        assert await key_set.find(added) is not None
        assert set_host.requests == received
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_a_host_whose_name_is_none_is_one_that_cannot_be_reached(clock: Clock) -> None:
    """What no resolver takes is no error of connections' to Python."""
    key_set = JwkSet("https://a..example/keys", None, clock)
    async with key_set.running():
        assert not key_set.ready


async def test_a_start_waits_for_a_silent_host_no_longer_than_for_a_fetch(
    key_set: JwkSet, set_host: iap.KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "_TIMEOUT", 0.2)
    set_host.open.clear()
    async with asyncio.timeout(2), key_set.running():
        assert not key_set.ready
