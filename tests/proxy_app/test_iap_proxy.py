"""A proxy behind Identity-Aware Proxy: principals and roles by assertion; without one, 401 except health checks."""

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
fake_iap, host, fake_upstream, start_iap, proxy = sso_fixtures.IAP_FIXTURES
send, header = sso_fixtures.IAP.send, sso_fixtures.IAP.header


# --- Requests with an assertion


@pytest.mark.parametrize(
    ("claims", "role"),
    [(BOB, "viewer"), (ANN, "editor"), (JOB, "editor"), (ROOT, "admin")],
    ids=["bob", "ann", "job", "root"],
)
async def test_principal_has_the_role_of_the_rules(
    proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream, claims: dict[str, Any], role: str
) -> None:
    required_roles = {("GET", READ): "viewer", ("POST", IDEMPOTENT_WRITE): "editor", ("POST", DELETE): "admin"}
    order = [known_role.label for known_role in ROLES]
    for (method, target), required in required_roles.items():
        response = await send(proxy, fake_iap.assertion(claims), method, target)
        assert response.status == (200 if order.index(role) >= order.index(required) else 403), target
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == (claims["email"], role)
    assert len(fake_upstream.requests) == order.index(role) + 1


async def test_viewer_cannot_delete(proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream) -> None:
    for method, target in [("POST", DELETE), ("DELETE", ARTIFACT), ("POST", "/api/2.0/mlflow/experiments/delete")]:
        response = await send(proxy, fake_iap.assertion(BOB), method, target)
        assert response.error == (403, "PERMISSION_DENIED")
        assert "bob@example.org has the role viewer; this request requires admin." in response.message
    assert fake_upstream.requests == []


async def test_prefix_of_the_email_claim_is_removed(proxy: RunningProxy, fake_iap: Iap) -> None:
    assert (await send(proxy, fake_iap.assertion(ANN, email="accounts.google.com:ann@example.org"))).status == 200
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("ann@example.org", "editor")


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"email": "bob@example.org", "hd": "example.org"}, 200),
        ({"email": "bob@example.org", "hd": "Example.ORG"}, 200),
        # `hd` names the organization, whatever the domain of the address.
        ({"email": "bob@second.example", "hd": "example.org"}, 200),
        ({"email": "train@ml-jobs.iam.gserviceaccount.com"}, 200),
        # Without `hd` it is a private account with an address of the domain.
        ({"email": "bob@example.org"}, 403),
        ({"email": "bob@example.org", "hd": ""}, 403),
        ({"email": "bob@example.org", "hd": "evil.example"}, 403),
        ({"email": "bob@example.org", "hd": ["example.org"]}, 403),
        ({"email": "bob@example.org", "hd": "example.org.evil.example"}, 403),
        ({"email": "bob@example.org", "hd": "\u212aelvin.example"}, 403),
        ({"email": "train@other.iam.gserviceaccount.com"}, 403),
        ({"email": "train@ml-jobs.iam.gserviceaccount.com.evil.example"}, 403),
        # Default service accounts have the same domain in all projects.
        ({"email": "1-compute@developer.gserviceaccount.com"}, 403),
    ],
)
async def test_domain_rule_matches_hd_or_the_service_account_domain(
    start_iap: StartSso, fake_iap: Iap, claims: dict[str, Any], status: int
) -> None:
    domains = ["example.org", "ml-jobs.iam.gserviceaccount.com", "developer.gserviceaccount.com", "kelvin.example"]
    proxy = await start_iap(role_rules=",".join(f"domain:{domain}=viewer" for domain in domains))
    assert (await send(proxy, fake_iap.assertion({**claims, "sub": EVE["sub"]}))).status == status


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
async def test_account_of_another_identity_provider_is_rejected(
    proxy: RunningProxy, fake_iap: Iap, subject: Any
) -> None:
    """Google does not verify the e-mail addresses of such accounts."""
    response = await send(proxy, fake_iap.assertion(ROOT, sub=subject))
    assert response.error == (403, "PERMISSION_DENIED")
    assert "an account that is not a Google account" in response.message
    assert proxy.lines[-1]["error"] == "no-role"


async def test_rule_for_everyone_applies_to_accounts_of_other_identity_providers(
    fake_iap: Iap, start_iap: StartSso
) -> None:
    """Members of a workforce pool, for example. Their addresses are not verified, so other rules do not apply."""
    proxy = await start_iap(role_rules="*=viewer, email:root@example.org=admin, domain:example.org=editor")
    subject = "sts.google.com:AAFTZ.pool/subject"
    for claims in ({"sub": subject}, {**ROOT, "sub": subject}, {**ROOT, "sub": subject, "hd": "example.org"}):
        assert (await send(proxy, fake_iap.assertion(claims))).status == 200
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == (subject, "viewer")
        assert (await send(proxy, fake_iap.assertion(claims), "POST", IDEMPOTENT_WRITE)).status == 403
    response = await send(proxy, fake_iap.assertion({"sub": None}))
    assert response.error == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("email", [None, 5, "", "ann", "ann@example.org@example.org", ["ann@example.org"]])
async def test_assertion_without_a_valid_email_has_no_role(proxy: RunningProxy, fake_iap: Iap, email: Any) -> None:
    response = await send(proxy, fake_iap.assertion(ANN, email=email, hd="elsewhere.example"))
    assert response.error == (403, "PERMISSION_DENIED")
    assert f"You are signed in as {ANN['sub']}, but no role rule" in response.message


async def test_principal_that_no_rule_matches_gets_403(
    proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream
) -> None:
    response = await send(proxy, fake_iap.assertion(EVE))
    assert response.error == (403, "PERMISSION_DENIED")
    assert response.message.startswith("You are signed in as eve@elsewhere.example, but no role rule matches you.")
    assert fake_upstream.requests == []


async def test_iap_headers_and_credentials_do_not_reach_the_upstream(
    proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream
) -> None:
    secret = [
        *("X-Goog-Authenticated-User-Email: accounts.google.com:secret-1", "X-Goog-Authenticated-User-Id: secret-2"),
        *("Cookie: GCP_IAP_UID=secret-3", "Authorization: Bearer secret-4", "Proxy-Authorization: Bearer secret-5"),
        *("X_Goog_Iap_Jwt_Assertion: secret-6", "X-Goog_Anything: secret-7"),
    ]
    assertion = fake_iap.assertion()
    assert (await send(proxy, assertion, "GET", READ, *secret)).status == 200
    [received] = fake_upstream.requests
    assert b"goog" not in received.head.lower()
    assert b"secret" not in received.head
    assert not [part for part in assertion.split(".") if part.encode() in received.head]


async def test_assertions_are_neither_logged_nor_returned(
    proxy: RunningProxy, fake_iap: Iap, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assertions = [
        fake_iap.assertion(),
        fake_iap.assertion(lifetime=-999),
        fake_iap.assertion(aud="/projects/1/apps/other"),
        fake_iap.assertion(header={"kid": "0-0"}),
        fake_iap.assertion(sign=lambda _: b"x" * 64),
        fake_iap.assertion(EVE),
    ]
    responses = [await send(proxy, assertion) for assertion in assertions]
    assert [response.status for response in responses] == [200, 401, 401, 401, 401, 403]
    output = "".join(proxy.written) + caplog.text + "".join(response.body.decode() for response in responses[1:])
    for assertion in assertions:
        assert not [part for part in assertion.split(".") if part[:40] in output]


async def test_assertion_over_the_header_limit_is_rejected(proxy: RunningProxy, fake_iap: Iap) -> None:
    longest = fake_iap.assertion(filler="x" * 47_000)
    assert 62_000 < len(longest) < 65_000
    assert (await send(proxy, longest)).status == 200
    response = await send(proxy, fake_iap.assertion(filler="x" * 52_000))
    assert response.error == (400, "INVALID_PARAMETER_VALUE")
    assert "MLFLOW_PROXY_HEADER_LIMIT_BYTES" in response.message


# --- Requests without an assertion

TARGETS = [
    *("/", "/version", "/metrics", "/_ah/health", "/_ah/start", "/static-files/index.js", "/graphql"),
    *(READ, SEARCH, DELETE, ARTIFACT, "/no/such/route"),
    *(
        "/healthz/",
        "//healthz",
        "//startupz",
        "/startupz?a=b",
        "/readyz?a=b",
        "/%72eadyz",
        "/HEALTHZ",
        "/health/",
        "/health?a=b",
    ),
]


@pytest.mark.parametrize("target", TARGETS)
async def test_request_without_an_assertion_gets_401(
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


async def test_health_checks_require_no_assertion(proxy: RunningProxy) -> None:
    """Google's health checks bypass IAP: https://cloud.google.com/iap/docs/signed-headers-howto."""
    for path in ("/healthz", "/startupz", "/readyz"):
        assert (await proxy.send(request("GET", path, "User-Agent: GoogleHC/1.0"))).status == 200


async def test_health_path_is_answered_by_the_proxy_without_an_assertion(
    proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream
) -> None:
    """Monitors of MLflow request /health and expect MLflow's response."""
    response = await proxy.send(request("GET", "/health"))
    assert (response.status, response.body, response.header("server")) == (200, b"OK", "mlflow-proxy")
    assert (await proxy.send(request("HEAD", "/health"))).status == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await proxy.send(request(method, "/health", body=b"{}"))).status == 401
    assert (await proxy.send(request("GET", "/health", header("not-a-jwt")))).status == 401
    assert fake_upstream.connections == 0
    forwarded = await send(proxy, fake_iap.assertion(BOB), target="/health")
    assert (forwarded.status, len(fake_upstream.requests)) == (200, 1)


async def test_health_path_is_forwarded_when_iap_is_disabled(
    start_proxy: StartProxy, fake_upstream: FakeUpstream
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    assert (await proxy.send(request("GET", "/health"))).status == 401
    assert (await proxy.send(request("GET", "/health", token=proxy.tokens.viewer))).status == 200
    assert [received.line for received in fake_upstream.requests] == ["GET /health HTTP/1.1"]


async def test_browser_without_an_assertion_gets_a_page_that_does_not_mention_tokens(proxy: RunningProxy) -> None:
    response = await proxy.send(request("GET", "/", "Accept: text/html"))
    page = response.body.decode()
    assert (response.status, response.header("content-type")) == (401, "text/html; charset=utf-8")
    assert "Identity-Aware Proxy" in page
    assert "token" not in page.lower()


async def test_assertion_in_another_header_is_ignored(
    proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream
) -> None:
    assertion = fake_iap.assertion(ROOT)
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
        response = await proxy.send(request("GET", READ, f"{name}: {assertion}"))
        assert response.status == 401, name
        assert proxy.lines[-1]["error"] == "missing-assertion"
    unsigned = ["X-Goog-Authenticated-User-Email: accounts.google.com:root@elsewhere.example", "X-Goog-User: root"]
    assert (await proxy.send(request("GET", READ, *unsigned))).status == 401
    # Beside a valid assertion they are ignored too.
    assert (
        await send(proxy, fake_iap.assertion(BOB), "POST", DELETE, f"X_Goog_Iap_Jwt_Assertion: {assertion}")
    ).status == 403
    assert (proxy.lines[-1]["principal"], fake_upstream.requests) == ("bob@example.org", [])


async def test_header_name_is_case_insensitive(proxy: RunningProxy, fake_iap: Iap) -> None:
    for name in ("x-goog-iap-jwt-assertion", "X-GOOG-IAP-JWT-ASSERTION"):
        assert (await proxy.send(request("GET", READ, f"{name}: {fake_iap.assertion()}"))).status == 200


async def test_repeated_header_is_rejected(proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream) -> None:
    """It is unknown which of the two IAP added."""
    for first, second in ((ROOT, BOB), (BOB, ROOT), (BOB, BOB)):
        response = await send(proxy, fake_iap.assertion(first), "GET", READ, header(fake_iap.assertion(second)))
        assert response.error == (401, "UNAUTHENTICATED")
        assert "it was sent twice" in response.message
    assert (await send(proxy, f"{fake_iap.assertion(ROOT)}, {fake_iap.assertion(BOB)}")).status == 401
    assert fake_upstream.requests == []


async def test_proxy_token_is_ignored(proxy: RunningProxy, fake_iap: Iap) -> None:
    token = f"Authorization: Bearer {proxy.tokens.admin}"
    assert (await proxy.send(request("GET", READ, token))).status == 401
    assert (await send(proxy, fake_iap.assertion(BOB), "POST", DELETE, token)).status == 403
    assert proxy.lines[-1]["principal"] == "bob@example.org"


# --- Cross-site requests, and the UI


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_cross_site_write_is_rejected(
    proxy: RunningProxy, fake_iap: Iap, fake_upstream: FakeUpstream, header: str
) -> None:
    """Browsers send IAP's session cookie with requests from pages of any site."""
    response = await send(proxy, fake_iap.assertion(ROOT), "POST", IDEMPOTENT_WRITE, header)
    assert response.error == (403, "PERMISSION_DENIED")
    assert proxy.lines[-1]["error"] == "csrf"
    assert fake_upstream.requests == []
    assert (
        await send(proxy, fake_iap.assertion(ROOT), "POST", IDEMPOTENT_WRITE, "Origin: https://proxy")
    ).status == 200


async def test_home_page_is_mlflows(start_iap: StartSso, fake_iap: Iap, fake_upstream: FakeUpstream) -> None:
    proxy = await start_iap()
    assert (await send(proxy, fake_iap.assertion(BOB), "GET", "/", "Accept: text/html")).status == 200
    assert [received.line for received in fake_upstream.requests] == ["GET / HTTP/1.1"]


# --- Startup


async def test_group_rule_is_a_settings_error(start_iap: StartSso) -> None:
    with pytest.raises(
        SettingsError, match="MLFLOW_PROXY_ROLE_RULES: group:ml-admins has no effect with MLFLOW_PROXY_IAP_AUDIENCE"
    ):
        await start_iap(role_rules="email:ann@example.org=admin, group:ml-admins=admin")


async def test_invalid_rule_is_a_settings_error(start_iap: StartSso) -> None:
    with pytest.raises(SettingsError, match="MLFLOW_PROXY_ROLE_RULES: got 'team=admin', expected"):
        await start_iap(role_rules="team=admin")


async def test_process_with_a_group_rule_exits_with_an_error_message(tmp_path: Path) -> None:
    completed = await run(
        tmp_path,
        MLFLOW_PROXY_UPSTREAM_URL="http://127.0.0.1:5000",
        MLFLOW_PROXY_IAP_AUDIENCE=AUDIENCE,
        MLFLOW_PROXY_ROLE_RULES="group:ml-admins=admin",
    )
    assert (completed.code, completed.out) == (2, "")
    assert completed.err.splitlines() == [
        "The proxy cannot start.",
        "MLFLOW_PROXY_ROLE_RULES: group:ml-admins has no effect with MLFLOW_PROXY_IAP_AUDIENCE, since Identity-Aware "
        "Proxy's assertions name no groups: use email: and domain: rules.",
    ]
