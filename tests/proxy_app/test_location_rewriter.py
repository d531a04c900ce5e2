"""Locations in requests and responses through the proxy, on all routes that have them; other bytes stay as they are."""

import gzip
import json
import zlib
from typing import Any
from urllib.parse import quote_plus, unquote, unquote_plus

import pytest

from proxy_app.artifacts import rewriter
from proxy_app.artifacts.json_editor import Leaf
from proxy_app.artifacts.locations import FILTERS, REQUESTS, RESPONSES
from proxy_app.artifacts.root import ArtifactRoot
from proxy_app.auth import Role
from proxy_app.routing import MLFLOW_ROUTES
from proxy_app.routing.route import Route
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import respond_with, response_with_length
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import READ, SEARCH

from .conftest import StartProxy, StartUpstream

JSON = b"Content-Type: application/json"
ROOT = ArtifactRoot("bucket", "team/mlflow")
STORED, SHOWN = "s3://bucket/team/mlflow/1/ü x", "mlflow-artifacts:/1/ü x"
TAG = "mlflow.artifactLocation"


def user_data(location: str) -> Any:
    """What users may store, which is no location, whatever its name."""
    return {
        "artifact_uri": [location, {"artifact_uri": location, "source": location}],
        "tags": {"artifact_uri": location, "path": location},
        "params": [{"key": "source", "value": location}],
        "trace_metadata": {TAG: location},
        "dataset": {"source": json.dumps({"uri": location, "artifact_uri": location})},
        "history": json.dumps([{"artifact_uri": location}]),
        "numbers": [9007199254740993, 18446744073709551617, 0.1, -0.0, float("nan"), float("inf")],
    }


def document(tree: Any, location: str, other: str) -> Any:
    """A document with `location` at each path of the tree, among data of users with `other`."""
    if isinstance(tree, Leaf):
        return TAG if tree is Leaf.TAG_NAME else location
    if None in tree:
        return [document(tree[None], location, other), {"user": user_data(other)}, other, None]
    members = {key.decode(): document(below, location, other) for key, below in tree.items()}
    return {"user": user_data(other), **members, "z": other}


def written(tree: Any, location: str, other: str) -> bytes:
    return json.dumps(document(tree, location, other)).encode()


def path_of(route: Route) -> str:
    return "/".join("x" if "<" in part else part for part in route.template.split("/"))


ANSWERED = [route for route in MLFLOW_ROUTES if route.template in RESPONSES]
ASKED = [route for route in MLFLOW_ROUTES if route.template in REQUESTS and route.method in {"POST", "PATCH"}]


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
async def test_locations_of_every_route_are_mapped_for_every_role(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    trees = {f"{route.method} {path_of(route)}": RESPONSES[route.template] for route in ANSWERED}
    # SageMaker has the API below /api/ only.
    trees |= {line.replace("/ajax-api/", "/api/"): tree for line, tree in trees.items()}
    stored = {line: written(tree, STORED, STORED) for line, tree in trees.items()}
    fake = await start_upstream(
        fake_upstreams.respond_by(
            lambda received: response_with_length(stored[received.line.removesuffix(" HTTP/1.1")], JSON)
        )
    )
    proxy = await start_proxy(fake.origin, signed=signed, artifacts_root=ROOT)
    assert len(stored) > 60
    # In front of SageMaker, the proxy itself lists the artifacts of logged models.
    served = [route for route in ANSWERED if not (signed and route.template.endswith("/artifacts/directories"))]
    for route in served:
        expected = written(RESPONSES[route.template], SHOWN, STORED)
        for role, token in proxy.tokens.all.items():
            if Role[role.upper()] >= route.role:
                body = None if route.method == "GET" else b"{}"
                answer = await proxy.send(request(route.method, path_of(route), JSON.decode(), body=body, token=token))
                assert (answer.status, answer.body) == (200, expected), (route, role)


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
async def test_locations_in_requests_are_mapped_back(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake = await start_upstream(respond_with(fake_upstreams.OK))
    proxy = await start_proxy(fake.origin, signed=signed, artifacts_root=ROOT)
    for route in ASKED:
        sent, expected = (written(REQUESTS[route.template], location, SHOWN) for location in (SHOWN, STORED))
        answer = await proxy.send(
            request(route.method, path_of(route), JSON.decode(), body=sent, token=proxy.tokens.admin)
        )
        assert answer.status == 200, route
        assert fake.requests[-1].body == expected, route
    assert len(fake.requests) > 15


@pytest.mark.parametrize("template", sorted(FILTERS))
async def test_filters_are_mapped_in_body_and_query(
    start_upstream: StartUpstream, start_proxy: StartProxy, template: str
) -> None:
    fake = await start_upstream(respond_with(fake_upstreams.OK))
    proxy = await start_proxy(fake.origin, artifacts_root=ROOT)
    text = "source_path = '{}/ü+x%' AND tags.a = 'mlflow-artifacts:/1'"
    for route in [route for route in MLFLOW_ROUTES if route.template == template]:
        names = [str(name, "ascii") for name in FILTERS[template] if name]
        if route.method == "GET":
            start = f"{path_of(route)}?order_by=a&x=mlflow-artifacts:/1&order_by=%20b+&&"
            sent, expected = (
                "&".join(f"{name}={quote_plus(text.format(location))}" for name in names)
                for location in ("mlflow-artifacts:/1", "s3://bucket/team/mlflow/1")
            )
            answer = await proxy.send(request("GET", start + sent, token=proxy.tokens.admin))
            assert answer.status == 200
            received = fake.requests[-1].line.removeprefix(f"GET {start}").removesuffix(" HTTP/1.1")
            assert unquote(received) == unquote_plus(expected)
        else:
            sent, expected = (
                json.dumps({name: text.format(location) for name in names} | {"x": "mlflow-artifacts:/1"}).encode()
                for location in ("mlflow-artifacts:/1", "s3://bucket/team/mlflow/1")
            )
            answer = await proxy.send(
                request(route.method, path_of(route), JSON.decode(), body=sent, token=proxy.tokens.admin)
            )
            assert (answer.status, fake.requests[-1].body) == (200, expected)


async def test_nothing_changes_without_the_setting(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    body = written(RESPONSES["/api/2.0/mlflow/runs/get"], STORED, STORED)
    fake = await start_upstream(respond_with(response_with_length(body, JSON)))
    proxy = await start_proxy(fake.origin)
    target = "/api/2.0/mlflow/model-versions/search?filter=source_path='mlflow-artifacts:/1'"
    for method, path, sent in (
        ("GET", READ, None),
        ("GET", target, None),
        ("POST", "/api/2.0/mlflow/model-versions/create", b'{"source": "mlflow-artifacts:/1"}'),
    ):
        headers = (JSON.decode(), "Accept-Encoding: br")
        answer = await proxy.send(request(method, path, *headers, body=sent, token=proxy.tokens.admin))
        assert answer.body == body
        received = fake.requests[-1]
        assert (received.line, received.body) == (f"{method} {path} HTTP/1.1", sent or b"")
        assert received.header("accept-encoding") == "br"


def runs(count: int, location: str) -> bytes:
    """The body of a search of runs, about 1 KiB each."""
    data = {"params": [{"key": f"p{number}", "value": "x" * 50} for number in range(10)]}
    return json.dumps({"runs": [{"data": data, "info": {"artifact_uri": location}}] * count}).encode()


def framed(body: bytes, framing: str) -> bytes:
    head = b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\nETag: x\r\n"
    if framing == "gzip":
        body, head = gzip.compress(body), head + b"Content-Encoding: gzip\r\n"
    if framing == "deflate":
        body, head = zlib.compress(body), head + b"Content-Encoding: deflate\r\n"
    if framing == "chunked":
        parts = [body[start : start + 10_000] for start in range(0, len(body), 10_000)]
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked_body(*parts, b"")
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("framing", ["length", "chunked", "gzip", "deflate"])
@pytest.mark.parametrize("count", [1, 2_000], ids=["small", "large"])
@pytest.mark.parametrize("location", [STORED, "s3://other/1"], ids=["inside", "outside"])
async def test_response_is_mapped_whatever_its_framing(
    start_upstream: StartUpstream, start_proxy: StartProxy, framing: str, count: int, location: str
) -> None:
    fake = await start_upstream(respond_with(framed(runs(count, location), framing)))
    proxy = await start_proxy(fake.origin, artifacts_root=ROOT)
    headers = (JSON.decode(), "Accept-Encoding: gzip, deflate, br")
    answer = await proxy.send(request("POST", SEARCH, *headers, body=b"{}", token=proxy.tokens.viewer))
    assert (answer.status, answer.header("content-encoding")) == (200, None)
    assert answer.body == runs(count, SHOWN if location == STORED else location)
    assert fake.requests[0].header("accept-encoding") == "gzip, deflate"
    # A response without a location is forwarded as it came, with its length and validator.
    unread = location != STORED and framing in {"length", "chunked"}
    assert (answer.header("etag") == "x") == unread
    edited_as_it_passes = location == STORED and (count > 1 or framing in {"gzip", "deflate"})
    assert (answer.header("content-length") is None) == edited_as_it_passes


@pytest.mark.parametrize("cut", range(1, 25))
async def test_location_across_two_chunks_is_mapped(
    start_upstream: StartUpstream, start_proxy: StartProxy, cut: int
) -> None:
    body = runs(1, "s3://bucket/team/mlflow/1")
    end = body.index(b"s3:") + cut
    head = b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [head + chunked_body(body[:end]), chunked_body(body[end:], b"")]
    fake = await start_upstream(fake_upstreams.respond_in_chunks(parts))
    proxy = await start_proxy(fake.origin, artifacts_root=ROOT)
    answer = await proxy.send(request("POST", SEARCH, JSON.decode(), body=b"{}", token=proxy.tokens.viewer))
    assert answer.body == runs(1, "mlflow-artifacts:/1")


async def test_response_above_the_limit_of_bodies_is_streamed(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    body = b'{"runs": [' + runs(200, STORED)[10:-2] + b", 1" + b" " * 3_000_000 + b"]}"
    fake = await start_upstream(respond_with(framed(body, "length")))
    proxy = await start_proxy(fake.origin, artifacts_root=ROOT, body_limit=1_000_000, body_budget=1_000_000)
    answer = await proxy.send(request("POST", SEARCH, JSON.decode(), body=b"{}", token=proxy.tokens.viewer))
    assert (answer.status, answer.body) == (200, body.replace(json.dumps(STORED).encode(), json.dumps(SHOWN).encode()))
    assert proxy.budget_free == 1_000_000


@pytest.mark.parametrize(("one", "all_"), [(500_000, 10_000_000), (10_000_000, 500_000)], ids=["one", "all"])
async def test_memory_of_responses_without_a_location_is_bounded_and_freed(
    start_upstream: StartUpstream, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch, one: int, all_: int
) -> None:
    monkeypatch.setattr(rewriter, "_HELD", one)
    monkeypatch.setattr(rewriter, "_HELD_BY_ALL", all_)
    small, large = runs(400, "x"), runs(700, "x")[:-1] + b', "page": 1, "runs": ' + runs(1, STORED)[9:]
    assert len(small) < 500_000 < len(large)
    fake = await start_upstream(respond_with(*[framed(body, "length") for body in (small, large, small, large, small)]))
    proxy = await start_proxy(fake.origin, artifacts_root=ROOT)
    asked = request("POST", SEARCH, JSON.decode(), body=b"{}", token=proxy.tokens.viewer)
    for expected in (small, large, small, large, small):
        answer = await proxy.send(asked)
        assert answer.body == expected.replace(json.dumps(STORED).encode(), json.dumps(SHOWN).encode())
        assert (answer.header("content-length") is None) == (expected is large)


@pytest.mark.parametrize("location", [STORED, "x"], ids=["after a location", "before a location"])
async def test_incomplete_response_is_detected_by_the_client(
    start_upstream: StartUpstream, start_proxy: StartProxy, location: str
) -> None:
    cut = framed(runs(2_000, location), "length")[:-10]
    fake = await start_upstream(fake_upstreams.respond_then_close(cut))
    proxy = await start_proxy(fake.origin, artifacts_root=ROOT)
    asked = request("POST", SEARCH, JSON.decode(), body=b"{}", token=proxy.tokens.viewer)
    if location == STORED:
        async with proxy.connect() as client:
            with pytest.raises((EOFError, ConnectionError)):
                await client.round_trip(asked)
    else:
        assert (await proxy.send(asked)).status == 502
    assert proxy.lines[-1]["error"] == "upstream-read-error"


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("gzip", b"{}", "upstream-read-error"),
        ("gzip", gzip.compress(b"{}")[:-9], "upstream-read-error"),
        ("br", b"{}", "upstream-encoding"),
    ],
    ids=["not gzip", "incomplete", "not accepted"],
)
async def test_response_that_cannot_be_decoded_is_a_502(
    start_upstream: StartUpstream, start_proxy: StartProxy, coding: str, body: bytes, error: str
) -> None:
    response = response_with_length(body, JSON, b"Content-Encoding: " + coding.encode())
    proxy = await start_proxy((await start_upstream(respond_with(response))).origin, artifacts_root=ROOT)
    answer = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert (answer.status, proxy.lines[-1]["error"]) == (502, error)


async def test_error_message_and_other_media_types_are_unchanged(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    error = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": STORED, "source": STORED}).encode()
    page = b'{"run": {"info": {"artifact_uri": "s3://bucket/team/mlflow/1"}}}'
    fake = await start_upstream(
        respond_with(
            response_with_length(error, JSON, status=b"400 Bad Request"),
            response_with_length(page, b"Content-Type: text/html"),
        )
    )
    proxy = await start_proxy(fake.origin, artifacts_root=ROOT)
    for expected in (error, page):
        assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).body == expected
