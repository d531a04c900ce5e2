"""Who has signed in at our load balancer is let in, and nobody who only says so."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import string
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from local.standin.tls import Authority
from proxy_app.callers import Role
from proxy_app.callers.alb_oidc import AlbCallers, keys_url
from proxy_app.errors import Refusal
from proxy_app.setting_table import SettingsError
from proxy_app.settings import Settings
from tests.doubles import alb as doubles
from tests.doubles import toy_upstreams as toys
from tests.doubles.alb import ANN, ARN, CLIENT, ISSUER, Alb, KeyHost, compact, es256
from tests.doubles.gate_process import run
from tests.doubles.raw_client import Answer, request
from tests.doubles.running_gate import READ, SEARCH, WRITE_AGAIN, RunningGate, Tokens, until
from tests.doubles.some_request import some_request
from tests.doubles.toy_upstreams import Toy, with_length

from .conftest import StartGate, StartToy

DELETE = "/api/2.0/mlflow/runs/delete"
AJAX = "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"
BOB = {"sub": "bob-1", "email": "bob@example.org"}
ROOT = {"sub": "root-1", "email": "root@elsewhere.example", "groups": ["ml-admins"]}
StartSso = Callable[..., Awaitable[RunningGate]]


@pytest.fixture
def alb() -> Alb:
    return Alb()


@pytest_asyncio.fixture
async def host(alb: Alb, authority: Authority) -> AsyncGenerator[KeyHost]:
    async with KeyHost.running(alb, authority) as host:
        yield host
        assert host.wrong == []


@pytest_asyncio.fixture
async def toy(start_toy: StartToy) -> Toy:
    return await start_toy(toys.answering_by(toys.echoing))


@pytest.fixture
def start_sso(start_gate: StartGate, host: KeyHost, authority: Authority, toy: Toy) -> StartSso:
    """`await start_sso(any_setting=...)`: a gate behind this load balancer, in front of the toy."""

    async def start(**changes: Any) -> RunningGate:
        return await start_gate(toy.origin, **doubles.settings(host, authority, **changes))

    return start


@pytest_asyncio.fixture
async def gate(start_sso: StartSso) -> RunningGate:
    return await start_sso()


def signed_in(said: str) -> str:
    return f"X-Amzn-Oidc-Data: {said}"


async def ask(gate: RunningGate, said: str, method: str = "GET", target: str = READ, *headers: str) -> Answer:
    body = b"{}" if method == "POST" else None
    return await gate.ask(request(method, target, signed_in(said), *headers, body=body))


async def refused(gate: RunningGate, said: str, why: str) -> None:
    """By a 401 that says why, and nothing reaches MLflow or repeats what was shown."""
    answer = await ask(gate, said)
    assert answer.error == (401, "UNAUTHENTICATED")
    assert why in answer.message
    line = gate.lines[-1]
    assert (line["caller"], line["role"], line["error"]) == (None, None, "bad-sign-in")


# --- Who has signed in


@pytest.mark.parametrize(
    ("claims", "name", "role"),
    [(BOB, "bob@example.org", "viewer"), (ANN, "ann@example.org", "editor"), (ROOT, "root@elsewhere.example", "admin")],
)
async def test_whoever_has_signed_in_is_known_and_has_the_role_of_the_rules(
    gate: RunningGate, alb: Alb, toy: Toy, claims: dict[str, Any], name: str, role: str
) -> None:
    needed = {READ: "viewer", WRITE_AGAIN: "editor", DELETE: "admin"}
    order = [known.label for known in Role]
    for target, least in needed.items():
        answer = await ask(gate, alb.says(claims), "GET" if target == READ else "POST", target)
        assert answer.status == (200 if order.index(role) >= order.index(least) else 403), target
        assert (gate.lines[-1]["caller"], gate.lines[-1]["role"]) == (name, role)
    assert len(toy.asked) == order.index(role) + 1


async def test_somebody_without_an_address_is_known_by_their_subject(gate: RunningGate, alb: Alb) -> None:
    assert (await ask(gate, alb.says({"sub": "1111-2222", "groups": "ml-admins"}))).status == 200
    assert gate.lines[-1]["caller"] == "1111-2222"


async def test_the_claim_of_the_groups_is_told_to_the_gate(start_sso: StartSso, alb: Alb) -> None:
    gate = await start_sso(oidc_groups_claim="custom:teams", role_rules="group:ops=viewer")
    assert (await ask(gate, alb.says({**ANN, "custom:teams": "ml ops"}))).status == 200
    assert (await ask(gate, alb.says({**ANN, "groups": "ml ops"}))).status == 403


async def test_nothing_of_the_sign_in_goes_further_than_the_gate(gate: RunningGate, alb: Alb, toy: Toy) -> None:
    said = alb.says()
    kept = ["X-Amzn-Oidc-Accesstoken: secret-1", "X-Amzn-Oidc-Identity: secret-2", "Cookie: AWSELBAuth-0=secret-3"]
    assert (await ask(gate, said, "GET", READ, *kept)).status == 200
    [asked] = toy.asked
    names = {name for name, _ in asked.headers}
    assert not names & {"cookie", "authorization"}
    assert not [name for name in names if name.startswith("x-amzn-")]
    assert b"secret" not in asked.head


async def test_what_is_shown_is_never_written_down(
    gate: RunningGate, alb: Alb, host: KeyHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [
        alb.says(),
        alb.says(lifetime=-999),
        alb.says(header={"signer": ARN + "0"}),
        alb.says(header={"kid": "0-0"}),
        alb.says({"sub": "nobody"}),
    ]
    answers = [await ask(gate, said) for said in shown]
    assert [answer.status for answer in answers] == [200, 401, 401, 401, 403]
    told = "".join(gate.written) + caplog.text + "".join(answer.body.decode() for answer in answers[1:])
    for said in shown:
        assert not [part for part in said.split(".") if part[:40] in told]


@pytest.mark.parametrize("length", range(6))
async def test_parts_are_padded_as_they_come(gate: RunningGate, alb: Alb, length: int) -> None:
    said = alb.says({**ANN, "name": "x" * length}, header={"typ": "J" * length})
    assert said.endswith("==")
    assert (await ask(gate, said)).status == 200


async def test_headers_as_long_as_a_load_balancer_sends_them_pass(start_sso: StartSso, alb: Alb) -> None:
    """Up to 11 KiB of claims and access token, and cookies in pieces of 4 KiB."""
    gate = await start_sso()
    groups = [f"team-{number:05}" for number in range(850)]
    long = alb.says({**ANN, "groups": [*groups, "ml-admins"]})
    assert 15_000 < len(long) < 17_000
    others = ["X-Amzn-Oidc-Accesstoken: " + "a" * 11_000]
    others += [f"Cookie: AWSELBAuthSessionCookie-{number}={'c' * 4000}" for number in range(4)]
    assert (await ask(gate, long, "GET", READ, *others)).status == 200
    assert gate.lines[-1]["role"] == "admin"
    longest = alb.says({**ANN, "filler": "x" * 48_000})
    assert 64_000 < len(longest) < 65_000
    assert (await ask(gate, longest)).status == 200
    answer = await ask(gate, alb.says({**ANN, "filler": "x" * 52_000}))
    assert answer.error == (400, "INVALID_PARAMETER_VALUE")
    assert "GATE_HEADER_LIMIT_BYTES" in answer.message


async def test_the_gates_page_shows_who_has_signed_in(gate: RunningGate, alb: Alb) -> None:
    answer = await ask(gate, alb.says({**ROOT, "email": "a&b@elsewhere.example"}), "GET", "/", "Accept: text/html")
    assert answer.status == 200
    assert 'a&amp;b@elsewhere.example <span class="role">admin</span>' in answer.body.decode()


# --- Who has not


FOREIGN = ARN.replace("mlflow/50dc", "other/60dc")
WRONG_HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "another load balancer": ({"signer": FOREIGN}, "its signer is not GATE_ALB_ARN"),
    "a longer signer": ({"signer": ARN + "8"}, "its signer is not GATE_ALB_ARN"),
    "a shorter signer": ({"signer": ARN[:-1]}, "its signer is not GATE_ALB_ARN"),
    "signers": ({"signer": [ARN]}, "its signer is not GATE_ALB_ARN"),
    "another issuer": ({"iss": "https://evil.example"}, "its iss is not GATE_OIDC_ISSUER"),
    "nearly the issuer": ({"iss": ISSUER + "/"}, "its iss is not GATE_OIDC_ISSUER"),
    "issuers": ({"iss": [ISSUER]}, "its iss is not GATE_OIDC_ISSUER"),
    "another client": ({"client": "other"}, "its client is not GATE_OIDC_CLIENT_ID"),
    "clients": ({"client": [CLIENT, "other"]}, "its client is not GATE_OIDC_CLIENT_ID"),
    "another algorithm": ({"alg": "ES384"}, "its alg is not ES256"),
    "an algorithm in small letters": ({"alg": "es256"}, "its alg is not ES256"),
    "algorithms": ({"alg": ["ES256"]}, "its alg is not ES256"),
    "no time": ({"exp": "4102444800"}, "its exp is no time"),
    "part of a time": ({"exp": 4102444800.5}, "its exp is no time"),
    "a yes for a time": ({"exp": True}, "its exp is no time"),
    "nothing for a time": ({"exp": None}, "its exp is no time"),
    "what nobody understands": ({"crit": ["b64"], "b64": False}, "it cannot be read"),
    "a path for a key": ({"kid": "../../other-bucket/key"}, "its kid cannot be a key's id"),
    "an encoded path": ({"kid": "a%2f..%2fb"}, "its kid cannot be a key's id"),
    "a query for a key": ({"kid": "a?b"}, "its kid cannot be a key's id"),
    "a host for a key": ({"kid": "@evil.example"}, "its kid cannot be a key's id"),
    "lines for a key": ({"kid": "a\r\nHost: evil.example"}, "its kid cannot be a key's id"),
    "a line at the end": ({"kid": "a\n"}, "its kid cannot be a key's id"),
    "letters of others": ({"kid": "\u0430"}, "its kid cannot be a key's id"),
    "an empty key": ({"kid": ""}, "its kid cannot be a key's id"),
    "a long key": ({"kid": "a" * 65}, "its kid cannot be a key's id"),
    "a number for a key": ({"kid": 7}, "it cannot be read"),
    "nothing for a key": ({"kid": None}, "it cannot be read"),
}


@pytest.mark.parametrize("kind", WRONG_HEADERS)
async def test_what_says_anything_else_is_refused_and_no_key_is_fetched_for_it(
    gate: RunningGate, alb: Alb, host: KeyHost, toy: Toy, kind: str
) -> None:
    """Though its signature holds: the keys of a region are those of everybody's load balancers."""
    header, why = WRONG_HEADERS[kind]
    await refused(gate, alb.says(header=header), why)
    assert (host.asked, toy.asked) == ([], [])


@pytest.mark.parametrize("field", ["alg", "signer", "iss", "client", "exp", "kid"])
async def test_what_leaves_out_anything_is_refused(gate: RunningGate, alb: Alb, host: KeyHost, field: str) -> None:
    await refused(gate, alb.says(without=field), f"its {field} ")
    assert host.asked == []


async def test_what_has_ended_is_refused_with_half_a_minute_for_clocks(gate: RunningGate, alb: Alb) -> None:
    assert (await ask(gate, alb.says(lifetime=-25))).status == 200
    answer = await ask(gate, alb.says(lifetime=-31))
    assert answer.error == (401, "UNAUTHENTICATED")
    assert "has expired" in answer.message
    assert gate.lines[-1]["error"] == "expired-sign-in"
    assert (await ask(gate, alb.says(lifetime=1e12))).status == 200


def header_of(alb: Alb, **changes: Any) -> dict[str, Any]:
    said = alb.says(header=changes)
    return json.loads(base64.urlsafe_b64decode(said.partition(".")[0]))


def claims_of(**changes: Any) -> dict[str, Any]:
    return {**ANN, "exp": int(time.time()) + 120, "iss": ISSUER, **changes}


async def test_no_signature_is_no_signature(gate: RunningGate, alb: Alb, host: KeyHost) -> None:
    for algorithm in ("none", "None", "NONE", "", None):
        await refused(gate, alb.says(header={"alg": algorithm}, sign=lambda _: b""), "its alg is not ES256")
    assert host.asked == []
    await refused(gate, alb.says(sign=lambda _: b""), "its signature does not hold")


async def test_the_public_key_is_nobodys_secret(gate: RunningGate, alb: Alb) -> None:
    pem = alb.pem(alb.key_id)
    for secret in (pem, pem.strip(), base64.b64decode(b"".join(pem.splitlines()[1:-1]))):

        def sign(data: bytes, secret: bytes = secret) -> bytes:
            return hmac.new(secret, data, hashlib.sha256).digest()

        await refused(gate, alb.says(header={"alg": "HS256"}, sign=sign), "its alg is not ES256")
        await refused(gate, alb.says(sign=sign), "its signature does not hold")


async def test_a_signature_by_any_other_key_does_not_hold(gate: RunningGate, alb: Alb) -> None:
    first, second = alb.key_id, alb.rotate()
    mallory = ec.generate_private_key(ec.SECP256R1())
    await refused(gate, alb.says(sign=lambda data: es256(mallory, data)), "its signature does not hold")
    await refused(gate, alb.says(header={"kid": first}), "its signature does not hold")
    assert (
        await ask(gate, alb.says(header={"kid": first}, sign=lambda data: es256(alb.keys[first], data)))
    ).status == 200
    assert (await ask(gate, alb.says(header={"kid": second}))).status == 200


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63 + b"\1", b"\1" * 63, b"\1" * 65, b"x"])
async def test_a_signature_of_another_form_does_not_hold(gate: RunningGate, alb: Alb, signature: bytes) -> None:
    await refused(gate, alb.says(sign=lambda _: signature), "its signature does not hold")


async def test_the_claims_of_one_under_the_signature_of_another_do_not_hold(gate: RunningGate, alb: Alb) -> None:
    ours, theirs = alb.says(BOB).split("."), alb.says(ROOT).split(".")
    await refused(gate, ".".join([ours[0], theirs[1], ours[2]]), "its signature does not hold")
    await refused(gate, ".".join([ours[0], ours[1], theirs[2]]), "its signature does not hold")


async def test_no_letter_of_it_can_be_changed(host: KeyHost, authority: Authority, alb: Alb) -> None:
    callers = AlbCallers(Settings(**doubles.settings(host, authority)))
    said = alb.says()
    assert await callers.recognise(some_request({"x-amzn-oidc-data": said}))
    letters = string.ascii_letters + string.digits + "-_.= "
    for place in range(len(said)):
        letter = letters[(letters.index(said[place]) + 1 + place % 60) % len(letters)]
        with pytest.raises(Refusal) as refusal:
            await callers.recognise(some_request({"x-amzn-oidc-data": said[:place] + letter + said[place + 1 :]}))
        # After ten changed key ids the gate fetches no more of them for now.
        assert refusal.value.reason in {"bad-sign-in", "expired-sign-in", "no-keys"}


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (lambda: claims_of(iss="https://evil.example"), "its claims are of another issuer"),
        (lambda: claims_of(iss=None), "its claims are of another issuer"),
        (lambda: claims_of(exp="soon"), "its exp is no time"),
        (lambda: [claims_of()], "its claims cannot be read"),
        (lambda: "root@elsewhere.example", "its claims cannot be read"),
        (lambda: b"", "its signature does not hold"),
        (lambda: b"{", "its signature does not hold"),
        (lambda: b'{"sub": "\xff"}', "its signature does not hold"),
        (lambda: b"[" * 20_000, "its signature does not hold"),
    ],
    ids=range(9),
)
async def test_claims_that_cannot_be_ours_are_refused_though_signed(
    gate: RunningGate, alb: Alb, claims: Callable[[], Any], why: str
) -> None:
    await refused(gate, compact(header_of(alb), claims(), alb.sign), why)


async def test_claims_that_have_ended_are_refused(gate: RunningGate, alb: Alb) -> None:
    said = compact(header_of(alb), claims_of(exp=int(time.time()) - 40), alb.sign)
    assert "has expired" in (await ask(gate, said)).message


async def test_claims_need_not_repeat_the_header(gate: RunningGate, alb: Alb) -> None:
    """AWS's documentation shows them without."""
    assert (await ask(gate, compact(header_of(alb), ANN, alb.sign))).status == 200


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
async def test_what_is_no_sign_in_at_all_is_refused(gate: RunningGate, host: KeyHost, said: str) -> None:
    await refused(gate, said, "is refused: it")
    assert host.asked == []


async def test_a_time_beyond_all_numbers_is_no_fault(gate: RunningGate, alb: Alb) -> None:
    assert (await ask(gate, alb.says(header={"exp": 10**400}))).status == 200


# --- Beside other ways


async def test_where_nobody_is_told_to_be_believed_the_header_is_never_looked_at(
    start_gate: StartGate, toy: Toy, alb: Alb
) -> None:
    gate = await start_gate(toy.origin)
    for said in (alb.says(ROOT), "nonsense", "", "\xff"):
        answer = await ask(gate, said)
        assert answer.error == (401, "UNAUTHENTICATED")
        assert gate.lines[-1]["error"] == "no-credentials-shown"
        token = f"Authorization: Bearer {gate.tokens.viewer}"
        assert (await ask(gate, said, "GET", READ, token)).status == 200
        assert gate.lines[-1]["caller"] == "some-viewer"


async def test_a_token_counts_before_a_sign_in(gate: RunningGate, alb: Alb, host: KeyHost) -> None:
    token = f"Authorization: Bearer {gate.tokens.viewer}"
    assert (await ask(gate, alb.says(ROOT), "POST", DELETE, token)).status == 403
    assert (gate.lines[-1]["caller"], gate.lines[-1]["role"]) == ("some-viewer", "viewer")
    assert (await ask(gate, "nonsense", "GET", READ, token)).status == 200
    wrong = f"Authorization: Bearer mlg_{'a' * 8}_{'b' * 43}"
    assert (await ask(gate, alb.says(ROOT), "GET", READ, wrong)).error == (401, "UNAUTHENTICATED")
    assert gate.lines[-1]["error"] == "bad-token"
    assert host.asked == []


async def test_what_is_no_token_does_not_hide_a_sign_in(gate: RunningGate, alb: Alb) -> None:
    assert (await ask(gate, alb.says(), "GET", READ, "Authorization: Bearer eyJhbGciOi.J9.x")).status == 200
    assert gate.lines[-1]["caller"] == "ann@example.org"


@pytest.mark.parametrize("target", [AJAX, SEARCH, READ, "/"])
async def test_without_a_session_the_answer_is_a_401_in_json(gate: RunningGate, target: str) -> None:
    answer = await gate.ask(request("POST" if target == SEARCH else "GET", target, "Accept: */*"))
    assert answer.error == (401, "UNAUTHENTICATED")
    assert gate.lines[-1]["error"] == "no-credentials-shown"


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_a_page_of_another_site_changes_nothing_by_a_session_of_ours(
    gate: RunningGate, alb: Alb, toy: Toy, header: str
) -> None:
    """The browser adds the session's cookie to what it sends for any page."""
    answer = await ask(gate, alb.says(ROOT), "POST", WRITE_AGAIN, header)
    assert answer.error == (403, "PERMISSION_DENIED")
    assert (gate.lines[-1]["error"], gate.lines[-1]["caller"]) == ("foreign-origin", "root@elsewhere.example")
    assert toy.asked == []
    assert (await ask(gate, alb.says(ROOT), "POST", WRITE_AGAIN, "Origin: https://gate")).status == 200


async def test_whoever_no_rule_fits_is_told_so_by_a_403(
    gate: RunningGate, alb: Alb, toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said = alb.says({"sub": "1", "email": "eve@elsewhere.example"})
    answer = await ask(gate, said)
    assert answer.error == (403, "PERMISSION_DENIED")
    assert "no rule of this gate gives this person a role" in answer.message
    assert answer.header("www-authenticate") is None
    page = await ask(gate, said, "GET", "/", "Accept: text/html")
    assert (page.status, page.header("content-type")) == (403, "text/html; charset=utf-8")
    assert "You are signed in as eve@elsewhere.example" in page.body.decode()
    assert gate.lines[-1]["error"] == "no-role"
    assert "No rule gives eve@elsewhere.example a role." in caplog.text
    assert toy.asked == []


# --- Keys


async def test_one_key_is_fetched_once_for_fifty_at_once(gate: RunningGate, alb: Alb, host: KeyHost) -> None:
    answers = await asyncio.gather(*[ask(gate, alb.says()) for _ in range(50)])
    assert {answer.status for answer in answers} == {200}
    assert host.asked == [alb.key_id]


async def test_a_new_key_is_taken_as_soon_as_it_signs(gate: RunningGate, alb: Alb, host: KeyHost) -> None:
    before = alb.says()
    for _ in range(3):
        assert (await ask(gate, alb.says())).status == 200
        alb.rotate()
    assert (await ask(gate, alb.says())).status == 200
    assert (await ask(gate, before)).status == 200, "the earlier ones are good until they end"
    assert host.asked == list(alb.keys)


async def test_forged_key_ids_do_not_make_the_gate_fetch_without_end(
    gate: RunningGate, alb: Alb, host: KeyHost
) -> None:
    assert (await ask(gate, alb.says())).status == 200
    for _ in range(30):
        await refused(gate, alb.says(header={"kid": "0-0"}), "its kid names no key")
    assert host.asked == [alb.key_id, "0-0"]
    answers = await asyncio.gather(*[ask(gate, alb.says(header={"kid": f"1-{number}"})) for number in range(100)])
    assert {answer.status for answer in answers} == {401, 503}
    # Ten, and what the seconds of this test have earned.
    assert len(host.asked) <= 12
    assert (await ask(gate, alb.says())).status == 200


async def test_without_its_keys_the_gate_says_so_by_a_503_and_tokens_work(
    gate: RunningGate, alb: Alb, host: KeyHost, toy: Toy
) -> None:
    host.fault = with_length(b"", status=b"503 Service Unavailable")
    answer = await ask(gate, alb.says())
    assert answer.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer.header("retry-after") == "5"
    assert answer.header("www-authenticate") is None
    assert gate.lines[-1]["error"] == "no-keys"
    assert toy.asked == []
    assert (await gate.ask(request("GET", READ, token=gate.tokens.viewer))).status == 200
    toy_health = await gate.ask(request("GET", "/readyz"))
    assert (toy_health.status, toy_health.json()) == (200, {"status": "ready"})
    host.fault = None
    assert (await ask(gate, alb.says())).status == 200


async def test_a_fetch_that_hangs_holds_nobody_else_up(gate: RunningGate, alb: Alb, host: KeyHost) -> None:
    host.open.clear()
    waiting = asyncio.create_task(ask(gate, alb.says()))
    await until(lambda: bool(host.asked))
    assert (await gate.ask(request("GET", READ, token=gate.tokens.viewer))).status == 200
    assert not waiting.done()
    host.open.set()
    assert (await waiting).status == 200


# --- Where the keys are


@pytest.mark.parametrize(
    ("arn", "url"),
    [
        (ARN, "https://public-keys.auth.elb.eu-west-1.amazonaws.com"),
        (ARN.replace("eu-west-1", "ap-southeast-2"), "https://public-keys.auth.elb.ap-southeast-2.amazonaws.com"),
        (
            ARN.replace(":aws:", ":aws-us-gov:").replace("eu-west-1", "us-gov-west-1"),
            "https://s3-us-gov-west-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-west-1",
        ),
        (
            ARN.replace(":aws:", ":aws-us-gov:").replace("eu-west-1", "us-gov-east-1"),
            "https://s3-us-gov-east-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-east-1",
        ),
    ],
)
def test_the_keys_are_where_aws_documents_them(arn: str, url: str) -> None:
    assert keys_url(arn) == url
    assert keys_url(arn, "https://keys.example.com/alb") == "https://keys.example.com/alb"


def test_where_aws_documents_no_keys_they_have_to_be_told() -> None:
    arn = ARN.replace(":aws:", ":aws-cn:").replace("eu-west-1", "cn-north-1")
    with pytest.raises(SettingsError, match="where aws-cn has its public keys is not known; set GATE_OIDC_KEYS_URL"):
        keys_url(arn)
    assert keys_url(arn, "https://keys.example.com") == "https://keys.example.com"


@pytest.mark.parametrize(
    "arn",
    [
        "mlflow",
        ARN.replace("/app/", "/net/"),
        ARN.replace("/50dc6c495c0c9188", ""),
        ARN.replace("eu-west-1", "eu-west-1.evil.example/"),
        ARN.replace("123456789012", "1"),
        ARN.replace("elasticloadbalancing", "sagemaker"),
        ARN + "\n",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/mlflow/50dc6c495c0c9188",
    ],
)
async def test_what_is_no_load_balancer_ends_the_start(start_sso: StartSso, arn: str) -> None:
    with pytest.raises(
        SettingsError, match=r"GATE_ALB_ARN: .* is not the ARN of an Application Load Balancer, such as"
    ):
        await start_sso(alb_arn=arn)


async def test_a_rule_that_is_none_ends_the_start(start_sso: StartSso) -> None:
    with pytest.raises(SettingsError, match="GATE_ROLE_RULES: 'team=admin' is not a rule; it takes group:NAME=ROLE"):
        await start_sso(role_rules="team=admin")


async def test_what_is_wrong_with_the_rules_ends_the_process_with_a_sentence(tmp_path: Path, tokens: Tokens) -> None:
    ended = await run(
        tmp_path,
        GATE_UPSTREAM_URL="http://127.0.0.1:5000",
        GATE_TOKENS_FILE=str(tokens.file),
        GATE_ALB_ARN=ARN,
        GATE_OIDC_ISSUER=ISSUER,
        GATE_OIDC_CLIENT_ID=CLIENT,
        GATE_ROLE_RULES="group:ml-admins=owner\nteam=admin",
    )
    assert (ended.code, ended.out) == (2, "")
    first, *lines = ended.err.splitlines()
    assert first == "The gate cannot start."
    assert [line.partition(" is not a rule;")[0] for line in lines] == [
        "GATE_ROLE_RULES: 'group:ml-admins=owner'",
        "GATE_ROLE_RULES: 'team=admin'",
    ]
