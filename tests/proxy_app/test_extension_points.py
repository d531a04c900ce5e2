"""The extension points: a feature is added by an Extensions object or an authenticator, without a change to the proxy.

A test is removed when the feature that it represents is implemented.
"""

import asyncio
import dataclasses
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import pytest
from aiohttp import web

from proxy_app import errors, responses
from proxy_app.app import Extensions
from proxy_app.auth import Authenticator, Principal, Role, authenticators
from proxy_app.context import RequestContext
from proxy_app.request_body import BodyReader
from proxy_app.rewriting import JsonRewriter
from proxy_app.routing import Endpoint, Route
from proxy_app.setting_table import SettingTable, setting
from proxy_app.settings import Settings
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import IDEMPOTENT_WRITE, READ, wait_until

from .conftest import StartProxy, StartUpstream


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(OK))


# --- (a) A streaming handler for routes with path parameters


async def serve_artifact(context: RequestContext) -> web.StreamResponse:
    """Stream the segments of the path parameter; a path that ends in .broken fails before the end."""
    path = context.parameters["artifact_path"]

    async def chunks() -> AsyncIterator[bytes]:
        for part in path.split("/"):
            yield part.encode() + b"\n"
            await asyncio.sleep(0)
        if path.endswith(".broken"):
            raise OSError("the store failed")

    return await responses.stream(context, 200, "OK", [(b"Content-Type", b"text/plain")], None, chunks())


ARTIFACTS = Extensions(
    endpoints=[
        Endpoint(
            Route("GET", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>", "artifacts", Role.VIEWER, True),
            serve_artifact,
        )
    ]
)


async def test_handler_replaces_a_route_and_streams_its_path_parameter(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, extensions=ARTIFACTS)
    target = "/api/2.0/mlflow-artifacts/artifacts/1/a%20b/mod%C3%A9l.bin"
    response = await proxy.send(request("GET", target, token=proxy.tokens.viewer))
    assert (response.status, response.body.decode()) == (200, "1\na b\nmodél.bin\n")
    assert response.header("x-request-id")
    assert (proxy.lines[-1]["route"], proxy.lines[-1]["bytes_out"]) == (
        "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>",
        len(response.body),
    )
    assert (await proxy.send(request("GET", target))).status == 401
    # Other methods of the path are forwarded to MLflow.
    assert (await proxy.send(request("PUT", target, body=b"x", token=proxy.tokens.editor))).status == 200
    assert [received.line.split()[0] for received in fake_upstream.requests] == ["PUT"]


async def test_failed_stream_aborts_the_connection(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin, extensions=ARTIFACTS)
    async with proxy.connect() as client:
        target = "/api/2.0/mlflow-artifacts/artifacts/1/x.broken"
        await client.send(request("GET", target, token=proxy.tokens.viewer))
        async with asyncio.timeout(5):
            rest = await client.closed()
    assert rest.startswith(b"HTTP/1.1 200")
    assert not rest.endswith(b"0\r\n\r\n"), "the truncated response looks complete"
    await wait_until(lambda: bool(proxy.lines))
    assert proxy.lines[-1]["error"] == "internal-error"


# --- (b) An authenticator with a login route, a callback and a session cookie


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoginSettings(SettingTable):
    """The settings of the authenticator under test."""

    login_user: str = setting("MLFLOW_PROXY_LOGIN_USER", "", "User who can log in; empty: disabled.")


class LoginAuthenticator(Authenticator):
    """Redirect browsers to a login page, whose callback sets a session cookie."""

    label = "MLFLOW_PROXY_LOGIN_USER"
    settings_table = LoginSettings

    def __init__(self, user: str) -> None:
        self._user = user

    @classmethod
    def enabled(cls, settings: Settings) -> bool:
        return bool(settings.section(LoginSettings).login_user)

    @classmethod
    def create(cls, settings: Settings) -> Self:
        return cls(settings.section(LoginSettings).login_user)

    async def authenticate(self, context: RequestContext) -> Principal | None:
        if context.request.cookies.get("session") != "secret-session":
            return None
        context.response_headers.append((b"Set-Cookie", b"session=secret-session; HttpOnly; Max-Age=3600"))
        return Principal(self._user, Role.VIEWER, "login", frozenset({"ml"}))

    def challenge(self, context: RequestContext) -> errors.ApiError | None:
        return errors.Redirect("/proxy/login", reason="login-required") if context.accepts_html else None

    def endpoints(self) -> Iterator[Endpoint]:
        login = Route("GET", "/proxy/login", "proxy", Role.PUBLIC, idempotent=True)
        callback = Route("GET", "/proxy/callback/<provider>", "proxy", Role.PUBLIC, idempotent=False)
        yield Endpoint(login, self._login)
        yield Endpoint(callback, self._callback)

    async def _login(self, _: RequestContext) -> web.Response:
        return web.Response(text="log in")

    async def _callback(self, context: RequestContext) -> web.Response:
        assert context.principal is None
        context.response_headers.append((b"Set-Cookie", b"session=secret-session; HttpOnly"))
        context.response_headers.append((b"Set-Cookie", b"state=; Max-Age=0"))
        return web.Response(status=303, headers={"Location": "/", "X-Provider": context.parameters["provider"]})


async def test_authenticator_redirects_browsers_and_sets_a_session_cookie(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticators, "AUTHENTICATORS", (*authenticators.AUTHENTICATORS, LoginAuthenticator))
    assert "MLFLOW_PROXY_LOGIN_USER" in Settings.help()
    proxy = await start_proxy(fake_upstream.origin, login_user="ann@example.org")
    browser = "Accept: text/html"
    redirect = await proxy.send(request("GET", READ, browser))
    assert (redirect.status, redirect.header("location")) == (303, "/proxy/login")
    assert (await proxy.send(request("GET", READ))).status == 401, "API clients are not redirected"
    login = await proxy.send(request("GET", "/proxy/login", browser))
    assert (login.status, login.body) == (200, b"log in")
    callback = await proxy.send(request("GET", "/proxy/callback/example?code=1", browser))
    assert (callback.status, callback.header("x-provider")) == (303, "example")
    assert callback.all("set-cookie") == ["session=secret-session; HttpOnly", "state=; Max-Age=0"]
    page = await proxy.send(request("GET", READ, "Cookie: session=secret-session"))
    assert (page.status, page.body) == (200, b"{}")
    assert page.all("set-cookie") == ["session=secret-session; HttpOnly; Max-Age=3600"]
    assert (proxy.lines[-1]["principal"], proxy.lines[-1]["role"]) == ("ann@example.org", "viewer")
    # The cookie is not forwarded, and tokens still work.
    assert b"secret-session" not in fake_upstream.requests[-1].head
    token = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert (token.status, token.header("set-cookie")) == (200, None)
    forbidden = await proxy.send(request("POST", IDEMPOTENT_WRITE, "Cookie: session=secret-session", body=b"{}"))
    assert forbidden.error == (403, "PERMISSION_DENIED")
    assert "secret-session" not in "".join(proxy.written)


# --- (c) A rewriter of JSON requests and responses


class LocationTransform:
    """Replace the proxy's artifact root by SageMaker's in requests, and the reverse in responses."""

    def transforms_request(self, context: RequestContext) -> bool:
        return context.matched_route.resource_group in {"runs", "experiments"}

    def transforms_response(self, context: RequestContext) -> bool:
        return context.matched_route.resource_group in {"runs", "experiments"}

    def request(self, context: RequestContext, body: bytes) -> bytes:
        return self._replace(body, "mlflow-artifacts:/", "s3://bucket/prefix/")

    def response(self, context: RequestContext, body: bytes) -> bytes:
        return self._replace(body, "s3://bucket/prefix/", "mlflow-artifacts:/")

    def _replace(self, body: bytes, old: str, new: str) -> bytes:
        content: dict[str, Any] = json.loads(body)
        location = content.get("artifact_uri", "")
        if not location.startswith(old):
            return body
        return json.dumps({**content, "artifact_uri": new + location.removeprefix(old)}).encode()


def rewriter(reader: BodyReader) -> JsonRewriter:
    return JsonRewriter(LocationTransform(), reader)


REWRITING = Extensions(rewriter=rewriter)
JSON, GZIP = b"Content-Type: application/json", b"Content-Encoding: gzip"
CODINGS: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}


def respond_with_location(coding: str) -> fake_upstreams.Behaviour:
    """Respond with JSON that holds an artifact location, in this content coding."""
    body = CODINGS[coding](json.dumps({"artifact_uri": "s3://bucket/prefix/1/model", "n": 1}).encode())
    headers = [JSON, b"ETag: x"] + ([b"Content-Encoding: " + coding.encode()] if coding else [])
    return fake_upstreams.respond_with(response_with_length(body, *headers))


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize("coding", CODINGS, ids=["identity", "gzip", "deflate"])
async def test_rewriter_changes_json_requests_and_responses(
    start_upstream: StartUpstream, start_proxy: StartProxy, coding: str, signed: bool
) -> None:
    fake_upstream = await start_upstream(respond_with_location(coding))
    proxy = await start_proxy(fake_upstream.origin, signed=signed, extensions=REWRITING)
    body = CODINGS[coding](json.dumps({"artifact_uri": "mlflow-artifacts:/1/model", "tag": "é"}).encode())
    headers = ["Content-Type: application/json", "Accept-Encoding: br, gzip"]
    headers += [f"Content-Encoding: {coding}"] if coding else []
    response = await proxy.send(request("POST", IDEMPOTENT_WRITE, *headers, body=body, token=proxy.tokens.editor))
    assert (response.status, response.json()) == (200, {"artifact_uri": "mlflow-artifacts:/1/model", "n": 1})
    assert response.header("content-encoding") is None
    assert response.header("etag") is None, "the ETag of the original body does not apply to the rewritten one"
    [received] = fake_upstream.requests
    assert json.loads(received.body) == {"artifact_uri": "s3://bucket/prefix/1/model", "tag": "é"}
    assert received.header("content-encoding") is None
    assert received.header("accept-encoding") == "gzip, deflate"
    await wait_until(lambda: proxy.budget_free == proxy.settings.body_budget)


async def test_rewriter_does_not_change_bodies_without_a_location(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    raw = gzip.compress(b'{"value": NaN}')
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(raw, JSON, b"Content-Encoding: gzip", b"ETag: x"))
    )
    proxy = await start_proxy(fake_upstream.origin, extensions=REWRITING)
    response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert (response.body, response.header("content-encoding"), response.header("etag")) == (raw, "gzip", "x")
    target = "/api/2.0/mlflow/registered-models/create"
    await proxy.send(request("POST", target, str(JSON, "ascii"), body=b'{"a":  1}', token=proxy.tokens.editor))
    assert fake_upstream.requests[-1].body == b'{"a":  1}'


@pytest.mark.parametrize(
    ("upstream_response", "error"),
    [
        (response_with_length(gzip.compress(b" " * 3_000_000), JSON, GZIP), "response-too-large"),
        (response_with_length(b" " * 2_000_000, JSON), "response-too-large"),
        (response_with_length(b"{}", JSON, b"Content-Encoding: br"), "upstream-encoding"),
        (response_with_length(gzip.compress(b"{}")[:-4], JSON, GZIP), "upstream-encoding"),
    ],
    ids=["too large after decompression", "too large", "unknown coding", "truncated"],
)
async def test_rewriter_rejects_responses_that_it_cannot_decode_within_the_limit(
    start_upstream: StartUpstream, start_proxy: StartProxy, upstream_response: bytes, error: str
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(upstream_response))
    proxy = await start_proxy(fake_upstream.origin, extensions=REWRITING, body_limit=1_000_000, body_budget=1_000_000)
    response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert (response.status, proxy.lines[-1]["error"]) == (502, error)
    await wait_until(lambda: proxy.budget_free == 1_000_000)


@pytest.mark.parametrize(
    ("coding", "body", "status", "error"),
    [
        ("br", b"{}", 415, "unsupported-encoding"),
        ("gzip", b"not gzip", 400, "malformed-body"),
        ("gzip", gzip.compress(b" " * 3_000_000), 413, "body-too-large"),
    ],
)
async def test_rewriter_rejects_request_bodies_that_it_cannot_decode(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, coding: str, body: bytes, status: int, error: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin, extensions=REWRITING, body_limit=1_000_000, body_budget=1_000_000)
    headers = ["Content-Type: application/json", f"Content-Encoding: {coding}"]
    response = await proxy.send(request("POST", IDEMPOTENT_WRITE, *headers, body=body, token=proxy.tokens.editor))
    assert (response.status, proxy.lines[-1]["error"]) == (status, error)
    assert fake_upstream.requests == []
    await wait_until(lambda: proxy.budget_free == 1_000_000)


# --- (d) An authorizer that uses the principal's groups and the route's parameters


async def only_own_models(context: RequestContext) -> None:
    """Allow a model to members of the group that its ID begins with."""
    model = context.parameters.get("model_id", "")
    if model and model.partition("-")[0] not in context.authenticated.groups:
        raise errors.forbidden(f"{context.authenticated.name} is not a member of this model's group.", reason="group")


async def test_authorizer_uses_groups_and_path_parameters(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticators, "AUTHENTICATORS", (*authenticators.AUTHENTICATORS, LoginAuthenticator))
    extensions = Extensions(authorizers=[only_own_models])
    proxy = await start_proxy(fake_upstream.origin, login_user="ann@example.org", extensions=extensions)
    session = "Cookie: session=secret-session"
    models = "/api/2.0/mlflow/logged-models"
    assert (await proxy.send(request("GET", f"{models}/ml-1", session))).status == 200
    forbidden = await proxy.send(request("GET", f"{models}/other-1", session))
    assert (forbidden.error, proxy.lines[-1]["error"]) == ((403, "PERMISSION_DENIED"), "group")
    assert (await proxy.send(request("GET", READ, session))).status == 200
    assert len(fake_upstream.requests) == 2
