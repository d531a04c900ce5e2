"""What an assertion of Identity-Aware Proxy's must hold, for the proxy to believe it."""

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

iap_double, host, fake_upstream, start_iap, proxy = sso_fixtures.IAP_FIXTURES
send = sso_fixtures.IAP.send

NUMBERS = AUDIENCE.replace("123456789012", "123456789013")
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another project": (
        {"aud": "/projects/123456789012/apps/other-project"},
        "its aud is not MLFLOW_PROXY_IAP_AUDIENCE",
    ),
    "another number": ({"aud": NUMBERS}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "a longer audience": ({"aud": AUDIENCE + "/"}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "a shorter audience": ({"aud": AUDIENCE[:-1]}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "a back end": (
        {"aud": "/projects/123456789012/global/backendServices/1"},
        "its aud is not MLFLOW_PROXY_IAP_AUDIENCE",
    ),
    "audiences": ({"aud": [AUDIENCE]}, "its aud is not MLFLOW_PROXY_IAP_AUDIENCE"),
    "no audience": ({"without": "aud"}, "its claim aud is missing"),
    "another issuer": ({"iss": "https://accounts.google.com"}, "its iss is not https://cloud.google.com/iap"),
    "nearly the issuer": ({"iss": ISSUER + "/"}, "its iss is not https://cloud.google.com/iap"),
    "issuers": ({"iss": [ISSUER]}, "its iss is not https://cloud.google.com/iap"),
    "no issuer": ({"without": "iss"}, "its claim iss is missing"),
    "no end": ({"without": "exp"}, "its claim exp is missing"),
    "no begin": ({"without": "iat"}, "its claim iat is missing"),
    "a text for an end": ({"exp": "4102444800"}, "its exp is not an integer"),
    "part of a time": ({"iat": 1.5}, "its iat is not an integer"),
    "a yes for a time": ({"iat": True}, "its iat is not an integer"),
    "beyond all numbers": ({"exp": 10**400}, "its exp is too far from its iat"),
    "longer than IAP gives": ({"lifetime": 661}, "its exp is too far from its iat"),
    "another algorithm": ({"header": {"alg": "ES384"}}, "its alg is not ES256"),
    "small letters": ({"header": {"alg": "es256"}}, "its alg is not ES256"),
    "algorithms": ({"header": {"alg": ["ES256"]}}, "its alg is not ES256"),
    "no algorithm": ({"without": "alg"}, "its alg is not ES256"),
    "what nobody understands": ({"header": {"crit": ["b64"], "b64": False}}, "it is malformed"),
    "no key": ({"without": "kid"}, "its kid is not a valid key ID"),
    "a path for a key": ({"header": {"kid": "../key"}}, "its kid is not a valid key ID"),
    "a number for a key": ({"header": {"kid": 5}}, "it is malformed"),
    "an unknown key": ({"header": {"kid": "f9R3yg"}}, "its kid is unknown"),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_what_says_anything_else_is_refused_though_its_signature_holds(
    proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream, kind: str
) -> None:
    """The keys are those of all of Google's customers."""
    changes, why = WRONG[kind]
    await assert_rejected(proxy, iap_double.assertion(ROOT, **changes), why)
    assert fake_upstream.requests == []


async def test_times_are_held_with_half_a_minute_for_clocks(
    host: KeyHost, authority: Authority, iap_double: Iap, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.set_for_jwt(monkeypatch)
    iap_double.clock = lambda: 2e9
    authenticator = IapAuthenticator(Settings.build(doubles.settings(host, authority)))
    said = iap_double.assertion()

    async def outcome(seconds: float) -> str:
        clock.now = 2e9 + seconds
        try:
            await authenticator.authenticate(context({"x-goog-iap-jwt-assertion": said}))
        except ApiError as refusal:
            return f"{refusal.reason}: {refusal.message}"
        return "let in"

    assert "its iat or nbf is in the future" in await outcome(-31)
    assert [await outcome(seconds) for seconds in (-30, 0, 600, 629)] == ["let in"] * 4
    assert await outcome(630) == (
        "expired-assertion: Identity-Aware Proxy's assertion (x-goog-iap-jwt-assertion) has expired."
    )


async def test_no_signature_is_no_signature(proxy: RunningProxy, iap_double: Iap) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        unsigned = iap_double.assertion(ROOT, header={"alg": algorithm}, sign=lambda _: b"")
        await assert_rejected(proxy, unsigned, "it is malformed")
        await assert_rejected(proxy, unsigned.rstrip("."), "it is malformed")
        await assert_rejected(proxy, iap_double.assertion(ROOT, header={"alg": algorithm}), "its alg is not ES256")


async def test_the_public_key_is_nobodys_secret(proxy: RunningProxy, iap_double: Iap) -> None:
    public = iap_double.keys[iap_double.key_id].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), base64.b64decode(b"".join(pem.splitlines()[1:-1]))):

        def sign(data: bytes, secret: bytes = secret) -> bytes:
            return hmac.new(secret, data, hashlib.sha512).digest()  # as long as a signature by ES256

        await assert_rejected(
            proxy, iap_double.assertion(ROOT, header={"alg": "HS512"}, sign=sign), "its alg is not ES256"
        )
        await assert_rejected(proxy, iap_double.assertion(ROOT, sign=sign), "its signature is invalid")
        await assert_rejected(proxy, iap_double.assertion(ROOT, header={"alg": "HS256"}), "its alg is not ES256")


async def test_a_signature_by_any_other_key_does_not_hold(proxy: RunningProxy, iap_double: Iap) -> None:
    first, second = iap_double.key_id, iap_double.rotate()
    mallory = ec.generate_private_key(ec.SECP256R1())
    await assert_rejected(
        proxy, iap_double.assertion(ROOT, sign=lambda data: es256(mallory, data)), "its signature is invalid"
    )
    await assert_rejected(proxy, iap_double.assertion(ROOT, header={"kid": first}), "its signature is invalid")
    assert (await send(proxy, iap_double.assertion(header={"kid": second}))).status == 200
    # Nor by one that it brings along.
    brought = {"jwk": doubles.jwk(second, mallory), "jku": "https://evil.example/keys", "x5u": "https://evil.example"}
    await assert_rejected(
        proxy, iap_double.assertion(ROOT, header=brought, sign=lambda data: es256(mallory, data)), "is invalid"
    )


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63 + b"\1"])
async def test_a_signature_of_numbers_that_fit_any_text_does_not_hold(
    proxy: RunningProxy, iap_double: Iap, signature: bytes
) -> None:
    await assert_rejected(proxy, iap_double.assertion(ROOT, sign=lambda _: signature), "its signature is invalid")


async def test_the_claims_of_one_under_the_signature_of_another_do_not_hold(
    proxy: RunningProxy, iap_double: Iap
) -> None:
    ours, theirs = iap_double.assertion(BOB).split("."), iap_double.assertion(ROOT).split(".")
    await assert_rejected(proxy, ".".join([ours[0], theirs[1], ours[2]]), "its signature is invalid")
    await assert_rejected(proxy, ".".join([ours[0], ours[1], theirs[2]]), "its signature is invalid")


async def test_no_letter_of_it_can_be_changed(host: KeyHost, authority: Authority, iap_double: Iap) -> None:
    authenticator = IapAuthenticator(Settings.build(doubles.settings(host, authority)))
    said = iap_double.assertion()
    assert await authenticator.authenticate(context({"x-goog-iap-jwt-assertion": said}))
    letters = string.ascii_letters + string.digits + "-_"
    # The last letter's last four bits stand for nothing.
    for place in range(len(said) - 1):
        for letter in (letters[(letters.find(said[place]) + 1 + place % 60) % len(letters)], ".", "=", " ", "\n"):
            if letter == said[place]:
                continue
            changed = said[:place] + letter + said[place + 1 :]
            with pytest.raises(ApiError) as refusal:
                await authenticator.authenticate(context({"x-goog-iap-jwt-assertion": changed}))
            # After ten changed key ids the proxy fetches no more of them for now.
            assert refusal.value.reason in {"invalid-assertion", "signing-keys-unavailable"}


@pytest.mark.parametrize(
    "said",
    [
        *("", ".", "..", "...", "a.b.c", "null", "Bearer a.b.c", "\xff\xfe.\xff.\xff", "e30.e30.e30"),
        *("x" * 60_000, "." * 60_000, "=" * 60_000),
        "e30.e30." + "x" * 86,
        "W10.W10." + "x" * 86,
        base64.urlsafe_b64encode(b"[" * 30_000).decode() + ".e30." + "x" * 86,
    ],
    ids=range(15),
)
async def test_what_is_no_assertion_at_all_is_refused(proxy: RunningProxy, said: str) -> None:
    await assert_rejected(proxy, said, "is invalid: it")


@pytest.mark.parametrize("claims", [b"[]", b"5", b'"root@elsewhere.example"', b"{", b'{"sub": "\xff"}', b"[" * 20_000])
async def test_claims_that_cannot_be_ours_are_refused_though_signed(
    proxy: RunningProxy, iap_double: Iap, claims: bytes
) -> None:
    header = {"alg": "ES256", "typ": "JWT", "kid": iap_double.key_id}
    await assert_rejected(proxy, compact(header, claims, iap_double.sign), "is invalid: its")
