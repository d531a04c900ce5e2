"""Public keys from their host: fetched once, kept, and never asked for without end."""

import asyncio
import contextlib
import gzip
import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from local.standin.tls import Authority
from proxy_app.callers import public_keys
from proxy_app.callers.public_keys import PublicKeys
from proxy_app.errors import Refusal
from proxy_app.settings import SettingsError
from tests.doubles.alb import Alb, KeyHost, public_pem
from tests.doubles.running_gate import until
from tests.doubles.toy_upstreams import with_length


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
def keys(host: KeyHost, authority: Authority, clock: Clock) -> PublicKeys:
    return PublicKeys(host.url, authority.ca_file, clock)


async def refused(keys: PublicKeys, key_id: str) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await keys.find(key_id)
    assert (refusal.value.status, refusal.value.reason) == (503, "no-keys")
    assert dict(refusal.value.headers)["Retry-After"] == "5"
    return refusal.value


def unknown(number: int) -> str:
    return f"{number:08x}-0000-0000-0000-000000000000"


async def test_a_key_is_fetched_once_and_kept(keys: PublicKeys, host: KeyHost, alb: Alb, clock: Clock) -> None:
    found = await keys.find(alb.key_id)
    assert found is not None
    assert found.public_numbers() == alb.keys[alb.key_id].public_key().public_numbers()
    clock.now += 1e6
    assert await keys.find(alb.key_id) is found
    assert host.asked == [alb.key_id]


async def test_all_who_wait_for_a_key_get_it_from_one_fetch(keys: PublicKeys, host: KeyHost, alb: Alb) -> None:
    host.open.clear()
    waiting = [asyncio.create_task(keys.find(alb.key_id)) for _ in range(50)]
    await until(lambda: bool(host.asked))
    # The one who came first leaves.
    waiting[0].cancel()
    await asyncio.sleep(0)
    host.open.set()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting[0]
    assert len({id(await task) for task in waiting[1:]}) == 1
    assert host.asked == [alb.key_id]


async def test_all_who_wait_learn_that_it_cannot_be_had(keys: PublicKeys, host: KeyHost, alb: Alb) -> None:
    host.open.clear()
    host.fault = with_length(b"", status=b"500 Internal Server Error")
    waiting = [asyncio.create_task(refused(keys, alb.key_id)) for _ in range(50)]
    await until(lambda: bool(host.asked))
    host.open.set()
    assert len(await asyncio.gather(*waiting)) == 50
    assert len(host.asked) == 1


@pytest.mark.parametrize("missing", [b"403 Forbidden", b"404 Not Found"])
async def test_an_id_without_a_key_is_remembered_for_a_while(
    keys: PublicKeys, host: KeyHost, alb: Alb, clock: Clock, missing: bytes
) -> None:
    host.missing = missing
    assert [await keys.find(unknown(1)) for _ in range(20)] == [None] * 20
    assert host.asked == [unknown(1)]
    alb.keys[unknown(1)] = ec.generate_private_key(ec.SECP256R1())  # published only now
    clock.now += 29
    assert await keys.find(unknown(1)) is None
    clock.now += 1
    assert await keys.find(unknown(1)) is not None


async def test_forged_ids_make_the_host_be_asked_ten_times_and_then_once_in_five_seconds(
    keys: PublicKeys, host: KeyHost, alb: Alb, clock: Clock
) -> None:
    known = await keys.find(alb.key_id)
    for number in range(9):
        assert await keys.find(unknown(number)) is None
    for number in range(9, 100):
        await refused(keys, unknown(number))
    assert len(host.asked) == 10
    assert await keys.find(alb.key_id) is known, "what is known needs nobody to be asked"
    clock.now += 4.9
    await refused(keys, alb.rotate())
    clock.now += 0.1
    assert await keys.find(alb.key_id) is not None
    await refused(keys, unknown(200))
    clock.now += 1e6
    for number in range(300, 400):
        with contextlib.suppress(Refusal):
            await keys.find(unknown(number))
    assert len(host.asked) == 11 + 10, "a long quiet time lets no more through"


async def test_sixteen_keys_are_kept_and_the_one_in_use_is_among_them(
    keys: PublicKeys, host: KeyHost, alb: Alb, clock: Clock
) -> None:
    used, others = alb.key_id, [alb.rotate() for _ in range(20)]
    for other in others:
        clock.now += 10
        assert await keys.find(used) is not None
        assert await keys.find(other) is not None
    assert host.asked.count(used) == 1
    for key_id in (others[5], others[4]):  # the fifteenth from the end is there still
        assert await keys.find(key_id) is not None
    assert [host.asked.count(key_id) for key_id in (others[5], others[4])] == [1, 2]


async def test_ids_without_a_key_are_not_remembered_without_end(
    keys: PublicKeys, host: KeyHost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_keys, "_UNKNOWN_KEPT", 5)
    monkeypatch.setattr(public_keys, "_UNKNOWN_FOR", 1e6)
    for number in (0, 1, 2, 3, 4, 5, 1, 0):
        clock.now += 5
        assert await keys.find(unknown(number)) is None
    assert host.asked == [unknown(number) for number in (0, 1, 2, 3, 4, 5, 0)]


P256 = public_pem(ec.generate_private_key(ec.SECP256R1()))
NO_PEM, NOT_P256 = "its answer is no key in PEM form", "its key is not on the curve P-256"
NONSENSE = {
    "fault": (with_length(b"", status=b"500 Internal Server Error"), "it answers 500"),
    "throttled": (with_length(b"", status=b"429 Too Many Requests"), "it answers 429"),
    "elsewhere": (with_length(P256, b"Location: /elsewhere", status=b"302 Found"), "it answers 302"),
    "part": (with_length(P256, status=b"206 Partial Content"), "it answers 206"),
    "html": (with_length(b"<html>Please sign in to this network</html>"), NO_PEM),
    "nothing": (with_length(b""), NO_PEM),
    "too short": (with_length(P256[:-40]), NO_PEM),
    "packed": (with_length(gzip.compress(P256), b"Content-Encoding: gzip"), NO_PEM),
    "too long": (with_length(P256 + b" " * 9000), "its answer is longer than 8192 bytes"),
    "P-384": (with_length(public_pem(ec.generate_private_key(ec.SECP384R1()))), NOT_P256),
    "secp256k1": (with_length(public_pem(ec.generate_private_key(ec.SECP256K1()))), NOT_P256),
    "RSA": (with_length(public_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))), NOT_P256),
    "Ed25519": (with_length(public_pem(ed25519.Ed25519PrivateKey.generate())), NOT_P256),
    "cut off": (with_length(P256)[:-20], ""),
    "no HTTP": (b"nonsense\r\n\r\n", ""),
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_a_host_that_answers_nonsense_is_a_host_that_does_not_answer(
    keys: PublicKeys,
    host: KeyHost,
    alb: Alb,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(public_keys, "_TIMEOUT", 1.0)
    host.fault, says = NONSENSE[kind]
    for _ in range(2):
        await refused(keys, alb.key_id)
    [record] = caplog.records  # once, not for each
    assert record.getMessage().startswith(f"The keys at {host.url} cannot be had: {says}")
    assert record.levelno == logging.ERROR
    host.fault = None
    caplog.set_level(logging.INFO)
    assert await keys.find(alb.key_id) is not None
    assert caplog.records[-1].getMessage() == f"The keys at {host.url} can be had again."


async def test_a_host_that_is_silent_is_not_waited_for_long(
    keys: PublicKeys, host: KeyHost, alb: Alb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_keys, "_TIMEOUT", 0.2)
    host.open.clear()
    started = asyncio.get_running_loop().time()
    await refused(keys, alb.key_id)
    assert asyncio.get_running_loop().time() - started < 2


async def test_a_host_that_nobody_trusts_is_not_believed(host: KeyHost, alb: Alb, clock: Clock) -> None:
    await refused(PublicKeys(host.url, None, clock), alb.key_id)
    assert host.asked == []


async def test_a_host_by_another_name_than_its_certificates_is_not_believed(
    host: KeyHost, authority: Authority, alb: Alb, clock: Clock
) -> None:
    await refused(PublicKeys(host.url.replace("localhost", "127.0.0.2"), authority.ca_file, clock), alb.key_id)
    assert host.asked == []


async def test_a_host_that_is_not_there(authority: Authority, alb: Alb, clock: Clock) -> None:
    async with KeyHost.running(alb, authority) as host:
        pass
    await refused(PublicKeys(host.url, authority.ca_file, clock), alb.key_id)


def test_a_bundle_that_cannot_be_read_ends_the_start() -> None:
    with pytest.raises(SettingsError, match="AWS_CA_BUNDLE: /no/such/file holds no certificates"):
        PublicKeys("https://localhost", Path("/no/such/file"))
