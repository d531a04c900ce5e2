"""What reaches the upstream of a request, and the client of a response: headers, path and query, redirects."""

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARN, IDEMPOTENT_WRITE, NON_IDEMPOTENT_WRITE, READ, RunningProxy, signing_keys

from .conftest import StartProxy, StartUpstream


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))


BLOCKED_HEADERS = {
    "Authorization": "",
    "Cookie": "session=canary",
    "X-Amz-Date": "canary",
    "x-amz-security-token": "canary",
    "X-Amz-Content-Sha256": "canary",
    "X-AMZ-Anything": "canary",
    "x_amz_date": "canary",
    "X-MLflow-Guardrail-Bypass": "canary",
    "x-mlflow-sm-tracking-server-arn": "canary",
    "X-Mlflow-Sm-Tracking-Server-Arn": "canary",
    "X-SM-MLFLOW-APP-ARN": "canary",
    "x-amzn-oidc-data": "canary",
    "X-Amzn-Oidc-Identity": "canary",
    "X-Amzn-Trace-Id": "canary",
    "X-Goog-Iap-Jwt-Assertion": "canary",
    "X-Goog-Authenticated-User-Email": "canary",
    "X-Forwarded-For": "canary",
    "X-Forwarded-Host": "canary",
    "X-Forwarded-Proto": "canary",
    "Forwarded": "for=canary",
    "X-Real-Ip": "canary",
    "X-Request-Id": "canary-canary",
    "Proxy-Authorization": "canary",
    "Proxy-Connection": "keep-alive",
    "Connection": "keep-alive, x-named",
    "X-Named": "canary",
    "Keep-Alive": "timeout=5",
    "TE": "trailers",
    "Trailer": "X-Canary",
    "Upgrade": "h2c",
    "Expect": "100-continue",
    "Origin": "http://proxy",
    "Referer": "http://proxy/canary",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Ch-Ua": "canary",
}
FORWARDED_HEADERS = [
    ("user-agent", "mlflow-python-client/3.17.2"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate, br"),
    ("content-type", "application/json; charset=utf-8"),
    ("if-none-match", '"1"'),
    ("range", "bytes=0-1"),
    ("x-mlflow-experiment-id", "1"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("x-twice", "one"),
    ("x-twice", "two"),
    ("x-latin", "caf\xe9"),
]


async def forwarded_headers(
    proxy: RunningProxy, fake_upstream: FakeUpstream, target: str = IDEMPOTENT_WRITE
) -> list[tuple[str, str]]:
    """Send a request with all of these headers; returns the headers that reach the upstream."""
    headers = [f"{name}: {value}" for name, value in BLOCKED_HEADERS.items() if value]
    headers += [f"{name}: {value}" for name, value in FORWARDED_HEADERS]
    data = request("POST", target, *headers, body=b"{}", token=proxy.tokens.editor)
    assert (await proxy.send(data)).status == 200
    assert b"canary" not in fake_upstream.heads[-1]
    assert proxy.tokens.editor.encode() not in fake_upstream.heads[-1]
    return fake_upstream.requests[-1].headers


async def test_plain_upstream_receives_the_forwarded_headers_only(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    expected = [
        ("host", f"localhost:{fake_upstream.port}"),
        *FORWARDED_HEADERS,
        ("x-forwarded-for", "unknown"),
        ("content-length", "2"),
    ]
    assert await forwarded_headers(proxy, fake_upstream) == expected


async def test_sagemaker_receives_the_forwarded_headers_and_the_signature_only(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    headers = await forwarded_headers(proxy, fake_upstream)
    names = [name for name, _ in headers]
    assert sorted(header for header in headers if header in FORWARDED_HEADERS) == sorted(FORWARDED_HEADERS)
    assert sorted(set(names) - {name for name, _ in FORWARDED_HEADERS}) == [
        "authorization",
        "content-length",
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-mlflow-sm-tracking-server-arn",
    ]
    assert len(names) == len(FORWARDED_HEADERS) + 7
    values = dict(headers)
    assert values["x-mlflow-sm-tracking-server-arn"] == ARN
    assert values["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert values["x-amz-security-token"] == signing_keys().credentials.token


async def test_path_and_query_reach_a_plain_upstream_unchanged(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    target = "/get-artifact?path=a+b%20c/%2F'(x)&&empty=&path=again"
    response = await proxy.send(request("GET", target, token=proxy.tokens.viewer))
    assert (response.status, fake_upstream.requests[0].line) == (200, f"GET {target} HTTP/1.1")


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize("slashes", ["//", "///"])
async def test_leading_slashes_are_forwarded_as_one(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, slashes: str, signed: bool
) -> None:
    """Some clients append /api to a tracking URI that ends with a slash."""
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    target = READ.replace("/", slashes, 1)
    response = await proxy.send(request("GET", target, token=proxy.tokens.viewer))
    assert (response.status, fake_upstream.requests[0].line) == (200, f"GET {READ} HTTP/1.1")
    assert proxy.lines[-1]["route"] == READ.partition("?")[0]
    # The role of the route is required, as without the additional slash.
    write = NON_IDEMPOTENT_WRITE.replace("/", slashes, 1)
    assert (await proxy.send(request("POST", write, token=proxy.tokens.viewer, body=b"{}"))).status == 403


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
async def test_response_headers_about_the_upstream_are_not_forwarded(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nServer: upstream\r\nAlt-Svc: h3\r\n"
        b"Strict-Transport-Security: max-age=1\r\nWWW-Authenticate: Basic\r\nX-Request-Id: upstream-id\r\n"
        b"Keep-Alive: timeout=5\r\nConnection: keep-alive, x-named\r\nX-Named: 1\r\nX-Other: 1\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
    )
    fake_upstream = await start_upstream(fake_upstreams.respond_with(head))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert sorted({name for name, _ in response.headers}) == [
        "content-length",
        "content-type",
        "date",
        "server",
        "x-other",
        "x-request-id",
    ]
    assert response.header("server") == "mlflow-proxy"
    assert response.header("x-request-id") != "upstream-id"


async def test_redirect_to_the_upstream_becomes_a_path_and_is_not_followed(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    location = [""]

    def redirect(_: fake_upstreams.ReceivedRequest) -> bytes:
        return fake_upstreams.response_with_length(b"", b"Location: " + location[0].encode(), status=b"302 Found")

    fake_upstream = await start_upstream(fake_upstreams.respond_by(redirect))
    proxy = await start_proxy(fake_upstream.origin)
    for location[0], expected in (
        (f"{fake_upstream.origin}/get-artifact?path=x", "/get-artifact?path=x"),
        ("/get-artifact", "/get-artifact"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"{fake_upstream.origin}.evil.example/x", f"{fake_upstream.origin}.evil.example/x"),
    ):
        response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
        assert (response.status, response.header("location")) == (302, expected)
    # The proxy does not follow redirects.
    assert len(fake_upstream.requests) == 4


async def test_content_type_that_is_not_ascii_is_not_signed(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    header = "Content-Type: text/plain; name=\xff"
    data = request("POST", IDEMPOTENT_WRITE, header, body=b"{}", token=proxy.tokens.editor)
    assert (await proxy.send(data)).error == (400, "INVALID_PARAMETER_VALUE")
    assert proxy.lines[-1]["error"] == "invalid-header"
    assert fake_upstream.requests == []
