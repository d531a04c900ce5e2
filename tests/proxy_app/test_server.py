"""The proxy process: its output, startup errors and graceful shutdown; and no leaks of tasks, sockets or objects."""

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from local.fake_sagemaker.tls import Authority
from proxy_app.settings import Settings
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection, response_with_length
from tests.doubles.proxy_process import ProxyProcess, run
from tests.doubles.raw_client import RawClient, request
from tests.doubles.running_proxy import (
    ARN,
    ARTIFACT,
    IDEMPOTENT_WRITE,
    NON_IDEMPOTENT_WRITE,
    READ,
    SEARCH,
    Tokens,
    wait_until,
)

from .conftest import StartProxy, StartUpstream
from .test_access_log import parse_line, send_canaries

StartProcess = Callable[..., Awaitable[ProxyProcess]]


@pytest_asyncio.fixture
async def start_process(tmp_path: Path, tokens: Tokens) -> AsyncGenerator[StartProcess]:
    """`await start_process(fake_upstream.origin, MLFLOW_PROXY_...="...")`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(upstream: str, **settings: str) -> ProxyProcess:
            environ = {"MLFLOW_PROXY_UPSTREAM_URL": upstream, "MLFLOW_PROXY_DRAIN_SECONDS": "0.4", **settings}
            return await stack.enter_async_context(ProxyProcess.serving(tmp_path, tokens, **environ))

        yield start


async def refuses_connections(proxy: ProxyProcess) -> bool:
    try:
        async with proxy.connect():
            return False
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # The listener closed while the connection waited to be accepted.
        return False


# --- Serving


async def test_process_logs_json_lines_without_secrets(
    start_upstream: StartUpstream, start_process: StartProcess, tokens: Tokens
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))
    proxy = await start_process(fake_upstream.origin)
    async with proxy.connect() as client:
        await send_canaries(client, tokens.editor, "canary")
    async with RawClient.connected(proxy.metrics_address) as prometheus:
        metrics = (await prometheus.round_trip(request("GET", "/metrics"))).body.decode()
    assert (await proxy.send(request("GET", "/metrics", token=tokens.admin))).status == 404
    proxy.signal()
    assert await proxy.ended() == 0
    await wait_until(lambda: proxy.lines[-1]["event"] == "stop")
    output = "".join([*proxy.out, *proxy.err, metrics])
    assert "canary" not in output
    assert tokens.editor.split("_", 2)[2] not in output
    assert proxy.err == []
    assert len(proxy.requests) == 24
    for line in proxy.out:
        if '"event": "request"' in line:
            parse_line(line)
    assert [line["event"] for line in proxy.lines if line["event"] != "request"] == ["tokens", "start", "stop", "stop"]


async def test_process_signs_with_the_credentials_of_its_environment(
    start_upstream: StartUpstream, start_process: StartProcess, tokens: Tokens, authority: Authority
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK), tls=authority.server_context())
    proxy = await start_process(
        "",
        MLFLOW_PROXY_TARGET_ARN=ARN,
        MLFLOW_PROXY_TARGET_ENDPOINT=fake_upstream.origin,
        AWS_CA_BUNDLE=str(authority.ca_file),
        AWS_ACCESS_KEY_ID="AKIDENVIRON",
        AWS_SECRET_ACCESS_KEY="environ-secret",
    )
    assert (await proxy.send(request("GET", READ, token=tokens.viewer))).status == 200
    assert "Credential=AKIDENVIRON/" in (fake_upstream.requests[0].header("authorization") or "")
    assert (await proxy.send(request("GET", "/readyz"))).status == 200
    assert "environ-secret" not in "".join(proxy.out)


async def test_healthcheck_command_exits_0_while_the_proxy_runs_and_1_afterwards(
    start_upstream: StartUpstream, start_process: StartProcess, tmp_path: Path
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_process(fake_upstream.origin)
    environ = {"MLFLOW_PROXY_UPSTREAM_URL": fake_upstream.origin, "MLFLOW_PROXY_AUTH": "off"}
    healthy = await run(tmp_path, "healthcheck", MLFLOW_PROXY_LISTEN=str(proxy.address), **environ)
    proxy.signal()
    await proxy.ended()
    unhealthy = await run(tmp_path, "healthcheck", MLFLOW_PROXY_LISTEN=str(proxy.address), **environ)
    assert (healthy.code, healthy.err, unhealthy.code) == (0, "", 1)
    assert "no response" in unhealthy.err


# --- Shutdown


async def test_sigterm_drains_then_rejects_connections_and_finishes_running_requests(
    start_upstream: StartUpstream, start_process: StartProcess, tokens: Tokens
) -> None:
    continue_response = asyncio.Event()

    async def respond(connection: UpstreamConnection) -> None:
        while True:
            received = await connection.read_request()
            if "slow" in received.line:
                await continue_response.wait()
            await connection.send(response_with_length(b"x" * 300_000))

    fake_upstream = await start_upstream(respond)
    proxy = await start_process(fake_upstream.origin)
    async with proxy.connect() as busy, proxy.connect() as idle:
        assert (await idle.round_trip(request("GET", READ, token=tokens.viewer))).status == 200
        await busy.send(request("GET", f"{READ}&slow", token=tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 2)
        proxy.signal()
        # Not ready at once, but requests are answered until a load balancer stops sending them.
        started = time.monotonic()
        while (response := await proxy.send(request("GET", "/readyz"))).status == 200:
            assert time.monotonic() - started < 0.3
        assert (response.status, response.json()["reason"]) == (503, "shutting-down")
        late = await proxy.send(request("GET", READ, token=tokens.viewer))
        assert (late.status, late.header("connection")) == (200, "close")
        # After that no connections are accepted, while running requests continue.
        await wait_until(lambda: refuses_connections(proxy))
        async with asyncio.timeout(5):
            assert await idle.closed() == b""
        assert proxy.running
        continue_response.set()
        response = await busy.read_response()
        assert (response.status, response.body) == (200, b"x" * 300_000)
        async with asyncio.timeout(5):
            assert await busy.closed() == b""
    assert await proxy.ended(3) == 0
    assert [line["status"] for line in proxy.requests] == [200, 200, 200]


async def test_running_upload_finishes_after_sigterm(
    start_upstream: StartUpstream, start_process: StartProcess, tokens: Tokens
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_process(fake_upstream.origin, MLFLOW_PROXY_DRAIN_SECONDS="0.1")
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, "Content-Length: 1000", token=tokens.editor) + b"x" * 500)
        await wait_until(lambda: fake_upstream.moved == 500)
        proxy.signal()
        await wait_until(lambda: refuses_connections(proxy))
        await client.send(b"x" * 500)
        assert (await client.read_response()).status == 200
    assert fake_upstream.moved == 1000
    assert await proxy.ended(3) == 0


async def test_running_download_of_a_slow_client_finishes_after_sigterm(
    start_upstream: StartUpstream, start_process: StartProcess, tokens: Tokens
) -> None:
    body = b"x" * (8 << 20)
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(body)))
    proxy = await start_process(fake_upstream.origin, MLFLOW_PROXY_DRAIN_SECONDS="0.1")
    async with proxy.connect(buffer=65536) as client:
        await client.send(request("GET", ARTIFACT, token=tokens.viewer))
        await client.head()
        received = len(await client.reader.readexactly(1 << 20))
        proxy.signal()
        await asyncio.sleep(0.5)
        assert proxy.running
        received += len(await client.reader.readexactly(len(body) - received))
        async with asyncio.timeout(5):
            assert await client.closed() == b""
    assert await proxy.ended(3) == 0
    assert proxy.requests[0]["bytes_out"] == len(body)


async def test_running_requests_are_aborted_after_the_grace_period(
    start_upstream: StartUpstream, start_process: StartProcess, tokens: Tokens
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_process(
        fake_upstream.origin, MLFLOW_PROXY_DRAIN_SECONDS="0.2", MLFLOW_PROXY_GRACE_SECONDS="0.8"
    )
    async with proxy.connect() as client:
        await client.send(request("POST", SEARCH, body=b"{}", token=tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        started = time.monotonic()
        proxy.signal()
        async with asyncio.timeout(5):
            assert await client.closed() == b""
        assert await proxy.ended(5) == 0
    assert 0.7 < time.monotonic() - started < 2.5
    await wait_until(lambda: fake_upstream.open == 0)
    assert (proxy.requests[0]["status"], proxy.requests[0]["error"]) == (499, "shutdown"), "not client-closed-request"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_each_further_signal_skips_a_wait(
    start_upstream: StartUpstream, start_process: StartProcess, tokens: Tokens, number: int
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_process(fake_upstream.origin, MLFLOW_PROXY_DRAIN_SECONDS="30", MLFLOW_PROXY_GRACE_SECONDS="60")
    async with proxy.connect() as client:
        await client.send(request("POST", SEARCH, body=b"{}", token=tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        proxy.signal(number)
        await wait_until(lambda: proxy.lines[-1]["event"] == "stop")
        assert not await refuses_connections(proxy)
        proxy.signal(number)
        await wait_until(lambda: refuses_connections(proxy))
        assert proxy.running
        proxy.signal(number)
        assert await proxy.ended(3) == 0


# --- Startup errors


async def test_startup_error_is_one_message_without_a_traceback(
    tmp_path: Path, tokens: Tokens, start_upstream: StartUpstream
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "no.pem").write_text("no certificate")
    valid = {"MLFLOW_PROXY_UPSTREAM_URL": fake_upstream.origin, "MLFLOW_PROXY_TOKENS_FILE": str(tokens.file)}
    signed = {"MLFLOW_PROXY_UPSTREAM_URL": "", "MLFLOW_PROXY_TARGET_ARN": ARN}
    with socket.create_server(("127.0.0.1", 0)) as used, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port, other = used.getsockname()[1], free.getsockname()[1]
        free.close()
        faults: dict[str, tuple[dict[str, str], str]] = {
            "port in use": (
                {"MLFLOW_PROXY_LISTEN": f"127.0.0.1:{port}"},
                f"MLFLOW_PROXY_LISTEN: cannot listen on 127.0.0.1:{port}",
            ),
            "the same port twice": (
                {"MLFLOW_PROXY_LISTEN": f"127.0.0.1:{other}", "MLFLOW_PROXY_METRICS_LISTEN": f"127.0.0.1:{other}"},
                f"127.0.0.1:{other}",
            ),
            "invalid ARN": (
                {**signed, "MLFLOW_PROXY_TARGET_ARN": "arn:aws:s3:::bucket"},
                "mlflow-tracking-server/<name>",
            ),
            "no tokens file": ({"MLFLOW_PROXY_TOKENS_FILE": "nowhere.json"}, "nowhere.json does not exist"),
            "invalid tokens file": ({"MLFLOW_PROXY_TOKENS_FILE": str(tmp_path / "broken.json")}, "it is not JSON"),
            "unknown setting": (
                {"MLFLOW_PROXY_LISTNE": "x"},
                "MLFLOW_PROXY_LISTNE is not a setting; did you mean MLFLOW_PROXY_LISTEN?",
            ),
            "CA bundle without certificates": ({**signed, "AWS_CA_BUNDLE": str(tmp_path / "no.pem")}, "AWS_CA_BUNDLE"),
        }
        results = await asyncio.gather(*(run(tmp_path, **valid | environ) for environ, _ in faults.values()))
    for (name, (_, expected)), result in zip(faults.items(), results, strict=True):
        assert result.code == 2, (name, result)
        assert expected in result.err, (name, result.err)
        assert result.err.startswith("The proxy cannot start.\n"), (name, result.err)
        assert "Traceback" not in result.err + result.out, (name, result)
        assert result.err.count("\n") == 2, (name, result.err)


async def test_help_lists_every_setting_with_its_default(tmp_path: Path) -> None:
    result = await run(tmp_path, "--help")
    assert (result.code, result.err) == (0, "")
    text = " ".join(result.out.split())
    for name, default, description in Settings.table():
        assert f"{name} {description}{f' [{default}]' if default else ''}" in text
    for word in ("token", "healthcheck", "MLFLOW_PROXY_UPSTREAM_URL=http://127.0.0.1:5000"):
        assert word in text
    assert max(len(line) for line in result.out.splitlines()) <= 100


# --- Leaks


@pytest.mark.parametrize("signed", [False, True])
async def test_requests_of_every_kind_leak_no_tasks_sockets_or_objects(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    async def behave(connection: UpstreamConnection) -> None:
        while True:
            received = await connection.read_request()
            if "truncated" in received.line:
                await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\npart")
                return
            if "closed" in received.line:
                return
            if "stalled" in received.line:
                await connection.gone()
            await connection.send(response_with_length(b"x" * 100_000))

    fake_upstream = await start_upstream(behave)
    proxy = await start_proxy(
        fake_upstream.origin, signed=signed, upstream_timeout=0.3, max_requests=30, body_limit=100_000
    )
    viewer, editor, admin = proxy.tokens.viewer, proxy.tokens.editor, proxy.tokens.admin
    kinds = [
        request("GET", READ, token=viewer),
        request("GET", READ),
        request("POST", SEARCH, body=b"x" * 50_000, token=viewer),
        request("POST", SEARCH, "Expect: 100-continue", body=b"x" * 200_000, token=viewer),
        request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=editor) + b"3\r\nabc\r\n0\r\n\r\n",
        request("POST", IDEMPOTENT_WRITE, body=b"{}", token=viewer),
        request("POST", f"{NON_IDEMPOTENT_WRITE}?closed", body=b"{}", token=editor),
        request("GET", f"{READ}&closed", token=viewer),
        request("GET", f"{READ}&truncated", token=viewer),
        request("GET", f"{READ}&stalled", token=viewer),
        request("HEAD", READ, token=viewer),
        request("DELETE", ARTIFACT, token=admin),
        request("GET", "/no/such", token=viewer),
        b"not HTTP\r\n\r\n",
        # Clients that disconnect: in a head, in a body, before the response.
        b"GET / HTTP/1.1\r\nHo",
        request("POST", SEARCH, "Content-Length: 90000", token=viewer) + b"x",
        request("GET", f"{READ}&stalled", token=viewer),
    ]

    async def send(number: int) -> None:
        kind = number % len(kinds)
        async with proxy.connect() as client:
            await client.send(kinds[kind])
            if kind < len(kinds) - 3:
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    while (await client.head())[0] < 200:
                        pass

    async def send_all(requests: int) -> None:
        slots = asyncio.Semaphore(40)

        async def send_in_slot(number: int) -> None:
            async with slots:
                await send(number)

        await asyncio.gather(*(send_in_slot(number) for number in range(requests)))
        await wait_until(lambda: proxy.in_flight == 0)
        await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)

    process = psutil.Process()
    await send_all(len(kinds) * 2)
    await wait_until(lambda: fake_upstream.open <= 40)
    await send_all(500)
    assert proxy.budget_free == proxy.settings.body_budget
    # What remains are the fake upstream's idle connections, one task each, and the proxy's background tasks.
    await wait_until(lambda: len(asyncio.all_tasks()) <= fake_upstream.open + 8)
    sockets = [end for end in process.net_connections("tcp") if end.raddr]
    assert sum(end.raddr.port == fake_upstream.port for end in sockets) == fake_upstream.open <= 40
    assert not [end for end in sockets if proxy.address.port in {end.laddr.port, end.raddr.port}]
    # The number of objects does not grow with the number of requests.
    gc.collect()
    before = len(gc.get_objects())
    await send_all(len(kinds) * 8)
    proxy.written.clear()
    gc.collect()
    assert len(gc.get_objects()) - before < 2000
