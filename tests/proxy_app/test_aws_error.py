"""Errors of AWS's front reach callers in MLflow's form; MLflow's own, and whatever else it is, as they came."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy_app.credentials import Loaded
from proxy_app.sigv4 import Credentials
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, ReceivedRequest
from tests.doubles.raw_client import RawResponse, request
from tests.doubles.running_proxy import NON_IDEMPOTENT_WRITE, READ, RunningProxy
from tests.proxy_app.conftest import StartProxy, StartUpstream

ASIDE = " (The proxy's AWS role is not authorized; your token is valid.)"
EXPIRED = {"message": "The security token included in the request is expired"}


def error(status: int, content: Any, *headers: str, kind: str = "application/json") -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def read(proxy: RunningProxy, target: str = READ, method: str = "GET") -> RawResponse:
    return await proxy.send(request(method, target, token=proxy.tokens.admin))


@pytest.mark.parametrize(
    ("status", "content", "headers", "error_code", "message"),
    [
        (403, {"message": "User: x is not authorized"}, (), "PERMISSION_DENIED", f"User: x is not authorized{ASIDE}"),
        (403, {"Message": "User: x is not authorized"}, (), "PERMISSION_DENIED", f"User: x is not authorized{ASIDE}"),
        (403, {"__type": "AccessDeniedException"}, (), "PERMISSION_DENIED", f"AccessDeniedException{ASIDE}"),
        (403, {"message": None}, ("x-amzn-ErrorType: Denied",), "PERMISSION_DENIED", f"Denied{ASIDE}"),
        (400, {"message": "Bad ARN"}, ("x-amzn-ErrorType: ValidationException",), "BAD_REQUEST", "Bad ARN"),
        (404, {"message": "No such server"}, (), "ENDPOINT_NOT_FOUND", "No such server"),
        (409, {"message": "It is being updated"}, (), "RESOURCE_CONFLICT", "It is being updated"),
        (418, {"message": "Short and stout"}, (), "BAD_REQUEST", "Short and stout"),
        (429, {"message": "Rate exceeded"}, (), "REQUEST_LIMIT_EXCEEDED", "Rate exceeded"),
        (500, {"message": "Internal failure"}, (), "INTERNAL_ERROR", "Internal failure"),
        (502, {"message": "Bad gateway"}, (), "INTERNAL_ERROR", "Bad gateway"),
        (503, {"message": "Unavailable"}, (), "TEMPORARILY_UNAVAILABLE", "Unavailable"),
        (504, {"message": "Endpoint request timed out"}, (), "DEADLINE_EXCEEDED", "Endpoint request timed out"),
    ],
)
async def test_awss_error_becomes_mlflows(
    status: int,
    content: Any,
    headers: tuple[str, ...],
    error_code: str,
    message: str,
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(status, content, *headers)))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.error == (status, error_code)
    assert response.message == f"SageMaker: {message}"
    assert response.header("retry-after") is None
    assert len(fake_upstream.requests) == 1, "none of these says that other credentials would help"
    assert proxy.lines[-1]["error"] == "aws-error"


@pytest.mark.parametrize("kind", ["application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/json; a=b"])
async def test_awss_kinds_of_json_are_all_read(
    kind: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(403, {"message": "No"}, kind=kind)))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    assert (await read(proxy)).error == (403, "PERMISSION_DENIED")


async def test_throttling_keeps_its_retry_after(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(error(429, {"message": "Rate exceeded"}, "Retry-After: 7"))
    )
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.error == (429, "REQUEST_LIMIT_EXCEEDED")
    assert response.header("retry-after") == "7"


async def test_what_was_signed_is_not_repeated_to_callers(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    def complain(received: ReceivedRequest) -> bytes:
        said = "\n".join(f"{name}:{value}" for name, value in received.headers)
        return error(
            403,
            {
                "message": "The request signature we calculated does not match the signature you provided.\n\n"
                f"The Canonical String for this request should have been\n'GET\n/\n\n{said}'"
            },
        )

    fake_upstream = await start_upstream(fake_upstreams.respond_by(complain))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.error == (403, "PERMISSION_DENIED")
    assert fake_upstream.requests[0].header("x-amz-security-token") == "session-token"
    assert b"session-token" not in response.body
    assert response.message.startswith("SageMaker: The request signature we calculated does not match")


# --- What is not AWS's

OTHER: dict[str, bytes] = {
    "mlflow's": error(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run '1' not found"}),
    "mlflow's, numbered": error(400, {"error_code": "BAD_REQUEST", "message": "m", "request_id": 1}, "X-Other: 1"),
    "html": error(503, b"<html>Service Unavailable</html>", kind="text/html"),
    "text": error(500, b'{"message": "as text"}', kind="text/plain"),
    "a list": error(400, ["message"]),
    "a word": error(400, "message"),
    "broken JSON": error(400, b'{"message": '),
    "no UTF-8": error(400, b'{"message": "\xff"}'),
    "compressed": error(403, gzip.compress(b'{"message": "No"}', mtime=0), "Content-Encoding: gzip"),
    "nothing said": error(403, {}),
    "long": error(400, {"message": "x" * 10_000}),
    "empty": error(403, b""),
    "an answer": error(200, {"message": "all is well"}),
}


@pytest.mark.parametrize("name", OTHER)
async def test_what_is_not_awss_passes_byte_for_byte(
    name: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    head, _, body = OTHER[name].partition(b"\r\n\r\n")
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OTHER[name]))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.status == int(head.split(b" ")[1])
    assert response.body == body
    said = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    assert {key.lower(): value for key, value in said}.items() <= dict(response.headers).items()
    assert "error" not in proxy.lines[-1]


async def test_the_answer_to_a_head_passes_though_it_shows_no_body(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    headless, _, _ = error(403, {"message": "No"}).partition(b"\r\n\r\n")
    fake_upstream = await start_upstream(fake_upstreams.respond_with(headless + b"\r\n\r\n"))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy, method="HEAD")
    assert (response.status, response.header("content-length")) == (403, "17")


async def test_an_error_that_breaks_off_is_a_bad_gateway(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_then_close(error(403, {"message": "No"})[:-3]))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    assert (await read(proxy)).error == (502, "TEMPORARILY_UNAVAILABLE")
    assert proxy.lines[-1]["error"] == "upstream-read-error"


async def test_a_plain_mlflow_has_no_aws_in_front(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(403, EXPIRED)))
    proxy = await start_proxy(fake_upstream.origin)
    response = await read(proxy)
    assert (response.status, response.json()) == (403, EXPIRED)


# --- Credentials that AWS does not take

STALE: dict[str, Callable[[], bytes]] = {
    "a message": lambda: error(403, EXPIRED),
    "a type": lambda: error(403, {"__type": "com.amazon#ExpiredTokenException", "message": "Sorry"}),
    "a header": lambda: error(403, {"message": "Sorry"}, "x-amzn-ErrorType: UnrecognizedClientException:http://x"),
    "with 400": lambda: error(400, {"__type": "ExpiredTokenException", "message": "Sorry"}),
    "with 401": lambda: error(401, {"__type": "InvalidClientTokenId", "message": "Sorry"}),
}


class Changing:
    """A source whose keys are other ones each time."""

    def __init__(self) -> None:
        self.loads = 0

    def __call__(self) -> Loaded:
        self.loads += 1
        return Loaded(Credentials(f"AKID{self.loads}", "secret-key", f"token-{self.loads}"), None)


def old_refused(refusal: bytes) -> fake_upstreams.Behaviour:
    """Takes every key but the first."""
    return fake_upstreams.respond_by(
        lambda received: refusal if received.header("x-amz-security-token") == "token-1" else OK
    )


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials may be asked for again right after they came, which otherwise takes seconds."""
    monkeypatch.setattr("proxy_app.credentials._MIN_FORCED_INTERVAL", 0)


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("said", STALE)
@pytest.mark.parametrize(("method", "target"), [("GET", READ), ("POST", NON_IDEMPOTENT_WRITE)])
async def test_stale_keys_are_renewed_and_any_request_is_sent_again(
    said: str, method: str, target: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(old_refused(STALE[said]()))
    source = Changing()
    proxy = await start_proxy(fake_upstream.origin, signed=True, source=source)
    body = b'{"experiment_id": "0"}' if method == "POST" else None
    response = await proxy.send(request(method, target, body=body, token=proxy.tokens.admin))
    assert (response.status, response.body) == (200, b"{}")
    assert [received.header("x-amz-security-token") for received in fake_upstream.requests] == ["token-1", "token-2"]
    assert [received.body for received in fake_upstream.requests] == [body or b""] * 2
    assert source.loads == 2
    await read(proxy)
    assert len(fake_upstream.requests) == 3, "the new ones stay"


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("said", STALE)
async def test_stale_keys_without_others_are_an_outage_of_the_proxy(
    said: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(STALE[said]()))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.message.startswith("SageMaker rejects the proxy's credentials: ")
    assert int(response.header("retry-after") or 0) > 0
    assert len(fake_upstream.requests) == 1, "the same keys would be refused again"
    assert proxy.lines[-1]["error"] == "aws-credentials-rejected"


@pytest.mark.usefixtures("_at_once")
async def test_new_keys_are_tried_once(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(403, EXPIRED)))
    proxy = await start_proxy(fake_upstream.origin, signed=True, source=Changing())
    assert (await read(proxy)).error == (503, "TEMPORARILY_UNAVAILABLE")
    assert len(fake_upstream.requests) == 2


async def test_a_server_error_that_speaks_of_expired_tokens_is_no_reason_to_renew(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(500, EXPIRED)))
    source = Changing()
    proxy = await start_proxy(fake_upstream.origin, signed=True, source=source)
    assert (await read(proxy)).error == (500, "INTERNAL_ERROR")
    assert (source.loads, len(fake_upstream.requests)) == (1, 1)
