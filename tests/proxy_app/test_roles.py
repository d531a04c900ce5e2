"""Who is let in, what they may do, and what of theirs never goes further."""

import base64
import re

import pytest

from tests.doubles import toy_upstreams as toys
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARN, ARTIFACT, READ, SEARCH, WRITE_AGAIN, RunningProxy, signing_keys
from tests.doubles.toy_upstreams import Toy

from .conftest import StartProxy, StartToy

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])

DELETE = "/api/2.0/mlflow/runs/delete"
UNKNOWN_TOKEN = "mlp_" + "a" * 8 + "_" + "b" * 43


@pytest.fixture
async def toy(start_toy: StartToy) -> Toy:
    return await start_toy(toys.answering_by(toys.echoing))


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
@pytest.mark.parametrize("target", [READ, WRITE_AGAIN, "/no/such/route"])
async def test_a_stranger_is_asked_who_they_are(
    toy: Toy, start_proxy: StartProxy, header: str | None, says: str, target: str
) -> None:
    proxy = await start_proxy(toy.origin)
    answer = await proxy.ask(request("POST", target, *([header] if header else []), body=b"{}"))
    assert answer.error == (401, "UNAUTHENTICATED")
    assert answer.all("www-authenticate") == ['Basic realm="MLflow", charset="UTF-8"', "Bearer"]
    assert says in answer.message
    assert (toy.connections, proxy.lines[-1]["principal"], proxy.lines[-1]["route"]) == (0, None, None)


async def test_a_person_in_a_browser_is_told_first_what_a_person_does(toy: Toy, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(toy.origin)
    answer = await proxy.ask(request("GET", "/", "Accept: text/html,application/xhtml+xml"))
    assert (answer.status, answer.header("content-type")) == (401, "text/html; charset=utf-8")
    first, second = re.findall(r"<p>(.*?)</p>", answer.body.decode())
    assert "with any user name and your token as the password" in first
    assert "MLFLOW_TRACKING_TOKEN" in second


async def test_a_token_is_taken_as_bearer_and_as_a_password(toy: Toy, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(toy.origin)
    token = proxy.tokens.viewer
    for header in (f"Authorization: Bearer {token}", f"authorization: bearer {token}", basic("any name", token)):
        assert (await proxy.ask(request("GET", READ, header))).status == 200
    assert {(line["principal"], line["role"]) for line in proxy.lines} == {("some-viewer", "viewer")}


# --- What


@pytest.mark.parametrize(
    ("role", "method", "target", "needs"),
    [
        ("viewer", "POST", WRITE_AGAIN, "editor"),
        ("viewer", "PUT", ARTIFACT, "editor"),
        ("viewer", "POST", DELETE, "admin"),
        ("viewer", "POST", "/api/2.0/mlflow/%72uns/delete", "admin"),
        ("editor", "POST", "/ajax-api/2.0/mlflow/runs/delete", "admin"),
        ("editor", "DELETE", "/api/2.0/mlflow/registered-models/delete", "admin"),
    ],
)
async def test_a_weaker_caller_hears_which_role_is_missing(
    toy: Toy, start_proxy: StartProxy, role: str, method: str, target: str, needs: str
) -> None:
    proxy = await start_proxy(toy.origin)
    answer = await proxy.ask(request(method, target, body=b"{}", token=getattr(proxy.tokens, role)))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert f"some-{role} has the role {role}; this request requires {needs}" in answer.message
    assert toy.connections == 0


@pytest.mark.parametrize(
    ("role", "method", "target"),
    [
        ("viewer", "GET", READ),
        ("viewer", "HEAD", READ),
        ("viewer", "POST", SEARCH),
        ("editor", "POST", WRITE_AGAIN),
        ("admin", "POST", DELETE),
    ],
)
async def test_a_role_may_do_its_own(toy: Toy, start_proxy: StartProxy, role: str, method: str, target: str) -> None:
    proxy = await start_proxy(toy.origin)
    assert (await proxy.ask(request(method, target, token=getattr(proxy.tokens, role)))).status == 200


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
    toy: Toy, start_proxy: StartProxy, method: str, target: str, status: int
) -> None:
    proxy = await start_proxy(toy.origin)
    answer = await proxy.ask(request(method, target, token=proxy.tokens.admin))
    codes = {404: "ENDPOINT_NOT_FOUND", 400: "INVALID_PARAMETER_VALUE"}
    assert answer.error == (status, codes[status])
    assert toy.connections == 0


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
    toy: Toy, start_proxy: StartProxy, data: bytes
) -> None:
    proxy = await start_proxy(toy.origin)
    own = f"Authorization: Bearer {proxy.tokens.admin}\r\n".encode()
    async with proxy.caller() as caller:
        answer = await caller.ask(data.replace(b"{t}", WRITE_AGAIN.encode()).replace(b"{a}", own), "POST")
        assert answer.error == (400, "INVALID_PARAMETER_VALUE")
        assert await caller.closed() == b""
    assert toy.connections == 0


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
    ("POST", WRITE_AGAIN),
    ("PUT", ARTIFACT),
    ("DELETE", ARTIFACT),
    ("PATCH", "/api/2.0/mlflow/model-versions/update"),
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(("method", "target"), WRITES)
async def test_another_origins_page_changes_nothing(
    toy: Toy, start_proxy: StartProxy, method: str, target: str, headers: tuple[str, ...]
) -> None:
    proxy = await start_proxy(toy.origin, public_url="https://mlflow.example.com")
    answer = await proxy.ask(request(method, target, *headers, body=b"{}", token=proxy.tokens.admin))
    assert answer.error == (403, "PERMISSION_DENIED")
    assert "origin" in answer.message
    assert toy.connections == 0


@pytest.mark.parametrize("headers", OWN)
async def test_the_proxy_own_origin_and_clients_that_are_no_browsers_may_write(
    toy: Toy, start_proxy: StartProxy, headers: tuple[str, ...]
) -> None:
    proxy = await start_proxy(toy.origin, public_url="https://mlflow.example.com")
    for method, target in WRITES:
        data = request(method, target, *headers, body=b"{}", token=proxy.tokens.admin)
        assert (await proxy.ask(data)).status == 200


async def test_a_link_from_elsewhere_may_read(toy: Toy, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(toy.origin)
    data = request("GET", READ, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site", token=proxy.tokens.viewer)
    assert (await proxy.ask(data)).status == 200


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


async def arrived(proxy: RunningProxy, toy: Toy, target: str = WRITE_AGAIN) -> list[tuple[str, str]]:
    """The headers of a request, as they come to the upstream, for a caller who sends everything there is."""
    headers = [f"{name}: {value}" for name, value in HIDDEN.items() if value]
    headers += [f"{name}: {value}" for name, value in PASSED]
    data = request("POST", target, *headers, body=b"{}", token=proxy.tokens.editor)
    assert (await proxy.ask(data)).status == 200
    assert b"canary" not in toy.heads[-1]
    assert proxy.tokens.editor.encode() not in toy.heads[-1]
    return toy.asked[-1].headers


async def test_a_plain_upstream_sees_what_is_a_callers_to_say(toy: Toy, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(toy.origin)
    expected = [("host", f"localhost:{toy.port}"), *PASSED, ("x-forwarded-for", "unknown"), ("content-length", "2")]
    assert await arrived(proxy, toy) == expected


async def test_sagemaker_sees_what_is_a_callers_to_say_and_the_proxy_own_signature(
    toy: Toy, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(toy.origin, signed=True)
    headers = await arrived(proxy, toy)
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
    told = dict(headers)
    assert told["x-mlflow-sm-tracking-server-arn"] == ARN
    assert told["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDTOY/")
    assert told["x-amz-security-token"] == signing_keys().credentials.token


async def test_a_plain_upstream_gets_path_and_query_as_they_were(toy: Toy, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(toy.origin)
    target = "/get-artifact?path=a+b%20c/%2F'(x)&&empty=&path=again#"
    answer = await proxy.ask(request("GET", target.rstrip("#"), token=proxy.tokens.viewer))
    assert (answer.status, toy.asked[0].line) == (200, f"GET {target.rstrip('#')} HTTP/1.1")


@both_upstreams
async def test_what_is_about_the_upstream_does_not_come_down(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nServer: upstream\r\nAlt-Svc: h3\r\n"
        b"Strict-Transport-Security: max-age=1\r\nWWW-Authenticate: Basic\r\nX-Request-Id: theirs-theirs\r\n"
        b"Keep-Alive: timeout=5\r\nConnection: keep-alive, x-named\r\nX-Named: 1\r\nX-Kept: 1\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
    )
    toy = await start_toy(toys.answering(head))
    proxy = await start_proxy(toy.origin, signed=signed)
    answer = await proxy.ask(request("GET", READ, token=proxy.tokens.viewer))
    assert sorted({name for name, _ in answer.headers}) == [
        "content-length",
        "content-type",
        "date",
        "server",
        "x-kept",
        "x-request-id",
    ]
    assert (answer.header("server"), answer.header("x-request-id") == "theirs-theirs") == ("mlflow-proxy", False)


async def test_a_redirect_within_the_upstream_stays_within_the_proxy(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    where = [""]

    def redirect(_: toys.Asked) -> bytes:
        return toys.with_length(b"", b"Location: " + where[0].encode(), status=b"302 Found")

    toy = await start_toy(toys.answering_by(redirect))
    proxy = await start_proxy(toy.origin)
    for where[0], seen in (
        (f"{toy.origin}/get-artifact?path=x", "/get-artifact?path=x"),
        ("/get-artifact", "/get-artifact"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"{toy.origin}.evil.example/x", f"{toy.origin}.evil.example/x"),
    ):
        answer = await proxy.ask(request("GET", READ, token=proxy.tokens.viewer))
        assert (answer.status, answer.header("location")) == (302, seen)
    # It is the caller who follows, not the proxy.
    assert len(toy.asked) == 4


async def test_without_authentication_everyone_is_an_admin(toy: Toy, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(toy.origin, auth=False, tokens_file=None)
    data = request("POST", DELETE, body=b"{}").replace(b"Host: proxy", f"Host: {proxy.address}".encode())
    assert (await proxy.ask(data)).status == 200
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("anonymous", "admin")
