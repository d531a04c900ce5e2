"""Who has signed in at our load balancer is let in, with the role of the rules, and nothing of it goes further."""

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


# --- Who has signed in


@pytest.mark.parametrize(
    ("claims", "name", "role"),
    [(BOB, "bob@example.org", "viewer"), (ANN, "ann@example.org", "editor"), (ROOT, "root@elsewhere.example", "admin")],
)
async def test_whoever_has_signed_in_is_known_and_has_the_role_of_the_rules(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream, claims: dict[str, Any], name: str, role: str
) -> None:
    needed = {READ: "viewer", IDEMPOTENT_WRITE: "editor", DELETE: "admin"}
    order = [known.label for known in ROLES]
    for target, least in needed.items():
        response = await send(proxy, alb.assertion(claims), "GET" if target == READ else "POST", target)
        assert response.status == (200 if order.index(role) >= order.index(least) else 403), target
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == (name, role)
    assert len(fake_upstream.requests) == order.index(role) + 1


async def test_somebody_without_an_address_is_known_by_their_subject(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion({"sub": "1111-2222", "groups": "ml-admins"}))).status == 200
    assert proxy.lines[-1]["principal"] == "1111-2222"


async def test_the_claim_of_the_groups_is_told_to_the_proxy(start_sso: StartSso, alb: Alb) -> None:
    proxy = await start_sso(alb_groups_claim="custom:teams", role_rules="group:ops=viewer")
    assert (await send(proxy, alb.assertion({**ANN, "custom:teams": "ml ops"}))).status == 200
    assert (await send(proxy, alb.assertion({**ANN, "groups": "ml ops"}))).status == 403


async def test_nothing_of_the_sign_in_goes_further_than_the_proxy(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream
) -> None:
    said = alb.assertion()
    kept = ["X-Amzn-Oidc-Accesstoken: secret-1", "X-Amzn-Oidc-Identity: secret-2", "Cookie: AWSELBAuth-0=secret-3"]
    assert (await send(proxy, said, "GET", READ, *kept)).status == 200
    [received] = fake_upstream.requests
    names = {name for name, _ in received.headers}
    assert not names & {"cookie", "authorization"}
    assert not [name for name in names if name.startswith("x-amzn-")]
    assert b"secret" not in received.head


async def test_what_is_shown_is_never_written_down(
    proxy: RunningProxy, alb: Alb, host: KeyHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [
        alb.assertion(),
        alb.assertion(lifetime=-999),
        alb.assertion(header={"signer": ARN + "0"}),
        alb.assertion(header={"kid": "0-0"}),
        alb.assertion({"sub": "nobody"}),
    ]
    responses = [await send(proxy, said) for said in shown]
    assert [response.status for response in responses] == [200, 401, 401, 401, 403]
    values = "".join(proxy.written) + caplog.text + "".join(response.body.decode() for response in responses[1:])
    for said in shown:
        assert not [part for part in said.split(".") if part[:40] in values]


async def test_headers_as_long_as_a_load_balancer_sends_them_pass(start_sso: StartSso, alb: Alb) -> None:
    """Up to 11 KiB of claims and access token, and cookies in pieces of 4 KiB."""
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


async def test_the_proxy_page_shows_who_has_signed_in(proxy: RunningProxy, alb: Alb) -> None:
    response = await send(
        proxy, alb.assertion({**ROOT, "email": "a&b@elsewhere.example"}), "GET", "/", "Accept: text/html"
    )
    assert response.status == 200
    assert 'a&amp;b@elsewhere.example <span class="role">admin</span>' in response.body.decode()


# --- Beside other ways


async def test_where_nobody_is_told_to_be_believed_the_header_is_never_looked_at(
    start_proxy: StartProxy, fake_upstream: FakeUpstream, alb: Alb
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    for said in (alb.assertion(ROOT), "nonsense", "", "\xff"):
        response = await send(proxy, said)
        assert response.error == (401, "UNAUTHENTICATED")
        assert proxy.lines[-1]["error"] == "missing-token"
        token = f"Authorization: Bearer {proxy.tokens.viewer}"
        assert (await send(proxy, said, "GET", READ, token)).status == 200
        assert proxy.lines[-1]["principal"] == "some-viewer"


async def test_a_token_counts_before_a_sign_in(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    token = f"Authorization: Bearer {proxy.tokens.viewer}"
    assert (await send(proxy, alb.assertion(ROOT), "POST", DELETE, token)).status == 403
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("some-viewer", "viewer")
    assert (await send(proxy, "nonsense", "GET", READ, token)).status == 200
    wrong = f"Authorization: Bearer mlp_{'a' * 8}_{'b' * 43}"
    assert (await send(proxy, alb.assertion(ROOT), "GET", READ, wrong)).error == (401, "UNAUTHENTICATED")
    assert proxy.lines[-1]["error"] == "invalid-token"
    assert host.requests == []


async def test_what_is_no_token_does_not_hide_a_sign_in(proxy: RunningProxy, alb: Alb) -> None:
    assert (await send(proxy, alb.assertion(), "GET", READ, "Authorization: Bearer eyJhbGciOi.J9.x")).status == 200
    assert proxy.lines[-1]["principal"] == "ann@example.org"


@pytest.mark.parametrize("target", [AJAX, SEARCH, READ, "/"])
async def test_without_a_session_the_answer_is_a_401_in_json(proxy: RunningProxy, target: str) -> None:
    response = await proxy.send(request("POST" if target == SEARCH else "GET", target, "Accept: */*"))
    assert response.error == (401, "UNAUTHENTICATED")
    assert proxy.lines[-1]["error"] == "missing-token"


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_a_page_of_another_site_changes_nothing_by_a_session_of_ours(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream, header: str
) -> None:
    """The browser adds the session's cookie to what it sends for any page."""
    response = await send(proxy, alb.assertion(ROOT), "POST", IDEMPOTENT_WRITE, header)
    assert response.error == (403, "PERMISSION_DENIED")
    assert (proxy.lines[-1]["error"], proxy.lines[-1]["principal"]) == ("csrf", "root@elsewhere.example")
    assert fake_upstream.requests == []
    assert (await send(proxy, alb.assertion(ROOT), "POST", IDEMPOTENT_WRITE, "Origin: https://proxy")).status == 200


async def test_whoever_no_rule_fits_is_told_so_by_a_403(
    proxy: RunningProxy, alb: Alb, fake_upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said = alb.assertion({"sub": "1", "email": "eve@elsewhere.example"})
    response = await send(proxy, said)
    assert response.error == (403, "PERMISSION_DENIED")
    assert "no role rule matches you" in response.message
    assert response.header("www-authenticate") is None
    page = await send(proxy, said, "GET", "/", "Accept: text/html")
    assert (page.status, page.header("content-type")) == (403, "text/html; charset=utf-8")
    assert "You are signed in as eve@elsewhere.example" in page.body.decode()
    assert proxy.lines[-1]["error"] == "no-role"
    assert "No role rule matches eve@elsewhere.example." in caplog.text
    assert fake_upstream.requests == []


# --- The start


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
        SettingsError, match=r"MLFLOW_PROXY_ALB_ARN: .* is not the ARN of an Application Load Balancer, such as"
    ):
        await start_sso(alb_arn=arn)


async def test_a_rule_that_is_none_ends_the_start(start_sso: StartSso) -> None:
    with pytest.raises(SettingsError, match="MLFLOW_PROXY_ROLE_RULES: got 'team=admin', expected group:NAME=ROLE"):
        await start_sso(role_rules="team=admin")


async def test_what_is_wrong_with_the_rules_ends_the_process_with_a_sentence(tmp_path: Path, tokens: Tokens) -> None:
    ended = await run(
        tmp_path,
        MLFLOW_PROXY_UPSTREAM_URL="http://127.0.0.1:5000",
        MLFLOW_PROXY_TOKENS_FILE=str(tokens.file),
        MLFLOW_PROXY_ALB_ARN=ARN,
        MLFLOW_PROXY_ALB_ISSUER=ISSUER,
        MLFLOW_PROXY_ALB_CLIENT_ID=CLIENT,
        MLFLOW_PROXY_ROLE_RULES="group:ml-admins=owner\nteam=admin",
    )
    assert (ended.code, ended.out) == (2, "")
    first, *lines = ended.err.splitlines()
    assert first == "The proxy cannot start."
    assert [line.partition(", expected")[0] for line in lines] == [
        "MLFLOW_PROXY_ROLE_RULES: got 'group:ml-admins=owner'",
        "MLFLOW_PROXY_ROLE_RULES: got 'team=admin'",
    ]
