"""AWS's errors reach clients in MLflow's form; MLflow's own errors and all other responses are forwarded unchanged."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy_app.credentials import Loaded
from proxy_app.sigv4 import Credentials
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, ReceivedRequest
from tests.doubles.raw_client import RawResponse, request
from tests.doubles.running_proxy import NON_IDEMPOTENT_WRITE, READ, RunningProxy
from tests.proxy_app.conftest import StartProxy, StartUpstream

ROLE_HINT = " (The proxy's AWS role is not authorized; your token is valid.)"
EXPIRED = {"message": "The security token included in the request is expired"}


def error(status: int, content: Any, *headers: str, content_type: str = "application/json") -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def read(proxy: RunningProxy, target: str = READ, method: str = "GET") -> RawResponse:
    return await proxy.send(request(method, target, token=proxy.tokens.admin))


@pytest.mark.parametrize(
    ("status", "content", "headers", "error_code", "message"),
    [
        (
            403,
            {"message": "User: x is not authorized"},
            (),
            "PERMISSION_DENIED",
            f"User: x is not authorized{ROLE_HINT}",
        ),
        (
            403,
            {"Message": "User: x is not authorized"},
            (),
            "PERMISSION_DENIED",
            f"User: x is not authorized{ROLE_HINT}",
        ),
        (403, {"__type": "AccessDeniedException"}, (), "PERMISSION_DENIED", f"AccessDeniedException{ROLE_HINT}"),
        (403, {"message": None}, ("x-amzn-ErrorType: Denied",), "PERMISSION_DENIED", f"Denied{ROLE_HINT}"),
        (400, {"message": "Bad ARN"}, ("x-amzn-ErrorType: ValidationException",), "BAD_REQUEST", "Bad ARN"),
        (404, {"message": "No such server"}, (), "ENDPOINT_NOT_FOUND", "No such server"),
        (409, {"message": "It is being updated"}, (), "RESOURCE_CONFLICT", "It is being updated"),
        (418, {"message": "Short and stout"}, (), "BAD_REQUEST", "Short and stout"),
        (500, {"message": "Internal failure"}, (), "INTERNAL_ERROR", "Internal failure"),
        (502, {"message": "Bad gateway"}, (), "INTERNAL_ERROR", "Bad gateway"),
        (503, {"message": "Unavailable"}, (), "TEMPORARILY_UNAVAILABLE", "Unavailable"),
        (504, {"message": "Endpoint request timed out"}, (), "DEADLINE_EXCEEDED", "Endpoint request timed out"),
    ],
)
async def test_aws_error_is_translated_into_mlflows_form(
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
    assert len(fake_upstream.requests) == 1, "an error other than stale credentials is not retried"
    assert proxy.lines[-1]["error"] == "aws-error"


@pytest.mark.parametrize(
    "content_type", ["application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/json; a=b"]
)
async def test_aws_error_of_any_json_type_is_translated(
    content_type: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(error(403, {"message": "No"}, content_type=content_type))
    )
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    assert (await read(proxy)).error == (403, "PERMISSION_DENIED")


async def test_retry_after_of_throttling_is_forwarded(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(error(429, {"message": "Rate exceeded"}, "Retry-After: 7"))
    )
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.error == (429, "REQUEST_LIMIT_EXCEEDED")
    assert response.header("retry-after") == "7"


async def test_session_token_in_a_signature_error_is_not_forwarded(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    def signature_error(received: ReceivedRequest) -> bytes:
        headers = "\n".join(f"{name}:{value}" for name, value in received.headers)
        return error(
            403,
            {
                "message": "The request signature we calculated does not match the signature you provided.\n\n"
                f"The Canonical String for this request should have been\n'GET\n/\n\n{headers}'"
            },
        )

    fake_upstream = await start_upstream(fake_upstreams.respond_by(signature_error))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.error == (403, "PERMISSION_DENIED")
    assert fake_upstream.requests[0].header("x-amz-security-token") == "session-token"
    assert b"session-token" not in response.body
    assert response.message.startswith("SageMaker: The request signature we calculated does not match")


# --- Responses that are not AWS's errors

OTHER_RESPONSES: dict[str, bytes] = {
    "MLflow's error": error(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run '1' not found"}),
    "MLflow's error with more fields": error(
        400, {"error_code": "BAD_REQUEST", "message": "m", "request_id": 1}, "X-Other: 1"
    ),
    "HTML": error(503, b"<html>Service Unavailable</html>", content_type="text/html"),
    "text": error(500, b'{"message": "as text"}', content_type="text/plain"),
    "list": error(400, ["message"]),
    "string": error(400, "message"),
    "incomplete JSON": error(400, b'{"message": '),
    "not UTF-8": error(400, b'{"message": "\xff"}'),
    "compressed": error(403, gzip.compress(b'{"message": "No"}', mtime=0), "Content-Encoding: gzip"),
    "no message": error(403, {}),
    "long": error(400, {"message": "x" * 10_000}),
    "empty": error(403, b""),
    "status 200": error(200, {"message": "OK"}),
}


@pytest.mark.parametrize("name", OTHER_RESPONSES)
async def test_other_response_is_forwarded_unchanged(
    name: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    head, _, body = OTHER_RESPONSES[name].partition(b"\r\n\r\n")
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OTHER_RESPONSES[name]))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.status == int(head.split(b" ")[1])
    assert response.body == body
    headers = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    assert {key.lower(): value for key, value in headers}.items() <= dict(response.headers).items()
    assert "error" not in proxy.lines[-1]


async def test_error_response_to_head_is_forwarded_unchanged(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    head, _, _ = error(403, {"message": "No"}).partition(b"\r\n\r\n")
    fake_upstream = await start_upstream(fake_upstreams.respond_with(head + b"\r\n\r\n"))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy, method="HEAD")
    assert (response.status, response.header("content-length")) == (403, "17")


async def test_incomplete_error_returns_502(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_then_close(error(403, {"message": "No"})[:-3]))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    assert (await read(proxy)).error == (502, "TEMPORARILY_UNAVAILABLE")
    assert proxy.lines[-1]["error"] == "upstream-read-error"


async def test_error_of_a_plain_mlflow_is_forwarded_unchanged(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(403, EXPIRED)))
    proxy = await start_proxy(fake_upstream.origin)
    response = await read(proxy)
    assert (response.status, response.json()) == (403, EXPIRED)


# --- Stale credentials

STALE_ERRORS: dict[str, Callable[[], bytes]] = {
    "message": lambda: error(403, EXPIRED),
    "type": lambda: error(403, {"__type": "com.amazon#ExpiredTokenException", "message": "Sorry"}),
    "header": lambda: error(403, {"message": "Sorry"}, "x-amzn-ErrorType: UnrecognizedClientException:http://x"),
    "status 400": lambda: error(400, {"__type": "ExpiredTokenException", "message": "Sorry"}),
    "status 401": lambda: error(401, {"__type": "InvalidClientTokenId", "message": "Sorry"}),
}


class ChangingSource:
    """A credential source with different credentials at each load."""

    def __init__(self) -> None:
        self.loads = 0

    def __call__(self) -> Loaded:
        self.loads += 1
        return Loaded(Credentials(f"AKID{self.loads}", "secret-key", f"token-{self.loads}"), None)


def reject_first_credentials(rejection: bytes) -> fake_upstreams.Behaviour:
    """Accept all credentials except those of the first load."""
    return fake_upstreams.respond_by(
        lambda received: rejection if received.header("x-amz-security-token") == "token-1" else OK
    )


@pytest.fixture
def _no_forced_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a reload of the credentials immediately after a load, instead of seconds later."""
    monkeypatch.setattr("proxy_app.credentials._MIN_FORCED_INTERVAL", 0)


@pytest.mark.usefixtures("_no_forced_interval")
@pytest.mark.parametrize("name", STALE_ERRORS)
@pytest.mark.parametrize(("method", "target"), [("GET", READ), ("POST", NON_IDEMPOTENT_WRITE)])
async def test_stale_credentials_are_renewed_and_the_request_is_retried(
    name: str, method: str, target: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(reject_first_credentials(STALE_ERRORS[name]()))
    source = ChangingSource()
    proxy = await start_proxy(fake_upstream.origin, signed=True, source=source)
    body = b'{"experiment_id": "0"}' if method == "POST" else None
    response = await proxy.send(request(method, target, body=body, token=proxy.tokens.admin))
    assert (response.status, response.body) == (200, b"{}")
    assert [received.header("x-amz-security-token") for received in fake_upstream.requests] == ["token-1", "token-2"]
    assert [received.body for received in fake_upstream.requests] == [body or b""] * 2
    assert source.loads == 2
    await read(proxy)
    assert len(fake_upstream.requests) == 3, "the new credentials stay in use"


@pytest.mark.usefixtures("_no_forced_interval")
@pytest.mark.parametrize("name", STALE_ERRORS)
async def test_stale_credentials_without_new_ones_return_503(
    name: str, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(STALE_ERRORS[name]()))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await read(proxy)
    assert response.error == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.message.startswith("SageMaker rejects the proxy's credentials: ")
    assert int(response.header("retry-after") or 0) > 0
    assert len(fake_upstream.requests) == 1, "the same credentials are not tried again"
    assert proxy.lines[-1]["error"] == "aws-credentials-rejected"


@pytest.mark.usefixtures("_no_forced_interval")
async def test_renewed_credentials_are_tried_once(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(403, EXPIRED)))
    proxy = await start_proxy(fake_upstream.origin, signed=True, source=ChangingSource())
    assert (await read(proxy)).error == (503, "TEMPORARILY_UNAVAILABLE")
    assert len(fake_upstream.requests) == 2


async def test_server_error_about_an_expired_token_does_not_renew_credentials(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(error(500, EXPIRED)))
    source = ChangingSource()
    proxy = await start_proxy(fake_upstream.origin, signed=True, source=source)
    assert (await read(proxy)).error == (500, "INTERNAL_ERROR")
    assert (source.loads, len(fake_upstream.requests)) == (1, 1)
