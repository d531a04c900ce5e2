"""Validation of the load balancer's assertions: header fields, signature and claims."""

import base64
import hashlib
import hmac
import json
import string
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from local.fake_sagemaker.tls import Authority
from proxy_app.auth.alb import AlbAuthenticator
from proxy_app.errors import ApiError
from proxy_app.settings import Settings
from tests.doubles import alb as doubles
from tests.doubles.alb import ANN, ARN, CLIENT, ISSUER, Alb, KeyHost, compact
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.key_host import es256
from tests.doubles.request_factory import context
from tests.doubles.running_proxy import RunningProxy

from . import sso_fixtures
from .sso_fixtures import ALB_BOB as BOB
from .sso_fixtures import ALB_ROOT as ROOT

alb, host, fake_upstream, start_sso, proxy = sso_fixtures.ALB_FIXTURES
send, assert_rejected = sso_fixtures.ALB.send, sso_fixtures.ALB.assert_rejected

OTHER_ALB = ARN.replace("mlflow/50dc", "other/60dc")
INVALID_HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "signer is another load balancer": ({"signer": OTHER_ALB}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "signer with a suffix": ({"signer": ARN + "8"}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "truncated signer": ({"signer": ARN[:-1]}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "signer is a list": ({"signer": [ARN]}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "iss is another issuer": ({"iss": "https://evil.example"}, "its iss is not MLFLOW_PROXY_ALB_ISSUER"),
    "iss with a trailing slash": ({"iss": ISSUER + "/"}, "its iss is not MLFLOW_PROXY_ALB_ISSUER"),
    "iss is a list": ({"iss": [ISSUER]}, "its iss is not MLFLOW_PROXY_ALB_ISSUER"),
    "client is another client": ({"client": "other"}, "its client is not MLFLOW_PROXY_ALB_CLIENT_ID"),
    "client is a list": ({"client": [CLIENT, "other"]}, "its client is not MLFLOW_PROXY_ALB_CLIENT_ID"),
    "alg is another algorithm": ({"alg": "ES384"}, "its alg is not ES256"),
    "alg in lower case": ({"alg": "es256"}, "its alg is not ES256"),
    "alg is a list": ({"alg": ["ES256"]}, "its alg is not ES256"),
    "exp is a string": ({"exp": "4102444800"}, "its exp is not an integer"),
    "exp is a fraction": ({"exp": 4102444800.5}, "its exp is not an integer"),
    "exp is a boolean": ({"exp": True}, "its exp is not an integer"),
    "exp is null": ({"exp": None}, "its exp is not an integer"),
    "critical extension": ({"crit": ["b64"], "b64": False}, "it is malformed"),
    "kid is a path": ({"kid": "../../other-bucket/key"}, "its kid is not a valid key ID"),
    "kid is an encoded path": ({"kid": "a%2f..%2fb"}, "its kid is not a valid key ID"),
    "kid with a query": ({"kid": "a?b"}, "its kid is not a valid key ID"),
    "kid is a host": ({"kid": "@evil.example"}, "its kid is not a valid key ID"),
    "kid with a header line": ({"kid": "a\r\nHost: evil.example"}, "its kid is not a valid key ID"),
    "kid ends with a line break": ({"kid": "a\n"}, "its kid is not a valid key ID"),
    "kid with a Cyrillic letter": ({"kid": "\u0430"}, "its kid is not a valid key ID"),
    "kid is empty": ({"kid": ""}, "its kid is not a valid key ID"),
    "kid is too long": ({"kid": "a" * 65}, "its kid is not a valid key ID"),
    "kid is a number": ({"kid": 7}, "it is malformed"),
    "kid is null": ({"kid": None}, "it is malformed"),
}


@pytest.mark.parametrize("kind", INVALID_HEADERS)
async def test_invalid_header_is_rejected_without_fetching_a_key(
    proxy: RunningProxy, alb: Alb, host: KeyHost, fake_upstream: FakeUpstream, kind: str
) -> None:
    """The signature is valid: one key host serves all load balancers of a region, of any account."""
    header, reason = INVALID_HEADERS[kind]
    await assert_rejected(proxy, alb.assertion(header=header), reason)
    assert (host.requests, fake_upstream.requests) == ([], [])


@pytest.mark.parametrize("field", ["alg", "signer", "iss", "client", "exp", "kid"])
async def test_missing_header_field_is_rejected(proxy: RunningProxy, alb: Alb, host: KeyHost, field: str) -> None:
    await assert_rejected(proxy, alb.assertion(without=field), f"its {field} ")
    assert host.requests == []


async def test_expired_assertion_is_rejected_after_30_seconds_of_leeway(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion(lifetime=-25))).status == 200
    response = await send(proxy, alb.assertion(lifetime=-31))
    assert response.error == (401, "UNAUTHENTICATED")
    assert "has expired" in response.message
    assert proxy.lines[-1]["error"] == "expired-assertion"
    assert (await send(proxy, alb.assertion(lifetime=1e12))).status == 200


def header_of(alb: Alb, **changes: Any) -> dict[str, Any]:
    assertion = alb.assertion(header=changes)
    return json.loads(base64.urlsafe_b64decode(assertion.partition(".")[0]))


def claims_of(**changes: Any) -> dict[str, Any]:
    return {**ANN, "exp": int(time.time()) + 120, "iss": ISSUER, **changes}


async def test_unsigned_assertion_is_rejected(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    for algorithm in ("none", "None", "NONE", "", None):
        await assert_rejected(
            proxy, alb.assertion(header={"alg": algorithm}, sign=lambda _: b""), "its alg is not ES256"
        )
    assert host.requests == []
    await assert_rejected(proxy, alb.assertion(sign=lambda _: b""), "its signature is invalid")


async def test_hmac_with_the_public_key_is_rejected(proxy: RunningProxy, alb: Alb) -> None:
    pem = alb.pem(alb.key_id)
    for secret in (pem, pem.strip(), base64.b64decode(b"".join(pem.splitlines()[1:-1]))):

        def sign(data: bytes, secret: bytes = secret) -> bytes:
            return hmac.new(secret, data, hashlib.sha256).digest()

        await assert_rejected(proxy, alb.assertion(header={"alg": "HS256"}, sign=sign), "its alg is not ES256")
        await assert_rejected(proxy, alb.assertion(sign=sign), "its signature is invalid")


async def test_signature_by_another_key_is_rejected(proxy: RunningProxy, alb: Alb) -> None:
    first, second = alb.key_id, alb.rotate()
    mallory = ec.generate_private_key(ec.SECP256R1())
    await assert_rejected(proxy, alb.assertion(sign=lambda data: es256(mallory, data)), "its signature is invalid")
    await assert_rejected(proxy, alb.assertion(header={"kid": first}), "its signature is invalid")
    assert (
        await send(proxy, alb.assertion(header={"kid": first}, sign=lambda data: es256(alb.keys[first], data)))
    ).status == 200
    assert (await send(proxy, alb.assertion(header={"kid": second}))).status == 200


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63 + b"\1", b"\1" * 63, b"\1" * 65, b"x"])
async def test_malformed_signature_is_rejected(proxy: RunningProxy, alb: Alb, signature: bytes) -> None:
    await assert_rejected(proxy, alb.assertion(sign=lambda _: signature), "its signature is invalid")


async def test_claims_with_the_signature_of_other_claims_are_rejected(proxy: RunningProxy, alb: Alb) -> None:
    bob, root = alb.assertion(BOB).split("."), alb.assertion(ROOT).split(".")
    await assert_rejected(proxy, ".".join([bob[0], root[1], bob[2]]), "its signature is invalid")
    await assert_rejected(proxy, ".".join([bob[0], bob[1], root[2]]), "its signature is invalid")


async def test_changing_any_character_invalidates_the_assertion(host: KeyHost, authority: Authority, alb: Alb) -> None:
    authenticator = AlbAuthenticator(Settings.build(doubles.settings(host, authority)))
    assertion = alb.assertion()
    assert await authenticator.authenticate(context({"x-amzn-oidc-data": assertion}))
    characters = string.ascii_letters + string.digits + "-_.= "
    for index, character in enumerate(assertion):
        other = characters[(characters.index(character) + 1 + index % 60) % len(characters)]
        changed = assertion[:index] + other + assertion[index + 1 :]
        with pytest.raises(ApiError) as rejection:
            await authenticator.authenticate(context({"x-amzn-oidc-data": changed}))
        # The proxy limits how often it fetches keys: the first ten changed key IDs use up that limit.
        assert rejection.value.reason in {"invalid-assertion", "expired-assertion", "signing-keys-unavailable"}


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (lambda: claims_of(iss="https://evil.example"), "its claims are of another issuer"),
        (lambda: claims_of(iss=None), "its claims are of another issuer"),
        (lambda: claims_of(exp="soon"), "its signature or claims are malformed"),
        (lambda: [claims_of()], "its signature or claims are malformed"),
        (lambda: "root@elsewhere.example", "its signature or claims are malformed"),
        (lambda: b"", "its signature or claims are malformed"),
        (lambda: b"{", "its signature or claims are malformed"),
        (lambda: b'{"sub": "\xff"}', "its signature or claims are malformed"),
        (lambda: b"[" * 20_000, "its signature or claims are malformed"),
    ],
    ids=[
        "another issuer",
        "iss is null",
        "exp is a string",
        "list",
        "string",
        "empty",
        "incomplete JSON",
        "not UTF-8",
        "deeply nested",
    ],
)
async def test_invalid_claims_are_rejected_despite_a_valid_signature(
    proxy: RunningProxy, alb: Alb, claims: Callable[[], Any], reason: str
) -> None:
    await assert_rejected(proxy, compact(header_of(alb), claims(), alb.sign), reason)


async def test_expired_claims_are_rejected(proxy: RunningProxy, alb: Alb) -> None:
    assertion = compact(header_of(alb), claims_of(exp=int(time.time()) - 40), alb.sign)
    assert "has expired" in (await send(proxy, assertion)).message


async def test_claims_without_iss_and_exp_are_accepted(proxy: RunningProxy, alb: Alb) -> None:
    """The claims in AWS's documentation have neither."""
    assert (await send(proxy, compact(header_of(alb), ANN, alb.sign))).status == 200


@pytest.mark.parametrize(
    "assertion",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "=.=.=",
        "e30=.e30=.e30=",
        "W10=.W10=.W10=",
        "null",
        "Bearer e30=.e30=.e30=",
        "\xff\xfe.\xff.\xff",
        "x" * 60_000,
        "." * 60_000,
        "=" * 60_000,
        base64.urlsafe_b64encode(b"[" * 40_000).decode() + ".e30=.e30=",
        base64.urlsafe_b64encode(b'{"exp": ' + b"9" * 5000 + b"}").decode() + ".e30=.e30=",
    ],
    ids=[
        "empty",
        "one dot",
        "two dots",
        "three dots",
        "too short for base64",
        "padding only",
        "empty objects",
        "empty lists",
        "null",
        "Bearer",
        "not ASCII",
        "60,000 letters",
        "60,000 dots",
        "60,000 padding characters",
        "deeply nested header",
        "number of 5,000 digits",
    ],
)
async def test_malformed_assertion_is_rejected(proxy: RunningProxy, host: KeyHost, assertion: str) -> None:
    await assert_rejected(proxy, assertion, "is invalid: it")
    assert host.requests == []


async def test_exp_of_400_digits_is_accepted(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion(header={"exp": 10**400}))).status == 200


@pytest.mark.parametrize("length", range(6))
async def test_padded_parts_of_any_length_are_accepted(proxy: RunningProxy, alb: Alb, length: int) -> None:
    assertion = alb.assertion({**ANN, "name": "x" * length}, header={"typ": "J" * length})
    assert assertion.endswith("==")
    assert (await send(proxy, assertion)).status == 200
