"""The report of `make conformance`, and the plugin that puts MLflow's servers behind the proxy."""

import http.client
import http.server
import threading
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conformance.__main__ import read_results, report
from conformance.proxy_thread import behind_proxy
from local.fake_sagemaker import Authority

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.tracking.test_a" name="test_x[sqlalchemy]"/>
<testcase classname="tests.tracking.test_a" name="test_y"><failure message="m"/></testcase>
<testcase classname="tests.tracking.test_a" name="test_z"><skipped message="m"/></testcase>
<testcase classname="tests.tracking.test_a" name="test_e"><error message="m"/></testcase>
</testsuite></testsuites>"""


def test_results_are_read_from_pytests_file(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT)
    results = read_results(tmp_path / "junit.xml")
    start = "tests/tracking/test_a.py::test_"
    assert results == {
        f"{start}x[sqlalchemy]": "passed",
        f"{start}y": "failed",
        f"{start}z": "skipped",
        f"{start}e": "error",
    }


def test_report_counts_results_and_lists_differences_with_their_explanations() -> None:
    results = {
        "direct": {"tests/a.py::x": "passed", "tests/a.py::y": "passed", "tests/b.py::z": "failed"},
        "plain": {"tests/a.py::x": "failed", "tests/a.py::y": "passed", "tests/b.py::z": "error"},
        "signed": {"tests/a.py::x": "failed", "tests/b.py::z": "failed"},
    }
    text, unexplained = report(results, {r"::x \(plain\)": "A reason."})
    assert text.splitlines() == [
        "| file | tests | direct | plain | signed |",
        "|---|---|---|---|---|",
        "| a.py | 2 | 2 | 1 | 0 |",
        "| b.py | 1 | 0 | 0 | 0 |",
        "| all | 3 | 2 | 1 | 0 |",
        "",
        "| test | direct | proxy | explanation |",
        "|---|---|---|---|",
        "| `a.py::x` | passed | plain: failed | A reason. |",
        "| `a.py::x` | passed | signed: failed |  |",
        "| `a.py::y` | passed | signed: missing |  |",
    ]
    assert unexplained == [
        "tests/a.py::x (signed): passed, failed",
        "tests/a.py::y (signed): passed, missing",
    ]


class Echo(http.server.BaseHTTPRequestHandler):
    """Responds with the headers that it received."""

    def do_GET(self) -> None:
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@pytest.fixture
def echo() -> Generator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
def test_server_is_behind_the_proxy_until_the_block_ends(echo: str, tmp_path: Path, signed: bool) -> None:
    authority = Authority.create(tmp_path) if signed else None
    with behind_proxy(echo, authority, tmp_path / "access.log") as url:
        address = urlsplit(url).netloc
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"X-Test": "1"})
        response = connection.getresponse()
        assert (response.status, response.headers["Server"]) == (200, "mlflow-proxy")
        assert "x-test: 1" in response.read().decode().lower()
        connection.close()
    assert "/api/2.0/mlflow/experiments/get" in (tmp_path / "access.log").read_text()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(address, timeout=10).connect()
