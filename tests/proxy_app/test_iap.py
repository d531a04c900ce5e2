"""Verification of Identity-Aware Proxy's assertions: claims, times, algorithm, key and signature."""

import base64
import hashlib
import hmac
import string
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from local.fake_sagemaker.tls import Authority
from proxy_app.auth.iap import IapAuthenticator
from proxy_app.errors import ApiError
from proxy_app.settings import Settings
from tests.doubles import iap as doubles
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.iap import AUDIENCE, BOB, ISSUER, ROOT, Iap, KeyHost, compact
from tests.doubles.key_host import es256
from tests.doubles.request_factory import context
from tests.doubles.running_proxy import RunningProxy

from . import sso_fixtures
from .sso_fixtures import Clock
from .sso_fixtures import assert_rejected_by_iap as assert_rejected

fake_iap, host, fake_upstream, start_iap, proxy = sso_fixtures.IAP_FIXTURES
send = sso_fixtures.IAP.send

OTHER_PROJECT_NUMBER = AUDIENCE.replace("123456789012", "123456789013")
INVALID_ASSERTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "aud of another project ID": (
        {"aud": "/projects/123456789012/apps/other-project"},
        "its aud is not MLFLOW_PROXY_IAP_AUDIENCE",
    ),
    "aud of another project number": ({"aud": OTHER_PROJECT_NUMBER}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "aud with a suffix": ({"aud": AUDIENCE + "/"}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "aud without its last character": ({"aud": AUDIENCE[:-1]}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "aud of a backend service": (
        {"aud": "/projects/123456789012/global/backendServices/1"},
        "its aud is not MLFLOW_PROXY_IAP_AUDIENCE",
    ),
    "aud is a list": ({"aud": [AUDIENCE]}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "no aud": ({"without": "aud"}, "its claim aud is missing"),
    "another iss": ({"iss": "https://accounts.google.com"}, "its iss is not https://cloud.google.com/iap"),
    "iss with a trailing slash": ({"iss": ISSUER + "/"}, "its iss is not https://cloud.google.com/iap"),
    "iss is a list": ({"iss": [ISSUER]}, "its iss is not https://cloud.google.com/iap"),
    "no iss": ({"without": "iss"}, "its claim iss is missing"),
    "no exp": ({"without": "exp"}, "its claim exp is missing"),
    "no iat": ({"without": "iat"}, "its claim iat is missing"),
    "exp is a string": ({"exp": "4102444800"}, "its exp is not an integer"),
    "iat is a fraction": ({"iat": 1.5}, "its iat is not an integer"),
    "iat is a boolean": ({"iat": True}, "its iat is not an integer"),
    "exp larger than any float": ({"exp": 10**400}, "its exp is too far from its iat"),
    "lifetime too long": ({"lifetime": 661}, "its exp is too far from its iat"),
    "alg is ES384": ({"header": {"alg": "ES384"}}, "its alg is not ES256"),
    "alg in lower case": ({"header": {"alg": "es256"}}, "its alg is not ES256"),
    "alg is a list": ({"header": {"alg": ["ES256"]}}, "its alg is not ES256"),
    "no alg": ({"without": "alg"}, "its alg is not ES256"),
    "critical extension": ({"header": {"crit": ["b64"], "b64": False}}, "it is malformed"),
    "no kid": ({"without": "kid"}, "its kid is not a valid key ID"),
    "kid is a path": ({"header": {"kid": "../key"}}, "its kid is not a valid key ID"),
    "kid is a number": ({"header": {"kid": 5}}, "it is malformed"),
    "unknown kid": ({"header": {"kid": "f9R3yg"}}, "its kid is unknown"),
}


@pytest.mark.parametrize("kind", INVALID_ASSERTIONS)
async def test_signed_assertion_with_invalid_header_or_claims_is_rejected(
    proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream, kind: str
) -> None:
    """IAP signs the assertions of all Google Cloud projects with the same keys."""
    changes, reason = INVALID_ASSERTIONS[kind]
    await assert_rejected(proxy, fake_iap.assertion(ROOT, **changes), reason)
    assert fake_upstream.requests == []


async def test_times_are_checked_with_30_seconds_of_leeway(
    host: KeyHost, authority: Authority, fake_iap: Iap, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.set_for_jwt(monkeypatch)
    fake_iap.clock = lambda: 2e9
    authenticator = IapAuthenticator(Settings.build(doubles.settings(host, authority)))
    assertion = fake_iap.assertion()

    async def outcome(seconds: float) -> str:
        clock.now = 2e9 + seconds
        try:
            await authenticator.authenticate(context({"x-goog-iap-jwt-assertion": assertion}))
        except ApiError as error:
            return f"{error.reason}: {error.message}"
        return "accepted"

    assert "its iat or nbf is in the future" in await outcome(-31)
    assert [await outcome(seconds) for seconds in (-30, 0, 600, 629)] == ["accepted"] * 4
    assert await outcome(630) == (
        "expired-assertion: Identity-Aware Proxy's assertion (x-goog-iap-jwt-assertion) has expired."
    )


async def test_unsigned_assertion_is_rejected(proxy: RunningProxy, fake_iap: Iap) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        unsigned = fake_iap.assertion(ROOT, header={"alg": algorithm}, sign=lambda _: b"")
        await assert_rejected(proxy, unsigned, "it is malformed")
        await assert_rejected(proxy, unsigned.rstrip("."), "it is malformed")
        await assert_rejected(proxy, fake_iap.assertion(ROOT, header={"alg": algorithm}), "its alg is not ES256")


async def test_hmac_signature_with_the_public_key_as_secret_is_rejected(proxy: RunningProxy, fake_iap: Iap) -> None:
    public = fake_iap.keys[fake_iap.key_id].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), base64.b64decode(b"".join(pem.splitlines()[1:-1]))):

        def sign(data: bytes, secret: bytes = secret) -> bytes:
            return hmac.new(secret, data, hashlib.sha512).digest()  # as long as an ES256 signature

        await assert_rejected(
            proxy, fake_iap.assertion(ROOT, header={"alg": "HS512"}, sign=sign), "its alg is not ES256"
        )
        await assert_rejected(proxy, fake_iap.assertion(ROOT, sign=sign), "its signature is invalid")
        await assert_rejected(proxy, fake_iap.assertion(ROOT, header={"alg": "HS256"}), "its alg is not ES256")


async def test_signature_by_another_key_is_rejected(proxy: RunningProxy, fake_iap: Iap) -> None:
    first, second = fake_iap.key_id, fake_iap.rotate()
    attacker = ec.generate_private_key(ec.SECP256R1())
    await assert_rejected(
        proxy, fake_iap.assertion(ROOT, sign=lambda data: es256(attacker, data)), "its signature is invalid"
    )
    await assert_rejected(proxy, fake_iap.assertion(ROOT, header={"kid": first}), "its signature is invalid")
    assert (await send(proxy, fake_iap.assertion(header={"kid": second}))).status == 200
    # Keys in the assertion's own header are ignored.
    own_keys = {"jwk": doubles.jwk(second, attacker), "jku": "https://evil.example/keys", "x5u": "https://evil.example"}
    await assert_rejected(
        proxy, fake_iap.assertion(ROOT, header=own_keys, sign=lambda data: es256(attacker, data)), "is invalid"
    )


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63 + b"\1"])
async def test_signature_with_degenerate_r_and_s_is_rejected(
    proxy: RunningProxy, fake_iap: Iap, signature: bytes
) -> None:
    await assert_rejected(proxy, fake_iap.assertion(ROOT, sign=lambda _: signature), "its signature is invalid")


async def test_claims_with_the_signature_of_another_assertion_are_rejected(proxy: RunningProxy, fake_iap: Iap) -> None:
    viewer, admin = fake_iap.assertion(BOB).split("."), fake_iap.assertion(ROOT).split(".")
    await assert_rejected(proxy, ".".join([viewer[0], admin[1], viewer[2]]), "its signature is invalid")
    await assert_rejected(proxy, ".".join([viewer[0], viewer[1], admin[2]]), "its signature is invalid")


async def test_assertion_with_one_changed_character_is_rejected(
    host: KeyHost, authority: Authority, fake_iap: Iap
) -> None:
    authenticator = IapAuthenticator(Settings.build(doubles.settings(host, authority)))
    assertion = fake_iap.assertion()
    assert await authenticator.authenticate(context({"x-goog-iap-jwt-assertion": assertion}))
    letters = string.ascii_letters + string.digits + "-_"
    # The last four bits of the last character encode nothing.
    for index in range(len(assertion) - 1):
        for letter in (letters[(letters.find(assertion[index]) + 1 + index % 60) % len(letters)], ".", "=", " ", "\n"):
            if letter == assertion[index]:
                continue
            changed = assertion[:index] + letter + assertion[index + 1 :]
            with pytest.raises(ApiError) as error:
                await authenticator.authenticate(context({"x-goog-iap-jwt-assertion": changed}))
            # After ten unknown key IDs the number of fetches is limited.
            assert error.value.reason in {"invalid-assertion", "signing-keys-unavailable"}


@pytest.mark.parametrize(
    "assertion",
    [
        *("", ".", "..", "...", "a.b.c", "null", "Bearer a.b.c", "\xff\xfe.\xff.\xff", "e30.e30.e30"),
        *("x" * 60_000, "." * 60_000, "=" * 60_000),
        "e30.e30." + "x" * 86,
        "W10.W10." + "x" * 86,
        base64.urlsafe_b64encode(b"[" * 30_000).decode() + ".e30." + "x" * 86,
    ],
    ids=[
        *("empty", "one dot", "two dots", "three dots", "short parts", "null", "Bearer prefix", "not ASCII"),
        *("short signature", "60000 letters", "60000 dots", "60000 equals signs"),
        *("header without fields", "header is a list", "deeply nested header"),
    ],
)
async def test_header_that_is_not_a_jwt_is_rejected(proxy: RunningProxy, assertion: str) -> None:
    await assert_rejected(proxy, assertion, "is invalid: it")


@pytest.mark.parametrize("claims", [b"[]", b"5", b'"root@elsewhere.example"', b"{", b'{"sub": "\xff"}', b"[" * 20_000])
async def test_signed_claims_that_are_not_a_json_object_are_rejected(
    proxy: RunningProxy, fake_iap: Iap, claims: bytes
) -> None:
    header = {"alg": "ES256", "typ": "JWT", "kid": fake_iap.key_id}
    await assert_rejected(proxy, compact(header, claims, fake_iap.sign), "is invalid: its")
