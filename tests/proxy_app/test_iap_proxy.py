"""Whoever comes through Identity-Aware Proxy is known, and nobody else gets anything but the proxy's health."""

import logging
from pathlib import Path
from typing import Any

import pytest

from proxy_app.auth import ROLES
from proxy_app.setting_table import SettingsError
from tests.doubles.iap import ANN, AUDIENCE, BOB, JOB, ROOT, Iap
from tests.doubles.proxy_process import run
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, READ, SEARCH, WRITE_AGAIN, RunningProxy
from tests.doubles.toy_upstreams import Toy

from . import sign_in
from .conftest import StartProxy
from .sign_in import DELETE, Start

EVE = {"email": "eve@elsewhere.example", "sub": "accounts.google.com:666"}
iap_double, host, toy, start_iap, proxy = sign_in.BEHIND_IAP
ask, shown = sign_in.IAP.ask, sign_in.IAP.shown


# --- Who comes through


@pytest.mark.parametrize(
    ("claims", "role"),
    [(BOB, "viewer"), (ANN, "editor"), (JOB, "editor"), (ROOT, "admin")],
    ids=["bob", "ann", "job", "root"],
)
async def test_whoever_comes_through_is_known_and_has_the_role_of_the_rules(
    proxy: RunningProxy, iap_double: Iap, toy: Toy, claims: dict[str, Any], role: str
) -> None:
    needed = {("GET", READ): "viewer", ("POST", WRITE_AGAIN): "editor", ("POST", DELETE): "admin"}
    order = [known.label for known in ROLES]
    for (method, target), least in needed.items():
        answer = await ask(proxy, iap_double.says(claims), method, target)
        assert answer.status == (200 if order.index(role) >= order.index(least) else 403), target
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == (claims["email"], role)
    assert len(toy.asked) == order.index(role) + 1


async def test_a_viewer_deletes_nothing(proxy: RunningProxy, iap_double: Iap, toy: Toy) -> None:
    for method, target in [("POST", DELETE), ("DELETE", ARTIFACT), ("POST", "/api/2.0/mlflow/experiments/delete")]:
        answer = await ask(proxy, iap_double.says(BOB), method, target)
        assert answer.error == (403, "PERMISSION_DENIED")
        assert answer.message == "bob@example.org has the role viewer; this request requires admin."
    assert toy.asked == []


async def test_an_address_may_have_the_prefix_of_iaps_other_headers(proxy: RunningProxy, iap_double: Iap) -> None:
    assert (await ask(proxy, iap_double.says(ANN, email="accounts.google.com:ann@example.org"))).status == 200
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("ann@example.org", "editor")


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
    start_iap: Start, iap_double: Iap, claims: dict[str, Any], status: int
) -> None:
    domains = ["example.org", "ml-jobs.iam.gserviceaccount.com", "developer.gserviceaccount.com", "kelvin.example"]
    proxy = await start_iap(role_rules=",".join(f"domain:{domain}=viewer" for domain in domains))
    assert (await ask(proxy, iap_double.says({**claims, "sub": EVE["sub"]}))).status == status


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
async def test_who_has_no_account_of_googles_is_nobody_here(proxy: RunningProxy, iap_double: Iap, subject: Any) -> None:
    """Their address is what somebody else's directory says, or they themselves."""
    answer = await ask(proxy, iap_double.says(ROOT, sub=subject))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert "an account that is not a Google account" in answer.message
    assert proxy.lines[-1]["error"] == "no-role"


@pytest.mark.parametrize("email", [None, 5, "", "ann", "ann@example.org@example.org", ["ann@example.org"]])
async def test_without_an_address_nobody_has_a_role(proxy: RunningProxy, iap_double: Iap, email: Any) -> None:
    answer = await ask(proxy, iap_double.says(ANN, email=email, hd="elsewhere.example"))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert f"You are signed in as {ANN['sub']}, but no role rule" in answer.message


async def test_whoever_no_rule_fits_is_told_so_by_a_403(proxy: RunningProxy, iap_double: Iap, toy: Toy) -> None:
    answer = await ask(proxy, iap_double.says(EVE))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert answer.message.startswith("You are signed in as eve@elsewhere.example, but no role rule matches you.")
    assert toy.asked == []


async def test_nothing_of_the_sign_in_goes_further_than_the_proxy(
    proxy: RunningProxy, iap_double: Iap, toy: Toy
) -> None:
    secret = [
        *("X-Goog-Authenticated-User-Email: accounts.google.com:secret-1", "X-Goog-Authenticated-User-Id: secret-2"),
        *("Cookie: GCP_IAP_UID=secret-3", "Authorization: Bearer secret-4", "Proxy-Authorization: Bearer secret-5"),
        *("X_Goog_Iap_Jwt_Assertion: secret-6", "X-Goog_Anything: secret-7"),
    ]
    said = iap_double.says()
    assert (await ask(proxy, said, "GET", READ, *secret)).status == 200
    [asked] = toy.asked
    assert b"goog" not in asked.head.lower()
    assert b"secret" not in asked.head
    assert not [part for part in said.split(".") if part.encode() in asked.head]


async def test_what_is_shown_is_never_written_down(
    proxy: RunningProxy, iap_double: Iap, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    every = [
        iap_double.says(),
        iap_double.says(lifetime=-999),
        iap_double.says(aud="/projects/1/apps/other"),
        iap_double.says(header={"kid": "0-0"}),
        iap_double.says(sign=lambda _: b"x" * 64),
        iap_double.says(EVE),
    ]
    answers = [await ask(proxy, said) for said in every]
    assert [answer.status for answer in answers] == [200, 401, 401, 401, 401, 403]
    told = "".join(proxy.written) + caplog.text + "".join(answer.body.decode() for answer in answers[1:])
    for said in every:
        assert not [part for part in said.split(".") if part[:40] in told]


async def test_a_header_longer_than_allowed_is_refused_and_one_as_long_as_that_passes(
    proxy: RunningProxy, iap_double: Iap
) -> None:
    longest = iap_double.says(filler="x" * 47_000)
    assert 62_000 < len(longest) < 65_000
    assert (await ask(proxy, longest)).status == 200
    answer = await ask(proxy, iap_double.says(filler="x" * 52_000))
    assert answer.error == (400, "INVALID_PARAMETER_VALUE")
    assert "MLFLOW_PROXY_HEADER_LIMIT_BYTES" in answer.message


# --- Who does not

EVERYWHERE = [
    *("/", "/version", "/metrics", "/_ah/health", "/_ah/start", "/static-files/index.js", "/graphql"),
    *(READ, SEARCH, DELETE, ARTIFACT, "/no/such/route"),
    *("/healthz/", "//healthz", "/readyz?a=b", "/%72eadyz", "/HEALTHZ", "/health/", "/health?a=b"),
]


@pytest.mark.parametrize("target", EVERYWHERE)
async def test_what_did_not_come_through_gets_nothing(proxy: RunningProxy, toy: Toy, target: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = await proxy.ask(request(method, target, body=None if method in {"GET", "HEAD"} else b"{}"))
        assert answer.status == 401
        assert answer.all("www-authenticate") == ["Bearer"]
        assert proxy.lines[-1]["error"] == "missing-assertion"
        if method != "HEAD":
            assert answer.message == (
                "Requests must come through Identity-Aware Proxy: the header x-goog-iap-jwt-assertion is missing."
            )
    assert toy.connections == 0


async def test_health_is_told_to_whoever_asks(proxy: RunningProxy) -> None:
    """Google's health checks come past IAP: https://cloud.google.com/iap/docs/signed-headers-howto."""
    for path in ("/healthz", "/readyz"):
        assert (await proxy.ask(request("GET", path, "User-Agent: GoogleHC/1.0"))).status == 200


async def test_mlflows_health_is_the_proxy_for_who_did_not_come_through(
    proxy: RunningProxy, iap_double: Iap, toy: Toy
) -> None:
    """Monitors of MLflow ask there, and expect MLflow's own answer."""
    answer = await proxy.ask(request("GET", "/health"))
    assert (answer.status, answer.body, answer.header("server")) == (200, b"OK", "mlflow-proxy")
    assert (await proxy.ask(request("HEAD", "/health"))).status == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await proxy.ask(request(method, "/health", body=b"{}"))).status == 401
    assert (await proxy.ask(request("GET", "/health", shown("nobody")))).status == 401
    assert toy.connections == 0
    through = await ask(proxy, iap_double.says(BOB), target="/health")
    assert (through.status, len(toy.asked)) == (200, 1)


async def test_without_iap_mlflows_health_is_mlflows(start_proxy: StartProxy, toy: Toy) -> None:
    proxy = await start_proxy(toy.origin)
    assert (await proxy.ask(request("GET", "/health"))).status == 401
    assert (await proxy.ask(request("GET", "/health", token=proxy.tokens.viewer))).status == 200
    assert [asked.line for asked in toy.asked] == ["GET /health HTTP/1.1"]


async def test_a_person_without_an_assertion_is_not_told_of_tokens(proxy: RunningProxy) -> None:
    answer = await proxy.ask(request("GET", "/", "Accept: text/html"))
    page = answer.body.decode()
    assert (answer.status, answer.header("content-type")) == (401, "text/html; charset=utf-8")
    assert "Identity-Aware Proxy" in page
    assert "token" not in page.lower()


async def test_names_that_only_look_like_the_header_are_not_it(proxy: RunningProxy, iap_double: Iap, toy: Toy) -> None:
    said = iap_double.says(ROOT)
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
        answer = await proxy.ask(request("GET", READ, f"{name}: {said}"))
        assert answer.status == 401, name
        assert proxy.lines[-1]["error"] == "missing-assertion"
    unsigned = ["X-Goog-Authenticated-User-Email: accounts.google.com:root@elsewhere.example", "X-Goog-User: root"]
    assert (await proxy.ask(request("GET", READ, *unsigned))).status == 401
    # And beside the real one they change nothing.
    assert (await ask(proxy, iap_double.says(BOB), "POST", DELETE, f"X_Goog_Iap_Jwt_Assertion: {said}")).status == 403
    assert (proxy.lines[-1]["principal"], toy.asked) == ("bob@example.org", [])


async def test_the_header_is_the_same_in_any_case(proxy: RunningProxy, iap_double: Iap) -> None:
    for name in ("x-goog-iap-jwt-assertion", "X-GOOG-IAP-JWT-ASSERTION"):
        assert (await proxy.ask(request("GET", READ, f"{name}: {iap_double.says()}"))).status == 200


async def test_two_of_them_are_none(proxy: RunningProxy, iap_double: Iap, toy: Toy) -> None:
    """Which of them would IAP have written?"""
    for first, second in ((ROOT, BOB), (BOB, ROOT), (BOB, BOB)):
        answer = await ask(proxy, iap_double.says(first), "GET", READ, shown(iap_double.says(second)))
        assert answer.error == (401, "UNAUTHENTICATED")
        assert "it was sent twice" in answer.message
    assert (await ask(proxy, f"{iap_double.says(ROOT)}, {iap_double.says(BOB)}")).status == 401
    assert toy.asked == []


async def test_a_token_is_nothing_here(proxy: RunningProxy, iap_double: Iap) -> None:
    token = f"Authorization: Bearer {proxy.tokens.admin}"
    assert (await proxy.ask(request("GET", READ, token))).status == 401
    assert (await ask(proxy, iap_double.says(BOB), "POST", DELETE, token)).status == 403
    assert proxy.lines[-1]["principal"] == "bob@example.org"


# --- Beside other steps


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_a_page_of_another_site_changes_nothing_by_a_session_of_iaps(
    proxy: RunningProxy, iap_double: Iap, toy: Toy, header: str
) -> None:
    """The browser adds IAP's cookie to what it sends for any page."""
    answer = await ask(proxy, iap_double.says(ROOT), "POST", WRITE_AGAIN, header)
    assert answer.error == (403, "PERMISSION_DENIED")
    assert proxy.lines[-1]["error"] == "csrf"
    assert toy.asked == []
    assert (await ask(proxy, iap_double.says(ROOT), "POST", WRITE_AGAIN, "Origin: https://proxy")).status == 200


async def test_mlflows_own_pages_stand_where_the_proxy_does_elsewhere(
    start_iap: Start, iap_double: Iap, toy: Toy
) -> None:
    proxy = await start_iap()
    assert (await ask(proxy, iap_double.says(BOB), "GET", "/", "Accept: text/html")).status == 200
    assert [asked.line for asked in toy.asked] == ["GET / HTTP/1.1"]


# --- The start


async def test_a_rule_for_a_group_ends_the_start(start_iap: Start) -> None:
    with pytest.raises(
        SettingsError, match="MLFLOW_PROXY_ROLE_RULES: group:ml-admins has no effect with MLFLOW_PROXY_IAP_AUDIENCE"
    ):
        await start_iap(role_rules="email:ann@example.org=admin, group:ml-admins=admin")


async def test_a_rule_that_is_none_ends_the_start(start_iap: Start) -> None:
    with pytest.raises(SettingsError, match="MLFLOW_PROXY_ROLE_RULES: got 'team=admin', expected"):
        await start_iap(role_rules="team=admin")


async def test_a_rule_for_a_group_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    ended = await run(
        tmp_path,
        MLFLOW_PROXY_UPSTREAM_URL="http://127.0.0.1:5000",
        MLFLOW_PROXY_IAP_AUDIENCE=AUDIENCE,
        MLFLOW_PROXY_ROLE_RULES="group:ml-admins=admin",
    )
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines() == [
        "The proxy cannot start.",
        "MLFLOW_PROXY_ROLE_RULES: group:ml-admins has no effect with MLFLOW_PROXY_IAP_AUDIENCE, since Identity-Aware "
        "Proxy's assertions name no groups: use email: and domain: rules.",
    ]
