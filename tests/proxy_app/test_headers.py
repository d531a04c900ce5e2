"""Which request and response headers are forwarded, whatever the case of their names."""

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy_app.headers import to_client, to_upstream
from tests.doubles.request_factory import make_request

Pairs = Sequence[tuple[str, str]]

# Credentials for the proxy, headers that only the proxy may set, and headers about the client's connection.
BLOCKED_REQUEST_HEADERS = [
    *("authorization", "cookie", "host", "origin", "referer", "expect", "forwarded", "x-real-ip", "x-request-id"),
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"),
    *("proxy-connection", "proxy-authorization", "proxy-authenticate"),
    *("x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "x-amz-target", "x-amz-anything-new"),
    *("x-mlflow-sm-tracking-server-arn", "x-sm-mlflow-app-arn", "x-mlflow-guardrail-bypass"),
    *("x-amzn-oidc-data", "x-amzn-oidc-identity", "x-amzn-oidc-accesstoken", "x-amzn-mtls-clientcert"),
    *("x-goog-iap-jwt-assertion", "x-goog-authenticated-user-email"),
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-user"),
    *("sec-fetch-site", "sec-fetch-mode", "sec-websocket-key"),
]
FORWARDED_REQUEST_HEADERS = [
    *("accept", "accept-encoding", "content-encoding", "content-type", "user-agent", "cache-control"),
    *("range", "if-none-match", "if-modified-since", "traceparent", "tracestate"),
    *("x-mlflow-workspace", "x-mlflow-experiment-id", "x-forward", "x-amz", "xamz-date", "x-my-header"),
]
BLOCKED_RESPONSE_HEADERS = [
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"),
    *("set-cookie", "strict-transport-security", "alt-svc", "server", "date", "x-request-id"),
    *("proxy-authenticate", "www-authenticate"),
]
FORWARDED_RESPONSE_HEADERS = [
    *("content-type", "content-encoding", "content-disposition", "content-range", "accept-ranges"),
    *("etag", "last-modified", "cache-control", "vary", "retry-after", "location", "x-mlflow-anything"),
]

ORIGIN = "https://eu-west-1.experiments.sagemaker.aws"


def request_headers(pairs: Pairs) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in to_upstream(make_request(CIMultiDict(pairs)))]


def response_headers(pairs: Pairs, origin: str = ORIGIN) -> list[tuple[str, str]]:
    forwarded = to_client([(name.encode(), value.encode()) for name, value in pairs], origin)
    return [(name.decode(), value.decode()) for name, value in forwarded]


@st.composite
def mixed_case(draw: st.DrawFn, names: list[str]) -> str:
    """One of these names, with each letter in either case."""
    name = draw(st.sampled_from(names))
    capitals = draw(st.integers(0, 2 ** len(name) - 1))
    return "".join(letter.upper() if capitals >> index & 1 else letter for index, letter in enumerate(name))


def header_lists(names: list[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(mixed_case(names), st.sampled_from(["a", "b", "close", "1, 2"])), max_size=8)


# --- To the upstream


@pytest.mark.parametrize("name", BLOCKED_REQUEST_HEADERS)
def test_blocked_header_does_not_reach_the_upstream(name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert request_headers([("Accept", "*/*"), (spelling, "x")]) == [("Accept", "*/*")]


@pytest.mark.parametrize("name", FORWARDED_REQUEST_HEADERS)
def test_other_header_is_forwarded_unchanged(name: str) -> None:
    assert request_headers([(name.title(), "One,  two"), (name, "three")]) == [
        (name.title(), "One,  two"),
        (name, "three"),
    ]


@given(header_lists(BLOCKED_REQUEST_HEADERS + FORWARDED_REQUEST_HEADERS))
def test_only_forwarded_request_headers_reach_the_upstream_in_order(pairs: list[tuple[str, str]]) -> None:
    assert request_headers(pairs) == [
        (name, value) for name, value in pairs if name.lower() in FORWARDED_REQUEST_HEADERS
    ]


@given(mixed_case([name for name in BLOCKED_REQUEST_HEADERS if "-" in name]), st.data())
def test_blocked_name_with_underscores_does_not_reach_the_upstream(name: str, data: st.DataObject) -> None:
    # CGI-like servers read x_amz_date and X-Amz_Date as x-amz-date.
    dashes = [index for index, letter in enumerate(name) if letter == "-"]
    replaced = data.draw(st.sets(st.sampled_from(dashes), min_size=1))
    variant = "".join("_" if index in replaced else letter for index, letter in enumerate(name))
    assert request_headers([(variant, "x"), ("Accept", "*/*")]) == [("Accept", "*/*")]


@pytest.mark.parametrize(
    "connection",
    [
        ["X-One, X-Two"],
        ["x-one,x-two"],
        ["close, X-ONE , x-two"],
        ["keep-alive, X-One", "X-Two"],
        ["close", "x-two,x-one,"],
        ["X-One,,, X-Two, authorization"],
    ],
)
def test_headers_named_by_connection_are_not_forwarded(connection: list[str]) -> None:
    named = [("X-One", "1"), ("x-two", "2"), ("X-ONE", "3")]
    others = [("X-Three", "3"), ("Accept", "*/*")]
    assert request_headers([*named, *others, *(("Connection", value) for value in connection)]) == others
    assert response_headers([*named, *others, *(("connection", value) for value in connection)]) == others


@pytest.mark.parametrize("connection", ["close", "Keep-Alive", "keep-alive", ""])
def test_connection_header_without_header_names_removes_no_header(connection: str) -> None:
    assert request_headers([("X-One", "1"), ("Connection", connection)]) == [("X-One", "1")]
    assert response_headers([("X-One", "1"), ("Connection", connection)]) == [("X-One", "1")]


# --- To the client


@pytest.mark.parametrize("name", BLOCKED_RESPONSE_HEADERS)
def test_blocked_header_does_not_reach_the_client(name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert response_headers([("ETag", "e"), (spelling, "x")]) == [("ETag", "e")]


@given(header_lists(BLOCKED_RESPONSE_HEADERS + FORWARDED_RESPONSE_HEADERS))
def test_only_forwarded_response_headers_reach_the_client_in_order(pairs: list[tuple[str, str]]) -> None:
    assert response_headers(pairs) == [
        (name, value) for name, value in pairs if name.lower() in FORWARDED_RESPONSE_HEADERS
    ]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (f"{ORIGIN}/api/2.0/x?a=1#f", "/api/2.0/x?a=1#f"),
        (f"{ORIGIN}/", "/"),
        ("/relative", "/relative"),
        ("relative", "relative"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"{ORIGIN}.evil.example/x", f"{ORIGIN}.evil.example/x"),
        (f"{ORIGIN}:8443/x", f"{ORIGIN}:8443/x"),
        # Without the origin, these would lead to another host.
        (f"{ORIGIN}//evil.example/x", f"{ORIGIN}//evil.example/x"),
        (f"{ORIGIN}/\\evil.example/x", f"{ORIGIN}/\\evil.example/x"),
        (f"{ORIGIN}/\t/evil.example/x", f"{ORIGIN}/\t/evil.example/x"),
        ("https://bucket.s3.amazonaws.com/key?X-Amz-Signature=1",) * 2,
    ],
)
def test_location_at_the_upstream_becomes_a_path(location: str, expected: str) -> None:
    assert response_headers([("Location", location), ("ETag", location)]) == [
        ("Location", expected),
        ("ETag", location),
    ]


def test_repeated_response_header_is_forwarded_twice() -> None:
    assert response_headers([("Vary", "a"), ("Vary", "b")]) == [("Vary", "a"), ("Vary", "b")]


def test_non_ascii_response_header_is_forwarded_unchanged() -> None:
    sent = [(b"X-Name", b"caf\xe9"), (b"Location", b"/caf\xe9"), (b"x-other", "é".encode())]
    assert to_client(sent, ORIGIN) == sent


def test_long_header_names_are_not_cached() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            name = f"{number}".ljust(50_000, "x")
            assert request_headers([(name, "1")]) == [(name, "1")]
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
