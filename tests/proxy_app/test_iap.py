"""Whoever comes through Identity-Aware Proxy is known, and nobody else gets anything but the gate's health."""

import asyncio
import base64
import functools
import hashlib
import hmac
import logging
import string
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from local.standin.tls import Authority
from proxy_app.callers import Role, iap, public_keys
from proxy_app.callers.iap import IapCallers
from proxy_app.errors import Refusal
from proxy_app.setting_table import SettingsError
from proxy_app.settings import Settings
from tests.doubles import iap as doubles
from tests.doubles import toy_upstreams as toys
from tests.doubles.alb import es256
from tests.doubles.gate_process import run
from tests.doubles.iap import ANN, AUDIENCE, BOB, ISSUER, JOB, ROOT, Iap, KeyHost, compact
from tests.doubles.raw_client import Answer, request
from tests.doubles.running_gate import ARTIFACT, READ, SEARCH, WRITE_AGAIN, RunningGate, until
from tests.doubles.some_request import some_request
from tests.doubles.toy_upstreams import Toy

from .conftest import StartGate, StartToy

DELETE = "/api/2.0/mlflow/runs/delete"
EVE = {"email": "eve@elsewhere.example", "sub": "accounts.google.com:666"}
StartIap = Callable[..., Awaitable[RunningGate]]


class Clock:
    now = 2e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def proxy() -> Iap:
    return Iap()


@pytest_asyncio.fixture
async def host(proxy: Iap, authority: Authority) -> AsyncGenerator[KeyHost]:
    async with KeyHost.running(proxy, authority) as host:
        yield host
        assert host.wrong == []


@pytest_asyncio.fixture
async def toy(start_toy: StartToy) -> Toy:
    return await start_toy(toys.answering_by(toys.echoing))


@pytest.fixture
def start_iap(start_gate: StartGate, host: KeyHost, authority: Authority, toy: Toy) -> StartIap:
    """`await start_iap(any_setting=...)`: a gate behind this IAP, in front of the toy."""

    async def start(**changes: Any) -> RunningGate:
        return await start_gate(toy.origin, **doubles.settings(host, authority, **changes))

    return start


@pytest_asyncio.fixture
async def gate(start_iap: StartIap) -> RunningGate:
    return await start_iap()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for seconds until keys are fetched again, or readiness is looked at."""
    monkeypatch.setattr(public_keys, "_LOOK_EVERY", 0.02)
    monkeypatch.setattr(public_keys, "_EVERY", 0.02)
    monkeypatch.setattr("proxy_app.health._KEPT_FOR", 0.02)


def shown(said: str) -> str:
    return f"X-Goog-Iap-Jwt-Assertion: {said}"


async def ask(gate: RunningGate, said: str, method: str = "GET", target: str = READ, *headers: str) -> Answer:
    body = b"{}" if method == "POST" else None
    return await gate.ask(request(method, target, shown(said), *headers, body=body))


async def refused(gate: RunningGate, said: str, why: str) -> None:
    """By a 401 that says why, asks no browser for a password, and says nothing of who it was."""
    answer = await ask(gate, said)
    assert answer.error == (401, "UNAUTHENTICATED")
    assert why in answer.message
    assert answer.all("www-authenticate") == ["Bearer"]
    line = gate.lines[-1]
    assert (line["caller"], line["role"], line["error"]) == (None, None, "bad-sign-in")


async def is_ready(gate: RunningGate) -> bool:
    return (await gate.ask(request("GET", "/readyz"))).status == 200


# --- Who comes through


@pytest.mark.parametrize(
    ("claims", "role"),
    [(BOB, "viewer"), (ANN, "editor"), (JOB, "editor"), (ROOT, "admin")],
    ids=["bob", "ann", "job", "root"],
)
async def test_whoever_comes_through_is_known_and_has_the_role_of_the_rules(
    gate: RunningGate, proxy: Iap, toy: Toy, claims: dict[str, Any], role: str
) -> None:
    needed = {("GET", READ): "viewer", ("POST", WRITE_AGAIN): "editor", ("POST", DELETE): "admin"}
    order = [known.label for known in Role]
    for (method, target), least in needed.items():
        answer = await ask(gate, proxy.says(claims), method, target)
        assert answer.status == (200 if order.index(role) >= order.index(least) else 403), target
        assert (gate.lines[-1]["caller"], gate.lines[-1]["role"]) == (claims["email"], role)
    assert len(toy.asked) == order.index(role) + 1


async def test_a_viewer_deletes_nothing(gate: RunningGate, proxy: Iap, toy: Toy) -> None:
    for method, target in [("POST", DELETE), ("DELETE", ARTIFACT), ("POST", "/api/2.0/mlflow/experiments/delete")]:
        answer = await ask(gate, proxy.says(BOB), method, target)
        assert answer.error == (403, "PERMISSION_DENIED")
        assert answer.message == "bob@example.org is viewer here, and this needs the role admin."
    assert toy.asked == []


async def test_an_address_may_have_the_prefix_of_iaps_other_headers(gate: RunningGate, proxy: Iap) -> None:
    assert (await ask(gate, proxy.says(ANN, email="accounts.google.com:ann@example.org"))).status == 200
    assert (gate.lines[-1]["caller"], gate.lines[-1]["role"]) == ("ann@example.org", "editor")


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"email": "bob@example.org", "hd": "example.org"}, 200),
        ({"email": "bob@example.org", "hd": "Example.ORG"}, 200),
        # Of the organization, whatever the address.
        ({"email": "bob@second.example", "hd": "example.org"}, 200),
        ({"email": "train@ml-jobs.iam.gserviceaccount.com"}, 200),
        # A private account, made with an address of the domain.
        ({"email": "bob@example.org"}, 403),
        ({"email": "bob@example.org", "hd": ""}, 403),
        ({"email": "bob@example.org", "hd": "evil.example"}, 403),
        ({"email": "bob@example.org", "hd": ["example.org"]}, 403),
        ({"email": "bob@example.org", "hd": "example.org.evil.example"}, 403),
        ({"email": "bob@example.org", "hd": "\u212aelvin.example"}, 403),
        ({"email": "train@other.iam.gserviceaccount.com"}, 403),
        ({"email": "train@ml-jobs.iam.gserviceaccount.com.evil.example"}, 403),
        # Accounts that all projects have alike.
        ({"email": "1-compute@developer.gserviceaccount.com"}, 403),
    ],
)
async def test_a_domain_is_the_organization_that_the_account_belongs_to(
    start_iap: StartIap, proxy: Iap, claims: dict[str, Any], status: int
) -> None:
    domains = ["example.org", "ml-jobs.iam.gserviceaccount.com", "developer.gserviceaccount.com", "kelvin.example"]
    gate = await start_iap(role_rules=",".join(f"domain:{domain}=viewer" for domain in domains))
    assert (await ask(gate, proxy.says({**claims, "sub": EVE["sub"]}))).status == status


@pytest.mark.parametrize(
    "subject",
    [
        "securetoken.google.com/mlflow-project/tenant:1",
        "sts.google.com:1",
        "accounts.google.com.evil.example:1",
        "1",
        "",
        5,
        None,
    ],
)
async def test_who_has_no_account_of_googles_is_nobody_here(gate: RunningGate, proxy: Iap, subject: Any) -> None:
    """Their address is what somebody else's directory says, or they themselves."""
    answer = await ask(gate, proxy.says(ROOT, sub=subject))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert "an account that is not Google's own" in answer.message
    assert gate.lines[-1]["error"] == "no-role"


@pytest.mark.parametrize("email", [None, 5, "", "ann", "ann@example.org@example.org", ["ann@example.org"]])
async def test_without_an_address_nobody_has_a_role(gate: RunningGate, proxy: Iap, email: Any) -> None:
    answer = await ask(gate, proxy.says(ANN, email=email, hd="elsewhere.example"))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert f"You are signed in as {ANN['sub']}, and no rule" in answer.message


async def test_whoever_no_rule_fits_is_told_so_by_a_403(gate: RunningGate, proxy: Iap, toy: Toy) -> None:
    answer = await ask(gate, proxy.says(EVE))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert answer.message.startswith("You are signed in as eve@elsewhere.example, and no rule of this gate gives")
    assert toy.asked == []


async def test_nothing_of_the_sign_in_goes_further_than_the_gate(gate: RunningGate, proxy: Iap, toy: Toy) -> None:
    secret = [
        *("X-Goog-Authenticated-User-Email: accounts.google.com:secret-1", "X-Goog-Authenticated-User-Id: secret-2"),
        *("Cookie: GCP_IAP_UID=secret-3", "Authorization: Bearer secret-4", "Proxy-Authorization: Bearer secret-5"),
        *("X_Goog_Iap_Jwt_Assertion: secret-6", "X-Goog_Anything: secret-7"),
    ]
    said = proxy.says()
    assert (await ask(gate, said, "GET", READ, *secret)).status == 200
    [asked] = toy.asked
    assert b"goog" not in asked.head.lower()
    assert b"secret" not in asked.head
    assert not [part for part in said.split(".") if part.encode() in asked.head]


async def test_what_is_shown_is_never_written_down(
    gate: RunningGate, proxy: Iap, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    every = [
        proxy.says(),
        proxy.says(lifetime=-999),
        proxy.says(aud="/projects/1/apps/other"),
        proxy.says(header={"kid": "0-0"}),
        proxy.says(sign=lambda _: b"x" * 64),
        proxy.says(EVE),
    ]
    answers = [await ask(gate, said) for said in every]
    assert [answer.status for answer in answers] == [200, 401, 401, 401, 401, 403]
    told = "".join(gate.written) + caplog.text + "".join(answer.body.decode() for answer in answers[1:])
    for said in every:
        assert not [part for part in said.split(".") if part[:40] in told]


async def test_a_header_longer_than_allowed_is_refused_and_one_as_long_as_that_passes(
    gate: RunningGate, proxy: Iap
) -> None:
    longest = proxy.says(filler="x" * 47_000)
    assert 62_000 < len(longest) < 65_000
    assert (await ask(gate, longest)).status == 200
    answer = await ask(gate, proxy.says(filler="x" * 52_000))
    assert answer.error == (400, "INVALID_PARAMETER_VALUE")
    assert "GATE_HEADER_LIMIT_BYTES" in answer.message


# --- Who does not

EVERYWHERE = [
    *("/", "/version", "/metrics", "/_ah/health", "/_ah/start", "/static-files/index.js", "/graphql"),
    *(READ, SEARCH, DELETE, ARTIFACT, "/no/such/route"),
    *("/healthz/", "//healthz", "/readyz?a=b", "/%72eadyz", "/HEALTHZ", "/health/", "/health?a=b"),
]


@pytest.mark.parametrize("target", EVERYWHERE)
async def test_what_did_not_come_through_gets_nothing(gate: RunningGate, toy: Toy, target: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = await gate.ask(request(method, target, body=None if method in {"GET", "HEAD"} else b"{}"))
        assert answer.status == 401
        assert answer.all("www-authenticate") == ["Bearer"]
        assert gate.lines[-1]["error"] == "no-credentials-shown"
        if method != "HEAD":
            assert answer.message == (
                "This MLflow answers what comes through Identity-Aware Proxy, and this request did not: it has no "
                "x-goog-iap-jwt-assertion."
            )
    assert toy.connections == 0


async def test_health_is_told_to_whoever_asks(gate: RunningGate) -> None:
    """Google's health checks come past IAP: https://cloud.google.com/iap/docs/signed-headers-howto."""
    for path in ("/healthz", "/readyz"):
        assert (await gate.ask(request("GET", path, "User-Agent: GoogleHC/1.0"))).status == 200


async def test_mlflows_health_is_the_gates_for_who_did_not_come_through(
    gate: RunningGate, proxy: Iap, toy: Toy
) -> None:
    """Monitors of MLflow ask there, and expect MLflow's own answer."""
    answer = await gate.ask(request("GET", "/health"))
    assert (answer.status, answer.body, answer.header("server")) == (200, b"OK", "mlflow-gate")
    assert (await gate.ask(request("HEAD", "/health"))).status == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await gate.ask(request(method, "/health", body=b"{}"))).status == 401
    assert (await gate.ask(request("GET", "/health", shown("nobody")))).status == 401
    assert toy.connections == 0
    through = await ask(gate, proxy.says(BOB), target="/health")
    assert (through.status, len(toy.asked)) == (200, 1)


async def test_without_iap_mlflows_health_is_mlflows(start_gate: StartGate, toy: Toy) -> None:
    gate = await start_gate(toy.origin)
    assert (await gate.ask(request("GET", "/health"))).status == 401
    assert (await gate.ask(request("GET", "/health", token=gate.tokens.viewer))).status == 200
    assert [asked.line for asked in toy.asked] == ["GET /health HTTP/1.1"]


async def test_a_person_without_an_assertion_is_not_told_of_tokens(gate: RunningGate) -> None:
    answer = await gate.ask(request("GET", "/", "Accept: text/html"))
    page = answer.body.decode()
    assert (answer.status, answer.header("content-type")) == (401, "text/html; charset=utf-8")
    assert "Identity-Aware Proxy" in page
    assert "token" not in page.lower()


async def test_names_that_only_look_like_the_header_are_not_it(gate: RunningGate, proxy: Iap, toy: Toy) -> None:
    said = proxy.says(ROOT)
    for name in (
        *(
            "X_Goog_Iap_Jwt_Assertion",
            "x_goog_iap_jwt_assertion",
            "X-Goog-Iap_Jwt-Assertion",
            "X-Goog-Iap-Jwt-Assertions",
        ),
        *("X-Goog-Iap-Jwt", "Goog-Iap-Jwt-Assertion", "HTTP_X_GOOG_IAP_JWT_ASSERTION", "X-Amzn-Oidc-Data"),
        *("X-Forwarded-X-Goog-Iap-Jwt-Assertion", "Authorization", "Proxy-Authorization", "Cookie"),
    ):
        answer = await gate.ask(request("GET", READ, f"{name}: {said}"))
        assert answer.status == 401, name
        assert gate.lines[-1]["error"] == "no-credentials-shown"
    unsigned = ["X-Goog-Authenticated-User-Email: accounts.google.com:root@elsewhere.example", "X-Goog-User: root"]
    assert (await gate.ask(request("GET", READ, *unsigned))).status == 401
    # And beside the real one they change nothing.
    assert (await ask(gate, proxy.says(BOB), "POST", DELETE, f"X_Goog_Iap_Jwt_Assertion: {said}")).status == 403
    assert (gate.lines[-1]["caller"], toy.asked) == ("bob@example.org", [])


async def test_the_header_is_the_same_in_any_case(gate: RunningGate, proxy: Iap) -> None:
    for name in ("x-goog-iap-jwt-assertion", "X-GOOG-IAP-JWT-ASSERTION"):
        assert (await gate.ask(request("GET", READ, f"{name}: {proxy.says()}"))).status == 200


async def test_two_of_them_are_none(gate: RunningGate, proxy: Iap, toy: Toy) -> None:
    """Which of them would IAP have written?"""
    for first, second in ((ROOT, BOB), (BOB, ROOT), (BOB, BOB)):
        answer = await ask(gate, proxy.says(first), "GET", READ, shown(proxy.says(second)))
        assert answer.error == (401, "UNAUTHENTICATED")
        assert "it is there twice" in answer.message
    assert (await ask(gate, f"{proxy.says(ROOT)}, {proxy.says(BOB)}")).status == 401
    assert toy.asked == []


async def test_a_token_is_nothing_here(gate: RunningGate, proxy: Iap) -> None:
    token = f"Authorization: Bearer {gate.tokens.admin}"
    assert (await gate.ask(request("GET", READ, token))).status == 401
    assert (await ask(gate, proxy.says(BOB), "POST", DELETE, token)).status == 403
    assert gate.lines[-1]["caller"] == "bob@example.org"


NUMBERS = AUDIENCE.replace("123456789012", "123456789013")
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another project": ({"aud": "/projects/123456789012/apps/other-project"}, "its aud is not GATE_IAP_AUDIENCE"),
    "another number": ({"aud": NUMBERS}, "its aud is not GATE_IAP_AUDIENCE"),
    "a longer audience": ({"aud": AUDIENCE + "/"}, "its aud is not GATE_IAP_AUDIENCE"),
    "a shorter audience": ({"aud": AUDIENCE[:-1]}, "its aud is not GATE_IAP_AUDIENCE"),
    "a back end": ({"aud": "/projects/123456789012/global/backendServices/1"}, "its aud is not GATE_IAP_AUDIENCE"),
    "audiences": ({"aud": [AUDIENCE]}, "its aud is not GATE_IAP_AUDIENCE"),
    "no audience": ({"without": "aud"}, "its aud is not GATE_IAP_AUDIENCE"),
    "another issuer": ({"iss": "https://accounts.google.com"}, "its iss is not Identity-Aware Proxy"),
    "nearly the issuer": ({"iss": ISSUER + "/"}, "its iss is not Identity-Aware Proxy"),
    "issuers": ({"iss": [ISSUER]}, "its iss is not Identity-Aware Proxy"),
    "no issuer": ({"without": "iss"}, "its iss is not Identity-Aware Proxy"),
    "no end": ({"without": "exp"}, "its exp is no time"),
    "no begin": ({"without": "iat"}, "its iat is no time"),
    "a text for an end": ({"exp": "4102444800"}, "its exp is no time"),
    "part of a time": ({"iat": 1.5}, "its iat is no time"),
    "a yes for a time": ({"iat": True}, "its iat is no time"),
    "beyond all numbers": ({"exp": 10**400}, "its exp is too far from its iat"),
    "longer than IAP gives": ({"lifetime": 661}, "its exp is too far from its iat"),
    "another algorithm": ({"header": {"alg": "ES384"}}, "its alg is not ES256"),
    "small letters": ({"header": {"alg": "es256"}}, "its alg is not ES256"),
    "algorithms": ({"header": {"alg": ["ES256"]}}, "its alg is not ES256"),
    "no algorithm": ({"without": "alg"}, "its alg is not ES256"),
    "what nobody understands": ({"header": {"crit": ["b64"], "b64": False}}, "it cannot be read"),
    "no key": ({"without": "kid"}, "its kid cannot be a key's id"),
    "a path for a key": ({"header": {"kid": "../key"}}, "its kid cannot be a key's id"),
    "a number for a key": ({"header": {"kid": 5}}, "it cannot be read"),
    "an unknown key": ({"header": {"kid": "f9R3yg"}}, "its kid names no key"),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_what_says_anything_else_is_refused_though_its_signature_holds(
    gate: RunningGate, proxy: Iap, toy: Toy, kind: str
) -> None:
    """The keys are those of all of Google's customers."""
    changes, why = WRONG[kind]
    await refused(gate, proxy.says(ROOT, **changes), why)
    assert toy.asked == []


async def test_times_are_held_with_half_a_minute_for_clocks(host: KeyHost, authority: Authority, proxy: Iap) -> None:
    clock = Clock()
    proxy.clock = lambda: 2e9
    callers, said = IapCallers(Settings(**doubles.settings(host, authority)), clock=clock), proxy.says()

    async def outcome(seconds: float) -> str:
        clock.now = 2e9 + seconds
        try:
            await callers.recognise(some_request({"x-goog-iap-jwt-assertion": said}))
        except Refusal as refusal:
            return f"{refusal.reason}: {refusal.message}"
        return "let in"

    assert "its iat is still to come" in await outcome(-31)
    assert [await outcome(seconds) for seconds in (-30, 0, 600, 629)] == ["let in"] * 4
    assert await outcome(630) == (
        "expired-sign-in: What Identity-Aware Proxy says of you (x-goog-iap-jwt-assertion) has expired."
    )


async def test_no_signature_is_no_signature(gate: RunningGate, proxy: Iap) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        unsigned = proxy.says(ROOT, header={"alg": algorithm}, sign=lambda _: b"")
        await refused(gate, unsigned, "it cannot be read")
        await refused(gate, unsigned.rstrip("."), "it cannot be read")
        await refused(gate, proxy.says(ROOT, header={"alg": algorithm}), "its alg is not ES256")


async def test_the_public_key_is_nobodys_secret(gate: RunningGate, proxy: Iap) -> None:
    public = proxy.keys[proxy.key_id].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), base64.b64decode(b"".join(pem.splitlines()[1:-1]))):

        def sign(data: bytes, secret: bytes = secret) -> bytes:
            return hmac.new(secret, data, hashlib.sha512).digest()  # as long as a signature by ES256

        await refused(gate, proxy.says(ROOT, header={"alg": "HS512"}, sign=sign), "its alg is not ES256")
        await refused(gate, proxy.says(ROOT, sign=sign), "its signature does not hold")
        await refused(gate, proxy.says(ROOT, header={"alg": "HS256"}), "its alg is not ES256")


async def test_a_signature_by_any_other_key_does_not_hold(gate: RunningGate, proxy: Iap) -> None:
    first, second = proxy.key_id, proxy.rotate()
    mallory = ec.generate_private_key(ec.SECP256R1())
    await refused(gate, proxy.says(ROOT, sign=lambda data: es256(mallory, data)), "its signature does not hold")
    await refused(gate, proxy.says(ROOT, header={"kid": first}), "its signature does not hold")
    assert (await ask(gate, proxy.says(header={"kid": second}))).status == 200
    # Nor by one that it brings along.
    brought = {"jwk": doubles.jwk(second, mallory), "jku": "https://evil.example/keys", "x5u": "https://evil.example"}
    await refused(gate, proxy.says(ROOT, header=brought, sign=lambda data: es256(mallory, data)), "does not hold")


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63 + b"\1"])
async def test_a_signature_of_numbers_that_fit_any_text_does_not_hold(
    gate: RunningGate, proxy: Iap, signature: bytes
) -> None:
    await refused(gate, proxy.says(ROOT, sign=lambda _: signature), "its signature does not hold")


async def test_the_claims_of_one_under_the_signature_of_another_do_not_hold(gate: RunningGate, proxy: Iap) -> None:
    ours, theirs = proxy.says(BOB).split("."), proxy.says(ROOT).split(".")
    await refused(gate, ".".join([ours[0], theirs[1], ours[2]]), "its signature does not hold")
    await refused(gate, ".".join([ours[0], ours[1], theirs[2]]), "its signature does not hold")


async def test_no_letter_of_it_can_be_changed(host: KeyHost, authority: Authority, proxy: Iap) -> None:
    callers = IapCallers(Settings(**doubles.settings(host, authority)))
    said = proxy.says()
    assert await callers.recognise(some_request({"x-goog-iap-jwt-assertion": said}))
    letters = string.ascii_letters + string.digits + "-_"
    # The last letter's last four bits stand for nothing.
    for place in range(len(said) - 1):
        for letter in (letters[(letters.find(said[place]) + 1 + place % 60) % len(letters)], ".", "=", " ", "\n"):
            if letter == said[place]:
                continue
            changed = said[:place] + letter + said[place + 1 :]
            with pytest.raises(Refusal) as refusal:
                await callers.recognise(some_request({"x-goog-iap-jwt-assertion": changed}))
            # After ten changed key ids the gate fetches no more of them for now.
            assert refusal.value.reason in {"bad-sign-in", "no-keys"}


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
async def test_what_is_no_assertion_at_all_is_refused(gate: RunningGate, said: str) -> None:
    await refused(gate, said, "is refused: it")


@pytest.mark.parametrize("claims", [b"[]", b"5", b'"root@elsewhere.example"', b"{", b'{"sub": "\xff"}', b"[" * 20_000])
async def test_claims_that_cannot_be_ours_are_refused_though_signed(
    gate: RunningGate, proxy: Iap, claims: bytes
) -> None:
    header = {"alg": "ES256", "typ": "JWT", "kid": proxy.key_id}
    await refused(gate, compact(header, claims, proxy.sign), "is refused: its")


# --- Keys


async def test_keys_are_there_before_anybody_comes(gate: RunningGate, proxy: Iap, host: KeyHost) -> None:
    assert host.asked == 1
    assert await is_ready(gate)
    answers = await asyncio.gather(*[ask(gate, proxy.says()) for _ in range(30)])
    assert {answer.status for answer in answers} == {200}
    assert host.asked == 1


async def test_a_new_key_is_taken_as_soon_as_it_signs(gate: RunningGate, proxy: Iap, host: KeyHost) -> None:
    before = proxy.says()
    for _ in range(3):
        assert (await ask(gate, proxy.says())).status == 200
        proxy.rotate()
    answers = await asyncio.gather(*[ask(gate, proxy.says()) for _ in range(30)])
    assert {answer.status for answer in answers} == {200}
    assert (await ask(gate, before)).status == 200, "the earlier ones are good until they end"
    assert host.asked == 4


async def test_forged_key_ids_do_not_make_the_gate_fetch_without_end(
    gate: RunningGate, proxy: Iap, host: KeyHost
) -> None:
    assert (await ask(gate, proxy.says())).status == 200
    for _ in range(30):
        await refused(gate, proxy.says(header={"kid": "f9R3yg"}), "its kid names no key")
    assert host.asked == 2
    statuses = {(await ask(gate, proxy.says(header={"kid": f"1-{number}"}))).status for number in range(60)}
    assert statuses == {401, 503}
    # Ten, and what the seconds of this test have earned.
    assert host.asked <= 12
    assert (await ask(gate, proxy.says())).status == 200


async def not_ready(gate: RunningGate) -> str:
    answer = await gate.ask(request("GET", "/readyz"))
    assert answer.status == 503
    return answer.json()["reason"]


@pytest.mark.usefixtures("quick")
async def test_without_keys_the_gate_starts_is_not_ready_and_says_so_until_it_has_them(
    start_iap: StartIap, proxy: Iap, host: KeyHost, toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    host.down = True
    gate = await start_iap()
    assert await not_ready(gate) == "no-keys"
    assert (await gate.ask(request("GET", "/healthz"))).status == 200
    answer = await ask(gate, proxy.says())
    assert answer.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer.header("retry-after") == "5"
    assert gate.lines[-1]["error"] == "no-keys"
    assert (await gate.ask(request("GET", READ))).status == 401
    assert [asked.line for asked in toy.asked] == []
    host.down = False
    await until(lambda: is_ready(gate))
    assert (await ask(gate, proxy.says())).status == 200
    problems = [record.getMessage() for record in caplog.records if "cannot be had:" in record.getMessage()]
    assert len(problems) == 1, "once, not at every fetch"
    assert problems[0].startswith(f"The keys at {host.url} cannot be had: ")


async def test_a_key_host_that_cannot_be_reached_is_no_reason_not_to_start(
    start_iap: StartIap, proxy: Iap, authority: Authority
) -> None:
    async with KeyHost.running(proxy, authority) as gone:
        pass
    gate = await start_iap(iap_keys_url=gone.url)
    assert await not_ready(gate) == "no-keys"
    assert (await ask(gate, proxy.says())).status == 503


async def test_a_key_host_that_nobody_trusts_is_not_believed(start_iap: StartIap, proxy: Iap, host: KeyHost) -> None:
    gate = await start_iap(ca_bundle=None)
    assert (await ask(gate, proxy.says())).status == 503
    assert host.asked == 0


async def test_an_upstream_in_trouble_is_told_of_when_there_are_keys(start_iap: StartIap) -> None:
    async with Toy.running(toys.closing_at_once) as gone:
        pass
    gate = await start_iap(upstream_url=gone.origin)
    assert await not_ready(gate) == "upstream-unreachable"


# --- Days


@pytest.mark.usefixtures("quick")
async def test_over_days_keys_come_and_go_and_whoever_comes_through_is_let_in(
    start_iap: StartIap, proxy: Iap, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clock for IAP, the gate and its keys, moved on by ten minutes at a time."""
    monkeypatch.setattr(public_keys, "_LOOK_EVERY", 0.002)
    clock = proxy.clock = Clock()
    monkeypatch.setattr(iap, "IapCallers", functools.partial(IapCallers, clock=clock, key_clock=clock))
    gate = await start_iap()
    first, next_key, expired = proxy.key_id, "", ""
    for step in range(6 * 50):
        clock.now += 600
        # As others rotate: a key is shown first, signs later, and is taken away long after its last assertion.
        match step % 36:
            case 6:
                next_key = proxy.publish()
            case 18:
                proxy.key_id = next_key
            case 30:
                for old in [key_id for key_id in proxy.keys if key_id != proxy.key_id]:
                    del proxy.keys[old]
            case _:
                pass
        assert (await ask(gate, proxy.says())).status == 200, step
        if step == 100:
            expired = proxy.says()
    assert (await ask(gate, expired)).status == 401
    assert first not in proxy.keys
    # Every 3000 seconds at most, which are 5 steps here, once at the start, and for a key that signs before that.
    assert 10 <= host.asked <= 300 / 5 + 1 + 10


@pytest.mark.usefixtures("quick")
async def test_keys_hold_through_a_day_without_their_host_and_new_ones_are_there_with_it(
    start_iap: StartIap, proxy: Iap, host: KeyHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = proxy.clock = Clock()
    monkeypatch.setattr(iap, "IapCallers", functools.partial(IapCallers, clock=clock, key_clock=clock))
    gate = await start_iap()
    assert (await ask(gate, proxy.says())).status == 200
    host.down = True
    for _ in range(24):
        clock.now += 3600
        assert (await ask(gate, proxy.says())).status == 200
    assert await is_ready(gate)
    await until(lambda: "cannot be had" in caplog.text)
    kept = proxy.key_id
    proxy.rotate()
    assert (await ask(gate, proxy.says())).status == 503, "nobody can tell"
    del proxy.keys[kept]
    host.down = False
    clock.now += 60
    assert (await ask(gate, proxy.says())).status == 200
    assert host.asked == 2


@pytest.mark.usefixtures("quick")
async def test_a_key_that_is_taken_away_opens_nothing_within_the_hour(
    start_iap: StartIap, proxy: Iap, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.caching = [b"Cache-Control: public, max-age=999999999"]
    clock = proxy.clock = Clock()
    monkeypatch.setattr(iap, "IapCallers", functools.partial(IapCallers, clock=clock, key_clock=clock))
    gate = await start_iap()
    stolen, key_id = proxy.keys[proxy.key_id], proxy.key_id
    assert (await ask(gate, proxy.says())).status == 200
    proxy.rotate()
    del proxy.keys[key_id]
    clock.now += 3600
    await until(lambda: host.asked == 2)
    await asyncio.sleep(0.05)
    await refused(
        gate,
        proxy.says(ROOT, header={"kid": key_id}, sign=lambda data: es256(stolen, data)),
        "its kid names no key",
    )


# --- Beside other steps


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_a_page_of_another_site_changes_nothing_by_a_session_of_iaps(
    gate: RunningGate, proxy: Iap, toy: Toy, header: str
) -> None:
    """The browser adds IAP's cookie to what it sends for any page."""
    answer = await ask(gate, proxy.says(ROOT), "POST", WRITE_AGAIN, header)
    assert answer.error == (403, "PERMISSION_DENIED")
    assert gate.lines[-1]["error"] == "foreign-origin"
    assert toy.asked == []
    assert (await ask(gate, proxy.says(ROOT), "POST", WRITE_AGAIN, "Origin: https://gate")).status == 200


async def test_mlflows_own_pages_stand_where_the_gates_does_elsewhere(
    start_iap: StartIap, proxy: Iap, toy: Toy
) -> None:
    gate = await start_iap()
    assert (await ask(gate, proxy.says(BOB), "GET", "/", "Accept: text/html")).status == 200
    assert [asked.line for asked in toy.asked] == ["GET / HTTP/1.1"]


# --- The start


async def test_a_rule_for_a_group_ends_the_start(start_iap: StartIap) -> None:
    with pytest.raises(SettingsError, match="GATE_ROLE_RULES: group:ml-admins fits nobody with GATE_IAP_AUDIENCE"):
        await start_iap(role_rules="email:ann@example.org=admin, group:ml-admins=admin")


async def test_a_rule_that_is_none_ends_the_start(start_iap: StartIap) -> None:
    with pytest.raises(SettingsError, match="GATE_ROLE_RULES: 'team=admin' is not a rule"):
        await start_iap(role_rules="team=admin")


async def test_a_rule_for_a_group_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    ended = await run(
        tmp_path,
        GATE_UPSTREAM_URL="http://127.0.0.1:5000",
        GATE_IAP_AUDIENCE=AUDIENCE,
        GATE_ROLE_RULES="group:ml-admins=admin",
    )
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines() == [
        "The gate cannot start.",
        "GATE_ROLE_RULES: group:ml-admins fits nobody with GATE_IAP_AUDIENCE, since Identity-Aware Proxy does not tell "
        "groups: use email: and domain:, and let the group in by IAP's own access list.",
    ]


def test_the_keys_are_where_google_documents_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def key_set(url: str, *_: Any) -> None:
        asked.append(url)

    monkeypatch.setattr(iap, "KeySet", key_set)
    IapCallers(Settings(iap_audience=AUDIENCE, role_rules="email:a@b.example=admin"))
    assert asked == ["https://www.gstatic.com/iap/verify/public_key-jwk"]
