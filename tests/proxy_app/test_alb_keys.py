"""The keys of our load balancer's region: fetched once each, never without end, and from where AWS has them."""

import asyncio

import pytest

from proxy_app.auth.alb import alb_keys_url
from proxy_app.setting_table import SettingsError
from tests.doubles.alb import ARN, Alb, KeyHost
from tests.doubles.fake_upstreams import FakeUpstream, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import READ, RunningProxy, wait_until

from . import sso_fixtures

alb, host, fake_upstream, start_sso, proxy = sso_fixtures.ALB_FIXTURES
send, assert_rejected = sso_fixtures.ALB.send, sso_fixtures.ALB.assert_rejected


# --- When they are fetched


async def test_one_key_is_fetched_once_for_fifty_at_once(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    responses = await asyncio.gather(*[send(proxy, alb.assertion()) for _ in range(50)])
    assert {response.status for response in responses} == {200}
    assert host.requests == [alb.key_id]


async def test_a_new_key_is_taken_as_soon_as_it_signs(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    before = alb.assertion()
    for _ in range(3):
        assert (await send(proxy, alb.assertion())).status == 200
        alb.rotate()
    assert (await send(proxy, alb.assertion())).status == 200
    assert (await send(proxy, before)).status == 200, "the earlier ones are good until they end"
    assert host.requests == list(alb.keys)


async def test_forged_key_ids_do_not_make_the_proxy_fetch_without_end(
    proxy: RunningProxy, alb: Alb, host: KeyHost
) -> None:
    assert (await send(proxy, alb.assertion())).status == 200
    for _ in range(30):
        await assert_rejected(proxy, alb.assertion(header={"kid": "0-0"}), "its kid is unknown")
    assert host.requests == [alb.key_id, "0-0"]
    responses = await asyncio.gather(
        *[send(proxy, alb.assertion(header={"kid": f"1-{number}"})) for number in range(100)]
    )
    assert {response.status for response in responses} == {401, 503}
    # Ten, and what the seconds of this test have earned.
    assert len(host.requests) <= 12
    assert (await send(proxy, alb.assertion())).status == 200


async def test_without_its_keys_the_proxy_says_so_by_a_503_and_tokens_work(
    proxy: RunningProxy, alb: Alb, host: KeyHost, fake_upstream: FakeUpstream
) -> None:
    host.fault = response_with_length(b"", status=b"503 Service Unavailable")
    response = await send(proxy, alb.assertion())
    assert response.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.header("retry-after") == "5"
    assert response.header("www-authenticate") is None
    assert proxy.lines[-1]["error"] == "signing-keys-unavailable"
    assert fake_upstream.requests == []
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    toy_health = await proxy.send(request("GET", "/readyz"))
    assert (toy_health.status, toy_health.json()) == (200, {"status": "ready"})
    host.fault = None
    assert (await send(proxy, alb.assertion())).status == 200


async def test_a_fetch_that_hangs_holds_nobody_else_up(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    host.open.clear()
    waiting = asyncio.create_task(send(proxy, alb.assertion()))
    await wait_until(lambda: bool(host.requests))
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 200
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
    assert alb_keys_url(arn) == url
    assert alb_keys_url(arn, "https://keys.example.com/alb") == "https://keys.example.com/alb"


def test_where_aws_documents_no_keys_they_have_to_be_told() -> None:
    arn = ARN.replace(":aws:", ":aws-cn:").replace("eu-west-1", "cn-north-1")
    with pytest.raises(
        SettingsError, match="the URL of the public keys in aws-cn is not known; set MLFLOW_PROXY_ALB_KEYS_URL"
    ):
        alb_keys_url(arn)
    assert alb_keys_url(arn, "https://keys.example.com") == "https://keys.example.com"
