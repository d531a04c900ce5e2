"""Whoever comes through Identity-Aware Proxy is known, and nobody else gets anything but the proxy's health."""

import logging
from pathlib import Path
from typing import Any

import pytest

from proxy_app.auth import ROLES
from proxy_app.setting_table import SettingsError
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.iap import ANN, AUDIENCE, BOB, JOB, ROOT, Iap
from tests.doubles.proxy_process import run
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, IDEMPOTENT_WRITE, READ, SEARCH, RunningProxy

from . import sso_fixtures
from .conftest import StartProxy
from .sso_fixtures import DELETE, StartSso

EVE = {"email": "eve@elsewhere.example", "sub": "accounts.google.com:666"}
iap_double, host, fake_upstream, start_iap, proxy = sso_fixtures.IAP_FIXTURES
send, header = sso_fixtures.IAP.send, sso_fixtures.IAP.header


# --- Who comes through


@pytest.mark.parametrize(
    ("claims", "role"),
    [(BOB, "viewer"), (ANN, "editor"), (JOB, "editor"), (ROOT, "admin")],
    ids=["bob", "ann", "job", "root"],
)
async def test_whoever_comes_through_is_known_and_has_the_role_of_the_rules(
    proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream, claims: dict[str, Any], role: str
) -> None:
    needed = {("GET", READ): "viewer", ("POST", IDEMPOTENT_WRITE): "editor", ("POST", DELETE): "admin"}
    order = [known.label for known in ROLES]
    for (method, target), least in needed.items():
        response = await send(proxy, iap_double.assertion(claims), method, target)
        assert response.status == (200 if order.index(role) >= order.index(least) else 403), target
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == (claims["email"], role)
    assert len(fake_upstream.requests) == order.index(role) + 1


async def test_a_viewer_deletes_nothing(proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream) -> None:
    for method, target in [("POST", DELETE), ("DELETE", ARTIFACT), ("POST", "/api/2.0/mlflow/experiments/delete")]:
        response = await send(proxy, iap_double.assertion(BOB), method, target)
        assert response.error == (403, "PERMISSION_DENIED")
        assert response.message == "bob@example.org has the role viewer; this request requires admin."
    assert fake_upstream.requests == []


async def test_an_address_may_have_the_prefix_of_iaps_other_headers(proxy: RunningProxy, iap_double: Iap) -> None:
    assert (await send(proxy, iap_double.assertion(ANN, email="accounts.google.com:ann@example.org"))).status == 200
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
    start_iap: StartSso, iap_double: Iap, claims: dict[str, Any], status: int
) -> None:
    domains = ["example.org", "ml-jobs.iam.gserviceaccount.com", "developer.gserviceaccount.com", "kelvin.example"]
    proxy = await start_iap(role_rules=",".join(f"domain:{domain}=viewer" for domain in domains))
    assert (await send(proxy, iap_double.assertion({**claims, "sub": EVE["sub"]}))).status == status


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
    response = await send(proxy, iap_double.assertion(ROOT, sub=subject))
    assert response.error == (403, "PERMISSION_DENIED")
    assert "an account that is not a Google account" in response.message
    assert proxy.lines[-1]["error"] == "no-role"


@pytest.mark.parametrize("email", [None, 5, "", "ann", "ann@example.org@example.org", ["ann@example.org"]])
async def test_without_an_address_nobody_has_a_role(proxy: RunningProxy, iap_double: Iap, email: Any) -> None:
    response = await send(proxy, iap_double.assertion(ANN, email=email, hd="elsewhere.example"))
    assert response.error == (403, "PERMISSION_DENIED")
    assert f"You are signed in as {ANN['sub']}, but no role rule" in response.message


async def test_whoever_no_rule_fits_is_told_so_by_a_403(
    proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream
) -> None:
    response = await send(proxy, iap_double.assertion(EVE))
    assert response.error == (403, "PERMISSION_DENIED")
    assert response.message.startswith("You are signed in as eve@elsewhere.example, but no role rule matches you.")
    assert fake_upstream.requests == []


async def test_nothing_of_the_sign_in_goes_further_than_the_proxy(
    proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream
) -> None:
    secret = [
        *("X-Goog-Authenticated-User-Email: accounts.google.com:secret-1", "X-Goog-Authenticated-User-Id: secret-2"),
        *("Cookie: GCP_IAP_UID=secret-3", "Authorization: Bearer secret-4", "Proxy-Authorization: Bearer secret-5"),
        *("X_Goog_Iap_Jwt_Assertion: secret-6", "X-Goog_Anything: secret-7"),
    ]
    said = iap_double.assertion()
    assert (await send(proxy, said, "GET", READ, *secret)).status == 200
    [received] = fake_upstream.requests
    assert b"goog" not in received.head.lower()
    assert b"secret" not in received.head
    assert not [part for part in said.split(".") if part.encode() in received.head]


async def test_what_is_shown_is_never_written_down(
    proxy: RunningProxy, iap_double: Iap, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    every = [
        iap_double.assertion(),
        iap_double.assertion(lifetime=-999),
        iap_double.assertion(aud="/projects/1/apps/other"),
        iap_double.assertion(header={"kid": "0-0"}),
        iap_double.assertion(sign=lambda _: b"x" * 64),
        iap_double.assertion(EVE),
    ]
    responses = [await send(proxy, said) for said in every]
    assert [response.status for response in responses] == [200, 401, 401, 401, 401, 403]
    values = "".join(proxy.written) + caplog.text + "".join(response.body.decode() for response in responses[1:])
    for said in every:
        assert not [part for part in said.split(".") if part[:40] in values]


async def test_a_header_longer_than_allowed_is_refused_and_one_as_long_as_that_passes(
    proxy: RunningProxy, iap_double: Iap
) -> None:
    longest = iap_double.assertion(filler="x" * 47_000)
    assert 62_000 < len(longest) < 65_000
    assert (await send(proxy, longest)).status == 200
    response = await send(proxy, iap_double.assertion(filler="x" * 52_000))
    assert response.error == (400, "INVALID_PARAMETER_VALUE")
    assert "MLFLOW_PROXY_HEADER_LIMIT_BYTES" in response.message


# --- Who does not

EVERYWHERE = [
    *("/", "/version", "/metrics", "/_ah/health", "/_ah/start", "/static-files/index.js", "/graphql"),
    *(READ, SEARCH, DELETE, ARTIFACT, "/no/such/route"),
    *("/healthz/", "//healthz", "/readyz?a=b", "/%72eadyz", "/HEALTHZ", "/health/", "/health?a=b"),
]


@pytest.mark.parametrize("target", EVERYWHERE)
async def test_what_did_not_come_through_gets_nothing(
    proxy: RunningProxy, fake_upstream: FakeUpstream, target: str
) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        response = await proxy.send(request(method, target, body=None if method in {"GET", "HEAD"} else b"{}"))
        assert response.status == 401
        assert response.all("www-authenticate") == ["Bearer"]
        assert proxy.lines[-1]["error"] == "missing-assertion"
        if method != "HEAD":
            assert response.message == (
                "Requests must come through Identity-Aware Proxy: the header x-goog-iap-jwt-assertion is missing."
            )
    assert fake_upstream.connections == 0


async def test_health_is_told_to_whoever_asks(proxy: RunningProxy) -> None:
    """Google's health checks come past IAP: https://cloud.google.com/iap/docs/signed-headers-howto."""
    for path in ("/healthz", "/readyz"):
        assert (await proxy.send(request("GET", path, "User-Agent: GoogleHC/1.0"))).status == 200


async def test_mlflows_health_is_the_proxy_for_who_did_not_come_through(
    proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream
) -> None:
    """Monitors of MLflow ask there, and expect MLflow's own answer."""
    response = await proxy.send(request("GET", "/health"))
    assert (response.status, response.body, response.header("server")) == (200, b"OK", "mlflow-proxy")
    assert (await proxy.send(request("HEAD", "/health"))).status == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await proxy.send(request(method, "/health", body=b"{}"))).status == 401
    assert (await proxy.send(request("GET", "/health", header("nobody")))).status == 401
    assert fake_upstream.connections == 0
    through = await send(proxy, iap_double.assertion(BOB), target="/health")
    assert (through.status, len(fake_upstream.requests)) == (200, 1)


async def test_without_iap_mlflows_health_is_mlflows(start_proxy: StartProxy, fake_upstream: FakeUpstream) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    assert (await proxy.send(request("GET", "/health"))).status == 401
    assert (await proxy.send(request("GET", "/health", token=proxy.tokens.viewer))).status == 200
    assert [received.line for received in fake_upstream.requests] == ["GET /health HTTP/1.1"]


async def test_a_person_without_an_assertion_is_not_told_of_tokens(proxy: RunningProxy) -> None:
    response = await proxy.send(request("GET", "/", "Accept: text/html"))
    page = response.body.decode()
    assert (response.status, response.header("content-type")) == (401, "text/html; charset=utf-8")
    assert "Identity-Aware Proxy" in page
    assert "token" not in page.lower()


async def test_names_that_only_look_like_the_header_are_not_it(
    proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream
) -> None:
    said = iap_double.assertion(ROOT)
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
        response = await proxy.send(request("GET", READ, f"{name}: {said}"))
        assert response.status == 401, name
        assert proxy.lines[-1]["error"] == "missing-assertion"
    unsigned = ["X-Goog-Authenticated-User-Email: accounts.google.com:root@elsewhere.example", "X-Goog-User: root"]
    assert (await proxy.send(request("GET", READ, *unsigned))).status == 401
    # And beside the real one they change nothing.
    assert (
        await send(proxy, iap_double.assertion(BOB), "POST", DELETE, f"X_Goog_Iap_Jwt_Assertion: {said}")
    ).status == 403
    assert (proxy.lines[-1]["principal"], fake_upstream.requests) == ("bob@example.org", [])


async def test_the_header_is_the_same_in_any_case(proxy: RunningProxy, iap_double: Iap) -> None:
    for name in ("x-goog-iap-jwt-assertion", "X-GOOG-IAP-JWT-ASSERTION"):
        assert (await proxy.send(request("GET", READ, f"{name}: {iap_double.assertion()}"))).status == 200


async def test_two_of_them_are_none(proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream) -> None:
    """Which of them would IAP have written?"""
    for first, second in ((ROOT, BOB), (BOB, ROOT), (BOB, BOB)):
        response = await send(proxy, iap_double.assertion(first), "GET", READ, header(iap_double.assertion(second)))
        assert response.error == (401, "UNAUTHENTICATED")
        assert "it was sent twice" in response.message
    assert (await send(proxy, f"{iap_double.assertion(ROOT)}, {iap_double.assertion(BOB)}")).status == 401
    assert fake_upstream.requests == []


async def test_a_token_is_nothing_here(proxy: RunningProxy, iap_double: Iap) -> None:
    token = f"Authorization: Bearer {proxy.tokens.admin}"
    assert (await proxy.send(request("GET", READ, token))).status == 401
    assert (await send(proxy, iap_double.assertion(BOB), "POST", DELETE, token)).status == 403
    assert proxy.lines[-1]["principal"] == "bob@example.org"


# --- Beside other steps


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_a_page_of_another_site_changes_nothing_by_a_session_of_iaps(
    proxy: RunningProxy, iap_double: Iap, fake_upstream: FakeUpstream, header: str
) -> None:
    """The browser adds IAP's cookie to what it sends for any page."""
    response = await send(proxy, iap_double.assertion(ROOT), "POST", IDEMPOTENT_WRITE, header)
    assert response.error == (403, "PERMISSION_DENIED")
    assert proxy.lines[-1]["error"] == "csrf"
    assert fake_upstream.requests == []
    assert (
        await send(proxy, iap_double.assertion(ROOT), "POST", IDEMPOTENT_WRITE, "Origin: https://proxy")
    ).status == 200


async def test_mlflows_own_pages_stand_where_the_proxy_does_elsewhere(
    start_iap: StartSso, iap_double: Iap, fake_upstream: FakeUpstream
) -> None:
    proxy = await start_iap()
    assert (await send(proxy, iap_double.assertion(BOB), "GET", "/", "Accept: text/html")).status == 200
    assert [received.line for received in fake_upstream.requests] == ["GET / HTTP/1.1"]


# --- The start


async def test_a_rule_for_a_group_ends_the_start(start_iap: StartSso) -> None:
    with pytest.raises(
        SettingsError, match="MLFLOW_PROXY_ROLE_RULES: group:ml-admins has no effect with MLFLOW_PROXY_IAP_AUDIENCE"
    ):
        await start_iap(role_rules="email:ann@example.org=admin, group:ml-admins=admin")


async def test_a_rule_that_is_none_ends_the_start(start_iap: StartSso) -> None:
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
