"""Authentication by token, the roles that routes require, malformed and cross-site requests; no authentication."""

import asyncio
import base64
import re

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, IDEMPOTENT_WRITE, READ, SEARCH

from .conftest import StartProxy, StartUpstream

DELETE = "/api/2.0/mlflow/runs/delete"
UNKNOWN_TOKEN = "mlp_" + "a" * 8 + "_" + "b" * 43


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# --- Authentication


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "MLFLOW_TRACKING_TOKEN"),
        ("Authorization: Bearer not-a-token", "Authorization header"),
        ("Authorization: Digest a=b", "Authorization header"),
        ("Authorization: Basic !!!", "Authorization header"),
        ("Authorization: ", "Authorization header"),
        (f"Authorization: Bearer {UNKNOWN_TOKEN}", "Invalid token"),
        (basic("me", UNKNOWN_TOKEN), "Invalid token"),
    ],
)
@pytest.mark.parametrize("target", [READ, IDEMPOTENT_WRITE, "/no/such/route"])
async def test_missing_or_invalid_token_returns_401(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, header: str | None, expected: str, target: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("POST", target, *([header] if header else []), body=b"{}"))
    assert response.error == (401, "UNAUTHENTICATED")
    assert response.all("www-authenticate") == ['Basic realm="MLflow", charset="UTF-8"', "Bearer"]
    assert expected in response.message
    assert (fake_upstream.connections, proxy.lines[-1]["principal"], proxy.lines[-1]["route"]) == (0, None, None)


async def test_401_of_the_java_client_names_what_works_there(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("GET", READ, "User-Agent: mlflow-java-client/2.17.2"))
    assert response.error == (401, "UNAUTHENTICATED")
    assert "new MlflowClient(new BasicMlflowHostCreds(trackingUri, token))" in response.message
    assert proxy.lines[-1]["error"] == "missing-token"


async def test_401_page_explains_the_browser_login_before_the_client_setup(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("GET", "/", "Accept: text/html,application/xhtml+xml"))
    assert (response.status, response.header("content-type")) == (401, "text/html; charset=utf-8")
    first, second = re.findall(r"<p>(.*?)</p>", response.body.decode())
    assert "with any user name and your token as the password" in first
    assert "MLFLOW_TRACKING_TOKEN" in second


async def test_token_is_accepted_as_bearer_and_as_basic_password(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    token = proxy.tokens.viewer
    for header in (f"Authorization: Bearer {token}", f"authorization: bearer {token}", basic("any name", token)):
        assert (await proxy.send(request("GET", READ, header))).status == 200
    assert {(line["principal"], line["role"]) for line in proxy.lines} == {("some-viewer", "viewer")}


# --- Authorization


@pytest.mark.parametrize(
    ("role", "method", "target", "required"),
    [
        ("viewer", "POST", IDEMPOTENT_WRITE, "editor"),
        ("viewer", "PUT", ARTIFACT, "editor"),
        ("viewer", "POST", DELETE, "admin"),
        ("viewer", "POST", "/api/2.0/mlflow/%72uns/delete", "admin"),
        ("editor", "POST", "/ajax-api/2.0/mlflow/runs/delete", "admin"),
        ("editor", "DELETE", "/api/2.0/mlflow/registered-models/delete", "admin"),
    ],
)
async def test_insufficient_role_returns_403_with_the_required_role(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, role: str, method: str, target: str, required: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request(method, target, body=b"{}", token=getattr(proxy.tokens, role)))
    assert response.error == (403, "PERMISSION_DENIED")
    assert response.message.startswith(
        f"Not permitted: some-{role} has the role {role}; this request requires {required}. Ask the administrator"
    )
    assert fake_upstream.connections == 0


@pytest.mark.parametrize(
    ("role", "method", "target"),
    [
        ("viewer", "GET", READ),
        ("viewer", "HEAD", READ),
        ("viewer", "POST", SEARCH),
        ("editor", "POST", IDEMPOTENT_WRITE),
        ("admin", "POST", DELETE),
    ],
)
async def test_sufficient_role_returns_200(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, role: str, method: str, target: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    assert (await proxy.send(request(method, target, token=getattr(proxy.tokens, role)))).status == 200


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/api/2.0/mlflow/users/get", 404),
        ("GET", "/metrics", 404),
        ("GET", "/readyz/", 404),
        ("DELETE", READ, 405),
        ("OPTIONS", READ, 405),
        ("CONNECT", READ, 405),
        ("TRACE", READ, 405),
        ("PROPFIND", READ, 405),
        ("POST", "/api/2.0/mlflow/logged-models/m-1", 405),
        ("POST", "/healthz", 405),
        ("BREW", READ, 400),
        ("POST", "/api/2.0/mlflow/runs%2Fdelete", 400),
        # Ambiguous for the methods of other routes only.
        ("GET", "/api/2.0/mlflow/runs%2Fdelete", 400),
        ("POST", "/api/2.0/mlflow/logged-models/a%5Cb", 400),
        ("GET", "/api/2.0/mlflow//runs/get", 400),
        ("GET", "/api/2.0/mlflow/x/../runs/get", 400),
        ("GET", "/api/2.0/mlflow/%2e%2e/runs/get", 400),
        ("GET", "/api/2.0/mlflow/runs/get%00", 400),
        ("GET", "/api/2.0/mlflow/runs/get#part", 400),
        ("GET", "http://elsewhere/api/2.0/mlflow/runs/get", 400),
        ("GET", "*", 400),
    ],
)
async def test_request_that_matches_no_route_is_not_forwarded(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, method: str, target: str, status: int
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request(method, target, token=proxy.tokens.admin))
    codes = {405: "ENDPOINT_NOT_FOUND", 404: "ENDPOINT_NOT_FOUND", 400: "INVALID_PARAMETER_VALUE"}
    assert response.error == (status, codes[status])
    assert fake_upstream.connections == 0


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("DELETE", READ, "GET, HEAD"),
        ("PUT", SEARCH, "POST"),
        ("POST", "/api/2.0/mlflow/logged-models/m-1", "DELETE, GET, HEAD, PATCH"),
        ("PUT", "//api/2.0/mlflow/experiments/search", "GET, HEAD, POST"),
    ],
)
async def test_wrong_method_is_rejected_with_the_methods_of_the_path(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, method: str, target: str, allowed: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request(method, target, token=proxy.tokens.viewer))
    assert response.error == (405, "ENDPOINT_NOT_FOUND")
    assert response.header("allow") == allowed
    assert response.message == f"This path does not accept {method}; it accepts {allowed}."
    assert proxy.lines[-1]["error"] == "wrong-method"
    # Without authentication, nothing tells which routes exist.
    assert (await proxy.send(request(method, target))).status == 401


@pytest.mark.parametrize(
    "data",
    [
        # Servers parse these in different ways.
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}Content-Length: +2\r\n\r\n{}",
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}Content-Length : 2\r\n\r\n{}",
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}X-A: b\r\n folded: c\r\n\r\n",
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}X-A: b\x00c\r\n\r\n",
        b"POST {uri} HTTP/1.1\r\nHost: proxy\r\n{auth}X-A: b\rX-B: c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_malformed_request_returns_400_and_closes_the_connection(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, data: bytes
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    authorization = f"Authorization: Bearer {proxy.tokens.admin}\r\n".encode()
    async with proxy.connect() as client:
        response = await client.round_trip(
            data.replace(b"{uri}", IDEMPOTENT_WRITE.encode()).replace(b"{auth}", authorization), "POST"
        )
        assert response.error == (400, "INVALID_PARAMETER_VALUE")
        async with asyncio.timeout(5):
            assert await client.closed() == b""
    assert fake_upstream.connections == 0


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0", "HTTP/1.0"])
async def test_other_version_is_answered_as_http_1_0_and_closes_the_connection(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, version: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    for data in (request("GET", READ, token=proxy.tokens.viewer), request("GET", READ), request("GET", "/healthz")):
        async with proxy.connect() as client:
            await client.send(data.replace(b"HTTP/1.1", version.encode()))
            async with asyncio.timeout(5):
                received = await client.closed()
        assert received.startswith((b"HTTP/1.0 200", b"HTTP/1.0 401", b"HTTP/1.0 400"))


async def test_malformed_rest_of_an_unread_body_is_not_logged(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A client can send it without authentication."""
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked"))
        assert (await client.read_response("POST")).status == 401
        await client.send(b"not a chunk\r\n\r\n")
        async with asyncio.timeout(5):
            await client.closed()
    assert [record.getMessage() for record in caplog.records] == []


# --- Cross-site requests


CROSS_SITE = [
    ("Origin: https://evil.example",),
    ("Origin: null",),
    ("Origin: ",),
    ("Origin: http://[",),
    ("Origin: https://proxy.evil.example",),
    ("Origin: http://proxy:81",),
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site",),
    ("Origin: http://proxy", "Sec-Fetch-Site: cross-site"),
    ("Origin: https://evil.example", "Sec-Fetch-Site: same-origin"),
]
SAME_ORIGIN_OR_NOT_A_BROWSER = [
    (),
    ("Origin: http://proxy",),
    ("Origin: http://proxy", "Sec-Fetch-Site: same-origin"),
    ("Sec-Fetch-Site: none",),
    ("Origin: https://mlflow.example.com", "Sec-Fetch-Site: same-origin"),
]
WRITES = [
    ("POST", IDEMPOTENT_WRITE),
    ("PUT", ARTIFACT),
    ("DELETE", ARTIFACT),
    ("PATCH", "/api/2.0/mlflow/model-versions/update"),
]


@pytest.mark.parametrize("headers", CROSS_SITE)
@pytest.mark.parametrize(("method", "target"), WRITES)
async def test_cross_site_write_returns_403(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, method: str, target: str, headers: tuple[str, ...]
) -> None:
    proxy = await start_proxy(fake_upstream.origin, public_url="https://mlflow.example.com")
    response = await proxy.send(request(method, target, *headers, body=b"{}", token=proxy.tokens.admin))
    assert response.error == (403, "PERMISSION_DENIED")
    assert "origin" in response.message
    assert fake_upstream.connections == 0


@pytest.mark.parametrize("headers", SAME_ORIGIN_OR_NOT_A_BROWSER)
async def test_write_of_the_same_origin_or_of_an_api_client_returns_200(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, headers: tuple[str, ...]
) -> None:
    proxy = await start_proxy(fake_upstream.origin, public_url="https://mlflow.example.com")
    for method, target in WRITES:
        data = request(method, target, *headers, body=b"{}", token=proxy.tokens.admin)
        assert (await proxy.send(data)).status == 200


OPENS_A_PAGE = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
ASSISTANT_STREAM = "/ajax-api/3.0/mlflow/assistant/sessions/s-1/stream"


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (READ, ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), 403),
        (READ, OPENS_A_PAGE, 200),
        # Reading it removes the pending messages.
        (ASSISTANT_STREAM, OPENS_A_PAGE, 403),
        (ASSISTANT_STREAM, (), 200),
    ],
)
async def test_cross_site_read_is_allowed_only_to_open_a_page_without_an_effect(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, target: str, headers: tuple[str, ...], status: int
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("GET", target, *headers, token=proxy.tokens.admin))
    assert response.status == status
    assert fake_upstream.connections == (status == 200)


# --- No authentication


async def test_without_authentication_every_request_has_the_role_admin(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, auth=False, tokens_file=None)
    data = request("POST", DELETE, body=b"{}").replace(b"Host: proxy", f"Host: {proxy.address}".encode())
    assert (await proxy.send(data)).status == 200
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("anonymous", "admin")
