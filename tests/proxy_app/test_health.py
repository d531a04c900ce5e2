"""/healthz: the process runs. /startupz: it has been ready once. /readyz: it could answer a request now."""

import asyncio

import pytest

from proxy_app.credentials import CredentialsError, Loaded
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream, response_with_length
from tests.doubles.raw_client import RawResponse, request
from tests.doubles.running_proxy import RunningProxy, wait_until

from .conftest import StartProxy, StartUpstream


async def readyz(proxy: RunningProxy) -> RawResponse:
    return await proxy.send(request("GET", "/readyz"))


async def not_ready_reason(proxy: RunningProxy) -> str:
    """The error code of a 503 response, which holds nothing else."""
    response = await readyz(proxy)
    content = response.json()
    assert (response.status, content["status"], sorted(content)) == (503, "not ready", ["reason", "status"])
    return content["reason"]


async def unreachable_origin() -> str:
    """An origin at which no server listens."""
    async with FakeUpstream.running(fake_upstreams.close_at_once) as fake_upstream:
        return fake_upstream.origin


async def test_healthz_returns_200_without_an_upstream_and_is_not_logged(start_proxy: StartProxy) -> None:
    proxy = await start_proxy(await unreachable_origin(), max_requests=1)
    response = await proxy.send(request("GET", "/healthz"))
    assert (response.status, response.json()) == (200, {"status": "ok"})
    assert (await proxy.send(request("HEAD", "/healthz"))).status == 200
    # Load balancers send one every few seconds.
    assert proxy.written == []


@pytest.mark.parametrize(
    ("signed", "line"),
    [
        (False, "GET /health HTTP/1.1"),
        (True, "GET /api/2.0/mlflow/experiments/get?experiment_id=0 HTTP/1.1"),
    ],
    ids=["plain", "signed"],
)
async def test_readyz_returns_200_after_one_probe_of_the_upstream(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, line: str
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    response = await readyz(proxy)
    assert (response.status, response.json()) == (200, {"status": "ready"})
    assert [received.line for received in fake_upstream.requests] == [line]
    assert (fake_upstream.requests[0].header("authorization") is not None) == signed
    assert proxy.written == []


async def test_concurrent_readiness_checks_share_one_probe(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    responses = await asyncio.gather(*(readyz(proxy) for _ in range(20)))
    assert [response.status for response in [*responses, await readyz(proxy)]] == [200] * 21
    assert len(fake_upstream.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (
            fake_upstreams.respond_with(response_with_length(b"canary", status=b"500 Internal Server Error")),
            "upstream-error",
        ),
        (
            fake_upstreams.respond_with(response_with_length(b"canary", status=b"503 Service Unavailable")),
            "upstream-error",
        ),
        (fake_upstreams.break_connection(), "upstream-read-error"),
        (fake_upstreams.break_connection(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"), "upstream-read-error"),
        (fake_upstreams.stall(), "upstream-timeout"),
    ],
    ids=["500", "503", "no response", "truncated response", "timeout"],
)
@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
async def test_readyz_returns_503_when_the_upstream_fails(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    behaviour: fake_upstreams.Behaviour,
    reason: str,
    signed: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("proxy_app.handlers.health._PROBE_TIMEOUT", 0.3)
    monkeypatch.setattr("proxy_app.handlers.health._CACHED_SECONDS", 0.0)
    fake_upstream = await start_upstream(behaviour)
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    for _ in range(3):
        assert await not_ready_reason(proxy) == reason
    assert len(fake_upstream.requests) >= 3, "each check probes the upstream"
    # Logged once, not at every probe.
    assert [record.levelname for record in caplog.records if "Not ready" in record.getMessage()] == ["WARNING"]
    assert "canary" not in caplog.text


async def test_readyz_returns_503_when_the_upstream_is_unreachable(start_proxy: StartProxy) -> None:
    proxy = await start_proxy(await unreachable_origin())
    assert await not_ready_reason(proxy) == "upstream-connect-error"


async def test_readyz_returns_200_when_mlflow_responds_with_404(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    error = response_with_length(b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": ""}', status=b"404 Not Found")
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error))
    assert (await readyz(await start_proxy(fake_upstream.origin, signed=True))).status == 200


async def test_readyz_returns_503_when_aws_denies_access(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    error = b'{"message": "User: arn:aws:sts::123456789012:canary is not authorized"}'
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(
            response_with_length(error, b"Content-Type: application/json", status=b"403 Forbidden")
        )
    )
    assert await not_ready_reason(await start_proxy(fake_upstream.origin, signed=True)) == "aws-error"


async def test_proxy_without_aws_credentials_starts_and_is_not_ready(
    start_upstream: StartUpstream, start_proxy: StartProxy, caplog: pytest.LogCaptureFixture
) -> None:
    def no_credentials() -> Loaded:
        raise CredentialsError("No AWS credentials: canary")

    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True, source=no_credentials)
    assert await not_ready_reason(proxy) == "aws-credentials-unavailable"
    assert "No AWS credentials" in caplog.text
    assert fake_upstream.connections == 0
    assert (await proxy.send(request("GET", "/healthz"))).status == 200


async def test_readyz_returns_200_again_after_the_upstream_recovers(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("proxy_app.handlers.health._CACHED_SECONDS", 0.05)
    caplog.set_level("INFO", "proxy_app.handlers.health")
    statuses = [b"500 Internal Server Error", b"200 OK"]
    fake_upstream = await start_upstream(
        fake_upstreams.respond_by(lambda _: response_with_length(b"", status=statuses[0]))
    )
    proxy = await start_proxy(fake_upstream.origin)
    assert await not_ready_reason(proxy) == "upstream-error"
    del statuses[0]

    async def is_ready() -> bool:
        return (await readyz(proxy)).status == 200

    await wait_until(is_ready)
    assert [record.getMessage() for record in caplog.records] == [
        "Not ready: MLflow responds with status 500.",
        "Ready",
    ]


async def test_readyz_returns_503_as_soon_as_draining_starts(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    assert (await readyz(proxy)).status == 200
    proxy.server.drain()
    assert await not_ready_reason(proxy) == "shutting-down"
    assert (await proxy.send(request("GET", "/healthz"))).status == 200
    # Requests are still answered, and each response closes its connection.
    async with proxy.connect() as client:
        response = await client.round_trip(request("GET", "/version", token=proxy.tokens.viewer))
        assert (response.status, response.header("connection")) == (200, "close")
        async with asyncio.timeout(5):
            assert await client.closed() == b""
    await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


# --- Start-up


async def startupz(proxy: RunningProxy) -> tuple[int, dict[str, str]]:
    response = await proxy.send(request("GET", "/startupz"))
    return response.status, response.json()


async def test_proxy_stays_started_when_the_upstream_fails_later(
    start_upstream: StartUpstream, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_app.handlers.health._CACHED_SECONDS", 0.0)
    statuses = [b"200 OK", b"500 Internal Server Error"]
    fake_upstream = await start_upstream(
        fake_upstreams.respond_by(lambda _: response_with_length(b"", status=statuses[0]))
    )
    proxy = await start_proxy(fake_upstream.origin)
    assert proxy.metric("mlflow_proxy_ready") == 0
    assert await startupz(proxy) == (200, {"status": "started"})
    assert proxy.metric("mlflow_proxy_ready") == 1
    del statuses[0]
    assert await not_ready_reason(proxy) == "upstream-error"
    assert proxy.metric("mlflow_proxy_ready") == 0
    # Load balancers check every few seconds: the upstream gets no request for it any more.
    sent = len(fake_upstream.requests)
    assert await startupz(proxy) == (200, {"status": "started"})
    assert len(fake_upstream.requests) == sent
    assert proxy.written == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fake_upstreams.respond_with(response_with_length(b"", status=b"500 Internal Server Error")), "upstream-error"),
        (
            fake_upstreams.respond_with(
                response_with_length(b'{"message": "x"}', b"Content-Type: application/json", status=b"403 Forbidden")
            ),
            "aws-error",
        ),
        (fake_upstreams.break_connection(), "upstream-read-error"),
    ],
    ids=["500", "403", "no response"],
)
async def test_proxy_that_was_never_ready_is_not_started(
    start_upstream: StartUpstream, start_proxy: StartProxy, behaviour: fake_upstreams.Behaviour, reason: str
) -> None:
    proxy = await start_proxy((await start_upstream(behaviour)).origin, signed=True)
    for _ in range(2):
        assert await startupz(proxy) == (503, {"status": "not started", "reason": reason})


async def test_proxy_that_started_during_an_outage_is_started_after_it(
    start_upstream: StartUpstream, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_app.handlers.health._CACHED_SECONDS", 0.05)
    statuses = [b"500 Internal Server Error", b"200 OK"]
    fake_upstream = await start_upstream(
        fake_upstreams.respond_by(lambda _: response_with_length(b"", status=statuses[0]))
    )
    proxy = await start_proxy(fake_upstream.origin)
    assert (await startupz(proxy))[0] == 503
    del statuses[0]

    async def has_started() -> bool:
        return (await startupz(proxy))[0] == 200

    await wait_until(has_started)


async def test_startupz_returns_503_as_soon_as_draining_starts(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy((await start_upstream(fake_upstreams.respond_with(OK))).origin)
    assert (await startupz(proxy))[0] == 200
    proxy.server.drain()
    assert await startupz(proxy) == (503, {"status": "not started", "reason": "shutting-down"})


async def test_readiness_is_checked_periodically_and_each_failure_is_logged(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Alarms count these lines, so an outage must not be a single line."""
    monkeypatch.setattr("proxy_app.handlers.health._PROBE_INTERVAL", 0.02)
    caplog.set_level("INFO", "proxy_app.handlers.health")
    statuses = [b"500 Internal Server Error", b"200 OK"]
    fake_upstream = await start_upstream(
        fake_upstreams.respond_by(lambda _: response_with_length(b"", status=statuses[0]))
    )
    proxy = await start_proxy(fake_upstream.origin)

    def events(event: str) -> int:
        return len([record for record in caplog.records if getattr(record, "event", "") == event])

    await wait_until(lambda: events("not-ready") >= 3)
    del statuses[0]
    await wait_until(lambda: proxy.metric("mlflow_proxy_ready") == 1)
    seen, sent = events("not-ready"), len(fake_upstream.requests)
    await wait_until(lambda: len(fake_upstream.requests) >= sent + 3)
    assert (events("ready"), events("not-ready")) == (1, seen)


async def test_periodic_check_continues_after_an_unexpected_error(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("proxy_app.handlers.health._PROBE_INTERVAL", 0.02)
    monkeypatch.setattr("proxy_app.upstream.plain.check_success", fail)
    proxy = await start_proxy((await start_upstream(fake_upstreams.respond_with(OK))).origin)
    await wait_until(lambda: caplog.text.count("The readiness check failed") >= 2)
    monkeypatch.undo()
    await wait_until(lambda: proxy.metric("mlflow_proxy_ready") == 1, within=10)
