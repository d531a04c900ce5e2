"""The public keys of the load balancer's region: when the proxy fetches them, and from which URL."""

import asyncio
import time

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


# --- Fetching


async def test_concurrent_requests_fetch_a_key_once(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    responses = await asyncio.gather(*[send(proxy, alb.assertion()) for _ in range(50)])
    assert {response.status for response in responses} == {200}
    assert host.requests == [alb.key_id]


async def test_new_key_is_fetched_when_it_first_signs(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    earlier = alb.assertion()
    for _ in range(3):
        assert (await send(proxy, alb.assertion())).status == 200
        alb.rotate()
    assert (await send(proxy, alb.assertion())).status == 200
    assert (await send(proxy, earlier)).status == 200, "earlier keys remain valid"
    assert host.requests == list(alb.keys)


async def test_forged_key_ids_cause_a_limited_number_of_fetches(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    started = time.monotonic()
    assert (await send(proxy, alb.assertion())).status == 200
    for _ in range(30):
        await assert_rejected(proxy, alb.assertion(header={"kid": "0-0"}), "its kid is unknown")
    assert host.requests == [alb.key_id, "0-0"]
    responses = await asyncio.gather(
        *[send(proxy, alb.assertion(header={"kid": f"1-{number}"})) for number in range(100)]
    )
    assert {response.status for response in responses} == {401, 503}
    # A burst of ten, and one fetch for every five seconds.
    assert len(host.requests) <= 10 + (time.monotonic() - started) / 5
    assert (await send(proxy, alb.assertion())).status == 200


async def test_unavailable_keys_return_503_and_tokens_still_work(
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
    readiness = await proxy.send(request("GET", "/readyz"))
    assert (readiness.status, readiness.json()) == (200, {"status": "ready"})
    host.fault = None
    assert (await send(proxy, alb.assertion())).status == 200


async def test_pending_fetch_does_not_block_other_requests(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    host.open.clear()
    pending = asyncio.create_task(send(proxy, alb.assertion()))
    await wait_until(lambda: bool(host.requests))
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    assert not pending.done()
    host.open.set()
    assert (await pending).status == 200


# --- URL


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
def test_keys_url_is_the_documented_one_of_the_region(arn: str, url: str) -> None:
    assert alb_keys_url(arn) == url
    assert alb_keys_url(arn, "https://keys.example.com/alb") == "https://keys.example.com/alb"


def test_partition_without_a_documented_keys_url_requires_the_setting() -> None:
    arn = ARN.replace(":aws:", ":aws-cn:").replace("eu-west-1", "cn-north-1")
    with pytest.raises(
        SettingsError, match="the URL of the public keys in aws-cn is not known; set MLFLOW_PROXY_ALB_KEYS_URL"
    ):
        alb_keys_url(arn)
    assert alb_keys_url(arn, "https://keys.example.com") == "https://keys.example.com"
