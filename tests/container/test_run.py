"""The proxy's container: confined, health-checked, stopped."""

import http.server
import json
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from tests.container.engine import Container, Engine
from tests.container.proxy import create_token, environment, status

READ = "/api/2.0/mlflow/experiments/get?experiment_id=0"
SLOW_READ = "/api/2.0/mlflow/experiments/get?experiment_id=slow"


class Upstream(http.server.ThreadingHTTPServer):
    """A fake upstream. A request to SLOW_READ sets ``arrived``, and gets its response when ``go_on`` is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), UpstreamHandler)
        self.arrived, self.go_on = threading.Event(), threading.Event()


class UpstreamHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == SLOW_READ:
            upstream = cast("Upstream", self.server)
            upstream.arrived.set()
            upstream.go_on.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


@pytest.fixture(scope="module")
def upstream() -> Generator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def tokens(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a tokens file that the image created, and the token of a viewer."""
    return create_token(engine, image, tmp_path_factory.mktemp("tokens"), "viewer")


@pytest.fixture
def flags(tokens: tuple[Path, str], upstream: Upstream, port: int) -> list[str]:
    settings = {
        "MLFLOW_PROXY_LISTEN": f"127.0.0.1:{port}",
        "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0",
        "MLFLOW_PROXY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.server_port}",
        "MLFLOW_PROXY_TOKENS_FILE": "/tokens/tokens.json",
        "MLFLOW_PROXY_DRAIN_SECONDS": "0.5",
        "MLFLOW_PROXY_GRACE_SECONDS": "10",
    }
    return ["--volume", f"{tokens[0]}:/tokens:ro", *environment(settings)]


@pytest.fixture
def proxy(engine: Engine, image: str, flags: list[str], port: int) -> Generator[Container]:
    with engine.container(image, "--health-interval", "1s", "--health-retries", "1", *flags) as container:
        container.wait_until(lambda _: status(port, "/readyz") == 200)
        yield container


def health(container: Container) -> str:
    return container.state["Health"]["Status"]


def test_valid_token_gets_200_and_missing_token_401(proxy: Container, port: int, tokens: tuple[Path, str]) -> None:
    assert status(port, READ, tokens[1]) == 200
    assert status(port, READ) == 401

    def logged_statuses(container: Container) -> list[int]:
        lines = [json.loads(line) for line in container.log.splitlines()]
        return [line["status"] for line in lines if line["event"] == "request"]

    # The proxy buffers its access log for a moment.
    proxy.wait_until(lambda container: len(logged_statuses(container)) == 2)
    assert logged_statuses(proxy) == [200, 401]
    assert tokens[1] not in proxy.log


def test_container_runs_without_root_and_capabilities(proxy: Container) -> None:
    text = proxy.engine.run("exec", proxy.name, "python", "-c", "print(open('/proc/1/status').read())")
    of_first_process = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert of_first_process["Uid"].split() == ["10001"] * 4
    assert of_first_process["Gid"].split() == ["10001"] * 4
    assert {int(of_first_process[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert of_first_process["NoNewPrivs"] == "1"


def test_container_writes_no_files(
    engine: Engine, image: str, flags: list[str], port: int, tokens: tuple[Path, str]
) -> None:
    with engine.container(image, "--read-only=false", *flags) as container:
        container.wait_until(lambda _: status(port, READ, tokens[1]) == 200)
        # The engine creates the mount point.
        assert engine.run("diff", container.name).splitlines() == ["A /tokens"]


def test_health_check_detects_a_hanging_proxy(proxy: Container) -> None:
    proxy.wait_until(lambda container: health(container) == "healthy")
    proxy.signal("STOP")
    proxy.wait_until(lambda container: health(container) == "unhealthy")
    proxy.signal("CONT")
    proxy.wait_until(lambda container: health(container) == "healthy")


def test_sigterm_exits_with_0_after_requests_in_flight(
    proxy: Container, port: int, tokens: tuple[Path, str], upstream: Upstream
) -> None:
    upstream.arrived.clear()
    upstream.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        try:
            response = pool.submit(status, port, SLOW_READ, tokens[1])
            assert upstream.arrived.wait(10)
            proxy.signal("TERM")
            proxy.wait_until(lambda _: status(port, "/healthz") == 0)
            assert not response.done()
        finally:
            upstream.go_on.set()
        assert response.result() == 200
    assert proxy.exit_code() == 0


def test_invalid_settings_exit_with_2_and_a_message(engine: Engine, image: str) -> None:
    with engine.container(image, "--env", "MLFLOW_PROXY_LISTEN=127.0.0.1:0") as container:
        assert container.exit_code() == 2
        assert "Set one of MLFLOW_PROXY_TARGET_ARN" in container.log
