"""ALB assertions at the proxy: principal and role, precedence of tokens, and errors at startup."""

import logging
from pathlib import Path
from typing import Any

import pytest

from proxy_app.auth import ROLES
from proxy_app.setting_table import SettingsError
from tests.doubles.alb import ANN, ARN, CLIENT, ISSUER, Alb, KeyHost
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.proxy_process import run
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import IDEMPOTENT_WRITE, READ, SEARCH, RunningProxy, Tokens

from . import sso_fixtures
from .conftest import StartProxy
from .sso_fixtures import ALB_BOB as BOB
from .sso_fixtures import ALB_ROOT as ROOT
from .sso_fixtures import DELETE, StartSso

AJAX = "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"
alb, host, fake_upstream, start_sso, proxy = sso_fixtures.ALB_FIXTURES
send = sso_fixtures.ALB.send


# --- Principal and role


@pytest.mark.parametrize(
    ("claims", "name", "role"),
    [(BOB, "bob@example.org", "viewer"), (ANN, "ann@example.org", "editor"), (ROOT, "root@elsewhere.example", "admin")],
)
async def test_assertion_gives_principal_and_role(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream, claims: dict[str, Any], name: str, role: str
) -> None:
    required_roles = {READ: "viewer", IDEMPOTENT_WRITE: "editor", DELETE: "admin"}
    order = [each.label for each in ROLES]
    for target, required in required_roles.items():
        response = await send(proxy, alb.assertion(claims), "GET" if target == READ else "POST", target)
        assert response.status == (200 if order.index(role) >= order.index(required) else 403), target
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == (name, role)
    assert len(fake_upstream.requests) == order.index(role) + 1


async def test_principal_without_email_is_named_after_sub(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion({"sub": "1111-2222", "groups": "ml-admins"}))).status == 200
    assert proxy.lines[-1]["principal"] == "1111-2222"


async def test_groups_claim_is_configurable(start_sso: StartSso, alb: Alb) -> None:
    proxy = await start_sso(alb_groups_claim="custom:teams", role_rules="group:ops=viewer")
    assert (await send(proxy, alb.assertion({**ANN, "custom:teams": "ml ops"}))).status == 200
    assert (await send(proxy, alb.assertion({**ANN, "groups": "ml ops"}))).status == 403


async def test_assertion_and_session_headers_are_not_forwarded(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream
) -> None:
    session = ["X-Amzn-Oidc-Accesstoken: secret-1", "X-Amzn-Oidc-Identity: secret-2", "Cookie: AWSELBAuth-0=secret-3"]
    assert (await send(proxy, alb.assertion(), "GET", READ, *session)).status == 200
    [received] = fake_upstream.requests
    names = {name for name, _ in received.headers}
    assert not names & {"cookie", "authorization"}
    assert not [name for name in names if name.startswith("x-amzn-")]
    assert b"secret" not in received.head


async def test_assertions_are_not_logged(
    proxy: RunningProxy, alb: Alb, host: KeyHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assertions = [
        alb.assertion(),
        alb.assertion(lifetime=-999),
        alb.assertion(header={"signer": ARN + "0"}),
        alb.assertion(header={"kid": "0-0"}),
        alb.assertion({"sub": "unknown"}),
    ]
    responses = [await send(proxy, assertion) for assertion in assertions]
    assert [response.status for response in responses] == [200, 401, 401, 401, 403]
    output = "".join(proxy.written) + caplog.text + "".join(response.body.decode() for response in responses[1:])
    for assertion in assertions:
        assert not [part for part in assertion.split(".") if part[:40] in output]


async def test_longest_headers_of_a_load_balancer_are_accepted(start_sso: StartSso, alb: Alb) -> None:
    """A load balancer sends up to 11 KiB of claims and access token, and cookies of 4 KiB each."""
    proxy = await start_sso()
    groups = [f"team-{number:05}" for number in range(850)]
    long = alb.assertion({**ANN, "groups": [*groups, "ml-admins"]})
    assert 15_000 < len(long) < 17_000
    others = ["X-Amzn-Oidc-Accesstoken: " + "a" * 11_000]
    others += [f"Cookie: AWSELBAuthSessionCookie-{number}={'c' * 4000}" for number in range(4)]
    assert (await send(proxy, long, "GET", READ, *others)).status == 200
    assert proxy.lines[-1]["role"] == "admin"
    longest = alb.assertion({**ANN, "filler": "x" * 48_000})
    assert 64_000 < len(longest) < 65_000
    assert (await send(proxy, longest)).status == 200
    response = await send(proxy, alb.assertion({**ANN, "filler": "x" * 52_000}))
    assert response.error == (400, "INVALID_PARAMETER_VALUE")
    assert "MLFLOW_PROXY_HEADER_LIMIT_BYTES" in response.message


async def test_home_page_shows_the_escaped_principal_and_the_role(proxy: RunningProxy, alb: Alb) -> None:
    response = await send(
        proxy, alb.assertion({**ROOT, "email": "a&b@elsewhere.example"}), "GET", "/proxy", "Accept: text/html"
    )
    assert response.status == 200
    assert 'a&amp;b@elsewhere.example <span class="role">admin</span>' in response.body.decode()


# --- Other authentication methods


async def test_assertion_is_ignored_unless_a_load_balancer_is_configured(
    start_proxy: StartProxy, fake_upstream: FakeUpstream, alb: Alb
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    for assertion in (alb.assertion(ROOT), "nonsense", "", "\xff"):
        response = await send(proxy, assertion)
        assert response.error == (401, "UNAUTHENTICATED")
        assert proxy.lines[-1]["error"] == "missing-token"
        token = f"Authorization: Bearer {proxy.tokens.viewer}"
        assert (await send(proxy, assertion, "GET", READ, token)).status == 200
        assert proxy.lines[-1]["principal"] == "some-viewer"


async def test_token_takes_precedence_over_an_assertion(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    token = f"Authorization: Bearer {proxy.tokens.viewer}"
    assert (await send(proxy, alb.assertion(ROOT), "POST", DELETE, token)).status == 403
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("some-viewer", "viewer")
    assert (await send(proxy, "nonsense", "GET", READ, token)).status == 200
    invalid = f"Authorization: Bearer mlp_{'a' * 8}_{'b' * 43}"
    assert (await send(proxy, alb.assertion(ROOT), "GET", READ, invalid)).error == (401, "UNAUTHENTICATED")
    assert proxy.lines[-1]["error"] == "invalid-token"
    assert host.requests == []


async def test_bearer_value_that_is_not_a_token_does_not_hide_an_assertion(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion(), "GET", READ, "Authorization: Bearer eyJhbGciOi.J9.x")).status == 200
    assert proxy.lines[-1]["principal"] == "ann@example.org"


@pytest.mark.parametrize("target", [AJAX, SEARCH, READ, "/"])
async def test_missing_assertion_returns_401_in_json(proxy: RunningProxy, target: str) -> None:
    response = await proxy.send(request("POST" if target == SEARCH else "GET", target, "Accept: */*"))
    assert response.error == (401, "UNAUTHENTICATED")
    assert proxy.lines[-1]["error"] == "missing-token"


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_cross_site_write_with_a_session_is_rejected(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream, header: str
) -> None:
    """Browsers send the session cookie with requests of any site's page."""
    response = await send(proxy, alb.assertion(ROOT), "POST", IDEMPOTENT_WRITE, header)
    assert response.error == (403, "PERMISSION_DENIED")
    assert (proxy.lines[-1]["error"], proxy.lines[-1]["principal"]) == ("csrf", "root@elsewhere.example")
    assert fake_upstream.requests == []
    assert (await send(proxy, alb.assertion(ROOT), "POST", IDEMPOTENT_WRITE, "Origin: https://proxy")).status == 200


async def test_principal_without_a_matching_role_rule_gets_403(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assertion = alb.assertion({"sub": "1", "email": "eve@elsewhere.example"})
    response = await send(proxy, assertion)
    assert response.error == (403, "PERMISSION_DENIED")
    assert "no role rule matches you" in response.message
    assert response.header("www-authenticate") is None
    page = await send(proxy, assertion, "GET", "/", "Accept: text/html")
    assert (page.status, page.header("content-type")) == (403, "text/html; charset=utf-8")
    assert "You are signed in as eve@elsewhere.example" in page.body.decode()
    assert proxy.lines[-1]["error"] == "no-role"
    assert "No role rule matches eve@elsewhere.example." in caplog.text
    assert fake_upstream.requests == []


# --- Startup


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
async def test_invalid_load_balancer_arn_prevents_startup(start_sso: StartSso, arn: str) -> None:
    with pytest.raises(
        SettingsError, match=r"MLFLOW_PROXY_ALB_ARN: .* is not the ARN of an Application Load Balancer, such as"
    ):
        await start_sso(alb_arn=arn)


async def test_invalid_role_rule_prevents_startup(start_sso: StartSso) -> None:
    with pytest.raises(SettingsError, match="MLFLOW_PROXY_ROLE_RULES: got 'team=admin', expected group:NAME=ROLE"):
        await start_sso(role_rules="team=admin")


async def test_all_invalid_role_rules_are_reported_on_exit(tmp_path: Path, tokens: Tokens) -> None:
    process = await run(
        tmp_path,
        MLFLOW_PROXY_UPSTREAM_URL="http://127.0.0.1:5000",
        MLFLOW_PROXY_TOKENS_FILE=str(tokens.file),
        MLFLOW_PROXY_ALB_ARN=ARN,
        MLFLOW_PROXY_ALB_ISSUER=ISSUER,
        MLFLOW_PROXY_ALB_CLIENT_ID=CLIENT,
        MLFLOW_PROXY_ROLE_RULES="group:ml-admins=owner\nteam=admin",
    )
    assert (process.code, process.out) == (2, "")
    first, *lines = process.err.splitlines()
    assert first == "The proxy cannot start."
    assert [line.partition(", expected")[0] for line in lines] == [
        "MLFLOW_PROXY_ROLE_RULES: got 'group:ml-admins=owner'",
        "MLFLOW_PROXY_ROLE_RULES: got 'team=admin'",
    ]
