"""Who is let in, what they may do, and what of theirs never goes further."""

import base64
import re

import pytest

from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARN, ARTIFACT, IDEMPOTENT_WRITE, READ, SEARCH, RunningProxy, signing_keys

from .conftest import StartProxy, StartUpstream

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])

DELETE = "/api/2.0/mlflow/runs/delete"
UNKNOWN_TOKEN = "mlp_" + "a" * 8 + "_" + "b" * 43


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# --- Who


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (None, "MLFLOW_TRACKING_TOKEN"),
        ("Authorization: Bearer nonsense", "Authorization header"),
        ("Authorization: Digest a=b", "Authorization header"),
        ("Authorization: Basic !!!", "Authorization header"),
        ("Authorization: ", "Authorization header"),
        (f"Authorization: Bearer {UNKNOWN_TOKEN}", "Invalid token"),
        (basic("me", UNKNOWN_TOKEN), "Invalid token"),
    ],
)
@pytest.mark.parametrize("target", [READ, IDEMPOTENT_WRITE, "/no/such/route"])
async def test_a_stranger_is_asked_who_they_are(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, header: str | None, says: str, target: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("POST", target, *([header] if header else []), body=b"{}"))
    assert response.error == (401, "UNAUTHENTICATED")
    assert response.all("www-authenticate") == ['Basic realm="MLflow", charset="UTF-8"', "Bearer"]
    assert says in response.message
    assert (fake_upstream.connections, proxy.lines[-1]["principal"], proxy.lines[-1]["route"]) == (0, None, None)


async def test_a_person_in_a_browser_is_told_first_what_a_person_does(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("GET", "/", "Accept: text/html,application/xhtml+xml"))
    assert (response.status, response.header("content-type")) == (401, "text/html; charset=utf-8")
    first, second = re.findall(r"<p>(.*?)</p>", response.body.decode())
    assert "with any user name and your token as the password" in first
    assert "MLFLOW_TRACKING_TOKEN" in second


async def test_a_token_is_taken_as_bearer_and_as_a_password(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    token = proxy.tokens.viewer
    for header in (f"Authorization: Bearer {token}", f"authorization: bearer {token}", basic("any name", token)):
        assert (await proxy.send(request("GET", READ, header))).status == 200
    assert {(line["principal"], line["role"]) for line in proxy.lines} == {("some-viewer", "viewer")}


# --- What


@pytest.mark.parametrize(
    ("role", "method", "target", "needs"),
    [
        ("viewer", "POST", IDEMPOTENT_WRITE, "editor"),
        ("viewer", "PUT", ARTIFACT, "editor"),
        ("viewer", "POST", DELETE, "admin"),
        ("viewer", "POST", "/api/2.0/mlflow/%72uns/delete", "admin"),
        ("editor", "POST", "/ajax-api/2.0/mlflow/runs/delete", "admin"),
        ("editor", "DELETE", "/api/2.0/mlflow/registered-models/delete", "admin"),
    ],
)
async def test_a_weaker_caller_hears_which_role_is_missing(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, role: str, method: str, target: str, needs: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request(method, target, body=b"{}", token=getattr(proxy.tokens, role)))
    assert response.error == (403, "PERMISSION_DENIED")
    assert f"some-{role} has the role {role}; this request requires {needs}" in response.message
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
async def test_a_role_may_do_its_own(
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
        ("DELETE", READ, 404),
        ("OPTIONS", READ, 404),
        ("CONNECT", READ, 404),
        ("TRACE", READ, 404),
        ("PROPFIND", READ, 404),
        ("BREW", READ, 400),
        ("POST", "/api/2.0/mlflow/runs%2Fdelete", 400),
        ("GET", "/api/2.0/mlflow//runs/get", 400),
        ("GET", "/api/2.0/mlflow/x/../runs/get", 400),
        ("GET", "/api/2.0/mlflow/%2e%2e/runs/get", 400),
        ("GET", "/api/2.0/mlflow/runs/get%00", 400),
        ("GET", "/api/2.0/mlflow/runs/get#part", 400),
        ("GET", "http://elsewhere/api/2.0/mlflow/runs/get", 400),
        ("GET", "*", 400),
    ],
)
async def test_what_is_no_route_is_never_forwarded(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, method: str, target: str, status: int
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request(method, target, token=proxy.tokens.admin))
    codes = {404: "ENDPOINT_NOT_FOUND", 400: "INVALID_PARAMETER_VALUE"}
    assert response.error == (status, codes[status])
    assert fake_upstream.connections == 0


@pytest.mark.parametrize(
    "data",
    [
        # Two readers of these could see two different requests.
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}Content-Length: +2\r\n\r\n{}",
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}Content-Length : 2\r\n\r\n{}",
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}X-A: b\r\n folded: c\r\n\r\n",
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}X-A: b\x00c\r\n\r\n",
        b"POST {t} HTTP/1.1\r\nHost: proxy\r\n{a}X-A: b\rX-B: c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, data: bytes
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    own = f"Authorization: Bearer {proxy.tokens.admin}\r\n".encode()
    async with proxy.connect() as client:
        response = await client.round_trip(data.replace(b"{t}", IDEMPOTENT_WRITE.encode()).replace(b"{a}", own), "POST")
        assert response.error == (400, "INVALID_PARAMETER_VALUE")
        assert await client.closed() == b""
    assert fake_upstream.connections == 0


# --- Pages of other origins


FOREIGN = [
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
OWN = [
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


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(("method", "target"), WRITES)
async def test_another_origins_page_changes_nothing(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, method: str, target: str, headers: tuple[str, ...]
) -> None:
    proxy = await start_proxy(fake_upstream.origin, public_url="https://mlflow.example.com")
    response = await proxy.send(request(method, target, *headers, body=b"{}", token=proxy.tokens.admin))
    assert response.error == (403, "PERMISSION_DENIED")
    assert "origin" in response.message
    assert fake_upstream.connections == 0


@pytest.mark.parametrize("headers", OWN)
async def test_the_proxy_own_origin_and_clients_that_are_no_browsers_may_write(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, headers: tuple[str, ...]
) -> None:
    proxy = await start_proxy(fake_upstream.origin, public_url="https://mlflow.example.com")
    for method, target in WRITES:
        data = request(method, target, *headers, body=b"{}", token=proxy.tokens.admin)
        assert (await proxy.send(data)).status == 200


async def test_a_link_from_elsewhere_may_read(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    data = request("GET", READ, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site", token=proxy.tokens.viewer)
    assert (await proxy.send(data)).status == 200


# --- What stays here

HIDDEN = {
    "Authorization": "",
    "Cookie": "session=canary",
    "X-Amz-Date": "canary",
    "x-amz-security-token": "canary",
    "X-Amz-Content-Sha256": "canary",
    "X-AMZ-Anything": "canary",
    "x_amz_date": "canary",
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
PASSED = [
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


async def arrived(
    proxy: RunningProxy, fake_upstream: FakeUpstream, target: str = IDEMPOTENT_WRITE
) -> list[tuple[str, str]]:
    """The headers of a request, as they come to the upstream, for a caller who sends everything there is."""
    headers = [f"{name}: {value}" for name, value in HIDDEN.items() if value]
    headers += [f"{name}: {value}" for name, value in PASSED]
    data = request("POST", target, *headers, body=b"{}", token=proxy.tokens.editor)
    assert (await proxy.send(data)).status == 200
    assert b"canary" not in fake_upstream.heads[-1]
    assert proxy.tokens.editor.encode() not in fake_upstream.heads[-1]
    return fake_upstream.requests[-1].headers


async def test_a_plain_upstream_sees_what_is_a_callers_to_say(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    expected = [
        ("host", f"localhost:{fake_upstream.port}"),
        *PASSED,
        ("x-forwarded-for", "unknown"),
        ("content-length", "2"),
    ]
    assert await arrived(proxy, fake_upstream) == expected


async def test_sagemaker_sees_what_is_a_callers_to_say_and_the_proxy_own_signature(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    headers = await arrived(proxy, fake_upstream)
    names = [name for name, _ in headers]
    assert sorted(header for header in headers if header in PASSED) == sorted(PASSED)
    assert sorted(set(names) - {name for name, _ in PASSED}) == [
        "authorization",
        "content-length",
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-mlflow-sm-tracking-server-arn",
    ]
    assert len(names) == len(PASSED) + 7
    values = dict(headers)
    assert values["x-mlflow-sm-tracking-server-arn"] == ARN
    assert values["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert values["x-amz-security-token"] == signing_keys().credentials.token


async def test_a_plain_upstream_gets_path_and_query_as_they_were(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    target = "/get-artifact?path=a+b%20c/%2F'(x)&&empty=&path=again#"
    response = await proxy.send(request("GET", target.rstrip("#"), token=proxy.tokens.viewer))
    assert (response.status, fake_upstream.requests[0].line) == (200, f"GET {target.rstrip('#')} HTTP/1.1")


@both_upstreams
async def test_what_is_about_the_upstream_does_not_come_down(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nServer: upstream\r\nAlt-Svc: h3\r\n"
        b"Strict-Transport-Security: max-age=1\r\nWWW-Authenticate: Basic\r\nX-Request-Id: theirs-theirs\r\n"
        b"Keep-Alive: timeout=5\r\nConnection: keep-alive, x-named\r\nX-Named: 1\r\nX-Kept: 1\r\n"
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
        "x-kept",
        "x-request-id",
    ]
    assert (response.header("server"), response.header("x-request-id") == "theirs-theirs") == ("mlflow-proxy", False)


async def test_a_redirect_within_the_upstream_stays_within_the_proxy(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    where = [""]

    def redirect(_: fake_upstreams.ReceivedRequest) -> bytes:
        return fake_upstreams.response_with_length(b"", b"Location: " + where[0].encode(), status=b"302 Found")

    fake_upstream = await start_upstream(fake_upstreams.respond_by(redirect))
    proxy = await start_proxy(fake_upstream.origin)
    for where[0], seen in (
        (f"{fake_upstream.origin}/get-artifact?path=x", "/get-artifact?path=x"),
        ("/get-artifact", "/get-artifact"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"{fake_upstream.origin}.evil.example/x", f"{fake_upstream.origin}.evil.example/x"),
    ):
        response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
        assert (response.status, response.header("location")) == (302, seen)
    # It is the caller who follows, not the proxy.
    assert len(fake_upstream.requests) == 4


async def test_without_authentication_everyone_is_an_admin(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, auth=False, tokens_file=None)
    data = request("POST", DELETE, body=b"{}").replace(b"Host: proxy", f"Host: {proxy.address}".encode())
    assert (await proxy.send(data)).status == 200
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("anonymous", "admin")
