"""Who has signed in at our load balancer is let in, with the role of the rules, and nothing of it goes further."""

import logging
from pathlib import Path
from typing import Any

import pytest

from proxy_app.auth import ROLES
from proxy_app.setting_table import SettingsError
from tests.doubles.alb import ANN, ARN, CLIENT, ISSUER, Alb, KeyHost
from tests.doubles.proxy_process import run
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import READ, SEARCH, WRITE_AGAIN, RunningProxy, Tokens
from tests.doubles.toy_upstreams import Toy

from . import sign_in
from .conftest import StartProxy
from .sign_in import ALB_BOB as BOB
from .sign_in import ALB_ROOT as ROOT
from .sign_in import DELETE, Start

AJAX = "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"
alb, host, toy, start_sso, proxy = sign_in.BEHIND_ALB
ask = sign_in.ALB.ask


# --- Who has signed in


@pytest.mark.parametrize(
    ("claims", "name", "role"),
    [(BOB, "bob@example.org", "viewer"), (ANN, "ann@example.org", "editor"), (ROOT, "root@elsewhere.example", "admin")],
)
async def test_whoever_has_signed_in_is_known_and_has_the_role_of_the_rules(
    proxy: RunningProxy, alb: Alb, toy: Toy, claims: dict[str, Any], name: str, role: str
) -> None:
    needed = {READ: "viewer", WRITE_AGAIN: "editor", DELETE: "admin"}
    order = [known.label for known in ROLES]
    for target, least in needed.items():
        answer = await ask(proxy, alb.says(claims), "GET" if target == READ else "POST", target)
        assert answer.status == (200 if order.index(role) >= order.index(least) else 403), target
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == (name, role)
    assert len(toy.asked) == order.index(role) + 1


async def test_somebody_without_an_address_is_known_by_their_subject(proxy: RunningProxy, alb: Alb) -> None:
    assert (await ask(proxy, alb.says({"sub": "1111-2222", "groups": "ml-admins"}))).status == 200
    assert proxy.lines[-1]["principal"] == "1111-2222"


async def test_the_claim_of_the_groups_is_told_to_the_proxy(start_sso: Start, alb: Alb) -> None:
    proxy = await start_sso(alb_groups_claim="custom:teams", role_rules="group:ops=viewer")
    assert (await ask(proxy, alb.says({**ANN, "custom:teams": "ml ops"}))).status == 200
    assert (await ask(proxy, alb.says({**ANN, "groups": "ml ops"}))).status == 403


async def test_nothing_of_the_sign_in_goes_further_than_the_proxy(proxy: RunningProxy, alb: Alb, toy: Toy) -> None:
    said = alb.says()
    kept = ["X-Amzn-Oidc-Accesstoken: secret-1", "X-Amzn-Oidc-Identity: secret-2", "Cookie: AWSELBAuth-0=secret-3"]
    assert (await ask(proxy, said, "GET", READ, *kept)).status == 200
    [asked] = toy.asked
    names = {name for name, _ in asked.headers}
    assert not names & {"cookie", "authorization"}
    assert not [name for name in names if name.startswith("x-amzn-")]
    assert b"secret" not in asked.head


async def test_what_is_shown_is_never_written_down(
    proxy: RunningProxy, alb: Alb, host: KeyHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [
        alb.says(),
        alb.says(lifetime=-999),
        alb.says(header={"signer": ARN + "0"}),
        alb.says(header={"kid": "0-0"}),
        alb.says({"sub": "nobody"}),
    ]
    answers = [await ask(proxy, said) for said in shown]
    assert [answer.status for answer in answers] == [200, 401, 401, 401, 403]
    told = "".join(proxy.written) + caplog.text + "".join(answer.body.decode() for answer in answers[1:])
    for said in shown:
        assert not [part for part in said.split(".") if part[:40] in told]


async def test_headers_as_long_as_a_load_balancer_sends_them_pass(start_sso: Start, alb: Alb) -> None:
    """Up to 11 KiB of claims and access token, and cookies in pieces of 4 KiB."""
    proxy = await start_sso()
    groups = [f"team-{number:05}" for number in range(850)]
    long = alb.says({**ANN, "groups": [*groups, "ml-admins"]})
    assert 15_000 < len(long) < 17_000
    others = ["X-Amzn-Oidc-Accesstoken: " + "a" * 11_000]
    others += [f"Cookie: AWSELBAuthSessionCookie-{number}={'c' * 4000}" for number in range(4)]
    assert (await ask(proxy, long, "GET", READ, *others)).status == 200
    assert proxy.lines[-1]["role"] == "admin"
    longest = alb.says({**ANN, "filler": "x" * 48_000})
    assert 64_000 < len(longest) < 65_000
    assert (await ask(proxy, longest)).status == 200
    answer = await ask(proxy, alb.says({**ANN, "filler": "x" * 52_000}))
    assert answer.error == (400, "INVALID_PARAMETER_VALUE")
    assert "MLFLOW_PROXY_HEADER_LIMIT_BYTES" in answer.message


async def test_the_proxy_page_shows_who_has_signed_in(proxy: RunningProxy, alb: Alb) -> None:
    answer = await ask(proxy, alb.says({**ROOT, "email": "a&b@elsewhere.example"}), "GET", "/", "Accept: text/html")
    assert answer.status == 200
    assert 'a&amp;b@elsewhere.example <span class="role">admin</span>' in answer.body.decode()


# --- Beside other ways


async def test_where_nobody_is_told_to_be_believed_the_header_is_never_looked_at(
    start_proxy: StartProxy, toy: Toy, alb: Alb
) -> None:
    proxy = await start_proxy(toy.origin)
    for said in (alb.says(ROOT), "nonsense", "", "\xff"):
        answer = await ask(proxy, said)
        assert answer.error == (401, "UNAUTHENTICATED")
        assert proxy.lines[-1]["error"] == "missing-token"
        token = f"Authorization: Bearer {proxy.tokens.viewer}"
        assert (await ask(proxy, said, "GET", READ, token)).status == 200
        assert proxy.lines[-1]["principal"] == "some-viewer"


async def test_a_token_counts_before_a_sign_in(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    token = f"Authorization: Bearer {proxy.tokens.viewer}"
    assert (await ask(proxy, alb.says(ROOT), "POST", DELETE, token)).status == 403
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("some-viewer", "viewer")
    assert (await ask(proxy, "nonsense", "GET", READ, token)).status == 200
    wrong = f"Authorization: Bearer mlp_{'a' * 8}_{'b' * 43}"
    assert (await ask(proxy, alb.says(ROOT), "GET", READ, wrong)).error == (401, "UNAUTHENTICATED")
    assert proxy.lines[-1]["error"] == "invalid-token"
    assert host.asked == []


async def test_what_is_no_token_does_not_hide_a_sign_in(proxy: RunningProxy, alb: Alb) -> None:
    assert (await ask(proxy, alb.says(), "GET", READ, "Authorization: Bearer eyJhbGciOi.J9.x")).status == 200
    assert proxy.lines[-1]["principal"] == "ann@example.org"


@pytest.mark.parametrize("target", [AJAX, SEARCH, READ, "/"])
async def test_without_a_session_the_answer_is_a_401_in_json(proxy: RunningProxy, target: str) -> None:
    answer = await proxy.ask(request("POST" if target == SEARCH else "GET", target, "Accept: */*"))
    assert answer.error == (401, "UNAUTHENTICATED")
    assert proxy.lines[-1]["error"] == "missing-token"


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_a_page_of_another_site_changes_nothing_by_a_session_of_ours(
    proxy: RunningProxy, alb: Alb, toy: Toy, header: str
) -> None:
    """The browser adds the session's cookie to what it sends for any page."""
    answer = await ask(proxy, alb.says(ROOT), "POST", WRITE_AGAIN, header)
    assert answer.error == (403, "PERMISSION_DENIED")
    assert (proxy.lines[-1]["error"], proxy.lines[-1]["principal"]) == ("csrf", "root@elsewhere.example")
    assert toy.asked == []
    assert (await ask(proxy, alb.says(ROOT), "POST", WRITE_AGAIN, "Origin: https://proxy")).status == 200


async def test_whoever_no_rule_fits_is_told_so_by_a_403(
    proxy: RunningProxy, alb: Alb, toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said = alb.says({"sub": "1", "email": "eve@elsewhere.example"})
    answer = await ask(proxy, said)
    assert answer.error == (403, "PERMISSION_DENIED")
    assert "no role rule matches you" in answer.message
    assert answer.header("www-authenticate") is None
    page = await ask(proxy, said, "GET", "/", "Accept: text/html")
    assert (page.status, page.header("content-type")) == (403, "text/html; charset=utf-8")
    assert "You are signed in as eve@elsewhere.example" in page.body.decode()
    assert proxy.lines[-1]["error"] == "no-role"
    assert "No role rule matches eve@elsewhere.example." in caplog.text
    assert toy.asked == []


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
async def test_what_is_no_load_balancer_ends_the_start(start_sso: Start, arn: str) -> None:
    with pytest.raises(
        SettingsError, match=r"MLFLOW_PROXY_ALB_ARN: .* is not the ARN of an Application Load Balancer, such as"
    ):
        await start_sso(alb_arn=arn)


async def test_a_rule_that_is_none_ends_the_start(start_sso: Start) -> None:
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
