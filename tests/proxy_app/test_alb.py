"""What the word of our load balancer must hold for the proxy to believe it: who only says so is not let in."""

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

FOREIGN = ARN.replace("mlflow/50dc", "other/60dc")
WRONG_HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "another load balancer": ({"signer": FOREIGN}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "a longer signer": ({"signer": ARN + "8"}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "a shorter signer": ({"signer": ARN[:-1]}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "signers": ({"signer": [ARN]}, "its signer is not MLFLOW_PROXY_ALB_ARN"),
    "another issuer": ({"iss": "https://evil.example"}, "its iss is not MLFLOW_PROXY_ALB_ISSUER"),
    "nearly the issuer": ({"iss": ISSUER + "/"}, "its iss is not MLFLOW_PROXY_ALB_ISSUER"),
    "issuers": ({"iss": [ISSUER]}, "its iss is not MLFLOW_PROXY_ALB_ISSUER"),
    "another client": ({"client": "other"}, "its client is not MLFLOW_PROXY_ALB_CLIENT_ID"),
    "clients": ({"client": [CLIENT, "other"]}, "its client is not MLFLOW_PROXY_ALB_CLIENT_ID"),
    "another algorithm": ({"alg": "ES384"}, "its alg is not ES256"),
    "an algorithm in small letters": ({"alg": "es256"}, "its alg is not ES256"),
    "algorithms": ({"alg": ["ES256"]}, "its alg is not ES256"),
    "no time": ({"exp": "4102444800"}, "its exp is not an integer"),
    "part of a time": ({"exp": 4102444800.5}, "its exp is not an integer"),
    "a yes for a time": ({"exp": True}, "its exp is not an integer"),
    "nothing for a time": ({"exp": None}, "its exp is not an integer"),
    "what nobody understands": ({"crit": ["b64"], "b64": False}, "it is malformed"),
    "a path for a key": ({"kid": "../../other-bucket/key"}, "its kid is not a valid key ID"),
    "an encoded path": ({"kid": "a%2f..%2fb"}, "its kid is not a valid key ID"),
    "a query for a key": ({"kid": "a?b"}, "its kid is not a valid key ID"),
    "a host for a key": ({"kid": "@evil.example"}, "its kid is not a valid key ID"),
    "lines for a key": ({"kid": "a\r\nHost: evil.example"}, "its kid is not a valid key ID"),
    "a line at the end": ({"kid": "a\n"}, "its kid is not a valid key ID"),
    "letters of others": ({"kid": "\u0430"}, "its kid is not a valid key ID"),
    "an empty key": ({"kid": ""}, "its kid is not a valid key ID"),
    "a long key": ({"kid": "a" * 65}, "its kid is not a valid key ID"),
    "a number for a key": ({"kid": 7}, "it is malformed"),
    "nothing for a key": ({"kid": None}, "it is malformed"),
}


@pytest.mark.parametrize("kind", WRONG_HEADERS)
async def test_what_says_anything_else_is_refused_and_no_key_is_fetched_for_it(
    proxy: RunningProxy, alb: Alb, host: KeyHost, fake_upstream: FakeUpstream, kind: str
) -> None:
    """Though its signature holds: the keys of a region are those of everybody's load balancers."""
    header, why = WRONG_HEADERS[kind]
    await assert_rejected(proxy, alb.assertion(header=header), why)
    assert (host.requests, fake_upstream.requests) == ([], [])


@pytest.mark.parametrize("field", ["alg", "signer", "iss", "client", "exp", "kid"])
async def test_what_leaves_out_anything_is_refused(proxy: RunningProxy, alb: Alb, host: KeyHost, field: str) -> None:
    await assert_rejected(proxy, alb.assertion(without=field), f"its {field} ")
    assert host.requests == []


async def test_what_has_ended_is_refused_with_half_a_minute_for_clocks(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion(lifetime=-25))).status == 200
    response = await send(proxy, alb.assertion(lifetime=-31))
    assert response.error == (401, "UNAUTHENTICATED")
    assert "has expired" in response.message
    assert proxy.lines[-1]["error"] == "expired-assertion"
    assert (await send(proxy, alb.assertion(lifetime=1e12))).status == 200


def header_of(alb: Alb, **changes: Any) -> dict[str, Any]:
    said = alb.assertion(header=changes)
    return json.loads(base64.urlsafe_b64decode(said.partition(".")[0]))


def claims_of(**changes: Any) -> dict[str, Any]:
    return {**ANN, "exp": int(time.time()) + 120, "iss": ISSUER, **changes}


async def test_no_signature_is_no_signature(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    for algorithm in ("none", "None", "NONE", "", None):
        await assert_rejected(
            proxy, alb.assertion(header={"alg": algorithm}, sign=lambda _: b""), "its alg is not ES256"
        )
    assert host.requests == []
    await assert_rejected(proxy, alb.assertion(sign=lambda _: b""), "its signature is invalid")


async def test_the_public_key_is_nobodys_secret(proxy: RunningProxy, alb: Alb) -> None:
    pem = alb.pem(alb.key_id)
    for secret in (pem, pem.strip(), base64.b64decode(b"".join(pem.splitlines()[1:-1]))):

        def sign(data: bytes, secret: bytes = secret) -> bytes:
            return hmac.new(secret, data, hashlib.sha256).digest()

        await assert_rejected(proxy, alb.assertion(header={"alg": "HS256"}, sign=sign), "its alg is not ES256")
        await assert_rejected(proxy, alb.assertion(sign=sign), "its signature is invalid")


async def test_a_signature_by_any_other_key_does_not_hold(proxy: RunningProxy, alb: Alb) -> None:
    first, second = alb.key_id, alb.rotate()
    mallory = ec.generate_private_key(ec.SECP256R1())
    await assert_rejected(proxy, alb.assertion(sign=lambda data: es256(mallory, data)), "its signature is invalid")
    await assert_rejected(proxy, alb.assertion(header={"kid": first}), "its signature is invalid")
    assert (
        await send(proxy, alb.assertion(header={"kid": first}, sign=lambda data: es256(alb.keys[first], data)))
    ).status == 200
    assert (await send(proxy, alb.assertion(header={"kid": second}))).status == 200


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63 + b"\1", b"\1" * 63, b"\1" * 65, b"x"])
async def test_a_signature_of_another_form_does_not_hold(proxy: RunningProxy, alb: Alb, signature: bytes) -> None:
    await assert_rejected(proxy, alb.assertion(sign=lambda _: signature), "its signature is invalid")


async def test_the_claims_of_one_under_the_signature_of_another_do_not_hold(proxy: RunningProxy, alb: Alb) -> None:
    ours, theirs = alb.assertion(BOB).split("."), alb.assertion(ROOT).split(".")
    await assert_rejected(proxy, ".".join([ours[0], theirs[1], ours[2]]), "its signature is invalid")
    await assert_rejected(proxy, ".".join([ours[0], ours[1], theirs[2]]), "its signature is invalid")


async def test_no_letter_of_it_can_be_changed(host: KeyHost, authority: Authority, alb: Alb) -> None:
    authenticator = AlbAuthenticator(Settings.build(doubles.settings(host, authority)))
    said = alb.assertion()
    assert await authenticator.authenticate(context({"x-amzn-oidc-data": said}))
    letters = string.ascii_letters + string.digits + "-_.= "
    for place in range(len(said)):
        letter = letters[(letters.index(said[place]) + 1 + place % 60) % len(letters)]
        with pytest.raises(ApiError) as refusal:
            await authenticator.authenticate(context({"x-amzn-oidc-data": said[:place] + letter + said[place + 1 :]}))
        # After ten changed key ids the proxy fetches no more of them for now.
        assert refusal.value.reason in {"invalid-assertion", "expired-assertion", "signing-keys-unavailable"}


@pytest.mark.parametrize(
    ("claims", "why"),
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
    ids=range(9),
)
async def test_claims_that_cannot_be_ours_are_refused_though_signed(
    proxy: RunningProxy, alb: Alb, claims: Callable[[], Any], why: str
) -> None:
    await assert_rejected(proxy, compact(header_of(alb), claims(), alb.sign), why)


async def test_claims_that_have_ended_are_refused(proxy: RunningProxy, alb: Alb) -> None:
    said = compact(header_of(alb), claims_of(exp=int(time.time()) - 40), alb.sign)
    assert "has expired" in (await send(proxy, said)).message


async def test_claims_need_not_repeat_the_header(proxy: RunningProxy, alb: Alb) -> None:
    """AWS's documentation shows them without."""
    assert (await send(proxy, compact(header_of(alb), ANN, alb.sign))).status == 200


@pytest.mark.parametrize(
    "said",
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
    ids=range(16),
)
async def test_what_is_no_sign_in_at_all_is_refused(proxy: RunningProxy, host: KeyHost, said: str) -> None:
    await assert_rejected(proxy, said, "is invalid: it")
    assert host.requests == []


async def test_a_time_beyond_all_numbers_is_no_fault(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion(header={"exp": 10**400}))).status == 200


@pytest.mark.parametrize("length", range(6))
async def test_parts_are_padded_as_they_come(proxy: RunningProxy, alb: Alb, length: int) -> None:
    said = alb.assertion({**ANN, "name": "x" * length}, header={"typ": "J" * length})
    assert said.endswith("==")
    assert (await send(proxy, said)).status == 200
