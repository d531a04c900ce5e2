"""The keys of our load balancer's region: fetched once each, never without end, and from where AWS has them."""

import asyncio

import pytest

from proxy_app.auth.alb import alb_keys_url
from proxy_app.setting_table import SettingsError
from tests.doubles.alb import ARN, Alb, KeyHost
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import READ, RunningProxy, until
from tests.doubles.toy_upstreams import Toy, with_length

from . import sign_in

alb, host, toy, start_sso, proxy = sign_in.BEHIND_ALB
ask, refused = sign_in.ALB.ask, sign_in.ALB.refused


# --- When they are fetched


async def test_one_key_is_fetched_once_for_fifty_at_once(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    answers = await asyncio.gather(*[ask(proxy, alb.says()) for _ in range(50)])
    assert {answer.status for answer in answers} == {200}
    assert host.asked == [alb.key_id]


async def test_a_new_key_is_taken_as_soon_as_it_signs(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    before = alb.says()
    for _ in range(3):
        assert (await ask(proxy, alb.says())).status == 200
        alb.rotate()
    assert (await ask(proxy, alb.says())).status == 200
    assert (await ask(proxy, before)).status == 200, "the earlier ones are good until they end"
    assert host.asked == list(alb.keys)


async def test_forged_key_ids_do_not_make_the_proxy_fetch_without_end(
    proxy: RunningProxy, alb: Alb, host: KeyHost
) -> None:
    assert (await ask(proxy, alb.says())).status == 200
    for _ in range(30):
        await refused(proxy, alb.says(header={"kid": "0-0"}), "its kid is unknown")
    assert host.asked == [alb.key_id, "0-0"]
    answers = await asyncio.gather(*[ask(proxy, alb.says(header={"kid": f"1-{number}"})) for number in range(100)])
    assert {answer.status for answer in answers} == {401, 503}
    # Ten, and what the seconds of this test have earned.
    assert len(host.asked) <= 12
    assert (await ask(proxy, alb.says())).status == 200


async def test_without_its_keys_the_proxy_says_so_by_a_503_and_tokens_work(
    proxy: RunningProxy, alb: Alb, host: KeyHost, toy: Toy
) -> None:
    host.fault = with_length(b"", status=b"503 Service Unavailable")
    answer = await ask(proxy, alb.says())
    assert answer.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer.header("retry-after") == "5"
    assert answer.header("www-authenticate") is None
    assert proxy.lines[-1]["error"] == "signing-keys-unavailable"
    assert toy.asked == []
    assert (await proxy.ask(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    toy_health = await proxy.ask(request("GET", "/readyz"))
    assert (toy_health.status, toy_health.json()) == (200, {"status": "ready"})
    host.fault = None
    assert (await ask(proxy, alb.says())).status == 200


async def test_a_fetch_that_hangs_holds_nobody_else_up(proxy: RunningProxy, alb: Alb, host: KeyHost) -> None:
    host.open.clear()
    waiting = asyncio.create_task(ask(proxy, alb.says()))
    await until(lambda: bool(host.asked))
    assert (await proxy.ask(request("GET", READ, token=proxy.tokens.viewer))).status == 200
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
