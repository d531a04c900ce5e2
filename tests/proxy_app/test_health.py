"""Whether the process runs, and whether it could answer a request now."""

import asyncio

import pytest

from proxy_app.credentials import CredentialsError, Loaded
from tests.doubles import toy_upstreams as toys
from tests.doubles.raw_client import Answer, request
from tests.doubles.running_proxy import RunningProxy, until
from tests.doubles.toy_upstreams import OK, Toy, with_length

from .conftest import StartProxy, StartToy


async def ready(proxy: RunningProxy) -> Answer:
    return await proxy.ask(request("GET", "/readyz"))


async def not_ready(proxy: RunningProxy) -> str:
    """The one word that it says."""
    answer = await ready(proxy)
    content = answer.json()
    assert (answer.status, content["status"], sorted(content)) == (503, "not ready", ["reason", "status"])
    return content["reason"]


async def gone() -> str:
    """An origin where nobody listens."""
    async with Toy.running(toys.closing_at_once) as toy:
        return toy.origin


async def test_a_running_process_is_healthy_whatever_is_behind_it(start_proxy: StartProxy) -> None:
    proxy = await start_proxy(await gone(), max_requests=1)
    answer = await proxy.ask(request("GET", "/healthz"))
    assert (answer.status, answer.json()) == (200, {"status": "ok"})
    assert (await proxy.ask(request("HEAD", "/healthz"))).status == 200
    # Somebody asks every few seconds: that is no request to count.
    assert proxy.written == []


@pytest.mark.parametrize(
    ("signed", "line"),
    [
        (False, "GET /health HTTP/1.1"),
        (True, "GET /api/2.0/mlflow/experiments/get?experiment_id=0 HTTP/1.1"),
    ],
)
async def test_a_proxy_with_an_upstream_that_answers_is_ready(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool, line: str
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=signed)
    answer = await ready(proxy)
    assert (answer.status, answer.json()) == (200, {"status": "ready"})
    assert [asked.line for asked in toy.asked] == [line]
    assert (toy.asked[0].header("authorization") is not None) == signed
    assert proxy.written == []


async def test_the_upstream_is_asked_once_however_many_ask_here(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin)
    answers = await asyncio.gather(*(ready(proxy) for _ in range(20)))
    assert [answer.status for answer in [*answers, await ready(proxy)]] == [200] * 21
    assert len(toy.asked) == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (toys.answering(with_length(b"canary", status=b"500 Internal Server Error")), "upstream-error"),
        (toys.answering(with_length(b"canary", status=b"503 Service Unavailable")), "upstream-error"),
        (toys.breaking_off(), "upstream-read-error"),
        (toys.breaking_off(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"), "upstream-read-error"),
        (toys.silent(), "upstream-timeout"),
    ],
    ids=["500", "503", "no answer", "half an answer", "silence"],
)
@pytest.mark.parametrize("signed", [False, True])
async def test_an_upstream_in_trouble_makes_the_proxy_not_ready(
    start_toy: StartToy,
    start_proxy: StartProxy,
    behaviour: toys.Behaviour,
    reason: str,
    signed: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("proxy_app.handlers.health._PROBE_TIMEOUT", 0.3)
    toy = await start_toy(behaviour)
    proxy = await start_proxy(toy.origin, signed=signed)
    for _ in range(3):
        assert await not_ready(proxy) == reason
    # The sentence stands in the log, once.
    assert [record.levelname for record in caplog.records if "Not ready" in record.getMessage()] == ["WARNING"]
    assert "canary" not in caplog.text


async def test_an_upstream_that_cannot_be_reached_makes_the_proxy_not_ready(start_proxy: StartProxy) -> None:
    proxy = await start_proxy(await gone())
    assert await not_ready(proxy) == "upstream-connect-error"


async def test_an_error_of_mlflows_own_is_an_answer(start_toy: StartToy, start_proxy: StartProxy) -> None:
    error = with_length(b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": ""}', status=b"404 Not Found")
    toy = await start_toy(toys.answering(error))
    assert (await ready(await start_proxy(toy.origin, signed=True))).status == 200


async def test_a_proxy_whose_role_is_refused_is_not_ready(start_toy: StartToy, start_proxy: StartProxy) -> None:
    error = b'{"message": "User: arn:aws:sts::123456789012:canary is not authorized"}'
    toy = await start_toy(
        toys.answering(with_length(error, b"Content-Type: application/json", status=b"403 Forbidden"))
    )
    assert await not_ready(await start_proxy(toy.origin, signed=True)) == "aws-error"


async def test_a_proxy_without_credentials_starts_and_is_not_ready(
    start_toy: StartToy, start_proxy: StartProxy, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> Loaded:
        raise CredentialsError("No AWS credentials: canary")

    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=True, source=none)
    assert await not_ready(proxy) == "aws-credentials-unavailable"
    assert "No AWS credentials" in caplog.text
    assert toy.connections == 0
    assert (await proxy.ask(request("GET", "/healthz"))).status == 200


async def test_the_proxy_is_ready_again_with_its_upstream(
    start_toy: StartToy, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy_app.handlers.health._CACHED_SECONDS", 0.05)
    caplog.set_level("INFO", "proxy_app.handlers.health")
    states = [b"500 ReadError", b"200 OK", b"200 OK"]
    toy = await start_toy(toys.answering_by(lambda _: with_length(b"", status=states[0])))
    proxy = await start_proxy(toy.origin)
    assert await not_ready(proxy) == "upstream-error"
    del states[0]

    async def is_ready() -> bool:
        return (await ready(proxy)).status == 200

    await until(is_ready)
    assert [record.getMessage() for record in caplog.records] == [
        "Not ready: MLflow responds with status 500.",
        "Ready again",
    ]


async def test_a_proxy_that_stops_is_not_ready_at_once(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin)
    assert (await ready(proxy)).status == 200
    proxy.server.drain()
    assert await not_ready(proxy) == "shutting-down"
    assert (await proxy.ask(request("GET", "/healthz"))).status == 200
    # Requests are still taken, and their connections end with them.
    async with proxy.caller() as caller:
        answer = await caller.ask(request("GET", "/version", token=proxy.tokens.viewer))
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await caller.closed() == b""
    await until(lambda: proxy.metric("mlflow_proxy_connections") == 0)
